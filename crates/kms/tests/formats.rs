//! Golden bytes of the ciphertext, and what must never open.
#![allow(clippy::unwrap_used, reason = "clippy takes helpers of tests for none")]

use conclave_crypto::{Key, Secret, SeededEntropy, aead};
use conclave_kms::KeyId;
use conclave_kms::ciphertext::{Envelope, Header, seal};
use conclave_kms::fields::EncryptionContext;
use proptest::collection::{btree_map, vec};
use proptest::prelude::*;

const HEADER: Header = Header { key: KeyId::new([0x11; 16]), version: 0x0203_0405 };

fn context(pairs: &[(&str, &str)]) -> EncryptionContext {
    EncryptionContext::parse(pairs.iter().map(|(n, v)| ((*n).into(), (*v).into()))).unwrap()
}

fn key(byte: u8) -> Key {
    Key::from_slice(&[byte; 32]).unwrap()
}

fn sealed(context: &EncryptionContext, plaintext: &[u8]) -> Vec<u8> {
    let plaintext = Secret::copy_from(plaintext);
    seal(HEADER, &key(1), context, &plaintext, &mut SeededEntropy::from_number(1))
}

/// A kept format: if this fails, every ciphertext that users hold is lost.
#[test]
fn golden_ciphertext() {
    let context = context(&[("purpose", "test"), ("a", "")]);
    let golden = "c04e560111111111111111111111111111111111020304056b340be3d3342b0dde7a1fe0b56d5c2b\
                  ab9a1dacb878631948d8ebdd0d6e3a6774d075ceaf6389f80356f7a5e4ed6ef012";
    assert_eq!(hex::encode(sealed(&context, b"plaintext")), golden);
    let golden = hex::decode(golden).unwrap();
    let envelope = Envelope::parse(&golden).unwrap();
    assert_eq!(envelope.header, HEADER);
    assert_eq!(envelope.open(&key(1), &context).unwrap().expose(), b"plaintext");

    // The associated data, written down by hand.
    let mut aad = b"conclave/kms/ciphertext/v1".to_vec();
    aad.extend_from_slice(&golden[..24]);
    aad.extend_from_slice(b"\0\0\0\x02\0\0\0\x01a\0\0\0\0\0\0\0\x07purpose\0\0\0\x04test");
    assert_eq!(aead::open(&key(1), &aad, &golden[24..]).unwrap().expose(), b"plaintext");
}

/// Names and values cannot move into one another.
#[test]
fn contexts_of_the_same_letters_differ() {
    let ciphertext = sealed(&context(&[("ab", "c")]), b"x");
    let envelope = Envelope::parse(&ciphertext).unwrap();
    for other in [
        context(&[("a", "bc")]),
        context(&[("abc", "")]),
        context(&[("a", "b"), ("c", "")]),
        context(&[]),
    ] {
        assert!(envelope.open(&key(1), &other).is_none());
    }
    assert!(envelope.open(&key(2), &context(&[("ab", "c")])).is_none());
}

fn contexts() -> impl Strategy<Value = EncryptionContext> {
    btree_map("[a-c]{1,3}", "[a-c]{0,3}", 0..4)
        .prop_map(|pairs| EncryptionContext::parse(pairs).unwrap())
}

proptest! {
    #[test]
    fn what_was_sealed_opens(plaintext in vec(any::<u8>(), 0..300), context in contexts()) {
        let ciphertext = sealed(&context, &plaintext);
        let opened = Envelope::parse(&ciphertext).unwrap().open(&key(1), &context).unwrap();
        prop_assert_eq!(opened.expose(), &plaintext[..]);
    }

    #[test]
    fn any_flipped_bit_is_refused(
        plaintext in vec(any::<u8>(), 0..100),
        position in any::<prop::sample::Index>(),
        bit in 0..8,
    ) {
        let context = context(&[("a", "b")]);
        let mut ciphertext = sealed(&context, &plaintext);
        let position = position.index(ciphertext.len());
        ciphertext[position] ^= 1_u8 << bit;
        let opened = Envelope::parse(&ciphertext).and_then(|it| it.open(&key(1), &context));
        prop_assert!(opened.is_none());
    }

    #[test]
    fn any_other_length_is_refused(cut in any::<prop::sample::Index>(), longer in any::<bool>()) {
        let context = context(&[]);
        let mut ciphertext = sealed(&context, b"plaintext");
        if longer { ciphertext.push(0) } else { ciphertext.truncate(cut.index(ciphertext.len())) }
        let opened = Envelope::parse(&ciphertext).and_then(|it| it.open(&key(1), &context));
        prop_assert!(opened.is_none());
    }

    #[test]
    fn any_other_context_is_refused(one in contexts(), other in contexts()) {
        prop_assume!(one != other);
        let ciphertext = sealed(&one, b"plaintext");
        prop_assert!(Envelope::parse(&ciphertext).unwrap().open(&key(1), &other).is_none());
    }

    #[test]
    fn no_bytes_make_it_panic(bytes in vec(any::<u8>(), 0..200)) {
        if let Some(envelope) = Envelope::parse(&bytes) {
            prop_assert!(envelope.open(&key(1), &context(&[])).is_none());
        }
    }
}
