//! ML-KEM (FIPS 203), by aws-lc-rs.
//!
//! A private key is its 64-byte seed (d, then z), in memory beside what it expands to and in PKCS#8
//! alone (RFC 9935's seed form). aws-lc draws the randomness of an encapsulation itself.

use std::fmt;

use aws_lc_rs::kem::{self, Algorithm, AlgorithmId as KemId, ML_KEM_512, ML_KEM_768, ML_KEM_1024};

use crate::der::{self, AlgorithmId, OCTET_STRING, Reader, SEED};
use crate::keys::{GenerateError, KeyError};
use crate::lc::{Nid, expand_ml_kem};
use crate::secret::Secret;
use crate::source::Entropy;

/// Length of a seed, in bytes.
pub const SEED_LEN: usize = 64;
/// Length of a shared secret, in bytes.
pub const SHARED_SECRET_LEN: usize = 32;

/// A parameter set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Parameters {
    /// ML-KEM-512.
    MlKem512,
    /// ML-KEM-768.
    MlKem768,
    /// ML-KEM-1024.
    MlKem1024,
}

impl Parameters {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::MlKem512, Self::MlKem768, Self::MlKem1024];

    /// The name in messages.
    pub const fn name(self) -> &'static str {
        self.id().name
    }

    /// Length of a ciphertext, in bytes.
    pub const fn ciphertext_len(self) -> usize {
        match self {
            Self::MlKem512 => 768,
            Self::MlKem768 => 1088,
            Self::MlKem1024 => 1568,
        }
    }

    const fn public_len(self) -> usize {
        match self {
            Self::MlKem512 => 800,
            Self::MlKem768 => 1184,
            Self::MlKem1024 => 1568,
        }
    }

    /// Of the expanded private key.
    const fn private_len(self) -> usize {
        match self {
            Self::MlKem512 => 1632,
            Self::MlKem768 => 2400,
            Self::MlKem1024 => 3168,
        }
    }

    const fn id(self) -> &'static AlgorithmId {
        match self {
            Self::MlKem512 => &AlgorithmId {
                name: "ML-KEM-512",
                der: b"\x06\x09\x60\x86\x48\x01\x65\x03\x04\x04\x01",
            },
            Self::MlKem768 => &AlgorithmId {
                name: "ML-KEM-768",
                der: b"\x06\x09\x60\x86\x48\x01\x65\x03\x04\x04\x02",
            },
            Self::MlKem1024 => &AlgorithmId {
                name: "ML-KEM-1024",
                der: b"\x06\x09\x60\x86\x48\x01\x65\x03\x04\x04\x03",
            },
        }
    }

    fn algorithm(self) -> &'static Algorithm<KemId> {
        match self {
            Self::MlKem512 => &ML_KEM_512,
            Self::MlKem768 => &ML_KEM_768,
            Self::MlKem1024 => &ML_KEM_1024,
        }
    }

    fn nid(self) -> Nid {
        match self {
            Self::MlKem512 => Nid::ML_KEM_512,
            Self::MlKem768 => Nid::ML_KEM_768,
            Self::MlKem1024 => Nid::ML_KEM_1024,
        }
    }
}

/// Decapsulates. The expanded key is held, and wiped, by aws-lc; keep it parsed.
pub struct DecapsulationKey {
    parameters: Parameters,
    seed: Secret,
    key: kem::DecapsulationKey,
    public: EncapsulationKey,
}

impl DecapsulationKey {
    /// Draws a new pair and tests it.
    ///
    /// # Errors
    /// [`GenerateError`] if the pair does not fit together.
    pub fn generate(
        parameters: Parameters,
        entropy: &mut dyn Entropy,
    ) -> Result<Self, GenerateError> {
        let failed = GenerateError { algorithm: parameters.name() };
        let mut seed = Secret::zeroed(SEED_LEN);
        entropy.fill(seed.expose_mut());
        let key = Self::from_seed(parameters, seed).map_err(|_| failed)?;
        key.check_pair().map_err(|_| failed)?;
        Ok(key)
    }

    /// The key of `seed`: [`SEED_LEN`] bytes, d and then z.
    ///
    /// # Errors
    /// [`KeyError::Inconsistent`] if it has another length.
    pub fn from_seed(parameters: Parameters, seed: Secret) -> Result<Self, KeyError> {
        if seed.len() != SEED_LEN {
            return Err(KeyError::Inconsistent);
        }
        let pkcs8 = der::seed_pkcs8(parameters.id(), SEED, seed.expose());
        let (public_len, private_len) = (parameters.public_len(), parameters.private_len());
        let expanded = expand_ml_kem(parameters.nid(), pkcs8.expose(), public_len, private_len);
        let (public, private) = expanded.ok_or(KeyError::Inconsistent)?;
        let key = kem::DecapsulationKey::new(parameters.algorithm(), private.expose());
        let key = key.map_err(|_| KeyError::Inconsistent)?;
        Ok(Self { parameters, seed, key, public: EncapsulationKey::from_raw(parameters, &public)? })
    }

    /// A key from its PKCS#8 DER, in the seed form.
    ///
    /// # Errors
    /// [`KeyError`]: what is wrong with it; [`KeyError::NoSeed`] for an expanded key alone.
    pub fn from_pkcs8(parameters: Parameters, pkcs8: &[u8]) -> Result<Self, KeyError> {
        let mut key = Reader::new(der::private_key(pkcs8, parameters.id())?);
        if key.peek() == Some(OCTET_STRING) {
            return Err(KeyError::NoSeed);
        }
        let seed = key.next(SEED).filter(|_| key.is_empty()).ok_or(KeyError::Inconsistent)?;
        Self::from_seed(parameters, Secret::copy_from(seed))
    }

    /// Its PKCS#8 (version 1) DER, in the seed form.
    pub fn to_pkcs8(&self) -> Secret {
        der::seed_pkcs8(self.parameters.id(), SEED, self.seed.expose())
    }

    /// The shared secret inside `ciphertext`, [`SHARED_SECRET_LEN`] bytes. One that was made for
    /// another key, or changed, gives a secret that nobody else has (implicit rejection): that it
    /// was is found out where the secret is used.
    ///
    /// # Errors
    /// [`DecapsulateError`] if it is no ciphertext of this parameter set.
    pub fn decapsulate(&self, ciphertext: &[u8]) -> Result<Secret, DecapsulateError> {
        if ciphertext.len() != self.parameters.ciphertext_len() {
            return Err(DecapsulateError);
        }
        let shared = self.key.decapsulate(ciphertext.into()).map_err(|_| DecapsulateError)?;
        Ok(Secret::copy_from(shared.as_ref()))
    }

    /// The public half.
    pub fn public(&self) -> &EncapsulationKey {
        &self.public
    }

    /// Encapsulates and decapsulates once: what a new pair has passed, and an imported one should.
    ///
    /// # Errors
    /// [`KeyError::Inconsistent`] if the two secrets differ.
    pub fn check_pair(&self) -> Result<(), KeyError> {
        let sent = self.public.encapsulate().map_err(|_| KeyError::Inconsistent)?;
        let received = self.decapsulate(&sent.ciphertext).map_err(|_| KeyError::Inconsistent)?;
        if received.ct_eq(sent.shared_secret.expose()) {
            Ok(())
        } else {
            Err(KeyError::Inconsistent)
        }
    }
}

impl fmt::Debug for DecapsulationKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ml_kem::DecapsulationKey")
            .field("parameters", &self.parameters)
            .finish_non_exhaustive()
    }
}

/// Encapsulates. Keep it parsed.
pub struct EncapsulationKey {
    parameters: Parameters,
    raw: Vec<u8>,
    key: kem::EncapsulationKey,
}

/// What an encapsulation gives.
#[derive(Debug)]
pub struct Encapsulated {
    /// For the owner of the private key.
    pub ciphertext: Vec<u8>,
    /// To keep: [`SHARED_SECRET_LEN`] bytes.
    pub shared_secret: Secret,
}

impl EncapsulationKey {
    /// A key from its SubjectPublicKeyInfo DER. Coefficients must be reduced (FIPS 203, 7.2).
    ///
    /// # Errors
    /// [`KeyError`]: what is wrong with it.
    pub fn from_spki(parameters: Parameters, spki: &[u8]) -> Result<Self, KeyError> {
        Self::from_raw(parameters, der::public_key(spki, parameters.id())?)
    }

    fn from_raw(parameters: Parameters, raw: &[u8]) -> Result<Self, KeyError> {
        let key = kem::EncapsulationKey::new(parameters.algorithm(), raw);
        let key = key.map_err(|_| KeyError::Inconsistent)?;
        let key = Self { parameters, raw: raw.to_vec(), key };
        // aws-lc looks at the coefficients when it encapsulates, not before.
        key.encapsulate().map_err(|_| KeyError::Inconsistent)?;
        Ok(key)
    }

    /// Its SubjectPublicKeyInfo DER.
    pub fn to_spki(&self) -> Vec<u8> {
        der::spki(self.parameters.id(), &self.raw)
    }

    /// The parameter set it is of.
    pub fn parameters(&self) -> Parameters {
        self.parameters
    }

    /// A new shared secret, and the ciphertext that carries it.
    ///
    /// # Errors
    /// [`EncapsulateError`] if aws-lc gives none, which has no known cause but lack of memory.
    pub fn encapsulate(&self) -> Result<Encapsulated, EncapsulateError> {
        let (ciphertext, shared_secret) = self.key.encapsulate().map_err(|_| EncapsulateError)?;
        Ok(Encapsulated {
            ciphertext: ciphertext.as_ref().to_vec(),
            shared_secret: Secret::copy_from(shared_secret.as_ref()),
        })
    }
}

impl fmt::Debug for EncapsulationKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ml_kem::EncapsulationKey")
            .field("parameters", &self.parameters)
            .finish_non_exhaustive()
    }
}

/// There is no ciphertext.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("encapsulating failed")]
pub struct EncapsulateError;

/// There is no secret in this ciphertext: it is none of this parameter set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the ciphertext is not one of this key's parameter set")]
pub struct DecapsulateError;
