//! The life and use of keys, as scripts: requests in, one line each out, refusals and audit included.
#![allow(clippy::unwrap_used, reason = "clippy takes helpers of tests for none")]

mod common;

use common::{Service, Told, created, decrypt, encrypt, pairs};
use conclave_crypto::Entropy;
use conclave_proto::{audit, v1};

fn script(told: &[Told]) -> Vec<String> {
    told.iter().map(Told::line).collect()
}

#[test]
fn the_life_of_a_key() {
    let mut service = Service::new();
    let key = "alias/a".to_owned();
    let with_alias = v1::CreateKeyRequest { alias: key.clone(), ..Default::default() };
    let mut told = vec![service.call("ada", with_alias.clone())];
    let old = service.encrypt(&key, b"before");
    told.push(service.call("ada", with_alias));
    told.push(service.call("ada", v1::RotateKeyOnDemandRequest { key: key.clone() }));
    told.push(service.call("uma", decrypt(&old)));
    told.push(service.call("ada", v1::DisableKeyRequest { key: key.clone() }));
    told.push(service.call("uma", encrypt(&key, b"x")));
    told.push(service.call("uma", decrypt(&old)));
    told.push(service.call("ada", v1::EnableKeyRequest { key: key.clone() }));
    told.push(service.call("ada", v1::ScheduleKeyDeletionRequest { key: key.clone(), days: 0 }));
    told.push(service.call("ada", v1::ScheduleKeyDeletionRequest { key: key.clone(), days: 7 }));
    told.push(service.call("uma", decrypt(&old)));
    told.push(service.call("ada", v1::CancelKeyDeletionRequest { key: key.clone() }));
    told.push(service.call("aud", v1::DescribeKeyRequest { key: key.clone() }));
    told.push(service.call("ada", v1::EnableKeyRequest { key: key.clone() }));
    told.push(service.call("uma", decrypt(&old)));
    assert_eq!(
        script(&told),
        [
            "key Enabled v1 | CreateKey Success role:key-administrator",
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
            "Disabled" => drop(service.call("ada", v1::DisableKeyRequest { key: key.clone() })),
            "PendingDeletion" => {
                drop(
                    service
                        .call("ada", v1::ScheduleKeyDeletionRequest { key: key.clone(), days: 7 }),
                );
            }
            _ => {}
        }
        for (operation, expected) in operations.iter().zip(row) {
            let requests = common::every_request(&key, &ciphertext);
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
    for version in 2..=conclave_kms::VERSIONS_MAX {
        let told = service.call("ada", v1::RotateKeyOnDemandRequest { key: key.clone() });
        let changed = v1::RotateKeyOnDemandResponse::try_from(told.reply.unwrap()).unwrap();
        assert_eq!(changed.key.unwrap().versions, version);
        ciphertexts.push(service.encrypt(&key, version.to_string().as_bytes()));
    }
    let refused = service.call("ada", v1::RotateKeyOnDemandRequest { key: key.clone() });
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
    let describe = |key: &str| v1::DescribeKeyRequest { key: key.to_owned() };
    let mut told = Vec::new();
    let mut tell = |told_: Told| told.push(told_.reply.unwrap_err());
    tell(service.call("ada", describe(unknown)));
    tell(service.call("ada", describe("alias/none")));
    tell(service.call("ada", describe(&format!("arn:aws:kms:us:000000000001:key/{key}"))));
    tell(service.call("ada", describe(&format!("arn:aws:kms:eu:000000000002:key/{key}"))));
    tell(service.call("uma", v1::DecryptRequest { key: other.clone(), ..decrypt(&ciphertext) }));
    tell(
        service.call(
            "uma",
            v1::DecryptRequest { context: pairs(&[("a", "b")]), ..decrypt(&ciphertext) },
        ),
    );
    tell(service.call("uma", decrypt(b"no ciphertext of ours at all")));
    tell(service.call("ada", v1::CancelKeyDeletionRequest { key: key.clone() }));
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
    let told = service.call("uma", v1::EncryptRequest { context, ..encrypt(&key, b"x") });
    let ciphertext = v1::EncryptResponse::try_from(told.reply.unwrap()).unwrap().ciphertext;
    for (context, opens) in [
        (pairs(&[("a", "1"), ("b", "2")]), true),
        (pairs(&[("a", "1")]), false),
        (pairs(&[("a", "2"), ("b", "1")]), false),
        (pairs(&[]), false),
    ] {
        let told = service.call("uma", v1::DecryptRequest { context, ..decrypt(&ciphertext) });
        assert_eq!(told.reply.is_ok(), opens);
    }
}

#[test]
fn re_encrypting_moves_a_plaintext_to_another_key_and_context() {
    let mut service = Service::new();
    let (from, to) = (service.key(""), service.key("alias/to"));
    let ciphertext = service.encrypt(&from, b"moved");
    let request = v1::ReEncryptRequest {
        ciphertext,
        source_key: from.clone(),
        destination_key: "alias/to".to_owned(),
        destination_context: pairs(&[("a", "b")]),
        ..Default::default()
    };
    let told = service.call("uma", request);
    let arn = |key: &str| format!("arn:aws:kms:eu:000000000001:key/{key}");
    assert_eq!(told.entry.resources, [arn(&from), arn(&to)]);
    let moved = v1::ReEncryptResponse::try_from(told.reply.unwrap()).unwrap();
    assert_eq!((moved.source_key_id, moved.key_id), (arn(&from), arn(&to)));
    let open = v1::DecryptRequest { context: pairs(&[("a", "b")]), ..decrypt(&moved.ciphertext) };
    assert_eq!(
        service.call("uma", open).line(),
        "plaintext \"moved\" | Decrypt Success role:key-user"
    );
}

#[test]
fn a_data_key_is_what_its_ciphertext_holds() {
    let mut service = Service::new();
    let key = service.key("");
    for bytes in [0, 1, 1024] {
        let request = v1::GenerateDataKeyRequest { key: key.clone(), bytes, ..Default::default() };
        let told = service.call("uma", request);
        let made = v1::GenerateDataKeyResponse::try_from(told.reply.unwrap()).unwrap();
        assert_eq!(made.plaintext.len(), if bytes == 0 { 32 } else { bytes as usize });
        let told = service.call("uma", decrypt(&made.ciphertext));
        let opened = v1::DecryptResponse::try_from(told.reply.unwrap()).unwrap();
        assert_eq!(opened.plaintext, made.plaintext);
    }
    let request = v1::GenerateDataKeyWithoutPlaintextRequest { key, ..Default::default() };
    let told = service.call("uma", request);
    let made = v1::GenerateDataKeyWithoutPlaintextResponse::try_from(told.reply.unwrap()).unwrap();
    let told = service.call("uma", decrypt(&made.ciphertext));
    assert_eq!(v1::DecryptResponse::try_from(told.reply.unwrap()).unwrap().plaintext.len(), 32);
    let told = service.call("uma", v1::GenerateRandomRequest { bytes: 1024 });
    let random = v1::GenerateRandomResponse::try_from(told.reply.unwrap()).unwrap().random;
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
        let request = v1::ListKeysRequest { limit: 2, marker }.try_into().unwrap();
        let plan = service.decide(&caller, &request);
        assert_eq!(plan.body.guards.len(), 1);
        let told = service.commit(&caller, &request, plan);
        let page = v1::ListKeysResponse::try_from(told.reply.unwrap()).unwrap();
        assert!(page.read_index > 0 && page.keys.len() <= 2);
        listed.extend(page.keys.into_iter().map(|key| key.key_id));
        marker = page.next_marker;
        assert_eq!(page.truncated, !marker.is_empty());
        if marker.is_empty() {
            break;
        }
    }
    assert_eq!(listed, made);
}

#[test]
fn an_audit_entry_says_everything_but_the_secret() {
    let mut service = Service::new();
    let key = service.key("alias/a");
    let secret = "the plaintext itself";
    let request = v1::EncryptRequest {
        context: pairs(&[("z", "1"), ("a", "2")]),
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
        parameters: vec![pair("KeyId", "arn:aws:kms:eu:000000000001:alias/a")],
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
    let told = service.call("uma", v1::GenerateRandomRequest { bytes: 16 });
    let mut shown = format!("{request:?} {plan:?} {:?} {:?}", told.reply, service.cache);
    shown.retain(|c| c != ' ');
    let bytes = format!("{:?}", b"the plaintext itself").replace(' ', "");
    assert!(
        !shown.contains("theplaintextitself") && !shown.contains(bytes.trim_matches(['[', ']']))
    );
    assert!(shown.contains("material:[secret]"));
}

/// The largest key record that requests can make fits into the store.
#[test]
fn the_largest_key_can_be_created_and_rotated() {
    let mut service = Service::new();
    let tag = |n: u32| v1::Tag { key: format!("{n:0>128}"), value: "v".repeat(256) };
    let request = v1::CreateKeyRequest {
        description: "d".repeat(8192),
        tags: (0..50).map(tag).collect(),
        alias: format!("alias/{}", "a".repeat(250)),
    };
    let key = created(service.call("ada", request)).key_id;
    for _ in 1..conclave_kms::VERSIONS_MAX {
        assert!(
            service.call("ada", v1::RotateKeyOnDemandRequest { key: key.clone() }).reply.is_ok()
        );
    }
    let name = |n: usize| (format!("{n:030}"), "vv".to_owned());
    let context: Vec<_> =
        (0..250).map(name).map(|(name, value)| v1::ContextPair { name, value }).collect();
    let mut plaintext = vec![0; 4096];
    service.entropy.fill(&mut plaintext);
    let told = service
        .call("uma", v1::EncryptRequest { context: context.clone(), ..encrypt(&key, &plaintext) });
    let ciphertext = v1::EncryptResponse::try_from(told.reply.unwrap()).unwrap().ciphertext;
    let request = v1::ReEncryptRequest {
        ciphertext,
        source_context: context.clone(),
        destination_key: key,
        destination_context: context,
        ..Default::default()
    };
    assert!(service.call("uma", request).reply.is_ok());
}
