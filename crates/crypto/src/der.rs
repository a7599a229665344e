//! The little DER that keys come in: the outer layers of PKCS#8 (RFC 5208, RFC 5958) and of
//! SubjectPublicKeyInfo (RFC 5280), read strictly, and written for keys that are a seed.
//!
//! aws-lc parses what is inside. These layers are read here as well because aws-lc takes bytes after
//! the structure silently, and because an import must hear whether its key is of another algorithm
//! or no key at all.

use crate::keys::KeyError;
use crate::secret::Secret;

/// Tags of DER, as far as keys have them.
pub(crate) const SEQUENCE: u8 = 0x30;
pub(crate) const INTEGER: u8 = 0x02;
pub(crate) const BIT_STRING: u8 = 0x03;
pub(crate) const OCTET_STRING: u8 = 0x04;
/// `[0]`, primitive: the seed of ML-DSA and ML-KEM (RFC 9881, RFC 9935).
pub(crate) const SEED: u8 = 0x80;

/// An algorithm, by its `AlgorithmIdentifier`'s content, with its name for errors.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct AlgorithmId {
    pub(crate) name: &'static str,
    pub(crate) der: &'static [u8],
}

/// Elements of DER, one after another.
pub(crate) struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The tag of the next element, if there is one.
    pub(crate) fn peek(&self) -> Option<u8> {
        self.0.first().copied()
    }

    /// The content of the next element, which must have `tag`.
    pub(crate) fn next(&mut self, tag: u8) -> Option<&'a [u8]> {
        let (found, content, rest) = element(self.0)?;
        (found == tag).then(|| self.0 = rest)?;
        Some(content)
    }
}

/// Tag, content and what follows. Lengths are definite, minimal, and at most 64 KiB, which no key
/// comes near.
fn element(bytes: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&[tag, first], rest) = bytes.split_first_chunk()?;
    let (len, rest) = match first {
        0..=0x7f => (usize::from(first), rest),
        0x81 => {
            let (&len, rest) = rest.split_first()?;
            (len >= 0x80).then_some((usize::from(len), rest))?
        }
        0x82 => {
            let (&len, rest) = rest.split_first_chunk()?;
            let len = usize::from(u16::from_be_bytes(len));
            (len >= 0x100).then_some((len, rest))?
        }
        _ => return None,
    };
    let (content, rest) = rest.split_at_checked(len)?;
    Some((tag, content, rest))
}

/// The content of the one element that `bytes` are.
fn only(bytes: &[u8], tag: u8) -> Option<&[u8]> {
    let mut reader = Reader::new(bytes);
    let content = reader.next(tag)?;
    reader.is_empty().then_some(content)
}

/// The private key inside a PKCS#8 of `algorithm`: what its OCTET STRING holds.
///
/// Attributes and a public key may follow it (RFC 5958); nothing may follow the whole.
pub(crate) fn private_key<'a>(
    pkcs8: &'a [u8],
    algorithm: &AlgorithmId,
) -> Result<&'a [u8], KeyError> {
    let (found, key) = pkcs8_parts(pkcs8).ok_or(KeyError::NotPkcs8)?;
    if found == algorithm.der { Ok(key) } else { Err(other_than(algorithm)) }
}

fn pkcs8_parts(pkcs8: &[u8]) -> Option<(&[u8], &[u8])> {
    let mut parts = Reader::new(only(pkcs8, SEQUENCE)?);
    matches!(parts.next(INTEGER)?, [0 | 1]).then_some(())?;
    Some((parts.next(SEQUENCE)?, parts.next(OCTET_STRING)?))
}

/// The public key inside a SubjectPublicKeyInfo of `algorithm`: what its BIT STRING holds.
pub(crate) fn public_key<'a>(
    spki: &'a [u8],
    algorithm: &AlgorithmId,
) -> Result<&'a [u8], KeyError> {
    let (found, key) = spki_parts(spki).ok_or(KeyError::NotSpki)?;
    if found == algorithm.der { Ok(key) } else { Err(other_than(algorithm)) }
}

fn spki_parts(spki: &[u8]) -> Option<(&[u8], &[u8])> {
    let mut parts = Reader::new(only(spki, SEQUENCE)?);
    let (algorithm, bits) = (parts.next(SEQUENCE)?, parts.next(BIT_STRING)?);
    let (&unused_bits, key) = bits.split_first()?;
    (unused_bits == 0 && parts.is_empty()).then_some((algorithm, key))
}

fn other_than(algorithm: &AlgorithmId) -> KeyError {
    KeyError::OtherAlgorithm { expected: algorithm.name }
}

/// The SubjectPublicKeyInfo of a public key that is raw bytes.
pub(crate) fn spki(algorithm: &AlgorithmId, key: &[u8]) -> Vec<u8> {
    let bits = [&[0], key].concat();
    let content = [encoded(SEQUENCE, algorithm.der), encoded(BIT_STRING, &bits)].concat();
    encoded(SEQUENCE, &content)
}

fn encoded(tag: u8, content: &[u8]) -> Vec<u8> {
    let len = u16::try_from(content.len()).expect("no public key is 64 KiB long");
    let [high, low] = len.to_be_bytes();
    let head: &[u8] = match len {
        0..=0x7f => &[tag, low],
        0x80..=0xff => &[tag, 0x81, low],
        _ => &[tag, 0x82, high, low],
    };
    [head, content].concat()
}

/// The PKCS#8 (version 1) of a private key that is a seed: `seed` under `tag`.
///
/// It is written in place, for the seed must leave no copy behind.
pub(crate) fn seed_pkcs8(algorithm: &AlgorithmId, tag: u8, seed: &[u8]) -> Secret {
    let short = |len: usize| u8::try_from(len).ok().filter(|len| *len < 0x80);
    let len = |len| short(len).expect("a seed is at most 64 bytes, and what is around it 30");
    let inner = seed.len() + 2;
    let content = 3 + 2 + algorithm.der.len() + 2 + inner;
    let version = [SEQUENCE, len(content), INTEGER, 1, 0];
    let around = [OCTET_STRING, len(inner), tag, len(seed.len())];
    let algorithm_head = [SEQUENCE, len(algorithm.der.len())];

    let mut out = Secret::zeroed(2 + content);
    let mut rest = out.expose_mut();
    for part in [&version[..], &algorithm_head, algorithm.der, &around, seed] {
        let (now, later) = rest.split_at_mut(part.len());
        now.copy_from_slice(part);
        rest = later;
    }
    debug_assert!(rest.is_empty(), "every length was counted");
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    const ED25519: AlgorithmId =
        AlgorithmId { name: "Ed25519", der: &[0x06, 0x03, 0x2b, 0x65, 0x70] };

    #[test]
    fn a_seed_comes_back_out_of_its_pkcs8() {
        for (tag, seed) in [(OCTET_STRING, &[7; 32][..]), (SEED, &[9; 64])] {
            let written = seed_pkcs8(&ED25519, tag, seed);
            let inner = private_key(written.expose(), &ED25519).unwrap();
            assert_eq!(Reader::new(inner).next(tag), Some(seed));
        }
    }

    #[test]
    fn a_public_key_comes_back_out_of_its_spki() {
        for len in [0, 1, 32, 116, 117, 118, 119, 240, 241, 250, 1568, 2592] {
            let key = vec![5; len];
            let written = spki(&ED25519, &key);
            assert_eq!(public_key(&written, &ED25519), Ok(&key[..]), "{len} bytes");
        }
    }

    #[test]
    fn no_byte_more_and_no_byte_less() {
        let written = spki(&ED25519, &[5; 32]);
        assert_eq!(public_key(&[&written[..], &[0]].concat(), &ED25519), Err(KeyError::NotSpki));
        for len in 0..written.len() {
            assert_eq!(public_key(&written[..len], &ED25519), Err(KeyError::NotSpki), "{len}");
        }
        let private = seed_pkcs8(&ED25519, OCTET_STRING, &[7; 32]);
        for len in 0..private.len() {
            let cut = private_key(&private.expose()[..len], &ED25519);
            assert_eq!(cut, Err(KeyError::NotPkcs8), "{len}");
        }
        let longer = [private.expose(), &[0]].concat();
        assert_eq!(private_key(&longer, &ED25519), Err(KeyError::NotPkcs8));
    }

    #[test]
    fn lengths_are_definite_and_minimal() {
        let long = [vec![4, 0x81, 0x80], vec![1; 0x80]].concat();
        assert_eq!(only(&long, 4), Some(&[1; 0x80][..]));
        for wrong in [
            &[4, 0x80, 0, 0][..],
            &[4, 0x81, 1, 1],
            &[4, 0x82, 0, 1, 1],
            &[4, 0x84, 0, 0, 0, 1, 1],
            &[4, 2, 1],
            &[4],
        ] {
            assert_eq!(only(wrong, 4), None, "{wrong:?}");
        }
    }
}
