//! The two types that secrets live in: [`Secret`] for bytes of any length, [`Key`] for 256 bits.
//!
//! Both keep their bytes on the heap, so that moving one leaves no copy behind, and wipe them on
//! drop. Neither is `Clone` or `PartialEq`: a copy is asked for by name, a comparison takes constant
//! time. Neither prints itself. Locking memory against swapping is the server's business.

use std::fmt;

use subtle::ConstantTimeEq;
use zeroize::Zeroize;

use crate::source::Entropy;

/// Length of a [`Key`], in bytes.
pub const KEY_LEN: usize = 32;

/// Secret bytes of any length, wiped on drop.
pub struct Secret(Box<[u8]>);

impl Secret {
    /// Takes `bytes` over. A vector with spare capacity is copied into an exact allocation and
    /// wiped, because shrinking it in place could move it and leave the old bytes behind.
    pub fn from_vec(mut bytes: Vec<u8>) -> Self {
        if bytes.len() == bytes.capacity() {
            return Self(bytes.into_boxed_slice());
        }
        let secret = Self::copy_from(&bytes);
        bytes.zeroize();
        secret
    }

    /// Copies `bytes`; wiping the original stays with the caller.
    pub fn copy_from(bytes: &[u8]) -> Self {
        Self(Box::from(bytes))
    }

    /// The bytes themselves. Do not keep copies of them.
    pub fn expose(&self) -> &[u8] {
        &self.0
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

impl Drop for Secret {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[secret]")
    }
}

/// A 256-bit symmetric key, wiped on drop.
pub struct Key(Box<[u8; KEY_LEN]>);

impl Key {
    /// Draws a new key.
    pub fn generate(entropy: &mut dyn Entropy) -> Self {
        let mut key = Self::zeroed();
        entropy.fill(key.0.as_mut_slice());
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

    /// Takes `bytes` over.
    pub fn from_array(bytes: Box<[u8; KEY_LEN]>) -> Self {
        Self(bytes)
    }

    /// The bytes themselves. Do not keep copies of them.
    pub fn expose(&self) -> &[u8; KEY_LEN] {
        &self.0
    }

    /// A second copy, for the rare place that must own one.
    pub fn duplicate(&self) -> Self {
        Self(self.0.clone())
    }

    /// Compares in constant time.
    pub fn ct_eq(&self, other: &Self) -> bool {
        self.0.as_slice().ct_eq(other.0.as_slice()).into()
    }

    /// All zeros, to be written in place: a key built elsewhere would leave a copy there.
    pub(crate) fn zeroed() -> Self {
        Self(Box::new([0; KEY_LEN]))
    }

    /// The bytes, to be written in place.
    pub(crate) fn expose_mut(&mut self) -> &mut [u8; KEY_LEN] {
        &mut self.0
    }
}

impl Drop for Key {
    fn drop(&mut self) {
        self.0.zeroize();
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
