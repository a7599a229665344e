//! What is encrypted and decrypted, and the context it is bound to.

use std::fmt;

use conclave_crypto::Secret;

use crate::fields::bounds::check_len;
use crate::invalid::Invalid;
use crate::refusal::Refusal;

/// Longest plaintext, in bytes.
pub const PLAINTEXT_BYTES_MAX: usize = 4096;
/// Longest ciphertext, in bytes.
pub const CIPHERTEXT_BYTES_MAX: usize = 6144;
/// All names and values of one encryption context together, in bytes.
pub const CONTEXT_BYTES_MAX: usize = 8192;
/// Pairs of one encryption context: an audit entry holds 256 parameters, and the destination's
/// context of a ReEncrypt is among them.
pub const CONTEXT_PAIRS_MAX: usize = 250;
/// One name of an encryption context, in bytes, since audit entries bound names too.
pub const CONTEXT_NAME_BYTES_MAX: usize = 1024;

/// What to encrypt: at most 4096 bytes. None at all is a plaintext too, though AWS KMS wants one byte.
#[derive(Debug)]
pub struct Plaintext(Secret);

impl Plaintext {
    /// Takes `bytes` over.
    ///
    /// # Errors
    /// [`Invalid`] for a length out of bounds; the bytes are wiped then too.
    pub fn parse(bytes: Vec<u8>) -> Result<Self, Refusal> {
        let secret = Secret::from_vec(bytes);
        let hint = "; encrypt larger data under a data key (GenerateDataKey, envelope encryption)";
        check_len("plaintext", secret.len(), 0, PLAINTEXT_BYTES_MAX, hint)?;
        Ok(Self(secret))
    }

    pub(crate) fn secret(&self) -> &Secret {
        &self.0
    }
}

/// What to sign or to authenticate: 1 to 4096 bytes.
pub struct SignedMessage(Vec<u8>);

impl SignedMessage {
    /// Takes `bytes` over.
    ///
    /// # Errors
    /// [`Invalid`] for a length out of bounds.
    pub fn parse(bytes: Vec<u8>) -> Result<Self, Refusal> {
        check_len("message", bytes.len(), 1, PLAINTEXT_BYTES_MAX, "")?;
        Ok(Self(bytes))
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for SignedMessage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[message of {} bytes]", self.0.len())
    }
}

/// A signature or a MAC: 1 to 6144 bytes.
#[derive(Debug)]
pub struct Tagged(Vec<u8>);

impl Tagged {
    /// Takes `bytes` of the request's `member` over.
    ///
    /// # Errors
    /// [`Invalid`] for a length out of bounds.
    pub fn parse(member: &'static str, bytes: Vec<u8>) -> Result<Self, Refusal> {
        check_len(member, bytes.len(), 1, CIPHERTEXT_BYTES_MAX, "")?;
        Ok(Self(bytes))
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.0
    }
}

/// What to decrypt: 1 to 6144 bytes. Whether they are one of our ciphertexts is found out later,
/// since saying no to that is audited.
#[derive(Clone, PartialEq, Eq)]
pub struct CiphertextBlob(Vec<u8>);

impl CiphertextBlob {
    /// Takes `bytes` over.
    ///
    /// # Errors
    /// [`Invalid`] for a length out of bounds.
    pub fn parse(bytes: Vec<u8>) -> Result<Self, Refusal> {
        check_len("ciphertextBlob", bytes.len(), 1, CIPHERTEXT_BYTES_MAX, "")?;
        Ok(Self(bytes))
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for CiphertextBlob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[ciphertext of {} bytes]", self.0.len())
    }
}

/// An encryption context: pairs sorted by name, each name once, names not empty, at most 8192 bytes.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct EncryptionContext(Vec<(String, String)>);

impl EncryptionContext {
    /// Sorts `pairs`.
    ///
    /// # Errors
    /// [`Invalid`] for a repeated or empty name, or too many bytes.
    pub fn parse(pairs: impl IntoIterator<Item = (String, String)>) -> Result<Self, Refusal> {
        const MEMBER: &str = "encryptionContext";
        let mut pairs: Vec<_> = pairs.into_iter().collect();
        check_len(MEMBER, pairs.len(), 0, CONTEXT_PAIRS_MAX, "")?;
        let bytes = pairs.iter().map(|(name, value)| name.len() + value.len()).sum();
        check_len(MEMBER, bytes, 0, CONTEXT_BYTES_MAX, "")?;
        for (name, _) in &pairs {
            check_len("encryptionContext.name", name.len(), 1, CONTEXT_NAME_BYTES_MAX, "")?;
        }
        pairs.sort();
        if pairs.windows(2).any(|pair| pair[0].0 == pair[1].0) {
            return Err(Invalid::Repeated { member: MEMBER }.into());
        }
        Ok(Self(pairs))
    }

    pub(crate) fn pairs(&self) -> &[(String, String)] {
        &self.0
    }
}

impl fmt::Debug for EncryptionContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[context of {} pairs]", self.0.len())
    }
}
