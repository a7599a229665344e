//! What happens to keys when their time has come: once, and only when the clocks say so.
#![allow(clippy::unwrap_used, reason = "clippy takes helpers of tests for none")]

mod common;

use common::{NOW_MS, Service, Told, encrypt};
use conclave_kms::{Refusal, Request};
use conclave_proto::v1;

const DAY_MS: u64 = 86_400_000;

fn lines(told: &[Told]) -> Vec<String> {
    told.iter().map(Told::line).collect()
}

fn enable_rotation(key: &str, days: i32) -> v1::EnableKeyRotationRequest {
    v1::EnableKeyRotationRequest { key_id: key.to_owned(), rotation_period_in_days: Some(days) }
}

fn status(service: &mut Service, key: &str) -> v1::GetKeyRotationStatusResponse {
    let request = v1::GetKeyRotationStatusRequest { key_id: key.to_owned() };
    service.call("ada", request).reply.unwrap().try_into().unwrap()
}

fn rotations(service: &mut Service, key: &str, all: bool) -> Vec<v1::RotationsListEntry> {
    let include = if all { "ALL_KEY_MATERIAL" } else { "" };
    let mut found = Vec::new();
    let mut marker = String::new();
    loop {
        let request = v1::ListKeyRotationsRequest {
            key_id: key.to_owned(),
            include_key_material: include.to_owned(),
            limit: Some(2),
            marker,
        };
        let told = service.call("ada", request).reply.unwrap();
        let page = v1::ListKeyRotationsResponse::try_from(told).unwrap();
        assert_eq!(page.truncated, page.next_marker.is_some());
        found.extend(page.rotations);
        match page.next_marker {
            Some(next) => marker = next,
            None => return found,
        }
    }
}

fn schedule_deletion(service: &mut Service, key: &str) {
    let request =
        v1::ScheduleKeyDeletionRequest { key_id: key.to_owned(), pending_window_in_days: Some(7) };
    service.call("ada", request).reply.unwrap();
}

fn refusal(told: Told) -> Refusal {
    told.reply.unwrap_err()
}

#[test]
fn a_key_is_rotated_when_its_period_is_over_and_opens_what_it_sealed() {
    let mut service = Service::new();
    let key = service.key("alias/a");
    assert!(service.due().is_empty());
    assert!(!status(&mut service, &key).key_rotation_enabled);
    service.call("ada", enable_rotation(&key, 90)).reply.unwrap();
    let next = NOW_MS + 90 * DAY_MS;
    let told = status(&mut service, &key);
    assert_eq!(told.next_rotation_date_ms, Some(next));
    assert_eq!(told.rotation_period_in_days, Some(90));

    // Turned on again as it is, nothing moves; with another period it does.
    service.now_ms += DAY_MS;
    service.call("ada", enable_rotation(&key, 90)).reply.unwrap();
    assert_eq!(status(&mut service, &key).next_rotation_date_ms, Some(next));
    let old = service.encrypt(&key, b"before");

    assert!(service.fall_due(next - 1).is_empty());
    service.now_ms = next + 5;
    assert_eq!(lines(&service.fall_due(next)), ["ok | RotateKey Success schedule"]);
    assert!(service.fall_due(next).is_empty(), "once");
    let after = next + 5 + 90 * DAY_MS;
    assert_eq!(status(&mut service, &key).next_rotation_date_ms, Some(after));
    assert_eq!(service.due().len(), 1);

    let opened = service.call("uma", common::decrypt(&old));
    assert_eq!(opened.line(), "plaintext \"before\" | Decrypt Success role:key-user");
    let request = v1::RotateKeyOnDemandRequest { key_id: key.clone() };
    service.call("ada", request).reply.unwrap();
    let kinds = |found: &[v1::RotationsListEntry]| -> Vec<String> {
        let kind = |entry: &v1::RotationsListEntry| {
            let of = |it: &Option<String>| it.clone().unwrap_or_default();
            format!("{} {}", of(&entry.rotation_type), of(&entry.key_material_state))
        };
        found.iter().map(kind).collect()
    };
    let found = rotations(&mut service, &key, false);
    assert_eq!(kinds(&found), ["AUTOMATIC NON_CURRENT", "ON_DEMAND CURRENT"]);
    assert_eq!(found[0].rotation_date_ms, Some(next + 5));
    let found = rotations(&mut service, &key, true);
    assert_eq!(kinds(&found), [" NON_CURRENT", "AUTOMATIC NON_CURRENT", "ON_DEMAND CURRENT"]);

    let request = v1::DisableKeyRotationRequest { key_id: key.clone() };
    service.call("ada", request).reply.unwrap();
    assert!(service.due().is_empty());
    assert!(!status(&mut service, &key).key_rotation_enabled);
}

#[test]
fn a_key_that_cannot_be_used_is_not_rotated_until_it_can() {
    let mut service = Service::new();
    let key = service.key("alias/a");
    service.call("ada", enable_rotation(&key, 90)).reply.unwrap();
    service.call("ada", v1::DisableKeyRequest { key_id: key.clone() }).reply.unwrap();
    let late = NOW_MS + 400 * DAY_MS;
    assert!(service.fall_due(late).is_empty());
    let again = service.call("ada", enable_rotation(&key, 90));
    assert_eq!(refusal(again).name(), "DisabledException");
    service.now_ms = late;
    service.call("ada", v1::EnableKeyRequest { key_id: key.clone() }).reply.unwrap();
    assert_eq!(lines(&service.fall_due(late)), ["ok | RotateKey Success schedule"]);
}

#[test]
fn only_symmetric_keys_made_here_rotate_by_themselves() {
    let mut service = Service::new();
    for (spec, usage, origin) in [
        ("ECC_NIST_P256", "SIGN_VERIFY", ""),
        ("HMAC_256", "GENERATE_VERIFY_MAC", ""),
        ("SYMMETRIC_DEFAULT", "ENCRYPT_DECRYPT", "EXTERNAL"),
    ] {
        let request = v1::CreateKeyRequest {
            key_spec: spec.to_owned(),
            key_usage: usage.to_owned(),
            origin: origin.to_owned(),
            ..Default::default()
        };
        let key = common::created(service.call("ada", request)).key_id;
        let told = service.call("ada", enable_rotation(&key, 90));
        assert_eq!(refusal(told).name(), "UnsupportedOperationException", "{spec}");
    }
    for days in [89, 2561, -1] {
        let told = Request::try_from(enable_rotation("alias/a", days)).unwrap_err();
        assert_eq!(told.name(), "ValidationException");
    }
}

#[test]
fn a_key_is_destroyed_with_its_names_and_leaves_a_tombstone() {
    let mut service = Service::new();
    let (key, other) = (service.key("alias/a"), service.key("alias/b"));
    let ciphertext = service.encrypt(&key, b"gone");
    schedule_deletion(&mut service, &key);
    let date = NOW_MS + 7 * DAY_MS;
    assert_eq!(service.due().len(), 1);
    let tombstone = v1::GetKeyTombstoneRequest { key_id: key.clone() };
    let told = service.call("aud", tombstone.clone());
    assert_eq!(refusal(told).name(), "NotFoundException");

    // Two years ahead by this node's clock, or by cluster time: nothing happens before the clocks of a
    // majority are past the date.
    service.now_ms = date + 730 * DAY_MS;
    assert!(service.fall_due(date - 1).is_empty());
    assert_eq!(lines(&service.fall_due(date)), ["ok | DestroyKey Success schedule"]);
    assert!(service.due().is_empty());
    for gone in [&key, "alias/a"] {
        assert_eq!(refusal(service.call("uma", encrypt(gone, b"x"))).name(), "NotFoundException");
    }
    let told = service.call("uma", common::decrypt(&ciphertext));
    assert!(told.reply.is_err());
    service.encrypt(&other, b"still there");

    let told = service.call("aud", tombstone).reply.unwrap();
    let told = v1::GetKeyTombstoneResponse::try_from(told).unwrap();
    assert_eq!((told.domain_key, told.domain_key_retired), (1, false));
    assert_eq!(told.destroyed_date_ms, service.now_ms);
    // The name is free.
    service.key("alias/a");
}

#[test]
fn a_cancelled_deletion_and_a_moved_one_leave_nothing_due() {
    let mut service = Service::new();
    let key = service.key("alias/a");
    service.call("ada", enable_rotation(&key, 365)).reply.unwrap();
    schedule_deletion(&mut service, &key);
    assert_eq!(service.due()[0].due_at().unwrap().0, NOW_MS + 7 * DAY_MS);
    assert!(!status(&mut service, &key).key_rotation_enabled);
    let request = v1::CancelKeyDeletionRequest { key_id: key.clone() };
    service.call("ada", request).reply.unwrap();
    // It is disabled then, and not rotated.
    assert!(service.due().is_empty());
    service.call("ada", v1::EnableKeyRequest { key_id: key.clone() }).reply.unwrap();
    assert_eq!(service.due()[0].due_at().unwrap().0, NOW_MS + 365 * DAY_MS);
    assert!(status(&mut service, &key).key_rotation_enabled);
}

/// Two nodes that both think they lead: the second finds nothing to do.
#[test]
fn what_two_nodes_do_at_once_happens_once() {
    let mut service = Service::new();
    let key = service.key("alias/a");
    service.call("ada", enable_rotation(&key, 90)).reply.unwrap();
    let late = NOW_MS + 90 * DAY_MS;
    service.now_ms = late;
    let caller = service.caller("node/node-1");
    let store = service.store.clone();
    let first = service.due()[0];
    let request = Request::due(&mut service.ctx(&store, &caller), first, late).unwrap().unwrap();
    let (one, two) = (service.decide(&caller, &request), service.decide(&caller, &request));
    assert_eq!(service.commit(&caller, &request, one).line(), "ok | RotateKey Success schedule");
    let conflict = service.store.commit(two.body, late);
    assert!(matches!(conflict, conclave_store::Outcome::Conflict { .. }), "{conflict:?}");
    let again = service.call_as(&caller, &request);
    assert_eq!(again.line(), "KMSInvalidStateException | RotateKey Refused schedule");
    assert_eq!(rotations(&mut service, &key, false).len(), 1);
}
