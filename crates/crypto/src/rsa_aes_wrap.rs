//! RSA-AES key wrap (PKCS #11 3.0, `CKM_RSA_AES_KEY_WRAP`): an AES-256 key, new each time, under RSA
//! OAEP, and behind it what is wrapped, under that key by AES key wrap with padding
//! ([`key_wrap`]). So what is longer than an RSA modulus travels too.

use crate::key_wrap;
use crate::rsa::{DecryptingKey, EncryptError, EncryptingKey, Oaep};
use crate::secret::{Key, Secret};
use crate::source::Entropy;

/// Wraps `material` for the owner of the private key.
///
/// # Errors
/// [`WrapError`] if there is nothing to wrap, or encrypting fails.
pub fn wrap(
    recipient: &EncryptingKey,
    oaep: Oaep,
    material: &[u8],
    entropy: &mut dyn Entropy,
) -> Result<Vec<u8>, WrapError> {
    let kek = Key::generate(entropy);
    let mut wrapped = recipient.encrypt(oaep, kek.expose())?;
    wrapped.extend_from_slice(&key_wrap::wrap(&kek, material)?);
    Ok(wrapped)
}

/// Opens what [`wrap`] made for this key with the same `oaep`. What does not open goes the same way
/// whichever half of it is wrong.
///
/// # Errors
/// [`UnwrapError`] if it does not open: nothing says why.
pub fn unwrap(key: &DecryptingKey, oaep: Oaep, wrapped: &[u8]) -> Result<Secret, UnwrapError> {
    let modulus_len = key.public().size().modulus_len();
    let (kek, material) = wrapped.split_at_checked(modulus_len).ok_or(UnwrapError)?;
    let kek = key.decrypt(oaep, kek).ok().and_then(|kek| Key::from_slice(kek.expose()).ok());
    let is_key = kek.is_some();
    let opened = key_wrap::unwrap(&kek.unwrap_or_else(Key::zeroed), material);
    opened.ok().filter(|_| is_key).ok_or(UnwrapError)
}

/// Why nothing was wrapped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum WrapError {
    /// There is nothing to wrap.
    #[error(transparent)]
    Empty(#[from] key_wrap::WrapError),
    /// The wrapping key could not be encrypted.
    #[error(transparent)]
    Encrypt(#[from] EncryptError),
}

/// Wrapped bytes do not open under this key: nothing says why.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the wrapped key does not open under this private key")]
pub struct UnwrapError;
