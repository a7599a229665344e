//! SHA-2 (FIPS 180-4), by aws-lc-rs.

use aws_lc_rs::digest::{self, Context, SHA256, SHA384, SHA512};

/// Length of a SHA-256 digest, in bytes.
pub const DIGEST_LEN: usize = 32;

/// The digest of `parts` one after another.
///
/// Nothing separates the parts: where their lengths vary, the caller writes the lengths down too.
pub fn sha256(parts: &[&[u8]]) -> [u8; DIGEST_LEN] {
    let mut context = Context::new(&SHA256);
    for part in parts {
        context.update(part);
    }
    let mut out = [0; DIGEST_LEN];
    out.copy_from_slice(context.finish().as_ref());
    out
}

/// The hash functions that signatures are made over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Hash {
    /// SHA-256.
    Sha256,
    /// SHA-384.
    Sha384,
    /// SHA-512.
    Sha512,
}

impl Hash {
    /// Length of a digest, in bytes.
    pub const fn digest_len(self) -> usize {
        match self {
            Self::Sha256 => 32,
            Self::Sha384 => 48,
            Self::Sha512 => 64,
        }
    }

    /// The digest of `message`.
    pub fn digest(self, message: &[u8]) -> Vec<u8> {
        digest::digest(self.algorithm(), message).as_ref().to_vec()
    }

    pub(crate) const fn algorithm(self) -> &'static digest::Algorithm {
        match self {
            Self::Sha256 => &SHA256,
            Self::Sha384 => &SHA384,
            Self::Sha512 => &SHA512,
        }
    }
}
