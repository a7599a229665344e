//! HMAC (RFC 2104, FIPS 198-1) with SHA-2, by aws-lc-rs.
//!
//! [`hmac_sha256`] is what Conclave itself is built on; [`MacKey`] is what callers have keys of.
//! To check a tag, let it be checked here, in constant time, never with `==`.

use std::fmt;

use aws_lc_rs::hmac::{self, HMAC_SHA224, HMAC_SHA256, HMAC_SHA384, HMAC_SHA512};
use subtle::ConstantTimeEq;

use crate::digest::DIGEST_LEN;
use crate::secret::{Key, Secret};
use crate::source::Entropy;

/// The tag of `parts` one after another under `key`.
///
/// Nothing separates the parts: where their lengths vary, the caller writes the lengths down too.
pub fn hmac_sha256(key: &Key, parts: &[&[u8]]) -> [u8; DIGEST_LEN] {
    let mut context = hmac::Context::with_key(&hmac::Key::new(HMAC_SHA256, key.expose()));
    for part in parts {
        context.update(part);
    }
    let mut out = [0; DIGEST_LEN];
    out.copy_from_slice(context.sign().as_ref());
    out
}

/// Whether `tag` is the whole tag of `parts` under `key`, found out in constant time.
pub fn hmac_sha256_verify(key: &Key, parts: &[&[u8]], tag: &[u8]) -> bool {
    hmac_sha256(key, parts).as_slice().ct_eq(tag).into()
}

/// HMAC with one of the hash functions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum MacAlgorithm {
    /// HMAC-SHA-224.
    HmacSha224,
    /// HMAC-SHA-256.
    HmacSha256,
    /// HMAC-SHA-384.
    HmacSha384,
    /// HMAC-SHA-512.
    HmacSha512,
}

impl MacAlgorithm {
    /// All of them.
    pub const ALL: [Self; 4] =
        [Self::HmacSha224, Self::HmacSha256, Self::HmacSha384, Self::HmacSha512];

    /// Length of a tag, in bytes.
    pub const fn tag_len(self) -> usize {
        match self {
            Self::HmacSha224 => 28,
            Self::HmacSha256 => 32,
            Self::HmacSha384 => 48,
            Self::HmacSha512 => 64,
        }
    }

    /// Length of a key that is made here, in bytes: as long as a tag, which is the strength of both.
    pub const fn key_len(self) -> usize {
        self.tag_len()
    }

    /// Draws new key material of [`Self::key_len`] bytes.
    pub fn generate(self, entropy: &mut dyn Entropy) -> Secret {
        let mut key = Secret::zeroed(self.key_len());
        entropy.fill(key.expose_mut());
        key
    }

    fn algorithm(self) -> hmac::Algorithm {
        match self {
            Self::HmacSha224 => HMAC_SHA224,
            Self::HmacSha256 => HMAC_SHA256,
            Self::HmacSha384 => HMAC_SHA384,
            Self::HmacSha512 => HMAC_SHA512,
        }
    }
}

/// A key ready for use: aws-lc holds what the key's two hashings begin with, and wipes it.
pub struct MacKey {
    algorithm: MacAlgorithm,
    key: hmac::Key,
}

impl MacKey {
    /// Makes `key` ready. Any length is a key of HMAC; which lengths are acceptable is the caller's
    /// to say.
    pub fn new(algorithm: MacAlgorithm, key: &Secret) -> Self {
        Self { algorithm, key: hmac::Key::new(algorithm.algorithm(), key.expose()) }
    }

    /// With which hash function.
    pub fn algorithm(&self) -> MacAlgorithm {
        self.algorithm
    }

    /// The tag of `message`, of the algorithm's [`MacAlgorithm::tag_len`].
    pub fn mac(&self, message: &[u8]) -> Vec<u8> {
        hmac::sign(&self.key, message).as_ref().to_vec()
    }

    /// Checks that `tag` is the whole tag of `message`, in constant time.
    ///
    /// # Errors
    /// [`BadMac`] if it is not: another key's, another message's, or cut.
    pub fn verify(&self, message: &[u8], tag: &[u8]) -> Result<(), BadMac> {
        hmac::verify(&self.key, message, tag).map_err(|_| BadMac)
    }
}

impl fmt::Debug for MacKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MacKey").field("algorithm", &self.algorithm).finish_non_exhaustive()
    }
}

/// A tag is not this key's, or not over this message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the MAC is not valid for this key and message")]
pub struct BadMac;
