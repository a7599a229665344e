//! Key material from outside: wrapped, imported, deleted, imported again; and what is never taken.
#![allow(clippy::unwrap_used, reason = "clippy takes helpers of tests for none")]

mod common;
mod importing;

use common::{Service, created};
use conclave_kms::{Decision, KeySpec, KeyUsage, Refusal, Request, decide};
use conclave_proto::v1;
use conclave_seal::keyring::resealing::Walk;
use conclave_seal::keyring::rotation::RETIRE_AFTER_MS;
use conclave_store::{Guarded, Kind, Outcome, RecordId};
use importing::{AES, Wrapped, ask, describe, import, kinds, make, material, told, uses};

const DAY_MS: u64 = 86_400_000;

fn rotate(service: &mut Service, key: &str) -> Result<v1::RotateKeyOnDemandResponse, String> {
    ask(service, "ada", v1::RotateKeyOnDemandRequest { key_id: key.to_owned() })
}

fn delete(service: &mut Service, key: &str, id: &str) -> Result<Option<String>, String> {
    let request = v1::DeleteImportedKeyMaterialRequest {
        key_id: key.to_owned(),
        key_material_id: id.to_owned(),
    };
    let deleted: v1::DeleteImportedKeyMaterialResponse = ask(service, "ada", request)?;
    assert!(deleted.key_id.ends_with(key));
    Ok(deleted.key_material_id)
}

fn state(service: &mut Service, key: &str) -> String {
    describe(service, key).key_state
}

fn name<T: std::fmt::Debug>(refused: Result<T, String>) -> String {
    refused.unwrap_err().split(':').next().unwrap().to_owned()
}

/// Each kind for each of its uses, by each of the ways to wrap it.
#[test]
fn every_kind_is_imported_used_deleted_and_imported_again() {
    let mut service = Service::new();
    for (number, (spec, usage)) in kinds().into_iter().enumerate() {
        let what = format!("{} {}", spec.name(), usage.name());
        let key = make(&mut service, spec, usage);
        let (bytes, spki) = material(spec, usage);
        let (other, _) = material(spec, usage);
        let fitting = importing::fitting(spec);
        let wrapped = Wrapped::new(&mut service, &key, fitting[number % fitting.len()]);
        assert_eq!(
            uses(&mut service, spec, usage, &key, None),
            Err("KMSInvalidStateException".into())
        );

        let imported = import(&mut service, &wrapped.request(&bytes)).unwrap();
        assert_eq!(imported.key_material_id.is_some(), spec == KeySpec::SymmetricDefault, "{what}");
        let shown = describe(&mut service, &key);
        assert_eq!((shown.key_state.as_str(), shown.enabled, shown.versions), ("Enabled", true, 1));
        assert_eq!(shown.expiration_model.unwrap(), "KEY_MATERIAL_DOES_NOT_EXPIRE");
        assert_eq!(shown.current_key_material_id, imported.key_material_id);
        let made = uses(&mut service, spec, usage, &key, None).unwrap();
        if let Some(spki) = spki {
            let request = v1::GetPublicKeyRequest { key_id: key.clone(), ..Default::default() };
            let public: v1::GetPublicKeyResponse = ask(&mut service, "uma", request).unwrap();
            assert_eq!(public.public_key, spki, "{what}");
        }

        // Another is refused while there is one and while there is none; the same is taken again.
        let other = wrapped.request(&other);
        assert_eq!(name(import(&mut service, &other)), "IncorrectKeyMaterialException", "{what}");
        assert_eq!(delete(&mut service, &key, "").unwrap(), imported.key_material_id);
        let shown = describe(&mut service, &key);
        assert_eq!((shown.key_state.as_str(), shown.expiration_model), ("PendingImport", None));
        assert_eq!(shown.current_key_material_id, imported.key_material_id);
        assert_eq!(
            uses(&mut service, spec, usage, &key, None),
            Err("KMSInvalidStateException".into())
        );
        assert_eq!(name(import(&mut service, &other)), "IncorrectKeyMaterialException", "{what}");
        assert_eq!(delete(&mut service, &key, "").unwrap(), imported.key_material_id, "gone twice");
        assert_eq!(import(&mut service, &wrapped.request(&bytes)).unwrap(), imported);
        uses(&mut service, spec, usage, &key, Some(made)).unwrap();
    }
}

#[test]
fn what_is_no_material_of_the_key_is_refused() {
    let mut service = Service::new();
    let symmetric = make(&mut service, KeySpec::SymmetricDefault, KeyUsage::EncryptDecrypt);
    let wrapped = Wrapped::new(&mut service, &symmetric, "RSAES_OAEP_SHA_256");
    for len in [0, 1, 16, 31, 33, 64] {
        let refused = import(&mut service, &wrapped.request(&vec![7; len])).unwrap_err();
        let said = format!(
            "InvalidCiphertextException: the key material has {len} bytes, that of a key of \
             SYMMETRIC_DEFAULT has 32"
        );
        assert_eq!(refused, said);
    }
    // Nothing says why what does not open does not.
    let whole = wrapped.request(&[7; 32]);
    let mut bad =
        vec![vec![1], vec![0; 256], vec![0xff; 6144], whole.encrypted_key_material.clone()];
    bad[3][100] ^= 1;
    bad.push(Wrapped { algorithm: "RSAES_OAEP_SHA_1", ..wrapped.clone() }.wrap(&[7; 32]));
    bad.push(Wrapped { algorithm: AES, ..wrapped.clone() }.wrap(&[7; 32]));
    for encrypted_key_material in bad {
        let request = v1::ImportKeyMaterialRequest { encrypted_key_material, ..whole.clone() };
        let refused = import(&mut service, &request).unwrap_err();
        assert_eq!(refused, "InvalidCiphertextException: ");
    }
    for len in [0, 6145] {
        let encrypted_key_material = vec![0; len];
        let request = v1::ImportKeyMaterialRequest { encrypted_key_material, ..whole.clone() };
        assert_eq!(name(import(&mut service, &request)), "ValidationException");
    }
    assert_eq!(state(&mut service, &symmetric), "PendingImport");

    for (spec, usage, len) in [
        (KeySpec::Hmac224, KeyUsage::GenerateVerifyMac, 32),
        (KeySpec::Hmac512, KeyUsage::GenerateVerifyMac, 63),
        (KeySpec::EccNistP256, KeyUsage::SignVerify, 32),
        (KeySpec::MlDsa44, KeyUsage::SignVerify, 32),
    ] {
        let key = make(&mut service, spec, usage);
        let wrapped = Wrapped::new(&mut service, &key, AES);
        let (of_p384, _) = material(KeySpec::EccNistP384, KeyUsage::SignVerify);
        for bytes in [vec![7; len], of_p384] {
            let refused = import(&mut service, &wrapped.request(&bytes)).unwrap_err();
            let (name, why) = refused.split_once(": ").unwrap();
            assert_eq!(name, "InvalidCiphertextException");
            assert!(!why.is_empty());
        }
        assert_eq!(state(&mut service, &key), "PendingImport");
    }
}

#[test]
fn a_token_is_for_one_key_and_for_a_day() {
    let mut service = Service::new();
    let kind = (KeySpec::SymmetricDefault, KeyUsage::EncryptDecrypt);
    let (key, other) = (make(&mut service, kind.0, kind.1), make(&mut service, kind.0, kind.1));
    let wrapped = Wrapped::new(&mut service, &key, AES);
    assert!(wrapped.parameters.import_token.len() <= 6144);
    assert_eq!(wrapped.parameters.parameters_valid_to_ms, common::NOW_MS + DAY_MS);
    let whole = wrapped.request(&[7; 32]);

    let invalid = "InvalidImportTokenException";
    let of_other = v1::ImportKeyMaterialRequest { key_id: other, ..whole.clone() };
    assert_eq!(name(import(&mut service, &of_other)), invalid);
    let token = &whole.import_token;
    let with =
        |import_token: Vec<u8>| v1::ImportKeyMaterialRequest { import_token, ..whole.clone() };
    for at in (0..60).chain((60..token.len()).step_by(29)).chain([token.len() - 1]) {
        let mut damaged = token.clone();
        damaged[at] ^= 0x10;
        assert_eq!(name(import(&mut service, &with(damaged))), invalid, "{at}");
    }
    for len in [1, 3, 4, 7, 8, 40, token.len() - 1] {
        assert_eq!(name(import(&mut service, &with(token[..len].to_vec()))), invalid, "{len}");
    }
    assert_eq!(name(import(&mut service, &with([&token[..], &[0]].concat()))), invalid);

    service.now_ms += DAY_MS - 1;
    let imported = import(&mut service, &whole).unwrap();
    service.now_ms += 1;
    assert_eq!(name(import(&mut service, &whole)), "ExpiredImportTokenException");
    assert_eq!(describe(&mut service, &key).current_key_material_id, imported.key_material_id);
}

/// Tokens outlive a rotation of the domain key, not its retirement; and none comes to be under a key
/// that was retired while it was made.
#[test]
fn a_token_lasts_as_long_as_its_domain_key() {
    let mut service = Service::new();
    let key = make(&mut service, KeySpec::SymmetricDefault, KeyUsage::EncryptDecrypt);
    let wrapped = Wrapped::new(&mut service, &key, AES);
    let caller = service.caller("ada");
    let request = importing::asking(&key, AES).try_into().unwrap();
    let plan = service.decide(&caller, &request);
    assert!(plan.reply.is_ok());
    rotate_domain_key(&mut service);
    let outcome = service.store.commit(plan.body, service.now_ms);
    let keys = Some(Guarded::Record(RecordId::singleton(Kind::DomainKeys)));
    assert!(matches!(outcome, Outcome::Conflict { on, .. } if on == keys));
    import(&mut service, &wrapped.request(&[7; 32])).unwrap();

    retire_domain_keys(&mut service);
    let refused = import(&mut service, &wrapped.request(&[7; 32]));
    assert_eq!(name(refused), "ExpiredImportTokenException");
    let wrapped = Wrapped::new(&mut service, &key, AES);
    import(&mut service, &wrapped.request(&[7; 32])).unwrap();
}

fn refresh(service: &mut Service) {
    if let Some(next) = service.keyring.refreshed(&service.store).unwrap() {
        service.keyring = next;
    }
}

fn rotate_domain_key(service: &mut Service) {
    service.call("olga", v1::RotateDomainKeyRequest {}).reply.unwrap();
    refresh(service);
}

fn retire_domain_keys(service: &mut Service) {
    let (mut walk, store) = (Walk::new(&service.store).unwrap().unwrap(), service.store.clone());
    let mut again = Vec::new();
    while !walk.is_over() {
        let page = walk.look(&store).unwrap();
        again.extend(service.keyring.seal_again(&page.older, &mut service.entropy).unwrap());
        walk.pass(&page);
    }
    service.store.write(again);
    refresh(service);
    let mut walk = Walk::new(&service.store).unwrap().unwrap();
    while !walk.is_over() {
        walk.pass(&walk.look(&service.store).unwrap());
    }
    service.now_ms += RETIRE_AFTER_MS;
    let proof = walk.nothing_older().unwrap();
    let retired =
        service.keyring.retire_domain_keys(&service.store, service.now_ms, proof).unwrap();
    service.store.write(retired.writes);
    refresh(service);
}

#[test]
fn material_has_a_date_to_expire_at_or_none() {
    let mut service = Service::new();
    let key = make(&mut service, KeySpec::SymmetricDefault, KeyUsage::EncryptDecrypt);
    let wrapped = Wrapped::new(&mut service, &key, AES);
    let with = |model: &str, valid_to_ms: Option<u64>| v1::ImportKeyMaterialRequest {
        expiration_model: model.to_owned(),
        valid_to_ms,
        ..wrapped.request(&[7; 32])
    };
    let (expires, unending) = ("KEY_MATERIAL_EXPIRES", "KEY_MATERIAL_DOES_NOT_EXPIRE");
    let now_ms = service.now_ms;
    let missing = "ValidationException: A validTo date must be set if the ExpirationModel is \
                   KEY_MATERIAL_EXPIRES";
    for model in ["", expires] {
        assert_eq!(import(&mut service, &with(model, None)).unwrap_err(), missing);
    }
    for (model, valid_to_ms) in [
        (expires, Some(now_ms)),
        (expires, Some(0)),
        ("", Some(now_ms + 365 * DAY_MS + 1)),
        (unending, Some(now_ms + DAY_MS)),
        ("NEVER", None),
    ] {
        let refused = import(&mut service, &with(model, valid_to_ms));
        assert_eq!(name(refused), "ValidationException", "{model} {valid_to_ms:?}");
    }
    let shown = |service: &mut Service| {
        let shown = describe(service, &key);
        (shown.expiration_model.unwrap(), shown.valid_to_ms)
    };
    let far = now_ms + 365 * DAY_MS;
    import(&mut service, &with("", Some(far))).unwrap();
    assert_eq!(shown(&mut service), (expires.to_owned(), Some(far)));
    // The same material again changes the date, and takes it away.
    import(&mut service, &with(expires, Some(now_ms + 1))).unwrap();
    assert_eq!(shown(&mut service), (expires.to_owned(), Some(now_ms + 1)));
    // That it has come is for a majority of clocks to say: until then the key is used.
    service.now_ms += 2;
    service.encrypt(&key, b"x");
    import(&mut service, &with(unending, None)).unwrap();
    assert_eq!(shown(&mut service), (unending.to_owned(), None));
}

/// A second material: it waits, becomes current by a rotation, and then both are needed.
#[test]
fn a_key_of_several_materials_needs_all_of_them() {
    let mut service = Service::new();
    let key = make(&mut service, KeySpec::SymmetricDefault, KeyUsage::EncryptDecrypt);
    let wrapped = Wrapped::new(&mut service, &key, "RSAES_OAEP_SHA_1");
    let (a, b, c) = ([1; 32], [2; 32], [3; 32]);
    let of_type = |bytes: &[u8], import_type: &str| v1::ImportKeyMaterialRequest {
        import_type: import_type.to_owned(),
        ..wrapped.request(bytes)
    };
    let (new, existing) = ("NEW_KEY_MATERIAL", "EXISTING_KEY_MATERIAL");
    let incorrect = "IncorrectKeyMaterialException";
    assert_eq!(name(import(&mut service, &of_type(&a, existing))), incorrect);
    let id_a = import(&mut service, &of_type(&a, new)).unwrap().key_material_id.unwrap();
    let by_a = service.encrypt(&key, b"by a");
    assert_eq!(
        rotate(&mut service, &key).unwrap_err(),
        format!(
            "KMSInvalidStateException: No available key material pending rotation for the key: \
             arn:aws:kms:eu:000000000001:key/{key}."
        )
    );

    // B waits; nothing else does beside it; what is known is not new.
    let id_b = import(&mut service, &of_type(&b, new)).unwrap().key_material_id.unwrap();
    let shown = describe(&mut service, &key);
    assert_eq!((shown.current_key_material_id.as_ref(), shown.versions), (Some(&id_a), 1));
    for known in [&a, &b] {
        assert_eq!(name(import(&mut service, &of_type(known, new))), incorrect);
    }
    let refused = import(&mut service, &of_type(&c, new)).unwrap_err();
    let (before, rest) = refused.split_once("(id: ").unwrap();
    assert_eq!(before, "KMSInvalidStateException: New key material ");
    assert_eq!(
        &rest[64..],
        format!(
            ") cannot be imported into KMS key {key}, because another key material (id: {id_b}) is \
             pending rotation."
        )
    );
    // What waits can be deleted, and is then forgotten.
    assert_eq!(delete(&mut service, &key, &id_b).unwrap(), Some(id_b.clone()));
    assert_eq!(state(&mut service, &key), "Enabled");
    assert_eq!(name(delete(&mut service, &key, &id_b)), "NotFoundException");
    assert_eq!(name(import(&mut service, &of_type(&b, existing))), incorrect);
    import(&mut service, &of_type(&b, new)).unwrap();
    import(&mut service, &of_type(&b, "")).unwrap();

    assert_eq!(rotate(&mut service, &key).unwrap().key.unwrap().versions, 2);
    assert_eq!(describe(&mut service, &key).current_key_material_id, Some(id_b.clone()));
    let by_b = service.encrypt(&key, b"by b");
    let opens = |service: &mut Service, ciphertext: &[u8]| {
        let request = common::decrypt(ciphertext);
        ask::<v1::DecryptResponse>(service, "uma", request).map(|opened| {
            (String::from_utf8(opened.plaintext).unwrap(), opened.key_material_id.unwrap())
        })
    };
    assert_eq!(opens(&mut service, &by_a).unwrap(), ("by a".to_owned(), id_a.clone()));

    // Either gone, nothing works; the current one's id stays; each comes back as itself only.
    for (id, bytes, other) in [(&id_a, &a, &b), (&id_b, &b, &a)] {
        delete(&mut service, &key, id).unwrap();
        let shown = describe(&mut service, &key);
        assert_eq!(shown.key_state, "PendingImport");
        assert_eq!(shown.current_key_material_id, Some(id_b.clone()));
        for ciphertext in [&by_a, &by_b] {
            let refused = opens(&mut service, ciphertext).unwrap_err();
            let said = format!("arn:aws:kms:eu:000000000001:key/{key} is pending import.");
            assert_eq!(refused, format!("KMSInvalidStateException: {said}"));
        }
        assert_eq!(name(rotate(&mut service, &key)), "KMSInvalidStateException");
        assert_eq!(name(import(&mut service, &wrapped.request(&c))), incorrect);
        let named = |bytes: &[u8], id: &str| v1::ImportKeyMaterialRequest {
            key_material_id: id.to_owned(),
            ..of_type(bytes, existing)
        };
        assert_eq!(name(import(&mut service, &named(other, id))), incorrect);
        // The other is there already: that makes the key no more whole than it was.
        import(&mut service, &of_type(other, existing)).unwrap();
        assert_eq!(state(&mut service, &key), "PendingImport");
        import(&mut service, &named(bytes, id)).unwrap();
        assert_eq!(state(&mut service, &key), "Enabled");
    }
    // Of several dates the earliest is shown: with it the key is not usable any more.
    for (bytes, days) in [(&a, 1), (&b, 2)] {
        let valid_to_ms = Some(common::NOW_MS + days * DAY_MS);
        let dated = v1::ImportKeyMaterialRequest {
            valid_to_ms,
            expiration_model: String::new(),
            ..wrapped.request(bytes)
        };
        import(&mut service, &dated).unwrap();
    }
    assert_eq!(describe(&mut service, &key).valid_to_ms, Some(common::NOW_MS + DAY_MS));
    assert_eq!(opens(&mut service, &by_a).unwrap().0, "by a");
    assert_eq!(opens(&mut service, &by_b).unwrap(), ("by b".to_owned(), id_b));
}

/// Told once is told again, whatever became of the key meanwhile.
#[test]
fn a_retry_is_told_what_its_first_attempt_was() {
    let mut service = Service::new();
    let key = make(&mut service, KeySpec::SymmetricDefault, KeyUsage::EncryptDecrypt);
    let wrapped = Wrapped::new(&mut service, &key, AES);
    let whole = wrapped.request(&[7; 32]);
    let deletion =
        v1::DeleteImportedKeyMaterialRequest { key_id: key.clone(), ..Default::default() };
    let requests: [Request; 3] = [
        whole.clone().try_into().unwrap(),
        deletion.try_into().unwrap(),
        wrapped.request(&[8; 32]).try_into().unwrap(),
    ];
    let callers: Vec<_> = requests.iter().map(|_| service.caller("ada")).collect();
    let mut first = Vec::new();
    for (request, caller) in requests.iter().zip(&callers) {
        let told = service.call_as(caller, request).reply;
        first.push(format!("{:?}", told.map_err(|refusal| told_of(&refusal))));
    }
    assert!(first[2].contains("IncorrectKeyMaterialException"), "{}", first[2]);
    service.now_ms += 2 * DAY_MS;
    for ((request, caller), first) in requests.iter().zip(&callers).zip(&first) {
        let again = service.call_as(caller, request).reply;
        assert_eq!(&format!("{:?}", again.map_err(|refusal| told_of(&refusal))), first);
    }
    assert_eq!(state(&mut service, &key), "PendingImport");
}

fn told_of(refusal: &Refusal) -> String {
    told(refusal)
}

/// Disabled stays disabled, unless the key comes back from waiting; what is to be deleted takes nothing
/// in, gives up what it has, and waits again if it is kept.
#[test]
fn what_a_keys_state_makes_of_it() {
    let mut service = Service::new();
    let key = make(&mut service, KeySpec::SymmetricDefault, KeyUsage::EncryptDecrypt);
    let wrapped = Wrapped::new(&mut service, &key, AES);
    let whole = wrapped.request(&[7; 32]);
    import(&mut service, &whole).unwrap();
    service.call("ada", v1::DisableKeyRequest { key_id: key.clone() }).reply.unwrap();
    import(&mut service, &whole).unwrap();
    assert_eq!(state(&mut service, &key), "Disabled");
    delete(&mut service, &key, "").unwrap();
    assert_eq!(state(&mut service, &key), "PendingImport");
    let request = v1::EnableKeyRequest { key_id: key.clone() };
    assert_eq!(
        name(ask::<v1::EnableKeyResponse>(&mut service, "ada", request)),
        "KMSInvalidStateException"
    );
    import(&mut service, &whole).unwrap();
    assert_eq!(state(&mut service, &key), "Enabled");

    let deletion =
        v1::ScheduleKeyDeletionRequest { key_id: key.clone(), pending_window_in_days: Some(7) };
    service.call("ada", deletion).reply.unwrap();
    let said = format!(
        "KMSInvalidStateException: arn:aws:kms:eu:000000000001:key/{key} is pending deletion."
    );
    assert_eq!(import(&mut service, &whole).unwrap_err(), said);
    let asking = importing::asking(&key, AES);
    let refused = ask::<v1::GetParametersForImportResponse>(&mut service, "ada", asking);
    assert_eq!(refused.unwrap_err(), said);
    delete(&mut service, &key, "").unwrap();
    assert_eq!(state(&mut service, &key), "PendingDeletion");
    let kept = v1::CancelKeyDeletionRequest { key_id: key.clone() };
    let kept: v1::CancelKeyDeletionResponse = ask(&mut service, "ada", kept).unwrap();
    assert_eq!(kept.key.unwrap().key_state, "PendingImport");
    assert_eq!(state(&mut service, &key), "PendingImport");
    import(&mut service, &whole).unwrap();
    assert_eq!(state(&mut service, &key), "Enabled");
}

#[test]
fn what_does_not_go_together_is_refused_as_aws_does() {
    let mut service = Service::new();
    let made_here = created(service.call("ada", v1::CreateKeyRequest::default())).key_id;
    let origin = format!(
        "UnsupportedOperationException: arn:aws:kms:eu:000000000001:key/{made_here} origin is AWS_KMS \
         which is not valid for this operation."
    );
    let asked = |service: &mut Service, key: &str, algorithm: &str, spec: &str| {
        let request = v1::GetParametersForImportRequest {
            wrapping_key_spec: spec.to_owned(),
            ..importing::asking(key, algorithm)
        };
        ask::<v1::GetParametersForImportResponse>(service, "ada", request).map(|_| ())
    };
    assert_eq!(asked(&mut service, &made_here, AES, "RSA_2048"), Err(origin.clone()));
    assert_eq!(delete(&mut service, &made_here, "").unwrap_err(), origin);
    let hmac = make(&mut service, KeySpec::Hmac256, KeyUsage::GenerateVerifyMac);
    let wrapped = Wrapped::new(&mut service, &hmac, AES);
    let whole = wrapped.request(&[7; 32]);
    let elsewhere = v1::ImportKeyMaterialRequest { key_id: made_here, ..whole.clone() };
    assert_eq!(import(&mut service, &elsewhere).unwrap_err(), origin);

    let unsupported = "UnsupportedOperationException";
    for algorithm in ["RSAES_PKCS1_V1_5", "SM2PKE"] {
        assert_eq!(name(asked(&mut service, &hmac, algorithm, "RSA_2048")), unsupported);
    }
    assert_eq!(name(asked(&mut service, &hmac, AES, "SM2")), unsupported);
    for (algorithm, spec) in [("", "RSA_2048"), (AES, ""), ("AES", "RSA_2048"), (AES, "RSA_1024")] {
        assert_eq!(name(asked(&mut service, &hmac, algorithm, spec)), "ValidationException");
    }
    let rsa = make(&mut service, KeySpec::Rsa2048, KeyUsage::SignVerify);
    assert_eq!(name(asked(&mut service, &rsa, "RSAES_OAEP_SHA_1", "RSA_4096")), unsupported);
    let p521 = make(&mut service, KeySpec::EccNistP521, KeyUsage::SignVerify);
    assert_eq!(name(asked(&mut service, &p521, "RSAES_OAEP_SHA_256", "RSA_2048")), unsupported);

    // Members that only keys for symmetric encryption know.
    let id = "0".repeat(64);
    for request in [
        v1::ImportKeyMaterialRequest { import_type: "NEW_KEY_MATERIAL".into(), ..whole.clone() },
        v1::ImportKeyMaterialRequest { key_material_description: "d".into(), ..whole.clone() },
        v1::ImportKeyMaterialRequest { key_material_id: id.clone(), ..whole.clone() },
    ] {
        assert_eq!(name(import(&mut service, &request)), unsupported);
    }
    for request in [
        v1::ImportKeyMaterialRequest { import_type: "OTHER".into(), ..whole.clone() },
        v1::ImportKeyMaterialRequest { key_material_description: "!".into(), ..whole.clone() },
        v1::ImportKeyMaterialRequest { key_material_description: "d".repeat(257), ..whole.clone() },
        v1::ImportKeyMaterialRequest { key_material_id: "0".repeat(63), ..whole.clone() },
        v1::ImportKeyMaterialRequest { key_material_id: "G".repeat(64), ..whole.clone() },
        v1::ImportKeyMaterialRequest {
            key_material_id: id.clone(),
            import_type: "NEW_KEY_MATERIAL".into(),
            ..whole.clone()
        },
        v1::ImportKeyMaterialRequest { import_token: Vec::new(), ..whole.clone() },
    ] {
        assert_eq!(name(import(&mut service, &request)), "ValidationException");
    }
    assert_eq!(name(delete(&mut service, &hmac, &id)), "NotFoundException");
    // Nothing was ever imported: nothing goes.
    assert_eq!(delete(&mut service, &hmac, ""), Ok(None));
    import(&mut service, &whole).unwrap();
}

/// Unwrapping takes private operations of RSA, so it is done where nobody waits, once.
#[test]
fn what_was_wrapped_is_opened_outside_the_decision() {
    let mut service = Service::new();
    let key = make(&mut service, KeySpec::Hmac256, KeyUsage::GenerateVerifyMac);
    let wrapped = Wrapped::new(&mut service, &key, AES);
    let good = wrapped.request(&[7; 32]);
    let bad = wrapped.request(&[7; 31]);
    for (sent, is_material) in [(bad, false), (good, true)] {
        let request: Request = sent.try_into().unwrap();
        let (caller, store) = (service.caller("ada"), service.store.clone());
        let first = decide(&mut service.ctx(&store, &caller), &request).unwrap();
        let Decision::Compute(computation) = first else { panic!("{first:?}") };
        computation.run();
        for _ in 0..2 {
            let again = decide(&mut service.ctx(&store, &caller), &request).unwrap();
            let Decision::Plan(plan) = again else { panic!("{again:?}") };
            assert_eq!(plan.reply.is_ok(), is_material);
        }
    }
}
