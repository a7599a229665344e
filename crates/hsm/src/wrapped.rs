//! The bytes that [`wrap`](crate::TokenSession::wrap) makes: which key, and what it encrypted.
//!
//! ```text
//! format = 1 [1] ‖ CKA_ID of the key [16] ‖ IV [12] ‖ ciphertext ‖ tag [16]
//! ```
//!
//! The key's id is in front so that a lost key is told apart from altered bytes, and so that a
//! second key under the same label cannot take the place of the first. It needs no protection of
//! its own: another id is another key, and that one does not authenticate the rest.

use crate::error::HsmError;

/// The one format there is.
const FORMAT: u8 = 1;
/// Length of a key's id (`CKA_ID`), bytes.
pub(crate) const KEY_ID_LEN: usize = 16;
/// Length of the initialisation vector, bytes: the one GCM is made for.
pub(crate) const IV_LEN: usize = 12;
/// Length of the tag, bytes.
pub(crate) const TAG_LEN: usize = 16;
/// Longest plaintext, bytes: a wrapped value is a share or a key, not data.
pub const PLAINTEXT_LEN_MAX: usize = 4096;
/// Longest additional data, bytes.
pub const AAD_LEN_MAX: usize = 4096;
/// What wrapping adds to a plaintext, bytes.
pub const OVERHEAD: usize = 1 + KEY_ID_LEN + IV_LEN + TAG_LEN;

/// An id of a key in the token (`CKA_ID`), random and never used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct KeyId(pub(crate) [u8; KEY_ID_LEN]);

/// A wrapped value taken apart.
#[derive(Debug)]
pub(crate) struct Parts<'a> {
    pub(crate) key_id: KeyId,
    pub(crate) iv: [u8; IV_LEN],
    /// Ciphertext ‖ tag.
    pub(crate) sealed: &'a [u8],
}

pub(crate) fn join(key_id: &KeyId, iv: &[u8; IV_LEN], sealed: &[u8]) -> Vec<u8> {
    [&[FORMAT], key_id.0.as_slice(), iv.as_slice(), sealed].concat()
}

pub(crate) fn split(bytes: &[u8]) -> Result<Parts<'_>, HsmError> {
    let malformed = HsmError::Malformed { bytes: bytes.len() };
    if !(OVERHEAD..=OVERHEAD + PLAINTEXT_LEN_MAX).contains(&bytes.len()) {
        return Err(malformed);
    }
    let Some((&[FORMAT], rest)) = bytes.split_first_chunk() else { return Err(malformed) };
    let Some((key_id, rest)) = rest.split_first_chunk() else { return Err(malformed) };
    let Some((iv, sealed)) = rest.split_first_chunk() else { return Err(malformed) };
    Ok(Parts { key_id: KeyId(*key_id), iv: *iv, sealed })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_come_apart_as_they_were_joined() {
        let bytes = join(&KeyId([7; 16]), &[9; 12], &[1; 48]);
        assert_eq!(bytes.len(), 32 + OVERHEAD);
        assert_eq!((bytes[0], bytes[1], bytes[17], bytes[29]), (1, 7, 9, 1));
        let parts = split(&bytes).unwrap();
        assert_eq!((parts.key_id, parts.iv, parts.sealed), (KeyId([7; 16]), [9; 12], &[1; 48][..]));
    }

    proptest::proptest! {
        #[test]
        fn whatever_comes_apart_is_whole(bytes in proptest::collection::vec(0..3_u8, 0..200)) {
            if let Ok(parts) = split(&bytes) {
                proptest::prop_assert_eq!(join(&parts.key_id, &parts.iv, parts.sealed), bytes);
            }
        }
    }

    #[test]
    fn other_bytes_are_refused() {
        let good = join(&KeyId([7; 16]), &[9; 12], &[1; 16]);
        split(&good).unwrap();
        split(&good[..good.len() - 1]).unwrap_err();
        split(&[]).unwrap_err();
        let other_format = [&[2], &good[1..]].concat();
        split(&other_format).unwrap_err();
        split(&[1; OVERHEAD + PLAINTEXT_LEN_MAX + 1]).unwrap_err();
    }
}
