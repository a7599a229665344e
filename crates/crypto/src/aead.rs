//! XAES-256-GCM (C2SP), the only symmetric encryption in Conclave: its 192-bit nonces are drawn at
//! random, so nobody has to count messages under a key.
//!
//! A sealed message is nonce (24 bytes) ‖ ciphertext ‖ tag (16 bytes). It carries neither key id nor
//! version; the formats around it do. Specification: <https://c2sp.org/XAES-256-GCM>.

use xaes_256_gcm::aead::{AeadInOut, KeyInit};
use xaes_256_gcm::{Nonce, Tag, Xaes256Gcm};

use crate::entropy::Entropy;
use crate::secret::{Key, Secret};

const NONCE_LEN: usize = 24;
const TAG_LEN: usize = 16;

/// How much longer a sealed message is than its plaintext, in bytes.
pub const OVERHEAD: usize = NONCE_LEN + TAG_LEN;

/// Encrypts `plaintext` and authenticates it together with `aad`.
///
/// Draws 24 bytes of entropy.
///
/// # Panics
/// If the plaintext is longer than 64 GiB, far beyond every limit of the callers.
pub fn seal(key: &Key, entropy: &mut dyn Entropy, aad: &[u8], plaintext: &[u8]) -> Vec<u8> {
    let mut nonce = [0; NONCE_LEN];
    entropy.fill(&mut nonce);

    let mut sealed = Vec::with_capacity(plaintext.len() + OVERHEAD);
    sealed.extend_from_slice(&nonce);
    sealed.extend_from_slice(plaintext);
    let tag = cipher(key)
        .encrypt_inout_detached(&Nonce::from(nonce), aad, (&mut sealed[NONCE_LEN..]).into())
        .expect("message and associated data are below 64 GiB");
    sealed.extend_from_slice(&tag);
    sealed
}

/// Decrypts what [`seal`] made with the same key and `aad`.
///
/// # Errors
/// [`OpenError`]; it does not tell a wrong key from wrong associated data or a changed message,
/// because nobody can.
pub fn open(key: &Key, aad: &[u8], sealed: &[u8]) -> Result<Secret, OpenError> {
    let too_short = OpenError::TooShort { found: sealed.len() };
    let (nonce, rest) = sealed.split_first_chunk::<NONCE_LEN>().ok_or(too_short)?;
    let (ciphertext, tag) = rest.split_last_chunk::<TAG_LEN>().ok_or(too_short)?;

    // Decrypted in place, the plaintext is only ever in the secret.
    let mut secret = Secret::copy_from(ciphertext);
    cipher(key)
        .decrypt_inout_detached(
            &Nonce::from(*nonce),
            aad,
            secret.expose_mut().into(),
            &Tag::from(*tag),
        )
        .map_err(|_| OpenError::NotAuthentic)?;
    Ok(secret)
}

fn cipher(key: &Key) -> Xaes256Gcm {
    Xaes256Gcm::new(key.expose().into())
}

/// Why a sealed message did not open.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// There is no room for a nonce and a tag: this is not a sealed message.
    #[error("a sealed message has at least 40 bytes, this has {found}")]
    TooShort {
        /// How many bytes there were.
        found: usize,
    },
    /// Key, associated data or message are not those that were sealed.
    #[error("the message was sealed under another key or context, or was changed")]
    NotAuthentic,
}
