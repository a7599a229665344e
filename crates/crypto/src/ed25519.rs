//! Ed25519 signatures (RFC 8032), by aws-lc-rs.
//!
//! A signing key is its 32-byte seed: storing it and deriving it are the callers' business. What is
//! signed must name its own purpose; this module adds no context.

use std::fmt;

use aws_lc_rs::signature::{ED25519, Ed25519KeyPair, KeyPair, ParsedPublicKey};
use curve25519_dalek::edwards::CompressedEdwardsY;

use crate::secret::Key;

/// Length of a signature, in bytes.
pub const SIGNATURE_LEN: usize = 64;

/// Signs. The expanded key is held, and wiped, by aws-lc.
pub struct SigningKey(Ed25519KeyPair);

impl SigningKey {
    /// The signing key of `seed` (RFC 8032 calls it the private key).
    pub fn from_seed(seed: &Key) -> Self {
        let pair = Ed25519KeyPair::from_seed_unchecked(seed.expose());
        Self(pair.expect("any 32 bytes are a seed of Ed25519"))
    }

    /// The signature of `message`. The same message always gets the same one.
    pub fn sign(&self, message: &[u8]) -> [u8; SIGNATURE_LEN] {
        let mut out = [0; SIGNATURE_LEN];
        out.copy_from_slice(self.0.sign(message).as_ref());
        out
    }

    /// The public half.
    pub fn verifying_key(&self) -> VerifyingKey {
        let mut out = [0; 32];
        out.copy_from_slice(self.0.public_key().as_ref());
        VerifyingKey(out)
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SigningKey")
            .field("verifying_key", &self.verifying_key())
            .finish_non_exhaustive()
    }
}

/// Verifies: a point of the curve, and none of the few of small order, under which one signature
/// can be valid for many messages.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct VerifyingKey([u8; 32]);

impl VerifyingKey {
    /// A public key as it came over the wire or from a record.
    ///
    /// # Errors
    /// [`VerifyingKeyError`] if these bytes are no such point.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, VerifyingKeyError> {
        let bytes: [u8; 32] =
            bytes.try_into().map_err(|_| VerifyingKeyError::Length { found: bytes.len() })?;
        let point = CompressedEdwardsY(bytes).decompress().ok_or(VerifyingKeyError::NotAPoint)?;
        if point.is_small_order() {
            return Err(VerifyingKeyError::SmallOrder);
        }
        Ok(Self(bytes))
    }

    /// The bytes to publish.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Checks `signature` over `message`.
    ///
    /// # Errors
    /// [`BadSignature`] if it is not this key's.
    pub fn verify(&self, message: &[u8], signature: &[u8]) -> Result<(), BadSignature> {
        ParsedPublicKey::new(&ED25519, self.0)
            .map_err(|_| BadSignature)?
            .verify_sig(message, signature)
            .map_err(|_| BadSignature)
    }
}

impl fmt::Debug for VerifyingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("VerifyingKey(")?;
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))?;
        f.write_str(")")
    }
}

/// Why bytes are no verifying key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum VerifyingKeyError {
    /// An Ed25519 public key has 32 bytes.
    #[error("an Ed25519 public key is 32 bytes, these are {found}")]
    Length {
        /// How many bytes there were.
        found: usize,
    },
    /// No point of the curve has this encoding.
    #[error("these bytes are not a point of the curve")]
    NotAPoint,
    /// The point is one of the eight of small order, which nobody makes by honest means.
    #[error("the public key is a point of small order; ask its owner for a real one")]
    SmallOrder,
}

/// A signature is not by the key that was expected, or not over this message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the signature is not valid for this key and message")]
pub struct BadSignature;
