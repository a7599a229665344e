//! AES-256 key wrap with padding (RFC 5649, NIST SP 800-38F's KWP), by aws-lc-rs.

use aws_lc_rs::key_wrap::{AES_256, AesKek, KeyWrapPadded};

use crate::secret::{Key, Secret};

/// What wrapping adds at most: the integrity block, and the padding to whole blocks.
const OVERHEAD_MAX: usize = 15;

/// Wraps `material` under `kek`. The same material always gives the same bytes.
///
/// # Errors
/// [`WrapError`] if there is nothing to wrap.
pub fn wrap(kek: &Key, material: &[u8]) -> Result<Vec<u8>, WrapError> {
    let mut out = vec![0; material.len() + OVERHEAD_MAX];
    let len = aes(kek).wrap_with_padding(material, &mut out).map_err(|_| WrapError)?.len();
    out.truncate(len);
    Ok(out)
}

/// Opens what [`wrap`] made under the same `kek`.
///
/// # Errors
/// [`UnwrapError`] if it was made under another key, was changed, or never was.
pub fn unwrap(kek: &Key, wrapped: &[u8]) -> Result<Secret, UnwrapError> {
    let mut out = Secret::zeroed(wrapped.len());
    let opened = aes(kek).unwrap_with_padding(wrapped, out.expose_mut());
    Ok(Secret::copy_from(opened.map_err(|_| UnwrapError)?))
}

fn aes(kek: &Key) -> AesKek {
    AesKek::new(&AES_256, kek.expose()).expect("a key has 32 bytes")
}

/// There is nothing to wrap.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("no bytes to wrap")]
pub struct WrapError;

/// Wrapped bytes do not open under this key: nothing says why.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the wrapped key does not open under this wrapping key")]
pub struct UnwrapError;
