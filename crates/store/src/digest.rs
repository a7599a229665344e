//! Digests of blobs: the whole one that a blob is checked against, and the short one in a guard.

use std::fmt;

use conclave_crypto::sha256;

/// SHA-256 of a record's blob.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct BlobDigest(pub [u8; 32]);

impl BlobDigest {
    /// The digest of `blob`.
    pub fn of(blob: &[u8]) -> BlobDigest {
        BlobDigest(sha256(&[blob]))
    }

    /// Its first 16 bytes.
    pub fn guard(&self) -> GuardDigest {
        let mut guard = [0; GuardDigest::LEN];
        guard.copy_from_slice(&self.0[..GuardDigest::LEN]);
        GuardDigest(guard)
    }
}

/// A [`BlobDigest`] truncated to 16 bytes, as guards carry it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GuardDigest(pub [u8; GuardDigest::LEN]);

impl GuardDigest {
    /// Length in bytes.
    pub const LEN: usize = 16;

    /// Reads exactly 16 bytes.
    pub fn parse(bytes: &[u8]) -> Result<GuardDigest, LengthError> {
        bytes.try_into().map(GuardDigest).map_err(|_| LengthError { length: bytes.len() })
    }
}

/// A guard digest of a length other than 16.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a guard digest has 16 bytes, not {length}")]
pub struct LengthError {
    /// How many there were.
    pub length: usize,
}

impl fmt::Debug for BlobDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for GuardDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}
