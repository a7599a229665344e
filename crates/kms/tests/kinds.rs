//! Every kind of key through the service: made, used as it is for, refused for anything else.
#![allow(clippy::unwrap_used, reason = "clippy takes helpers of tests for none")]

mod common;

use common::{Service, created};
use conclave_crypto::{ecdh, rsa};
use conclave_kms::{KeySpec, KeyUsage, Request};
use conclave_proto::v1;

/// All that can be made, each for each of its usages. RSA is made in the smallest size here, since
/// tests are not optimised; the other sizes differ in a number.
fn kinds() -> Vec<(KeySpec, KeyUsage)> {
    let slow = [KeySpec::Rsa3072, KeySpec::Rsa4096, KeySpec::Sm2];
    let specs = KeySpec::ALL.iter().copied().filter(|spec| !slow.contains(spec));
    specs.flat_map(|spec| spec.usages().iter().map(move |usage| (spec, *usage))).collect()
}

fn make(service: &mut Service, spec: KeySpec, usage: KeyUsage) -> String {
    let request = v1::CreateKeyRequest {
        key_spec: spec.name().to_owned(),
        key_usage: usage.name().to_owned(),
        ..Default::default()
    };
    let key = created(service.call("ada", request));
    assert_eq!((key.key_spec.as_str(), key.key_usage.as_str()), (spec.name(), usage.name()));
    assert_eq!((key.key_state.as_str(), key.enabled, key.versions), ("Enabled", true, 1));
    assert_eq!(key.current_key_material_id.is_some(), spec == KeySpec::SymmetricDefault);
    assert_eq!(key.customer_master_key_spec.is_some(), spec.has_old_name());
    key.key_id
}

/// What an operation answered, or the exception it was refused with.
fn ask<R>(
    service: &mut Service,
    request: impl TryInto<Request, Error = conclave_kms::Refusal>,
) -> Result<R, String>
where
    R: TryFrom<conclave_kms::Response>,
{
    let request = request.try_into().map_err(|refusal: conclave_kms::Refusal| told(&refusal))?;
    let caller = service.caller("uma");
    match service.call_as(&caller, &request).reply {
        Ok(response) => Ok(R::try_from(response).ok().unwrap()),
        Err(refusal) => Err(told(&refusal)),
    }
}

fn told(refusal: &conclave_kms::Refusal) -> String {
    format!("{}: {}", refusal.name(), refusal.message())
}

fn public_key(service: &mut Service, key: &str) -> Result<v1::GetPublicKeyResponse, String> {
    let request = v1::GetPublicKeyRequest { key_id: key.to_owned(), ..Default::default() };
    ask(service, request)
}

fn sign(key: &str, algorithm: &str, message: &[u8], message_type: &str) -> v1::SignRequest {
    v1::SignRequest {
        key_id: key.to_owned(),
        message: message.to_vec(),
        message_type: message_type.to_owned(),
        signing_algorithm: algorithm.to_owned(),
        ..Default::default()
    }
}

fn verify(signed: &v1::SignRequest, signature: Vec<u8>) -> v1::VerifyRequest {
    v1::VerifyRequest {
        key_id: signed.key_id.clone(),
        message: signed.message.clone(),
        message_type: signed.message_type.clone(),
        signing_algorithm: signed.signing_algorithm.clone(),
        signature,
        ..Default::default()
    }
}

fn mac(key: &str, algorithm: &str) -> v1::GenerateMacRequest {
    v1::GenerateMacRequest {
        key_id: key.to_owned(),
        message: b"message".to_vec(),
        mac_algorithm: algorithm.to_owned(),
        ..Default::default()
    }
}

#[test]
fn every_kind_does_what_it_is_for() {
    let mut service = Service::new();
    for (spec, usage) in kinds() {
        let key = make(&mut service, spec, usage);
        assert_eq!(public_key(&mut service, &key).is_ok(), spec.is_asymmetric(), "{}", spec.name());
        match usage {
            KeyUsage::EncryptDecrypt => encrypts(&mut service, spec, &key),
            KeyUsage::SignVerify => signs(&mut service, spec, &key),
            KeyUsage::GenerateVerifyMac => macs(&mut service, spec, &key),
            KeyUsage::KeyAgreement => agrees(&mut service, spec, &key),
            KeyUsage::EncapsulateDecapsulate => encapsulates(&mut service, &key),
        }
    }
}

fn encrypts(service: &mut Service, spec: KeySpec, key: &str) {
    for algorithm in spec.encryption_algorithms() {
        let request = v1::EncryptRequest {
            encryption_algorithm: algorithm.name().to_owned(),
            ..common::encrypt(key, b"plaintext")
        };
        let sealed: v1::EncryptResponse = ask(service, request).unwrap();
        assert_eq!(sealed.encryption_algorithm, algorithm.name());
        let mut request = v1::DecryptRequest {
            key_id: key.to_owned(),
            encryption_algorithm: algorithm.name().to_owned(),
            ..common::decrypt(&sealed.ciphertext_blob)
        };
        let opened: v1::DecryptResponse = ask(service, request.clone()).unwrap();
        assert_eq!(opened.plaintext, b"plaintext");
        *request.ciphertext_blob.last_mut().unwrap() ^= 1;
        let refused = ask::<v1::DecryptResponse>(service, request).unwrap_err();
        assert_eq!(refused, "InvalidCiphertextException: ");
    }
}

fn signs(service: &mut Service, spec: KeySpec, key: &str) {
    for algorithm in spec.signing_algorithms() {
        let mut forms = vec![("RAW", b"message".to_vec())];
        match algorithm.name() {
            "ED25519_PH_SHA_512" => forms = vec![("DIGEST", vec![7; 64])],
            "ED25519_SHA_512" => {}
            "ML_DSA_SHAKE_256" => forms.push(("EXTERNAL_MU", vec![7; 64])),
            name if name.ends_with("256") => forms.push(("DIGEST", vec![7; 32])),
            name if name.ends_with("384") => forms.push(("DIGEST", vec![7; 48])),
            _ => forms.push(("DIGEST", vec![7; 64])),
        }
        for (message_type, message) in forms {
            let request = sign(key, algorithm.name(), &message, message_type);
            let signed: v1::SignResponse = ask(service, request.clone()).unwrap();
            let mut bad = signed.signature.clone();
            let verified: v1::VerifyResponse =
                ask(service, verify(&request, signed.signature)).unwrap();
            assert!(verified.signature_valid);
            bad[10] ^= 1;
            let refused = ask::<v1::VerifyResponse>(service, verify(&request, bad)).unwrap_err();
            assert_eq!(refused, "KMSInvalidSignatureException: ", "{} {request:?}", spec.name());
            if message_type != "RAW" {
                let short = sign(key, algorithm.name(), &message[1..], message_type);
                let refused = ask::<v1::SignResponse>(service, short).unwrap_err();
                let name = algorithm.name();
                let expected = format!("Digest is invalid length for algorithm {name}.");
                assert_eq!(refused, format!("ValidationException: {expected}"));
            }
        }
    }
}

fn macs(service: &mut Service, spec: KeySpec, key: &str) {
    let algorithm = spec.mac_algorithms()[0].name();
    let made: v1::GenerateMacResponse = ask(service, mac(key, algorithm)).unwrap();
    let mut request = v1::VerifyMacRequest {
        key_id: key.to_owned(),
        message: b"message".to_vec(),
        mac_algorithm: algorithm.to_owned(),
        mac: made.mac,
        ..Default::default()
    };
    let verified: v1::VerifyMacResponse = ask(service, request.clone()).unwrap();
    assert!(verified.mac_valid);
    request.mac[0] ^= 1;
    let refused = ask::<v1::VerifyMacResponse>(service, request).unwrap_err();
    assert_eq!(refused, "KMSInvalidMacException: ");
}

fn agrees(service: &mut Service, spec: KeySpec, key: &str) {
    let curve = match spec {
        KeySpec::EccNistP256 => conclave_crypto::ec::Curve::P256,
        KeySpec::EccNistP384 => conclave_crypto::ec::Curve::P384,
        _ => conclave_crypto::ec::Curve::P521,
    };
    let mine = ecdh::PrivateKey::generate(curve).unwrap();
    let request = v1::DeriveSharedSecretRequest {
        key_id: key.to_owned(),
        key_agreement_algorithm: "ECDH".to_owned(),
        public_key: mine.public().spki().to_vec(),
        ..Default::default()
    };
    let derived: v1::DeriveSharedSecretResponse = ask(service, request.clone()).unwrap();
    let theirs = public_key(service, key).unwrap().public_key;
    let theirs = ecdh::PublicKey::from_spki(curve, &theirs).unwrap();
    assert_eq!(derived.shared_secret, mine.agree(&theirs).unwrap().expose());
    let bad = v1::DeriveSharedSecretRequest { public_key: vec![1, 2, 3], ..request };
    let refused = ask::<v1::DeriveSharedSecretResponse>(service, bad).unwrap_err();
    assert_eq!(refused, "ValidationException: ");
}

fn encapsulates(service: &mut Service, key: &str) {
    let request = v1::EncapsulateRequest {
        key_id: key.to_owned(),
        encapsulation_algorithm: "ML_KEM".to_owned(),
        ..Default::default()
    };
    let made: v1::EncapsulateResponse = ask(service, request).unwrap();
    let request = v1::DecapsulateRequest {
        key_id: key.to_owned(),
        shared_secret_ciphertext_blob: made.shared_secret_ciphertext_blob,
        encapsulation_algorithm: "ML_KEM".to_owned(),
        ..Default::default()
    };
    let opened: v1::DecapsulateResponse = ask(service, request).unwrap();
    assert_eq!(opened.shared_secret, made.shared_secret);
}

/// Each usage's operation, on a key of each other usage.
#[test]
fn a_key_is_for_one_thing_only() {
    let mut service = Service::new();
    for (spec, usage) in kinds() {
        let key = make(&mut service, spec, usage);
        let arn = format!("arn:aws:kms:eu:000000000001:key/{key}");
        let kem = v1::EncapsulateRequest {
            key_id: key.clone(),
            encapsulation_algorithm: "ML_KEM".to_owned(),
            ..Default::default()
        };
        let tried: [(KeyUsage, &str, Request); 4] = [
            (KeyUsage::EncryptDecrypt, "Encrypt", common::encrypt(&key, b"x").try_into().unwrap()),
            (
                KeyUsage::SignVerify,
                "Sign",
                sign(&key, "ECDSA_SHA_256", b"x", "").try_into().unwrap(),
            ),
            (
                KeyUsage::GenerateVerifyMac,
                "GenerateMac",
                mac(&key, "HMAC_SHA_256").try_into().unwrap(),
            ),
            (KeyUsage::EncapsulateDecapsulate, "Encapsulate", kem.try_into().unwrap()),
        ];
        for (wanted, name, request) in tried {
            if wanted == usage {
                continue;
            }
            let caller = service.caller("uma");
            let refused = service.call_as(&caller, &request).reply.unwrap_err();
            let said =
                format!("{arn} key usage is {} which is not valid for {name}.", usage.name());
            assert_eq!(told(&refused), format!("InvalidKeyUsageException: {said}"));
        }
    }
}

#[test]
fn what_does_not_go_together_is_refused_as_aws_does() {
    let create = |spec: &str, usage: &str| {
        let request = v1::CreateKeyRequest {
            key_spec: spec.to_owned(),
            key_usage: usage.to_owned(),
            ..Default::default()
        };
        Request::try_from(request).map(|_| ()).map_err(|refusal| told(&refusal))
    };
    assert_eq!(
        create("HMAC_256", "").unwrap_err(),
        "ValidationException: You must specify a KeyUsage value for all KMS keys except for \
         symmetric encryption keys."
    );
    assert_eq!(
        create("RSA_2048", "KEY_AGREEMENT").unwrap_err(),
        "ValidationException: KeyUsage KEY_AGREEMENT is not compatible with KeySpec RSA_2048"
    );
    assert!(create("SM2", "SIGN_VERIFY").unwrap_err().starts_with("UnsupportedOperationException"));
    assert!(create("X", "").unwrap_err().contains("Value 'X' at 'keySpec'"));

    let mut service = Service::new();
    let key = make(&mut service, KeySpec::Hmac224, KeyUsage::GenerateVerifyMac);
    assert_eq!(
        ask::<v1::GenerateMacResponse>(&mut service, mac(&key, "HMAC_SHA_256")).unwrap_err(),
        "InvalidKeyUsageException: Algorithm HMAC_SHA_256 is incompatible with key spec HMAC_224."
    );
    let key = make(&mut service, KeySpec::Rsa2048, KeyUsage::EncryptDecrypt);
    for (algorithm, max) in [("RSAES_OAEP_SHA_1", 214), ("RSAES_OAEP_SHA_256", 190)] {
        let request = |bytes: usize| v1::EncryptRequest {
            encryption_algorithm: algorithm.to_owned(),
            ..common::encrypt(&key, &vec![1; bytes])
        };
        assert!(ask::<v1::EncryptResponse>(&mut service, request(max)).is_ok());
        assert_eq!(
            ask::<v1::EncryptResponse>(&mut service, request(max + 1)).unwrap_err(),
            format!(
                "ValidationException: Algorithm {algorithm} and key spec RSA_2048 cannot encrypt \
                 data larger than {max} bytes."
            )
        );
    }
    let rotated = service.call("ada", v1::RotateKeyOnDemandRequest { key_id: key });
    assert_eq!(told(&rotated.reply.unwrap_err()), "UnsupportedOperationException: ");
}

/// A pair is of use without the service, and its private key comes back by Decrypt.
#[test]
fn data_key_pairs_are_whole() {
    let mut service = Service::new();
    let key = service.key("");
    for spec in KeySpec::ALL.iter().filter(|spec| spec.is_data_key_pair()) {
        if matches!(spec, KeySpec::Sm2 | KeySpec::Rsa3072 | KeySpec::Rsa4096) {
            continue;
        }
        let request = v1::GenerateDataKeyPairRequest {
            key_id: key.clone(),
            key_pair_spec: spec.name().to_owned(),
            ..Default::default()
        };
        let pair: v1::GenerateDataKeyPairResponse = ask(&mut service, request).unwrap();
        let opened: v1::DecryptResponse =
            ask(&mut service, common::decrypt(&pair.private_key_ciphertext_blob)).unwrap();
        assert_eq!(opened.plaintext, pair.private_key_plaintext);
        if *spec == KeySpec::Rsa2048 {
            let size = rsa::Size::Rsa2048;
            let private = rsa::DecryptingKey::from_pkcs8(size, &opened.plaintext).unwrap();
            assert_eq!(private.public().spki(), pair.public_key);
        }
    }
}

/// The last check of all: whatever else would be refused is refused as it is.
#[test]
fn a_dry_run_changes_nothing_and_says_that_it_would_have_been_done() {
    let mut service = Service::new();
    let key = service.key("");
    let request = |key: &str| v1::EncryptRequest { dry_run: true, ..common::encrypt(key, b"x") };
    assert_eq!(
        ask::<v1::EncryptResponse>(&mut service, request(&key)).unwrap_err(),
        "DryRunOperationException: The request would have succeeded, but the DryRun option is set."
    );
    service.call("ada", v1::DisableKeyRequest { key_id: key.clone() });
    let refused = ask::<v1::EncryptResponse>(&mut service, request(&key)).unwrap_err();
    assert!(refused.starts_with("DisabledException"), "{refused}");
}

/// Only what was done counts: a refused use is none.
#[test]
fn the_last_use_of_a_key_is_known() {
    let mut service = Service::new();
    let key = service.key("");
    let request = v1::GetKeyLastUsageRequest { key_id: key.clone() };
    let unused: v1::GetKeyLastUsageResponse = ask(&mut service, request.clone()).unwrap();
    assert!(unused.key_last_usage.is_none());
    service.encrypt(&key, b"x");
    service.now_ms += 1000;
    let of_key = v1::EncryptRequest { dry_run: true, ..common::encrypt(&key, b"x") };
    ask::<v1::EncryptResponse>(&mut service, of_key).unwrap_err();
    let used: v1::GetKeyLastUsageResponse = ask(&mut service, request).unwrap();
    let last = used.key_last_usage.unwrap();
    assert_eq!((last.operation.as_str(), last.timestamp_ms), ("Encrypt", common::NOW_MS));
}
