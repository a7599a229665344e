//! Every operation that is about a key, on a key in every state: one table, which is the whole of what
//! a key's state allows. It agrees with AWS KMS's own table ("Key states of AWS KMS keys") but for what
//! is said beside a row.
//!
//! Operations come from the protocol, so a new one fails here until it has a row or is said to be about
//! no key.
#![allow(clippy::unwrap_used, reason = "clippy takes helpers of tests for none")]

#[path = "../common/mod.rs"]
mod common;
#[path = "../importing/mod.rs"]
mod importing;
mod table;

use std::collections::BTreeSet;

use common::{PRINCIPALS, Service, create_alias, decrypt, encrypt, update_alias};
use conclave_kms::{KeySpec, KeyUsage, Refusal, Request};
use conclave_proto::v1;
use importing::{AES, Wrapped, ask, import, material, told, uses};
use table::{OF_NO_KEY, OK, TABLE};

const DAY_MS: u64 = 86_400_000;

fn operations() -> BTreeSet<&'static str> {
    macro_rules! names {
        ($($name:ident $method:ident $request:ident $response:ident;)*) => {
            [$(stringify!($name)),*].into()
        };
    }
    conclave_proto::operations!(names)
}

#[test]
fn every_operation_has_its_row() {
    let rows: BTreeSet<_> = TABLE.iter().map(|(row, ..)| row.split(',').next().unwrap()).collect();
    let of_no_key: BTreeSet<_> = OF_NO_KEY.iter().copied().collect();
    assert!(rows.is_disjoint(&of_no_key));
    assert_eq!(&rows | &of_no_key, operations());
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Enabled,
    Disabled,
    PendingDeletion,
    PendingImport,
    Destroyed,
}

/// A key, and what was made with it while it could be used.
#[derive(Debug, Clone)]
struct Key {
    usage: KeyUsage,
    external: bool,
    id: String,
    alias: String,
    /// A ciphertext, signature, MAC, public key, or shared secret with its ciphertext.
    made: Vec<u8>,
    grant: v1::CreateGrantResponse,
    /// Of its own material again.
    import: v1::ImportKeyMaterialRequest,
}

fn spec(usage: KeyUsage) -> KeySpec {
    match usage {
        KeyUsage::EncryptDecrypt => KeySpec::SymmetricDefault,
        KeyUsage::SignVerify | KeyUsage::KeyAgreement => KeySpec::EccNistP256,
        KeyUsage::GenerateVerifyMac => KeySpec::Hmac256,
        KeyUsage::EncapsulateDecapsulate => KeySpec::MlKem512,
    }
}

impl Key {
    fn make(service: &mut Service, usage: KeyUsage, external: bool) -> Self {
        let origin = if external { "EXTERNAL" } else { "AWS_KMS" };
        let alias = format!("alias/{}-{origin}", usage.name());
        let request = v1::CreateKeyRequest {
            key_spec: spec(usage).name().to_owned(),
            key_usage: usage.name().to_owned(),
            origin: origin.to_owned(),
            alias: alias.clone(),
            ..Default::default()
        };
        let id = common::created(service.call("ada", request)).key_id;
        let request = if external {
            let (material, _) = material(spec(usage), usage);
            let request = Wrapped::new(service, &id, AES).request(&material);
            import(service, &request).unwrap();
            request
        } else {
            v1::ImportKeyMaterialRequest {
                key_id: id.clone(),
                import_token: vec![1],
                encrypted_key_material: vec![1],
                expiration_model: "KEY_MATERIAL_DOES_NOT_EXPIRE".to_owned(),
                ..Default::default()
            }
        };
        let made = if usage == KeyUsage::KeyAgreement {
            let request = v1::GetPublicKeyRequest { key_id: id.clone(), ..Default::default() };
            ask::<v1::GetPublicKeyResponse>(service, "uma", request).unwrap().public_key
        } else {
            uses(service, spec(usage), usage, &id, None).unwrap()
        };
        let grant = ask(service, "ada", create_grant(&id)).unwrap();
        Self { usage, external, id, alias, made, grant, import: request }
    }

    /// Brings it there from Enabled.
    fn bring(&self, service: &mut Service, state: State) {
        let key_id = self.id.clone();
        let schedule = v1::ScheduleKeyDeletionRequest {
            key_id: key_id.clone(),
            pending_window_in_days: Some(7),
        };
        let told = match state {
            State::Enabled => return,
            State::Disabled => service.call("ada", v1::DisableKeyRequest { key_id }),
            State::PendingDeletion | State::Destroyed => service.call("ada", schedule),
            State::PendingImport => service
                .call("ada", v1::DeleteImportedKeyMaterialRequest { key_id, ..Default::default() }),
        };
        told.reply.unwrap();
    }
}

fn create_grant(key: &str) -> v1::CreateGrantRequest {
    v1::CreateGrantRequest {
        key_id: key.to_owned(),
        grantee_principal: "uma".to_owned(),
        operations: vec!["DescribeKey".to_owned()],
        ..Default::default()
    }
}

/// What a row asks is about a key for this.
fn usage_of(row: &str) -> KeyUsage {
    match row {
        "Sign" | "Verify" | "GetPublicKey" => KeyUsage::SignVerify,
        "GenerateMac" | "VerifyMac" => KeyUsage::GenerateVerifyMac,
        "DeriveSharedSecret" => KeyUsage::KeyAgreement,
        "Encapsulate" | "Decapsulate" => KeyUsage::EncapsulateDecapsulate,
        _ => KeyUsage::EncryptDecrypt,
    }
}

/// A row's request about `key`; where there are two keys, the other one is `other`, which is enabled.
#[allow(clippy::needless_update, reason = "some messages have no more members than are named")]
fn request(row: &str, key: &Key, other: &Key) -> Result<Request, Refusal> {
    let key_id = key.id.clone();
    let made = key.made.clone();
    let message = b"message".to_vec();
    let grant_id = key.grant.grant_id.clone();
    let replica_region = "us".to_owned();
    macro_rules! about {
        ($message:ident) => { about!($message {}) };
        ($message:ident { $($member:ident $(: $value:expr)?),* }) => {
            v1::$message { key_id, $($member $(: $value)?,)* ..Default::default() }.try_into()
        };
    }
    match row {
        "DescribeKey" => about!(DescribeKeyRequest),
        "GetKeyLastUsage" => v1::GetKeyLastUsageRequest { key_id }.try_into(),
        "GetKeyTombstone" => v1::GetKeyTombstoneRequest { key_id }.try_into(),
        "GetPublicKey" => about!(GetPublicKeyRequest),
        "EnableKey" => v1::EnableKeyRequest { key_id }.try_into(),
        "DisableKey" => v1::DisableKeyRequest { key_id }.try_into(),
        "ScheduleKeyDeletion" => about!(ScheduleKeyDeletionRequest),
        "CancelKeyDeletion" => v1::CancelKeyDeletionRequest { key_id }.try_into(),
        "EnableKeyRotation" => about!(EnableKeyRotationRequest),
        "DisableKeyRotation" => v1::DisableKeyRotationRequest { key_id }.try_into(),
        "GetKeyRotationStatus" => v1::GetKeyRotationStatusRequest { key_id }.try_into(),
        "ListKeyRotations" => about!(ListKeyRotationsRequest),
        "RotateKeyOnDemand" => v1::RotateKeyOnDemandRequest { key_id }.try_into(),
        "GetParametersForImport" => importing::asking(&key_id, AES).try_into(),
        "ImportKeyMaterial" => {
            v1::ImportKeyMaterialRequest { key_id, ..key.import.clone() }.try_into()
        }
        "DeleteImportedKeyMaterial" => about!(DeleteImportedKeyMaterialRequest),
        "Encrypt" => encrypt(&key_id, b"plaintext").try_into(),
        "Decrypt" => decrypt(&made).try_into(),
        "Decrypt, named" => about!(DecryptRequest { ciphertext_blob: made }),
        "ReEncrypt, from" => v1::ReEncryptRequest {
            ciphertext_blob: made,
            destination_key_id: other.id.clone(),
            ..Default::default()
        }
        .try_into(),
        "ReEncrypt, to" => v1::ReEncryptRequest {
            ciphertext_blob: other.made.clone(),
            destination_key_id: key_id,
            ..Default::default()
        }
        .try_into(),
        "GenerateDataKey" => about!(GenerateDataKeyRequest { number_of_bytes: Some(32) }),
        "GenerateDataKeyWithoutPlaintext" => {
            about!(GenerateDataKeyWithoutPlaintextRequest { number_of_bytes: Some(32) })
        }
        "GenerateDataKeyPair" => {
            about!(GenerateDataKeyPairRequest { key_pair_spec: "ECC_NIST_P256".to_owned() })
        }
        "GenerateDataKeyPairWithoutPlaintext" => {
            about!(GenerateDataKeyPairWithoutPlaintextRequest {
                key_pair_spec: "ECC_NIST_P256".to_owned()
            })
        }
        "Sign" => {
            about!(SignRequest { message, signing_algorithm: "ECDSA_SHA_256".to_owned() })
        }
        "Verify" => about!(VerifyRequest {
            message,
            signature: made,
            signing_algorithm: "ECDSA_SHA_256".to_owned()
        }),
        "GenerateMac" => {
            about!(GenerateMacRequest { message, mac_algorithm: "HMAC_SHA_256".to_owned() })
        }
        "VerifyMac" => about!(VerifyMacRequest {
            message,
            mac: made,
            mac_algorithm: "HMAC_SHA_256".to_owned()
        }),
        "DeriveSharedSecret" => about!(DeriveSharedSecretRequest {
            public_key: made,
            key_agreement_algorithm: "ECDH".to_owned()
        }),
        "Encapsulate" => {
            about!(EncapsulateRequest { encapsulation_algorithm: "ML_KEM".to_owned() })
        }
        "Decapsulate" => about!(DecapsulateRequest {
            shared_secret_ciphertext_blob: made[32..].to_vec(),
            encapsulation_algorithm: "ML_KEM".to_owned()
        }),
        "GetKeyPolicy" => about!(GetKeyPolicyRequest),
        "PutKeyPolicy" => about!(PutKeyPolicyRequest { policy: POLICY.to_owned() }),
        "ListKeyPolicies" => about!(ListKeyPoliciesRequest),
        "CreateGrant" => create_grant(&key_id).try_into(),
        "ListGrants" => about!(ListGrantsRequest),
        "RetireGrant" => about!(RetireGrantRequest { grant_id }),
        "RetireGrant, by token" => {
            let grant_token = key.grant.grant_token.clone();
            v1::RetireGrantRequest { grant_token, ..Default::default() }.try_into()
        }
        "RevokeGrant" => about!(RevokeGrantRequest { grant_id }),
        "CreateAlias" => create_alias("alias/new", &key_id).try_into(),
        "UpdateAlias, to" => update_alias(&other.alias, &key_id).try_into(),
        "UpdateAlias, from" => update_alias(&key.alias, &other.id).try_into(),
        "DeleteAlias" => v1::DeleteAliasRequest { alias_name: key.alias.clone() }.try_into(),
        "ListAliases" => about!(ListAliasesRequest),
        "TagResource" => about!(TagResourceRequest { tags: common::tags(&[("a", "b")]) }),
        "UntagResource" => about!(UntagResourceRequest { tag_keys: vec!["a".to_owned()] }),
        "ListResourceTags" => about!(ListResourceTagsRequest),
        "UpdateKeyDescription" => {
            about!(UpdateKeyDescriptionRequest { description: "d".to_owned() })
        }
        "ReplicateKey" => about!(ReplicateKeyRequest { replica_region }),
        "UpdatePrimaryRegion" => {
            about!(UpdatePrimaryRegionRequest { primary_region: replica_region })
        }
        _ => panic!("{row} has no request"),
    }
}

const POLICY: &str = r#"{"Version": "2012-10-17", "Statement":
    {"Effect": "Allow", "Principal": "*", "Action": "kms:*", "Resource": "*"}}"#;

/// What somebody is told who may ask it, the names of key and alias aside.
fn outcome(service: &mut Service, row: &str, key: &Key, other: &Key) -> String {
    let request = request(row, key, other).unwrap();
    let roles = request.action().roles();
    let may = |(_, of): &&(&str, &str)| roles.iter().any(|role| role.name() == *of);
    let (who, _) = PRINCIPALS.iter().find(may).unwrap();
    let caller = service.caller(who);
    let Err(refusal) = service.call_as(&caller, &request).reply else { return OK.to_owned() };
    told(&refusal)
        .replace(&format!("arn:aws:kms:eu:{}:key/{}", common::ACCOUNT, key.id), "KEY")
        .replace(&format!("arn:aws:kms:eu:{}:{}", common::ACCOUNT, key.alias), "ALIAS")
}

#[test]
fn every_operation_in_every_state() {
    let mut service = Service::new();
    let mut keys = Vec::new();
    for external in [false, true] {
        keys.extend(KeyUsage::ALL.iter().map(|usage| Key::make(&mut service, *usage, external)));
    }
    // One that stays as it is.
    let other = v1::CreateKeyRequest { alias: "alias/other".to_owned(), ..Default::default() };
    let other = common::created(service.call("ada", other)).key_id;
    let made = service.encrypt(&other, b"plaintext");
    let other = Key { id: other, alias: "alias/other".to_owned(), made, ..keys[0].clone() };
    let never = uuid(7);
    let (enabled, now_ms) = (service.store.clone(), service.now_ms);

    let mut outcomes: Vec<Vec<String>> = vec![Vec::new(); TABLE.len()];
    use State::{Destroyed, Disabled, Enabled, PendingDeletion, PendingImport};
    let of_ours = [Some(Enabled), Some(Disabled), Some(PendingDeletion), Some(Destroyed), None];
    let of_theirs = [Enabled, Disabled, PendingDeletion, PendingImport, Destroyed].map(Some);
    for (external, states) in [(false, of_ours), (true, of_theirs)] {
        for state in states {
            (service.store, service.now_ms) = (enabled.clone(), now_ms);
            for key in keys.iter().filter(|key| key.external == external) {
                key.bring(&mut service, state.unwrap_or(Enabled));
            }
            if state == Some(Destroyed) {
                service.now_ms += 7 * DAY_MS;
                let now_ms = service.now_ms;
                service.fall_due(now_ms);
            }
            let there = service.store.clone();
            for ((row, ..), outcomes) in TABLE.iter().zip(&mut outcomes) {
                let is_meant = |key: &&Key| key.external == external && key.usage == usage_of(row);
                let mut key = keys.iter().find(is_meant).unwrap().clone();
                if state.is_none() {
                    key.grant.grant_token = of_other_key(&key.grant.grant_token, &never);
                    (key.id, key.alias) = (never.clone(), "alias/never".to_owned());
                    if key.usage == KeyUsage::EncryptDecrypt {
                        key.made = vec![1; 100];
                    }
                }
                service.store = there.clone();
                outcomes.push(outcome(&mut service, row, &key, &other));
            }
        }
    }
    let rows: Vec<_> = TABLE.iter().zip(&outcomes).collect();
    let differs = rows
        .iter()
        .filter(|((_, ours, theirs), outcomes)| !ours.iter().chain(theirs).eq(outcomes.iter()));
    let differs: Vec<_> = differs.map(|((row, ..), outcomes)| (row, outcomes)).collect();
    assert!(differs.is_empty(), "{differs:#?}");
}

/// The same grant's token, of another key.
fn of_other_key(token: &str, key: &str) -> String {
    use base64::prelude::*;
    let mut bytes = BASE64_STANDARD.decode(token).unwrap();
    bytes[1..17].copy_from_slice(&hex::decode(key.replace('-', "")).unwrap());
    BASE64_STANDARD.encode(bytes)
}

fn uuid(byte: u8) -> String {
    let hex = format!("{byte:02x}").repeat(16);
    [&hex[..8], &hex[8..12], "4000", "8000", &hex[20..]].join("-")
}
