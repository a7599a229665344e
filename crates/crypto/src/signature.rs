//! What signing keys of several families share: what is signed, and what can go wrong.

use aws_lc_rs::digest::Digest;

use crate::digest::Hash;

/// What a signature is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ToSign<'a> {
    /// A message; it is digested here.
    Message(&'a [u8]),
    /// The digest of a message, which the caller computed. Whoever signs a digest takes the
    /// caller's word that a message was digested.
    Digest(&'a [u8]),
}

/// Bytes meant as a digest were of another length than the digest has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the digest is {expected} bytes, these are {found}")]
pub struct DigestLengthError {
    /// Bytes of the digest that goes with the algorithm.
    pub expected: usize,
    /// How many bytes there were.
    pub found: usize,
}

/// Why there is no signature.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SignError {
    /// What was given is no digest of this algorithm.
    #[error(transparent)]
    Digest(#[from] DigestLengthError),
    /// aws-lc gave none. With a key that was accepted this has no known cause but lack of memory.
    #[error("signing failed")]
    Failed,
}

/// Why a signature was not found to be valid.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum VerifyError {
    /// What was given is no digest of this algorithm.
    #[error(transparent)]
    Digest(#[from] DigestLengthError),
    /// Not by this key, not over this message, or no signature at all: nothing says which.
    #[error("the signature is not valid for this key and message")]
    BadSignature,
}

/// `bytes` as a digest of `hash`, which somebody else computed.
pub(crate) fn digest(hash: Hash, bytes: &[u8]) -> Result<Digest, DigestLengthError> {
    let wrong = DigestLengthError { expected: hash.digest_len(), found: bytes.len() };
    Digest::import_less_safe(bytes, hash.algorithm()).map_err(|_| wrong)
}
