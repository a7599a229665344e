//! The life and use of keys, as scripts: requests in, one line each out, refusals and audit included.
#![allow(clippy::unwrap_used, reason = "clippy takes helpers of tests for none")]

mod common;

use common::{Service, Told, created, decrypt, encrypt, pairs};
use conclave_crypto::Entropy;
use conclave_kms::Request;
use conclave_proto::{audit, v1};
use conclave_store::{Guarded, Outcome};

fn script(told: &[Told]) -> Vec<String> {
    told.iter().map(Told::line).collect()
}

#[test]
fn the_life_of_a_key() {
    let mut service = Service::new();
    let alias = "alias/a".to_owned();
    let with_alias = v1::CreateKeyRequest { alias: alias.clone(), ..Default::default() };
    let mut told = vec![service.call("ada", with_alias.clone())];
    let key = service.id_of(&alias);
    let old = service.encrypt(&alias, b"before");
    told.push(service.call("ada", with_alias));
    told.push(service.call("ada", v1::RotateKeyOnDemandRequest { key_id: key.clone() }));
    told.push(service.call("uma", decrypt(&old)));
    told.push(service.call("ada", v1::DisableKeyRequest { key_id: key.clone() }));
    told.push(service.call("uma", encrypt(&key, b"x")));
    told.push(service.call("uma", decrypt(&old)));
    told.push(service.call("ada", v1::EnableKeyRequest { key_id: key.clone() }));
    told.push(service.call(
        "ada",
        v1::ScheduleKeyDeletionRequest { key_id: key.clone(), pending_window_in_days: None },
    ));
    told.push(service.call(
        "ada",
        v1::ScheduleKeyDeletionRequest { key_id: key.clone(), pending_window_in_days: Some(7) },
    ));
    told.push(service.call("uma", decrypt(&old)));
    told.push(service.call("ada", v1::CancelKeyDeletionRequest { key_id: key.clone() }));
    told.push(
        service.call("aud", v1::DescribeKeyRequest { key_id: key.clone(), ..Default::default() }),
    );
    told.push(service.call("ada", v1::EnableKeyRequest { key_id: key.clone() }));
    told.push(service.call("uma", decrypt(&old)));
    assert_eq!(
        script(&told),
        [
            "key Enabled v1 alias/a | CreateKey Success role:key-administrator",
            "AlreadyExistsException | CreateKey Refused role:key-administrator",
            "key Enabled v2 | RotateKeyOnDemand Success role:key-administrator",
            "plaintext \"before\" | Decrypt Success role:key-user",
            "key Disabled v2 | DisableKey Success role:key-administrator",
            "DisabledException | Encrypt Refused role:key-user",
            "DisabledException | Decrypt Refused role:key-user",
            "key Enabled v2 | EnableKey Success role:key-administrator",
            "key PendingDeletion v2 | ScheduleKeyDeletion Success role:key-administrator",
            "KMSInvalidStateException | ScheduleKeyDeletion Refused role:key-administrator",
            "KMSInvalidStateException | Decrypt Refused role:key-user",
            "key Disabled v2 | CancelKeyDeletion Success role:key-administrator",
            "key Disabled v2 alias/a | DescribeKey Success role:auditor",
            "key Enabled v2 | EnableKey Success role:key-administrator",
            "plaintext \"before\" | Decrypt Success role:key-user",
        ]
    );
}

/// Every state against every operation on a key, through the whole service.
#[test]
fn state_by_operation() {
    let mut service = Service::new();
    let key = service.key("");
    let ciphertext = service.encrypt(&key, b"x");
    let operations = [
        "DescribeKey",
        "EnableKey",
        "DisableKey",
        "RotateKeyOnDemand",
        "ScheduleKeyDeletion",
        "CancelKeyDeletion",
        "Encrypt",
        "Decrypt",
        "ReEncrypt",
        "GenerateDataKey",
        "GenerateDataKeyWithoutPlaintext",
    ];
    let (yes, off, gone) = ("ok", "DisabledException", "KMSInvalidStateException");
    let expected = [
        ("Enabled", [yes, yes, yes, yes, yes, gone, yes, yes, yes, yes, yes]),
        ("Disabled", [yes, yes, yes, off, yes, gone, off, off, off, off, off]),
        ("PendingDeletion", [yes, gone, gone, gone, gone, yes, gone, gone, gone, gone, gone]),
    ];
    for (state, row) in expected {
        match state {
            "Disabled" => drop(service.call("ada", v1::DisableKeyRequest { key_id: key.clone() })),
            "PendingDeletion" => {
                drop(service.call(
                    "ada",
                    v1::ScheduleKeyDeletionRequest {
                        key_id: key.clone(),
                        pending_window_in_days: Some(7),
                    },
                ));
            }
            _ => {}
        }
        for (operation, expected) in operations.iter().zip(row) {
            let requests = common::every_request(&key, &key, &ciphertext);
            let request = requests.iter().find(|it| it.action().name() == *operation).unwrap();
            let principal = match request.action().roles()[0].name() {
                "key-user" => "uma",
                _ => "ada",
            };
            // Decided, not committed: the state stays.
            let caller = service.caller(principal);
            let plan = service.decide(&caller, request);
            let told = plan.reply.map_or_else(|refusal| refusal.name(), |_| "ok");
            assert_eq!(told, expected, "{operation} on a key that is {state}");
        }
    }
}

#[test]
fn a_rotated_key_decrypts_what_every_version_encrypted_until_the_limit() {
    let mut service = Service::new();
    let key = service.key("");
    let mut ciphertexts = vec![service.encrypt(&key, b"1")];
    for version in 2..=1 + conclave_kms::ON_DEMAND_ROTATIONS_MAX {
        let told = service.call("ada", v1::RotateKeyOnDemandRequest { key_id: key.clone() });
        let changed = v1::RotateKeyOnDemandResponse::try_from(told.reply.unwrap()).unwrap();
        assert_eq!(changed.key.unwrap().versions, version);
        ciphertexts.push(service.encrypt(&key, version.to_string().as_bytes()));
    }
    let refused = service.call("ada", v1::RotateKeyOnDemandRequest { key_id: key.clone() });
    assert_eq!(refused.reply.unwrap_err().name(), "LimitExceededException");
    for (version, ciphertext) in (1..).zip(&ciphertexts) {
        let told = service.call("uma", decrypt(ciphertext));
        let opened = v1::DecryptResponse::try_from(told.reply.unwrap()).unwrap();
        assert_eq!(opened.plaintext, version.to_string().into_bytes());
    }
}

/// The names and messages of AWS KMS, where it has them.
#[test]
fn refusals_say_what_aws_says() {
    let mut service = Service::new();
    let (key, other) = (service.key(""), service.key(""));
    let ciphertext = service.encrypt(&key, b"x");
    let unknown = "01234567-89ab-4def-8123-456789abcdef";
    let describe =
        |key: &str| v1::DescribeKeyRequest { key_id: key.to_owned(), ..Default::default() };
    let mut told = Vec::new();
    let mut tell = |told_: Told| told.push(told_.reply.unwrap_err());
    tell(service.call("ada", describe(unknown)));
    tell(service.call("ada", describe("alias/none")));
    tell(service.call("ada", describe(&format!("arn:aws:kms:us:000000000001:key/{key}"))));
    tell(service.call("ada", describe(&format!("arn:aws:kms:eu:000000000002:key/{key}"))));
    tell(service.call("uma", v1::DecryptRequest { key_id: other.clone(), ..decrypt(&ciphertext) }));
    tell(service.call(
        "uma",
        v1::DecryptRequest { encryption_context: pairs(&[("a", "b")]), ..decrypt(&ciphertext) },
    ));
    tell(service.call("uma", decrypt(b"no ciphertext of ours at all")));
    tell(service.call("ada", v1::CancelKeyDeletionRequest { key_id: key.clone() }));
    tell(service.call("ada", encrypt(&key, b"x")));
    let told: Vec<_> = told
        .iter()
        .map(|refusal| format!("{}: {}", refusal.name(), refusal.message()).replace(&key, "KEY"))
        .collect();
    assert_eq!(
        told,
        [
            "NotFoundException: Key 'arn:aws:kms:eu:000000000001:key/01234567-89ab-4def-8123-456789abcdef' does not exist",
            "NotFoundException: Alias arn:aws:kms:eu:000000000001:alias/none is not found.",
            "NotFoundException: Invalid arn us",
            "NotFoundException: Key 'arn:aws:kms:eu:000000000002:key/KEY' does not exist",
            "IncorrectKeyException: The key ID in the request does not identify a CMK that can perform this operation.",
            "InvalidCiphertextException: ",
            "InvalidCiphertextException: ",
            "KMSInvalidStateException: arn:aws:kms:eu:000000000001:key/KEY is not pending deletion.",
            "AccessDeniedException: Principal 'ada' is not authorized to perform: kms:Encrypt on resource: arn:aws:kms:eu:000000000001:key/KEY",
        ]
    );
}

#[test]
fn a_context_given_in_any_order_opens_and_any_other_does_not() {
    let mut service = Service::new();
    let key = service.key("");
    let context = pairs(&[("b", "2"), ("a", "1")]);
    let told = service
        .call("uma", v1::EncryptRequest { encryption_context: context, ..encrypt(&key, b"x") });
    let ciphertext = v1::EncryptResponse::try_from(told.reply.unwrap()).unwrap().ciphertext_blob;
    for (context, opens) in [
        (pairs(&[("a", "1"), ("b", "2")]), true),
        (pairs(&[("a", "1")]), false),
        (pairs(&[("a", "2"), ("b", "1")]), false),
        (pairs(&[]), false),
    ] {
        let told = service.call(
            "uma",
            v1::DecryptRequest { encryption_context: context, ..decrypt(&ciphertext) },
        );
        assert_eq!(told.reply.is_ok(), opens);
    }
}

#[test]
fn re_encrypting_moves_a_plaintext_to_another_key_and_context() {
    let mut service = Service::new();
    let (from, to) = (service.key(""), service.key("alias/to"));
    let ciphertext = service.encrypt(&from, b"moved");
    let request = v1::ReEncryptRequest {
        ciphertext_blob: ciphertext,
        source_key_id: from.clone(),
        destination_key_id: "alias/to".to_owned(),
        destination_encryption_context: pairs(&[("a", "b")]),
        ..Default::default()
    };
    let told = service.call("uma", request);
    let arn = |key: &str| format!("arn:aws:kms:eu:000000000001:key/{key}");
    assert_eq!(told.entry.resources, [arn(&from), arn(&to)]);
    let moved = v1::ReEncryptResponse::try_from(told.reply.unwrap()).unwrap();
    assert_eq!((moved.source_key_id, moved.key_id), (arn(&from), arn(&to)));
    let open = v1::DecryptRequest {
        encryption_context: pairs(&[("a", "b")]),
        ..decrypt(&moved.ciphertext_blob)
    };
    assert_eq!(
        service.call("uma", open).line(),
        "plaintext \"moved\" | Decrypt Success role:key-user"
    );
}

#[test]
fn a_data_key_is_what_its_ciphertext_holds() {
    let mut service = Service::new();
    let key = service.key("");
    for bytes in [1, 32, 1024] {
        let request = v1::GenerateDataKeyRequest {
            key_id: key.clone(),
            number_of_bytes: Some(bytes),
            ..Default::default()
        };
        let told = service.call("uma", request);
        let made = v1::GenerateDataKeyResponse::try_from(told.reply.unwrap()).unwrap();
        assert_eq!(made.plaintext.len(), bytes as usize);
        let told = service.call("uma", decrypt(&made.ciphertext_blob));
        let opened = v1::DecryptResponse::try_from(told.reply.unwrap()).unwrap();
        assert_eq!(opened.plaintext, made.plaintext);
    }
    let request = v1::GenerateDataKeyWithoutPlaintextRequest {
        key_id: key,
        key_spec: "AES_256".to_owned(),
        ..Default::default()
    };
    let told = service.call("uma", request);
    let made = v1::GenerateDataKeyWithoutPlaintextResponse::try_from(told.reply.unwrap()).unwrap();
    let told = service.call("uma", decrypt(&made.ciphertext_blob));
    assert_eq!(v1::DecryptResponse::try_from(told.reply.unwrap()).unwrap().plaintext.len(), 32);
    let told = service.call(
        "uma",
        v1::GenerateRandomRequest { number_of_bytes: Some(1024), ..Default::default() },
    );
    let random = v1::GenerateRandomResponse::try_from(told.reply.unwrap()).unwrap().plaintext;
    assert_eq!(random.len(), 1024);
}

#[test]
fn keys_are_listed_page_by_page_and_guarded_only_by_who_asks() {
    let mut service = Service::new();
    let mut made: Vec<_> = (0..5).map(|_| service.key("")).collect();
    made.sort();
    let (mut listed, mut marker) = (Vec::new(), String::new());
    loop {
        let caller = service.caller("aud");
        let request = v1::ListKeysRequest { limit: Some(2), marker }.try_into().unwrap();
        let plan = service.decide(&caller, &request);
        assert_eq!(plan.body.guards.len(), 1);
        let told = service.commit(&caller, &request, plan);
        let page = v1::ListKeysResponse::try_from(told.reply.unwrap()).unwrap();
        assert!(page.read_index > 0 && page.keys.len() <= 2);
        listed.extend(page.keys.into_iter().map(|key| key.key_id));
        assert_eq!(page.truncated, page.next_marker.is_some());
        let Some(next) = page.next_marker else { break };
        marker = next;
    }
    assert_eq!(listed, made);
}

#[test]
fn an_audit_entry_says_everything_but_the_secret() {
    let mut service = Service::new();
    let key = service.key("alias/a");
    let secret = "the plaintext itself";
    let request = v1::EncryptRequest {
        encryption_context: pairs(&[("z", "1"), ("a", "2")]),
        ..encrypt("alias/a", secret.as_bytes())
    };
    let told = service.call("uma", request);
    let pair = |name: &str, value: &str| audit::Pair { name: name.into(), value: value.into() };
    let expected = audit::Entry {
        time_ms: common::NOW_MS,
        request_id: "request-2".to_owned(),
        retry_of: String::new(),
        principal: "uma".to_owned(),
        certificate_serial: "0a".to_owned(),
        source_address: "192.0.2.1:4711".to_owned(),
        node: "node-1".to_owned(),
        region: "eu-west".to_owned(),
        action: "Encrypt".to_owned(),
        resources: vec![format!("arn:aws:kms:eu:000000000001:key/{key}")],
        parameters: vec![
            pair("EncryptionAlgorithm", "SYMMETRIC_DEFAULT"),
            pair("KeyId", "arn:aws:kms:eu:000000000001:alias/a"),
        ],
        encryption_context: vec![pair("a", "2"), pair("z", "1")],
        outcome: audit::Outcome::Success as i32,
        reason: String::new(),
        decided_by: vec!["role:key-user".to_owned()],
    };
    assert!(told.entry == expected);
}

#[test]
fn no_secret_shows_in_debug_output() {
    let mut service = Service::new();
    let key = service.key("");
    let request = encrypt(&key, b"the plaintext itself").try_into().unwrap();
    let caller = service.caller("uma");
    let plan = service.decide(&caller, &request);
    let told = service
        .call("uma", v1::GenerateRandomRequest { number_of_bytes: Some(16), ..Default::default() });
    let mut shown = format!("{request:?} {plan:?} {:?} {:?}", told.reply, service.cache);
    shown.retain(|c| c != ' ');
    let bytes = format!("{:?}", b"the plaintext itself").replace(' ', "");
    assert!(
        !shown.contains("theplaintextitself") && !shown.contains(bytes.trim_matches(['[', ']']))
    );
    assert!(shown.contains("material:Some(Symmetric([secret]))"));
}

/// The largest key record that requests can make fits into the store.
#[test]
fn the_largest_key_can_be_created_and_rotated() {
    let mut service = Service::new();
    let tag = |n: u32| v1::Tag { tag_key: format!("{n:0>128}"), tag_value: "v".repeat(256) };
    let request = v1::CreateKeyRequest {
        description: "d".repeat(8192),
        tags: (0..50).map(tag).collect(),
        alias: format!("alias/{}", "a".repeat(250)),
        ..Default::default()
    };
    let key = created(service.call("ada", request)).key_id;
    for _ in 0..conclave_kms::ON_DEMAND_ROTATIONS_MAX {
        assert!(
            service.call("ada", v1::RotateKeyOnDemandRequest { key_id: key.clone() }).reply.is_ok()
        );
    }
    let name = |n: usize| (format!("{n:030}"), "vv".to_owned());
    let context: std::collections::BTreeMap<_, _> = (0..250).map(name).collect();
    let mut plaintext = vec![0; 4096];
    service.entropy.fill(&mut plaintext);
    let told = service.call(
        "uma",
        v1::EncryptRequest { encryption_context: context.clone(), ..encrypt(&key, &plaintext) },
    );
    let ciphertext = v1::EncryptResponse::try_from(told.reply.unwrap()).unwrap().ciphertext_blob;
    let request = v1::ReEncryptRequest {
        ciphertext_blob: ciphertext,
        source_encryption_context: context.clone(),
        destination_key_id: key,
        destination_encryption_context: context,
        ..Default::default()
    };
    assert!(service.call("uma", request).reply.is_ok());
}

/// Those that wait to be deleted count; those that are destroyed do not, and the last place is taken once.
#[test]
fn a_domain_has_at_most_so_many_keys() {
    let mut service = Service::new();
    service.keys_max = 3;
    let waiting = service.key("alias/waiting");
    let request =
        v1::ScheduleKeyDeletionRequest { key_id: waiting, pending_window_in_days: Some(7) };
    let deletion_ms = service.now_ms + 7 * 86_400_000;
    service.call("ada", request).reply.unwrap();
    let external = v1::CreateKeyRequest { origin: "EXTERNAL".to_owned(), ..Default::default() };
    service.call("ada", external).reply.unwrap();

    let request: Request = v1::CreateKeyRequest::default().try_into().unwrap();
    let (first, late) = (service.caller("ada"), service.caller("ada"));
    let (plan, late_plan) = (service.decide(&first, &request), service.decide(&late, &request));
    assert!(service.commit(&first, &request, plan).reply.is_ok());
    let outcome = service.store.commit(late_plan.body, service.now_ms);
    assert!(
        matches!(outcome, Outcome::Conflict { on: Some(Guarded::Fewer(_)), .. }),
        "{outcome:?}"
    );
    let refused = service.call_as(&late, &request).reply.unwrap_err();
    assert_eq!(
        refused.reason(),
        "LimitExceededException: The domain has 3 keys, the most that it may have; delete keys, or \
         have its operators raise limits.keys"
    );

    service.now_ms = deletion_ms;
    assert_eq!(service.fall_due(deletion_ms).len(), 1);
    assert!(service.call("ada", v1::CreateKeyRequest::default()).reply.is_ok());
    assert!(service.call("ada", v1::CreateKeyRequest::default()).reply.is_err());
}
