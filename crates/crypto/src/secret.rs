//! The two types that secrets live in: [`Secret`] for bytes of any length, [`Key`] for 256 bits.
//!
//! Both keep their bytes on the pages of [`conclave_memory`], so that moving one leaves no copy
//! behind and no dump or swap shows them, and wipe them on drop. Neither is `Clone` or `PartialEq`: a
//! copy is asked for by name, a comparison takes constant time. Neither prints itself.

use std::fmt;

use conclave_memory::SecretBytes;
use subtle::ConstantTimeEq;
use zeroize::Zeroize;

use crate::source::Entropy;

/// Length of a [`Key`], in bytes.
pub const KEY_LEN: usize = 32;

/// Secret bytes of any length, wiped on drop.
pub struct Secret(SecretBytes);

impl Secret {
    /// Takes `bytes` over: they are copied, and wiped where they were.
    pub fn from_vec(mut bytes: Vec<u8>) -> Self {
        let secret = Self::copy_from(&bytes);
        bytes.zeroize();
        secret
    }

    /// Copies `bytes`; wiping the original stays with the caller.
    pub fn copy_from(bytes: &[u8]) -> Self {
        let mut secret = Self::zeroed(bytes.len());
        secret.expose_mut().copy_from_slice(bytes);
        secret
    }

    /// `len` zeros, to be written in place: a secret built elsewhere would leave a copy there.
    pub fn zeroed(len: usize) -> Self {
        Self(SecretBytes::zeroed(len))
    }

    /// The bytes themselves. Do not keep copies of them.
    pub fn expose(&self) -> &[u8] {
        &self.0
    }

    /// The bytes, to be written in place.
    pub fn expose_mut(&mut self) -> &mut [u8] {
        &mut self.0
    }

    /// Length in bytes.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are no bytes at all.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Compares in time that depends on the lengths alone.
    pub fn ct_eq(&self, other: &[u8]) -> bool {
        self.0.ct_eq(other).into()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[secret]")
    }
}

/// A 256-bit symmetric key, wiped on drop.
pub struct Key(SecretBytes);

impl Key {
    /// Draws a new key.
    pub fn generate(entropy: &mut dyn Entropy) -> Self {
        let mut key = Self::zeroed();
        entropy.fill(&mut key.0);
        key
    }

    /// Copies a key out of `bytes`; wiping the original stays with the caller.
    ///
    /// # Errors
    /// [`KeyLengthError`] unless there are exactly 32 bytes.
    pub fn from_slice(bytes: &[u8]) -> Result<Self, KeyLengthError> {
        if bytes.len() != KEY_LEN {
            return Err(KeyLengthError { found: bytes.len() });
        }
        let mut key = Self::zeroed();
        key.0.copy_from_slice(bytes);
        Ok(key)
    }

    /// Takes `bytes` over: they are copied, and wiped where they were.
    #[expect(clippy::boxed_local, reason = "an array by value would stay on the caller's stack")]
    pub fn from_array(mut bytes: Box<[u8; KEY_LEN]>) -> Self {
        let mut key = Self::zeroed();
        key.0.copy_from_slice(bytes.as_slice());
        bytes.zeroize();
        key
    }

    /// The bytes themselves. Do not keep copies of them.
    pub fn expose(&self) -> &[u8; KEY_LEN] {
        self.0.first_chunk().expect("made with this length")
    }

    /// A second copy, for the rare place that must own one.
    pub fn duplicate(&self) -> Self {
        let mut key = Self::zeroed();
        key.0.copy_from_slice(&self.0);
        key
    }

    /// Compares in constant time.
    pub fn ct_eq(&self, other: &Self) -> bool {
        self.0.ct_eq(&*other.0).into()
    }

    /// All zeros, to be written in place: a key built elsewhere would leave a copy there.
    pub(crate) fn zeroed() -> Self {
        Self(SecretBytes::zeroed(KEY_LEN))
    }

    /// The bytes, to be written in place.
    pub(crate) fn expose_mut(&mut self) -> &mut [u8; KEY_LEN] {
        self.0.first_chunk_mut().expect("made with this length")
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[secret]")
    }
}

/// Bytes meant as a 256-bit key were of another length.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a key is 32 bytes, these are {found}")]
pub struct KeyLengthError {
    /// How many bytes there were.
    pub found: usize,
}
