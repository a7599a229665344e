//! Records of the store, sealed and public, and what nodes keep of their shares.

use conclave_audit::decode_entry;
use conclave_crypto::{Secret, aead};
use conclave_kms::{Cache, Ctx, Request, decide_whole, replay};
use conclave_proto::audit::SealedEntry;
use conclave_proto::{record, v1};
use conclave_seal::delivery::open_delivery;
use conclave_seal::{
    Delivered, Keyring, OperatorKeyRecord, ShareEpochs, WrappedShare, seal_entry_to_intake,
};
use conclave_store::{Kind, MemoryStore, RecordId, View, Write};
use prost::Message;

use super::{choose, chosen, message};
use crate::Target;
use crate::stage::{ACCOUNT, DOMAIN, ME, NOW_MS, STAGE, audit_entry, caller, enrolment, entropy};

pub(super) const SEALED_RECORD: Target =
    Target { name: "sealed_record", run: sealed_record, valid: sealed_records, brief: 4_000 };

pub(super) const PUBLIC_RECORD: Target =
    Target { name: "public_record", run: public_record, valid: public_records, brief: 12_000 };

const KEY_ID: [u8; 16] = [0x42; 16];

/// Blobs that do not open, and plaintexts that nobody of this version wrote.
fn sealed_record(input: &[u8]) -> bool {
    let (which, bytes) = choose(input);
    let keyring = &STAGE.founding.keyring;
    let record = RecordId::new(Kind::Key, KEY_ID);
    match which % 6 {
        0 => keyring.open_record(&record, bytes).is_ok(),
        1 => keyring.open_answer(&[1; 32], bytes).is_ok(),
        2 => {
            let Some(sealed) = message::<SealedEntry>(bytes) else { return false };
            keyring.open_entry(&sealed).is_ok()
        }
        3 => {
            let mut store = STAGE.store.clone();
            let blob = keyring.seal_record(&record, bytes, &mut entropy());
            store.write(vec![Write::put(record, blob)]);
            let key = super::text::key_id(&KEY_ID);
            for request in [
                v1::DescribeKeyRequest { key_id: key.clone(), ..Default::default() }.try_into(),
                v1::RotateKeyOnDemandRequest { key_id: key.clone() }.try_into(),
                v1::ScheduleKeyDeletionRequest {
                    key_id: key.clone(),
                    pending_window_in_days: Some(7),
                }
                .try_into(),
            ] {
                judge(&store, "ada", &request.expect("a request"));
            }
            let encrypt =
                v1::EncryptRequest { key_id: key, plaintext: vec![1], ..Default::default() };
            judge(&store, "uma", &encrypt.try_into().expect("a request"))
        }
        4 => {
            let mut store = STAGE.store.clone();
            let principal = keyring.name_id(Kind::Principal, ACCOUNT, "eve");
            let blob = keyring.seal_record(&principal, bytes, &mut entropy());
            store.write(vec![Write::put(principal, blob)]);
            let random =
                v1::GenerateRandomRequest { number_of_bytes: Some(16), ..Default::default() };
            judge(&store, "eve", &random.try_into().expect("a request"))
        }
        _ => {
            let caller = caller("ada");
            let token = keyring.token("ada", caller.request_id.as_str());
            let Ok(answer) = keyring.seal_answer(&token, bytes, &mut entropy()) else {
                return false;
            };
            let create = v1::CreateKeyRequest::default().try_into().expect("a request");
            let (cache, mut entropy) = (Cache::new(), entropy());
            let ctx = ctx(&STAGE.store, &cache, &mut entropy, &caller);
            replay(&ctx, &create, &answer).is_ok_and(|reply| reply.is_ok())
        }
    }
}

fn ctx<'a>(
    view: &'a dyn View,
    cache: &'a Cache,
    entropy: &'a mut dyn conclave_crypto::Entropy,
    caller: &'a conclave_kms::Caller,
) -> Ctx<'a> {
    Ctx {
        view,
        keyring: &STAGE.founding.keyring,
        cache,
        entropy,
        now_ms: NOW_MS,
        node: "n1",
        region: "eu",
        domain: &STAGE.domain,
        keys_max: 1_000,
        caller,
    }
}

/// Decides; what was decided must commit. Says whether the request was granted.
fn judge(store: &MemoryStore, principal: &str, request: &Request) -> bool {
    let (cache, mut entropy, caller) = (Cache::new(), entropy(), caller(principal));
    let plan = decide_whole(&mut ctx(store, &cache, &mut entropy, &caller), request);
    let Ok(plan) = plan else { return false };
    let outcome = store.clone().commit(plan.body, NOW_MS);
    assert!(matches!(outcome, conclave_store::Outcome::Committed(_)), "{outcome:?}");
    plan.reply.is_ok()
}

fn sealed_records() -> Vec<Vec<u8>> {
    let keyring = &STAGE.founding.keyring;
    let id = RecordId::new(Kind::Key, KEY_ID);
    let key = record::Key {
        id: KEY_ID.to_vec(),
        description: "a key".to_owned(),
        tags: vec![record::Tag { key: "team".to_owned(), value: "blue".to_owned() }],
        state: record::KeyState::Enabled.into(),
        created_ms: NOW_MS,
        spec: record::KeySpec::SymmetricDefault.into(),
        usage: record::KeyUsage::EncryptDecrypt.into(),
        backing_keys: (1..=2)
            .map(|version| record::BackingKey {
                version,
                material: vec![version as u8; 32],
                created_ms: NOW_MS,
                id: vec![version as u8; 32],
                ..Default::default()
            })
            .collect(),
        ..Default::default()
    };
    let principal = record::Principal {
        name: "eve".to_owned(),
        roles: vec![record::Role::KeyUser.into()],
        created_ms: NOW_MS,
    };
    let answer = keyring.seal_answer(&[1; 32], b"answer", &mut entropy());
    let entry = keyring.seal_entry(&audit_entry(), &mut entropy());
    let create: Request = v1::CreateKeyRequest::default().try_into().expect("a request");
    let (cache, mut drawn, asking) = (Cache::new(), entropy(), caller("ada"));
    let plan = decide_whole(&mut ctx(&STAGE.store, &cache, &mut drawn, &asking), &create);
    let token = keyring.token("ada", asking.request_id.as_str());
    let kept = plan.ok().and_then(|plan| keyring.open_answer(&token, &plan.body.answer).ok());
    vec![
        chosen(0, &keyring.seal_record(&id, &key.encode_to_vec(), &mut entropy())),
        chosen(1, &answer.unwrap_or_default()),
        chosen(2, &entry.encode_to_vec()),
        chosen(3, &key.encode_to_vec()),
        chosen(4, &principal.encode_to_vec()),
        chosen(5, kept.as_ref().map(Secret::expose).unwrap_or_default()),
    ]
}

/// What stands in clear, and shares as disks and members have them.
fn public_record(input: &[u8]) -> bool {
    let (which, bytes) = choose(input);
    let _ = aead::open(&conclave_crypto::Key::generate(&mut entropy()), b"", bytes);
    match which % 7 {
        0 => {
            let Ok(epochs) = ShareEpochs::parse(bytes) else { return false };
            assert_eq!(ShareEpochs::parse(&epochs.encode()).as_ref(), Ok(&epochs));
            true
        }
        1 => {
            let Ok(record) = OperatorKeyRecord::parse(bytes) else { return false };
            assert_eq!(OperatorKeyRecord::parse(&record.encode()).as_ref(), Ok(&record));
            true
        }
        2 => {
            let Ok(share) = WrappedShare::parse(bytes) else { return false };
            assert_eq!(WrappedShare::parse(&share.encode()).as_ref(), Ok(&share));
            true
        }
        3 => opened_delivery(bytes).is_some(),
        4 => {
            let Ok(entry) = decode_entry(bytes) else { return false };
            let Some(keys) = public_keys() else { return false };
            let Ok(intake) = conclave_crypto::HpkePublicKey::from_bytes(&keys.intake) else {
                return false;
            };
            seal_entry_to_intake(&intake, DOMAIN, &entry, &mut entropy()).is_ok()
        }
        // A keyring is built from records of these kinds, each of them wrong in its turn.
        kind => {
            let kind = if kind == 5 { Kind::DomainKeys } else { Kind::Domain };
            let mut store = STAGE.store.clone();
            store.write(vec![Write::put(RecordId::singleton(kind), bytes.to_vec())]);
            let root = conclave_crypto::Key::generate(&mut entropy());
            Keyring::open(&root, &store).is_ok()
        }
    }
}

fn public_keys() -> Option<record::PublicKeys> {
    let blob = STAGE.store.blob(&RecordId::singleton(Kind::PublicKeys)).ok()??;
    record::PublicKeys::decode(&*blob).ok()
}

/// What the stage's first node was dealt, as it comes over the wire.
fn delivered() -> Vec<u8> {
    let founding = &STAGE.founding;
    let delivery = founding.deliveries.iter().find(|delivery| delivery.to == ME);
    delivery.map(|delivery| delivery.to_request(&founding.epoch).encrypted).unwrap_or_default()
}

fn opened_delivery(bytes: &[u8]) -> Option<Delivered> {
    open_delivery(&enrolment(ME.0), DOMAIN, &STAGE.founding.epoch, ME, bytes).ok()
}

/// The same share, as the node's disk holds it.
pub(super) fn wrapped_share() -> Vec<u8> {
    match opened_delivery(&delivered()) {
        Some(Delivered::Wrapped(share)) => share.encode(),
        Some(Delivered::Bare(_)) | None => Vec::new(),
    }
}

fn public_records() -> Vec<Vec<u8>> {
    let blob = |kind| {
        let blob = STAGE.store.blob(&RecordId::singleton(kind)).ok().flatten();
        blob.map(|blob| blob.to_vec()).unwrap_or_default()
    };
    vec![
        chosen(0, &blob(Kind::ShareEpoch)),
        chosen(1, &blob(Kind::OperatorKey)),
        chosen(2, &wrapped_share()),
        chosen(3, &delivered()),
        chosen(4, &conclave_audit::encode_entry(&audit_entry())),
        chosen(5, &blob(Kind::DomainKeys)),
        chosen(6, &blob(Kind::Domain)),
    ]
}
