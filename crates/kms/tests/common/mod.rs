//! A service in memory: a founded domain, one open node, and a committed store under it. A test asks
//! through [`Service::call`] and looks at what was told and what was audited.
#![allow(dead_code, reason = "each test file uses its own part")]

use std::collections::BTreeMap;

use conclave_crypto::{HpkePrivateKey, SeededEntropy};
use conclave_kms::fields::{PrincipalName, RequestId, Roles};
use conclave_kms::{
    Cache, Caller, Ctx, DomainInfo, Plan, Refusal, Request, Response, decide_whole,
    encode_principal, replay,
};
use conclave_proto::{audit, record, v1};
use conclave_seal::{DomainId, FoundingInput, Keyring, OperatorSplit, found};
use conclave_store::{Kind, MemoryStore, Outcome, RecordId, View, Write};

pub(crate) const NOW_MS: u64 = 1_700_000_000_000;
pub(crate) const ACCOUNT: &str = "000000000001";

/// Who there is, one for each role, and `nobody`, who has no record.
pub(crate) const PRINCIPALS: [(&str, &str); 4] =
    [("olga", "operator"), ("ada", "key-administrator"), ("uma", "key-user"), ("aud", "auditor")];

pub(crate) struct Service {
    pub(crate) store: MemoryStore,
    pub(crate) keyring: Keyring,
    pub(crate) cache: Cache,
    pub(crate) entropy: SeededEntropy,
    pub(crate) domain: DomainInfo,
    pub(crate) now_ms: u64,
    pub(crate) keys_max: u32,
    requests: u64,
}

/// What a caller was told, and what the log says about it.
pub(crate) struct Told {
    pub(crate) reply: Result<Response, Refusal>,
    pub(crate) entry: audit::Entry,
}

impl Service {
    pub(crate) fn new() -> Self {
        let mut entropy = SeededEntropy::from_number(1);
        let enrolment = HpkePrivateKey::generate(&mut entropy).public().as_bytes().to_vec();
        let input = FoundingInput {
            domain_id: DomainId([7; 16]),
            domain_name: "eu".to_owned(),
            account: ACCOUNT.to_owned(),
            cluster: "test".to_owned(),
            members: vec![(
                record::Member {
                    raft_id: 1,
                    name: "node-1".to_owned(),
                    enrolment_key: enrolment,
                    ..Default::default()
                },
                conclave_seal::SealKind::Operator,
            )],
            split: OperatorSplit::new(1, 1).unwrap(),
            now_ms: NOW_MS,
            creator: "olga".to_owned(),
        };
        let founding = found(&input, &mut entropy).unwrap();
        let mut store = MemoryStore::new([7; 16]);
        store.write(founding.writes);
        let mut service = Self {
            store,
            keyring: founding.keyring,
            cache: Cache::new(),
            entropy,
            domain: DomainInfo { name: "eu".to_owned(), account: ACCOUNT.to_owned() },
            now_ms: NOW_MS,
            keys_max: 1_000_000,
            requests: 0,
        };
        for (name, role) in &PRINCIPALS[1..] {
            service.set_principal(name, role);
        }
        service
    }

    /// Writes a principal past the service.
    pub(crate) fn set_principal(&mut self, name: &str, role: &str) {
        let id = self.keyring.name_id(Kind::Principal, ACCOUNT, name);
        let roles = Roles::parse(&[role.to_owned()]).unwrap();
        let encoded = encode_principal(&PrincipalName::parse(name).unwrap(), &roles, NOW_MS);
        let blob = self.keyring.seal_record(&id, &encoded, &mut self.entropy);
        self.store.write(vec![Write::put(id, blob)]);
    }

    pub(crate) fn caller(&mut self, principal: &str) -> Caller {
        self.requests += 1;
        caller(principal, &format!("request-{}", self.requests))
    }

    pub(crate) fn decide(&mut self, caller: &Caller, request: &Request) -> Plan {
        let store = self.store.clone();
        self.decide_over(&store, caller, request)
    }

    pub(crate) fn decide_over(
        &mut self,
        view: &dyn View,
        caller: &Caller,
        request: &Request,
    ) -> Plan {
        decide_whole(&mut self.ctx(view, caller), request).unwrap()
    }

    pub(crate) fn ctx<'a>(&'a mut self, view: &'a dyn View, caller: &'a Caller) -> Ctx<'a> {
        Ctx {
            view,
            keyring: &self.keyring,
            cache: &self.cache,
            entropy: &mut self.entropy,
            now_ms: self.now_ms,
            node: "node-1",
            region: "eu-west",
            domain: &self.domain,
            keys_max: self.keys_max,
            caller,
        }
    }

    /// As the shell does it: decide, commit, and on a known token replay.
    pub(crate) fn call_as(&mut self, caller: &Caller, request: &Request) -> Told {
        let plan = self.decide(caller, request);
        self.commit(caller, request, plan)
    }

    pub(crate) fn commit(&mut self, caller: &Caller, request: &Request, plan: Plan) -> Told {
        let entry = self.keyring.open_entry(&plan.body.audit).unwrap().entry;
        let reply = match self.store.commit(plan.body, self.now_ms) {
            Outcome::Committed(_) => {
                let step = self.store.steps().last().unwrap().entry.clone().unwrap();
                assert_eq!(self.keyring.open_entry(&step).unwrap().entry, entry);
                plan.reply
            }
            Outcome::Known { answer, .. } => {
                let store = self.store.clone();
                replay(&self.ctx(&store, caller), request, &answer).unwrap()
            }
            other => panic!("neither committed nor known: {other:?}"),
        };
        Told { reply, entry }
    }

    pub(crate) fn call(
        &mut self,
        principal: &str,
        request: impl TryInto<Request, Error = Refusal>,
    ) -> Told {
        let caller = self.caller(principal);
        self.call_as(&caller, &request.try_into().unwrap())
    }

    /// What is to happen to keys at a time, the first first.
    pub(crate) fn due(&self) -> Vec<RecordId> {
        self.store.list(Kind::Due, None, 100)
    }

    /// Everything that is due by these clocks, in the order in which the scheduler would find it.
    pub(crate) fn fall_due(&mut self, passed_ms: u64) -> Vec<Told> {
        let caller = self.caller("node/node-1");
        let mut told = Vec::new();
        while let Some(first) = self.due().into_iter().next() {
            let store = self.store.clone();
            let mut ctx = self.ctx(&store, &caller);
            let Some(request) = Request::due(&mut ctx, first, passed_ms).unwrap() else { break };
            told.push(self.call_as(&caller, &request));
        }
        told
    }

    /// A new key of the administrator's; its id.
    pub(crate) fn key(&mut self, alias: &str) -> String {
        let request = v1::CreateKeyRequest { alias: alias.to_owned(), ..Default::default() };
        created(self.call("ada", request)).key_id
    }

    /// The id of the key that an alias names.
    pub(crate) fn id_of(&mut self, alias: &str) -> String {
        let request = v1::DescribeKeyRequest { key_id: alias.to_owned(), ..Default::default() };
        let told = self.call("aud", request).reply.unwrap();
        v1::DescribeKeyResponse::try_from(told).unwrap().key_metadata.unwrap().key_id
    }

    pub(crate) fn encrypt(&mut self, key: &str, plaintext: &[u8]) -> Vec<u8> {
        let told = self.call("uma", encrypt(key, plaintext));
        v1::EncryptResponse::try_from(told.reply.unwrap()).unwrap().ciphertext_blob
    }
}

impl Told {
    /// One line: what was told, and what was audited. Key ids are not shown.
    pub(crate) fn line(&self) -> String {
        let told = match &self.reply {
            Ok(Response::CreateKey(made)) => metadata_line(&made.key_metadata),
            Ok(Response::DescribeKey(found)) => metadata_line(&found.key_metadata),
            Ok(Response::EnableKey(changed)) => change_line(&changed.key),
            Ok(Response::DisableKey(changed)) => change_line(&changed.key),
            Ok(Response::ScheduleKeyDeletion(changed)) => change_line(&changed.key),
            Ok(Response::CancelKeyDeletion(changed)) => change_line(&changed.key),
            Ok(Response::RotateKeyOnDemand(changed)) => change_line(&changed.key),
            Ok(Response::Decrypt(opened)) => {
                format!("plaintext {:?}", String::from_utf8_lossy(&opened.plaintext))
            }
            Ok(Response::CreatePrincipal(made)) => {
                format!("principal {}", made.principal.as_ref().unwrap().name)
            }
            Ok(_) => "ok".to_owned(),
            Err(refusal) => refusal.name().to_owned(),
        };
        let outcome = audit::Outcome::try_from(self.entry.outcome).unwrap();
        format!("{told} | {} {outcome:?} {}", self.entry.action, self.entry.decided_by.join(","))
    }
}

fn metadata_line(key: &Option<v1::KeyMetadata>) -> String {
    let key = key.as_ref().unwrap();
    format!("key {} v{} {}", key.key_state, key.versions, key.aliases.join(","))
}

pub(crate) fn change_line(key: &Option<v1::KeyChange>) -> String {
    let key = key.as_ref().unwrap();
    format!("key {} v{}", key.key_state, key.versions)
}

pub(crate) fn caller(principal: &str, request_id: &str) -> Caller {
    Caller {
        principal: principal.to_owned(),
        certificate_serial: "0a".to_owned(),
        source_address: "192.0.2.1:4711".to_owned(),
        request_id: RequestId::parse(request_id).unwrap(),
        retry_of: None,
    }
}

pub(crate) fn created(told: Told) -> v1::KeyMetadata {
    v1::CreateKeyResponse::try_from(told.reply.unwrap()).unwrap().key_metadata.unwrap()
}

pub(crate) fn pairs(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

pub(crate) fn encrypt(key: &str, plaintext: &[u8]) -> v1::EncryptRequest {
    v1::EncryptRequest {
        key_id: key.to_owned(),
        plaintext: plaintext.to_vec(),
        ..Default::default()
    }
}

pub(crate) fn decrypt(ciphertext: &[u8]) -> v1::DecryptRequest {
    v1::DecryptRequest { ciphertext_blob: ciphertext.to_vec(), ..Default::default() }
}

/// One request for every action, about `key` and a ciphertext of it.
///
/// `key` is an id; `alias` names it, or another key, where an alias may.
pub(crate) fn every_request(key: &str, alias: &str, ciphertext: &[u8]) -> Vec<Request> {
    use conclave_kms::{Admin, AdminAction, ReadAudit};
    let key = key.to_owned();
    let alias_name = if alias.starts_with("alias/") { alias } else { "alias/none" }.to_owned();
    let alias = alias.to_owned();
    let ciphertext = ciphertext.to_vec();
    let mut requests: Vec<Request> = Vec::new();
    for action in [
        AdminAction::AddNodes,
        AdminAction::RemoveNode,
        AdminAction::SealNode,
        AdminAction::DrainNode,
        AdminAction::UndrainNode,
        AdminAction::RotateRoot,
        AdminAction::ExcludeNode,
        AdminAction::DealOperatorShares,
    ] {
        requests.push(Request::from(Admin {
            action,
            resources: vec!["node/node-2".to_owned()],
            parameters: Vec::new(),
            guards: Default::default(),
            writes: Vec::new(),
        }));
    }
    let roles = vec!["key-user".to_owned()];
    macro_rules! add {
        ($($message:expr),* $(,)?) => { $(requests.push($message.try_into().unwrap());)* };
    }
    add![
        v1::CreatePrincipalRequest { name: "new".to_owned(), roles },
        v1::DeletePrincipalRequest { name: "aud".to_owned() },
        v1::ListPrincipalsRequest::default(),
        v1::CreateKeyRequest { alias: "alias/new".to_owned(), ..Default::default() },
        v1::DescribeKeyRequest { key_id: alias.clone(), ..Default::default() },
        v1::ListKeysRequest::default(),
        v1::EnableKeyRotationRequest { key_id: key.clone(), rotation_period_in_days: None },
        v1::DisableKeyRotationRequest { key_id: key.clone() },
        v1::GetKeyRotationStatusRequest { key_id: key.clone() },
        v1::ListKeyRotationsRequest { key_id: key.clone(), ..Default::default() },
        v1::GetKeyTombstoneRequest { key_id: key.clone() },
        v1::EnableKeyRequest { key_id: key.clone() },
        v1::DisableKeyRequest { key_id: key.clone() },
        v1::RotateKeyOnDemandRequest { key_id: key.clone() },
        v1::ScheduleKeyDeletionRequest { key_id: key.clone(), pending_window_in_days: Some(7) },
        v1::CancelKeyDeletionRequest { key_id: key.clone() },
        v1::GetParametersForImportRequest {
            key_id: key.clone(),
            wrapping_algorithm: "RSAES_OAEP_SHA_256".to_owned(),
            wrapping_key_spec: "RSA_2048".to_owned(),
        },
        v1::ImportKeyMaterialRequest {
            key_id: key.clone(),
            import_token: b"import token".to_vec(),
            encrypted_key_material: b"key material".to_vec(),
            expiration_model: "KEY_MATERIAL_DOES_NOT_EXPIRE".to_owned(),
            ..Default::default()
        },
        v1::DeleteImportedKeyMaterialRequest { key_id: key.clone(), ..Default::default() },
        encrypt(&alias, b"plaintext"),
        decrypt(&ciphertext),
        v1::ReEncryptRequest {
            ciphertext_blob: ciphertext.clone(),
            destination_key_id: alias.clone(),
            ..Default::default()
        },
        v1::GenerateDataKeyRequest {
            key_id: alias.clone(),
            number_of_bytes: Some(32),
            ..Default::default()
        },
        v1::GenerateDataKeyWithoutPlaintextRequest {
            key_id: alias.clone(),
            number_of_bytes: Some(32),
            ..Default::default()
        },
        v1::GenerateRandomRequest { number_of_bytes: Some(16), ..Default::default() },
        v1::RotateDomainKeyRequest {},
        v1::GetPublicKeyRequest { key_id: alias.clone(), ..Default::default() },
        v1::GetKeyLastUsageRequest { key_id: key.clone() },
        v1::GenerateDataKeyPairRequest {
            key_id: alias.clone(),
            key_pair_spec: "ECC_NIST_P256".to_owned(),
            ..Default::default()
        },
        v1::GenerateDataKeyPairWithoutPlaintextRequest {
            key_id: alias.clone(),
            key_pair_spec: "ECC_NIST_P256".to_owned(),
            ..Default::default()
        },
        v1::SignRequest {
            key_id: alias.clone(),
            message: b"message".to_vec(),
            signing_algorithm: "ECDSA_SHA_256".to_owned(),
            ..Default::default()
        },
        v1::VerifyRequest {
            key_id: alias.clone(),
            message: b"message".to_vec(),
            signature: b"signature".to_vec(),
            signing_algorithm: "ECDSA_SHA_256".to_owned(),
            ..Default::default()
        },
        v1::GenerateMacRequest {
            key_id: alias.clone(),
            message: b"message".to_vec(),
            mac_algorithm: "HMAC_SHA_256".to_owned(),
            ..Default::default()
        },
        v1::VerifyMacRequest {
            key_id: alias.clone(),
            message: b"message".to_vec(),
            mac: b"mac".to_vec(),
            mac_algorithm: "HMAC_SHA_256".to_owned(),
            ..Default::default()
        },
        v1::DeriveSharedSecretRequest {
            key_id: alias.clone(),
            key_agreement_algorithm: "ECDH".to_owned(),
            public_key: b"public key".to_vec(),
            ..Default::default()
        },
        v1::EncapsulateRequest {
            key_id: alias.clone(),
            encapsulation_algorithm: "ML_KEM".to_owned(),
            ..Default::default()
        },
        v1::DecapsulateRequest {
            key_id: alias,
            encapsulation_algorithm: "ML_KEM".to_owned(),
            shared_secret_ciphertext_blob: b"ciphertext".to_vec(),
            ..Default::default()
        },
    ];
    let grantee = "uma".to_owned();
    let operations = vec!["Encrypt".to_owned()];
    let grant_id = "0123456789abcdef0123456789abcdef".to_owned();
    add![
        v1::GetKeyPolicyRequest { key_id: key.clone(), ..Default::default() },
        v1::PutKeyPolicyRequest {
            key_id: key.clone(),
            policy: r#"{"Statement": {"Effect": "Allow", "Principal": "*", "Action": "*", "Resource": "*"}}"#
                .to_owned(),
            ..Default::default()
        },
        v1::ListKeyPoliciesRequest { key_id: key.clone(), ..Default::default() },
        v1::CreateGrantRequest {
            key_id: key.clone(),
            grantee_principal: grantee.clone(),
            operations,
            ..Default::default()
        },
        v1::ListGrantsRequest { key_id: key.clone(), ..Default::default() },
        v1::ListRetirableGrantsRequest { retiring_principal: grantee, ..Default::default() },
        v1::RetireGrantRequest {
            key_id: key.clone(),
            grant_id: grant_id.clone(),
            ..Default::default()
        },
        v1::RevokeGrantRequest { key_id: key.clone(), grant_id, ..Default::default() },
    ];
    add_names(&mut requests, &key, &alias_name);
    for export in [false, true] {
        requests.push(Request::from(ReadAudit { export, parameters: Vec::new() }));
    }
    requests
}

/// The same, of what gives keys names and labels, and of what there is elsewhere.
fn add_names(requests: &mut Vec<Request>, key: &str, alias: &str) {
    let (key_id, alias_name) = (key.to_owned(), alias.to_owned());
    let store = "cks-1".to_owned();
    macro_rules! add {
        ($($message:expr),* $(,)?) => { $(requests.push($message.try_into().unwrap());)* };
    }
    add![
        create_alias("alias/other", key),
        update_alias(alias, key),
        v1::DeleteAliasRequest { alias_name },
        v1::ListAliasesRequest::default(),
        v1::ListAliasesRequest { key_id: key_id.clone(), ..Default::default() },
        v1::TagResourceRequest { key_id: key_id.clone(), tags: tags(&[("a", "b")]) },
        v1::UntagResourceRequest { key_id: key_id.clone(), tag_keys: vec!["a".to_owned()] },
        v1::ListResourceTagsRequest { key_id: key_id.clone(), ..Default::default() },
        v1::UpdateKeyDescriptionRequest { key_id: key_id.clone(), description: "d".to_owned() },
        v1::ReplicateKeyRequest {
            key_id: key_id.clone(),
            replica_region: "us".to_owned(),
            ..Default::default()
        },
        v1::UpdatePrimaryRegionRequest { key_id, primary_region: "us".to_owned() },
        v1::CreateCustomKeyStoreRequest { custom_key_store_name: "store".to_owned() },
        v1::DescribeCustomKeyStoresRequest::default(),
        v1::ConnectCustomKeyStoreRequest { custom_key_store_id: store.clone() },
        v1::DisconnectCustomKeyStoreRequest { custom_key_store_id: store.clone() },
        v1::UpdateCustomKeyStoreRequest { custom_key_store_id: store.clone() },
        v1::DeleteCustomKeyStoreRequest { custom_key_store_id: store },
    ];
}

pub(crate) fn create_alias(alias: &str, key: &str) -> v1::CreateAliasRequest {
    v1::CreateAliasRequest { alias_name: alias.to_owned(), target_key_id: key.to_owned() }
}

pub(crate) fn update_alias(alias: &str, key: &str) -> v1::UpdateAliasRequest {
    v1::UpdateAliasRequest { alias_name: alias.to_owned(), target_key_id: key.to_owned() }
}

pub(crate) fn tags(pairs: &[(&str, &str)]) -> Vec<v1::Tag> {
    let tag = |(key, value): &(&str, &str)| v1::Tag {
        tag_key: (*key).to_owned(),
        tag_value: (*value).to_owned(),
    };
    pairs.iter().map(tag).collect()
}
