//! RSAES-OAEP, the label empty and MGF1 with the same hash function.

use std::fmt;

use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der, PublicKeyX509Der};
use aws_lc_rs::rsa::{
    OAEP_SHA1_MGF1SHA1, OAEP_SHA256_MGF1SHA256, OaepAlgorithm, OaepPrivateDecryptingKey,
    OaepPublicEncryptingKey, PrivateDecryptingKey, PublicEncryptingKey,
};

use super::{Size, check_private, public_size};
use crate::keys::{GenerateError, KeyError, PAIRWISE};
use crate::secret::Secret;

/// The hash function of the padding.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Oaep {
    /// SHA-1, which OAEP does not need to resist collisions.
    Sha1,
    /// SHA-256.
    Sha256,
}

impl Oaep {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Sha1, Self::Sha256];

    /// The longest plaintext under a key of `size`, in bytes.
    pub const fn plaintext_len_max(self, size: Size) -> usize {
        let digest_len = match self {
            Self::Sha1 => 20,
            Self::Sha256 => 32,
        };
        size.modulus_len() - 2 * digest_len - 2
    }

    fn algorithm(self) -> &'static OaepAlgorithm {
        match self {
            Self::Sha1 => &OAEP_SHA1_MGF1SHA1,
            Self::Sha256 => &OAEP_SHA256_MGF1SHA256,
        }
    }
}

/// Encrypts. Keep it parsed.
pub struct EncryptingKey {
    size: Size,
    key: OaepPublicEncryptingKey,
    spki: Vec<u8>,
}

impl EncryptingKey {
    /// A key from its SubjectPublicKeyInfo DER, of any of the sizes.
    ///
    /// # Errors
    /// [`KeyError`]: what is wrong with it.
    pub fn from_spki(spki: &[u8]) -> Result<Self, KeyError> {
        let size = public_size(spki)?;
        let key = PublicEncryptingKey::from_der(spki).map_err(|_| KeyError::Inconsistent)?;
        let key = OaepPublicEncryptingKey::new(key).map_err(|_| KeyError::Inconsistent)?;
        Ok(Self { size, key, spki: spki.to_vec() })
    }

    /// Its SubjectPublicKeyInfo DER.
    pub fn spki(&self) -> &[u8] {
        &self.spki
    }

    /// The size of its modulus.
    pub fn size(&self) -> Size {
        self.size
    }

    /// Encrypts `plaintext`, at most [`Oaep::plaintext_len_max`] bytes. aws-lc draws the padding.
    ///
    /// # Errors
    /// [`EncryptError::TooLong`] if there are more.
    pub fn encrypt(&self, oaep: Oaep, plaintext: &[u8]) -> Result<Vec<u8>, EncryptError> {
        let max = oaep.plaintext_len_max(self.size);
        if plaintext.len() > max {
            return Err(EncryptError::TooLong { max, found: plaintext.len() });
        }
        let mut ciphertext = vec![0; self.size.modulus_len()];
        self.key
            .encrypt(oaep.algorithm(), plaintext, &mut ciphertext, None)
            .map_err(|_| EncryptError::Failed)?;
        Ok(ciphertext)
    }
}

impl fmt::Debug for EncryptingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("rsa::EncryptingKey").field("size", &self.size).finish_non_exhaustive()
    }
}

/// Decrypts, at the price of a private operation. The private key is held, and wiped, by aws-lc.
pub struct DecryptingKey {
    size: Size,
    private: PrivateDecryptingKey,
    /// The same key, counted twice.
    oaep: OaepPrivateDecryptingKey,
    public: EncryptingKey,
}

impl DecryptingKey {
    /// Makes a new pair and tests it: up to many seconds of one processor. aws-lc draws it from the
    /// operating system.
    ///
    /// # Errors
    /// [`GenerateError`] if the pair does not fit together.
    pub fn generate(size: Size) -> Result<Self, GenerateError> {
        let failed = GenerateError { algorithm: size.name() };
        let private = PrivateDecryptingKey::generate(size.key_size()).map_err(|_| failed)?;
        let key = Self::of_private(size, private).map_err(|_| failed)?;
        key.check_pair().map_err(|_| failed)?;
        Ok(key)
    }

    /// A key from its PKCS#8 DER, as [`rsa::SigningKey`](super::SigningKey) takes it.
    ///
    /// # Errors
    /// [`KeyError`]: what is wrong with it.
    pub fn from_pkcs8(size: Size, pkcs8: &[u8]) -> Result<Self, KeyError> {
        check_private(size, pkcs8)?;
        let private = PrivateDecryptingKey::from_pkcs8(pkcs8);
        Self::of_private(size, private.map_err(|_| KeyError::Inconsistent)?)
    }

    fn of_private(size: Size, private: PrivateDecryptingKey) -> Result<Self, KeyError> {
        let spki: PublicKeyX509Der<'_> =
            private.public_key().as_der().map_err(|_| KeyError::Inconsistent)?;
        let public = EncryptingKey::from_spki(spki.as_ref())?;
        let oaep = OaepPrivateDecryptingKey::new(private.clone());
        Ok(Self { size, private, oaep: oaep.map_err(|_| KeyError::Inconsistent)?, public })
    }

    /// Its PKCS#8 (version 1) DER.
    ///
    /// # Panics
    /// If memory runs out.
    pub fn to_pkcs8(&self) -> Secret {
        let der: Pkcs8V1Der<'_> =
            self.private.as_der().expect("a key that was parsed or made can be written");
        Secret::copy_from(der.as_ref())
    }

    /// Opens what [`EncryptingKey::encrypt`] made for this key with the same `oaep`.
    ///
    /// # Errors
    /// [`DecryptError`] if it does not open: nothing says why.
    pub fn decrypt(&self, oaep: Oaep, ciphertext: &[u8]) -> Result<Secret, DecryptError> {
        let mut out = Secret::zeroed(self.size.modulus_len());
        let opened = self.oaep.decrypt(oaep.algorithm(), ciphertext, out.expose_mut(), None);
        Ok(Secret::copy_from(opened.map_err(|_| DecryptError)?))
    }

    /// The public half.
    pub fn public(&self) -> &EncryptingKey {
        &self.public
    }

    /// Encrypts and decrypts once: what a new pair has passed, and an imported one should.
    ///
    /// # Errors
    /// [`KeyError::Inconsistent`] if something else comes back.
    pub fn check_pair(&self) -> Result<(), KeyError> {
        let sealed = self.public.encrypt(Oaep::Sha256, PAIRWISE);
        let sealed = sealed.map_err(|_| KeyError::Inconsistent)?;
        let opened = self.decrypt(Oaep::Sha256, &sealed).map_err(|_| KeyError::Inconsistent)?;
        if opened.ct_eq(PAIRWISE) { Ok(()) } else { Err(KeyError::Inconsistent) }
    }
}

impl fmt::Debug for DecryptingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("rsa::DecryptingKey").field("size", &self.size).finish_non_exhaustive()
    }
}

/// Why there is no ciphertext.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum EncryptError {
    /// More plaintext than fits into the modulus beside the padding.
    #[error("at most {max} bytes can be encrypted with this key and padding, these are {found}")]
    TooLong {
        /// How many bytes fit.
        max: usize,
        /// How many there were.
        found: usize,
    },
    /// aws-lc gave none. With a key that was accepted this has no known cause but lack of memory.
    #[error("encrypting failed")]
    Failed,
}

/// A ciphertext does not open under this key and padding: nothing says why.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the ciphertext does not open under this key")]
pub struct DecryptError;
