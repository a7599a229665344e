//! HKDF-SHA256 (RFC 5869): extraction by HMAC, expansion by aws-lc-rs.
//!
//! Labels are the callers'. The parts of `info` are put one after another with nothing between, so
//! whoever passes more than one part of varying length must write the lengths down too.

use aws_lc_rs::hkdf::{HKDF_SHA256, KeyType, Prk};
use aws_lc_rs::hmac::{self, HMAC_SHA256};

use crate::secret::Key;

/// The most that one key expands to, in bytes (RFC 5869: 255 digests).
pub const EXPAND_LEN_MAX: usize = 255 * 32;

/// HKDF-Extract: a uniform key out of `ikm`, which may be of any length and structure. An empty salt
/// stands for 32 zeros, as the RFC has it.
pub fn extract(salt: &[u8], ikm: &[u8]) -> Key {
    let salt = hmac::Key::new(HMAC_SHA256, salt);
    let mut prk = Key::zeroed();
    hmac::sign_to_buffer(&salt, ikm, prk.expose_mut())
        .expect("a SHA-256 tag fits into 32 bytes, and no other input is refused");
    prk
}

/// HKDF-Expand: fills all of `out` from `prk`.
///
/// # Errors
/// [`ExpandError`] if `out` is longer than [`EXPAND_LEN_MAX`].
pub fn expand(prk: &Key, info: &[&[u8]], out: &mut [u8]) -> Result<(), ExpandError> {
    let wanted = out.len();
    if wanted > EXPAND_LEN_MAX {
        return Err(ExpandError { wanted });
    }
    if wanted == 0 {
        return Ok(());
    }
    expand_bounded(prk, info, out);
    Ok(())
}

/// HKDF-Expand to one more key.
pub fn derive(key: &Key, info: &[&[u8]]) -> Key {
    let mut derived = Key::zeroed();
    expand_bounded(key, info, derived.expose_mut());
    derived
}

/// Expands to between 1 and [`EXPAND_LEN_MAX`] bytes, a length the library cannot refuse.
fn expand_bounded(prk: &Key, info: &[&[u8]], out: &mut [u8]) {
    Prk::new_less_safe(HKDF_SHA256, prk.expose())
        .expand(info, OutputLen(out.len()))
        .and_then(|okm| okm.fill(out))
        .expect("the length is bounded and is the buffer's own");
}

struct OutputLen(usize);

impl KeyType for OutputLen {
    fn len(&self) -> usize {
        self.0
    }
}

/// More bytes were asked for than HKDF gives from one key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("HKDF-SHA256 gives at most 8160 bytes from one key, {wanted} were asked for")]
pub struct ExpandError {
    /// How many bytes were asked for.
    pub wanted: usize,
}
