//! Ed25519 signatures (RFC 8032), pure and prehashed, by aws-lc.
//!
//! A signing key is its 32-byte seed: storing it and deriving it are the callers' business. What is
//! signed must name its own purpose; this module adds no context. A pure signature and a prehashed
//! one of the same key are never taken for one another.

use std::fmt;

use aws_lc_rs::signature::{ED25519, Ed25519KeyPair, KeyPair, ParsedPublicKey};
use curve25519_dalek::edwards::CompressedEdwardsY;

use crate::der::{self, AlgorithmId, OCTET_STRING, Reader};
use crate::digest::Hash;
use crate::keys::{GenerateError, KeyError, PAIRWISE};
use crate::lc;
use crate::secret::{Key, Secret};
use crate::signature::{DigestLengthError, SignError, ToSign, VerifyError};
use crate::source::Entropy;

/// Length of a signature, in bytes.
pub const SIGNATURE_LEN: usize = 64;

/// `id-Ed25519` (RFC 8410).
const ED25519_ID: AlgorithmId = AlgorithmId { name: "Ed25519", der: b"\x06\x03\x2b\x65\x70" };

/// Signs. The expanded key is held, and wiped, by aws-lc.
pub struct SigningKey {
    seed: Key,
    pair: Ed25519KeyPair,
}

impl SigningKey {
    /// The signing key of `seed` (RFC 8032 calls it the private key).
    pub fn from_seed(seed: &Key) -> Self {
        let pair = Ed25519KeyPair::from_seed_unchecked(seed.expose());
        let pair = pair.expect("any 32 bytes are a seed of Ed25519");
        Self { seed: seed.duplicate(), pair }
    }

    /// Draws a new pair and tests it.
    ///
    /// # Errors
    /// [`GenerateError`] if the pair does not fit together.
    pub fn generate(entropy: &mut dyn Entropy) -> Result<Self, GenerateError> {
        let key = Self::from_seed(&Key::generate(entropy));
        key.check_pair().map_err(|_| GenerateError { algorithm: ED25519_ID.name })?;
        Ok(key)
    }

    /// A key from its PKCS#8 DER (RFC 8410). Where it carries the public key too, that must be its
    /// own.
    ///
    /// # Errors
    /// [`KeyError`]: what is wrong with it.
    pub fn from_pkcs8(pkcs8: &[u8]) -> Result<Self, KeyError> {
        let mut key = Reader::new(der::private_key(pkcs8, &ED25519_ID)?);
        let seed = key.next(OCTET_STRING).filter(|_| key.is_empty());
        let seed = Key::from_slice(seed.ok_or(KeyError::Inconsistent)?);
        // aws-lc compares a public key that is there with the seed's.
        Ed25519KeyPair::from_pkcs8(pkcs8).map_err(|_| KeyError::Inconsistent)?;
        Ok(Self::from_seed(&seed.map_err(|_| KeyError::Inconsistent)?))
    }

    /// Its PKCS#8 (version 1) DER.
    pub fn to_pkcs8(&self) -> Secret {
        der::seed_pkcs8(&ED25519_ID, OCTET_STRING, self.seed.expose())
    }

    /// The signature of `message`. The same message always gets the same one.
    pub fn sign(&self, message: &[u8]) -> [u8; SIGNATURE_LEN] {
        let mut out = [0; SIGNATURE_LEN];
        out.copy_from_slice(self.pair.sign(message).as_ref());
        out
    }

    /// The Ed25519ph signature, with an empty context, of a message or of its SHA-512.
    ///
    /// # Errors
    /// [`SignError::Digest`] if what is given is no SHA-512.
    pub fn sign_prehashed(&self, over: ToSign<'_>) -> Result<[u8; SIGNATURE_LEN], SignError> {
        let public = self.verifying_key().0;
        let signature = lc::ed25519ph_sign(self.seed.expose(), &public, &prehash(over)?);
        signature.ok_or(SignError::Failed)
    }

    /// Signs and verifies once: what a new pair has passed, and an imported one should.
    ///
    /// # Errors
    /// [`KeyError::Inconsistent`] if its own signature does not verify.
    pub fn check_pair(&self) -> Result<(), KeyError> {
        let public = VerifyingKey::from_bytes(self.verifying_key().as_bytes());
        let public = public.map_err(|_| KeyError::Inconsistent)?;
        public.verify(PAIRWISE, &self.sign(PAIRWISE)).map_err(|_| KeyError::Inconsistent)
    }

    /// The public half.
    pub fn verifying_key(&self) -> VerifyingKey {
        let mut out = [0; 32];
        out.copy_from_slice(self.pair.public_key().as_ref());
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

    /// A public key from its SubjectPublicKeyInfo DER (RFC 8410).
    ///
    /// # Errors
    /// [`KeyError`]: what is wrong with it.
    pub fn from_spki(spki: &[u8]) -> Result<Self, KeyError> {
        let bytes = der::public_key(spki, &ED25519_ID)?;
        Self::from_bytes(bytes).map_err(|_| KeyError::Inconsistent)
    }

    /// Its SubjectPublicKeyInfo DER.
    pub fn to_spki(&self) -> Vec<u8> {
        der::spki(&ED25519_ID, &self.0)
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

    /// Checks an Ed25519ph `signature`, with an empty context, of a message or of its SHA-512.
    ///
    /// # Errors
    /// [`VerifyError::Digest`] if what is given is no SHA-512; [`VerifyError::BadSignature`] if the
    /// signature is not this key's over this.
    pub fn verify_prehashed(&self, over: ToSign<'_>, signature: &[u8]) -> Result<(), VerifyError> {
        let digest = prehash(over)?;
        let signature = signature.try_into().map_err(|_| VerifyError::BadSignature)?;
        let is_valid = lc::ed25519ph_verify(&self.0, &digest, signature);
        if is_valid { Ok(()) } else { Err(VerifyError::BadSignature) }
    }
}

impl fmt::Debug for VerifyingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("VerifyingKey(")?;
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))?;
        f.write_str(")")
    }
}

/// What Ed25519ph signs in place of the message.
fn prehash(over: ToSign<'_>) -> Result<[u8; 64], DigestLengthError> {
    let digest = match over {
        ToSign::Message(message) => Hash::Sha512.digest(message),
        ToSign::Digest(bytes) => bytes.to_vec(),
    };
    let found = digest.len();
    digest.try_into().map_err(|_| DigestLengthError { expected: 64, found })
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
