//! ML-DSA (FIPS 204), hedged and with an empty context, by aws-lc-rs.
//!
//! A private key is its 32-byte seed, in memory beside what it expands to and in PKCS#8 alone
//! (RFC 9881's seed form). aws-lc draws the randomness that hedges a signature itself.

use std::fmt;
use std::sync::OnceLock;

use aws_lc_rs::signature::{
    KeyPair, ML_DSA_44, ML_DSA_44_SIGNING, ML_DSA_65, ML_DSA_65_SIGNING, ML_DSA_87,
    ML_DSA_87_SIGNING, ParsedPublicKey, PqdsaKeyPair, PqdsaSigningAlgorithm,
    PqdsaVerificationAlgorithm,
};

use crate::der::{self, AlgorithmId, OCTET_STRING, Reader, SEED, SEQUENCE};
use crate::keys::{GenerateError, KeyError, PAIRWISE};
pub use crate::lc::MU_LEN;
use crate::lc::{MuKey, Nid};
use crate::secret::{Key, Secret};
use crate::signature::{DigestLengthError, SignError, ToSign, VerifyError};
use crate::source::Entropy;

/// A parameter set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Parameters {
    /// ML-DSA-44.
    MlDsa44,
    /// ML-DSA-65.
    MlDsa65,
    /// ML-DSA-87.
    MlDsa87,
}

impl Parameters {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::MlDsa44, Self::MlDsa65, Self::MlDsa87];

    /// The name in messages.
    pub const fn name(self) -> &'static str {
        self.id().name
    }

    /// Length of a signature, in bytes.
    pub fn signature_len(self) -> usize {
        self.signing().signature_len()
    }

    const fn id(self) -> &'static AlgorithmId {
        match self {
            Self::MlDsa44 => &AlgorithmId {
                name: "ML-DSA-44",
                der: b"\x06\x09\x60\x86\x48\x01\x65\x03\x04\x03\x11",
            },
            Self::MlDsa65 => &AlgorithmId {
                name: "ML-DSA-65",
                der: b"\x06\x09\x60\x86\x48\x01\x65\x03\x04\x03\x12",
            },
            Self::MlDsa87 => &AlgorithmId {
                name: "ML-DSA-87",
                der: b"\x06\x09\x60\x86\x48\x01\x65\x03\x04\x03\x13",
            },
        }
    }

    fn signing(self) -> &'static PqdsaSigningAlgorithm {
        match self {
            Self::MlDsa44 => &ML_DSA_44_SIGNING,
            Self::MlDsa65 => &ML_DSA_65_SIGNING,
            Self::MlDsa87 => &ML_DSA_87_SIGNING,
        }
    }

    fn verification(self) -> &'static PqdsaVerificationAlgorithm {
        match self {
            Self::MlDsa44 => &ML_DSA_44,
            Self::MlDsa65 => &ML_DSA_65,
            Self::MlDsa87 => &ML_DSA_87,
        }
    }

    fn nid(self) -> Nid {
        match self {
            Self::MlDsa44 => Nid::ML_DSA_44,
            Self::MlDsa65 => Nid::ML_DSA_65,
            Self::MlDsa87 => Nid::ML_DSA_87,
        }
    }
}

/// Signs. The expanded key is held, and wiped, by aws-lc; keep it parsed.
pub struct SigningKey {
    parameters: Parameters,
    seed: Key,
    pair: PqdsaKeyPair,
    /// The same key for µ, from when it is first needed.
    mu: OnceLock<Option<MuKey>>,
    public: VerifyingKey,
}

impl SigningKey {
    /// Draws a new pair and tests it.
    ///
    /// # Errors
    /// [`GenerateError`] if the pair does not fit together.
    pub fn generate(
        parameters: Parameters,
        entropy: &mut dyn Entropy,
    ) -> Result<Self, GenerateError> {
        let failed = GenerateError { algorithm: parameters.name() };
        let key = Self::from_seed(parameters, Key::generate(entropy)).map_err(|_| failed)?;
        key.check_pair().map_err(|_| failed)?;
        Ok(key)
    }

    /// The key of `seed` (ξ in FIPS 204).
    ///
    /// # Errors
    /// [`KeyError::Inconsistent`] if aws-lc expands it to nothing, which has no known cause but lack
    /// of memory.
    pub fn from_seed(parameters: Parameters, seed: Key) -> Result<Self, KeyError> {
        let pair = PqdsaKeyPair::from_seed(parameters.signing(), seed.expose());
        let pair = pair.map_err(|_| KeyError::Inconsistent)?;
        let public = VerifyingKey::from_raw(parameters, pair.public_key().as_ref())?;
        Ok(Self { parameters, seed, pair, mu: OnceLock::new(), public })
    }

    /// A key from its PKCS#8 DER, in the seed form or the form of both (RFC 9881), the expanded key
    /// of which must be the seed's.
    ///
    /// # Errors
    /// [`KeyError`]: what is wrong with it; [`KeyError::NoSeed`] for an expanded key alone.
    pub fn from_pkcs8(parameters: Parameters, pkcs8: &[u8]) -> Result<Self, KeyError> {
        let key = der::private_key(pkcs8, parameters.id())?;
        let seed = seed(key)?;
        PqdsaKeyPair::from_pkcs8(parameters.signing(), pkcs8)
            .map_err(|_| KeyError::Inconsistent)?;
        Self::from_seed(parameters, seed)
    }

    /// Its PKCS#8 (version 1) DER, in the seed form.
    pub fn to_pkcs8(&self) -> Secret {
        der::seed_pkcs8(self.parameters.id(), SEED, self.seed.expose())
    }

    /// Signs a message, or the µ of one, [`MU_LEN`] bytes, which the caller computed.
    ///
    /// # Errors
    /// [`SignError::Digest`] if a µ has another length.
    pub fn sign(&self, over: ToSign<'_>) -> Result<Vec<u8>, SignError> {
        let len = self.parameters.signature_len();
        match over {
            ToSign::Message(message) => {
                let mut signature = vec![0; len];
                let signed = self.pair.sign(message, &mut signature);
                signed.map_err(|_| SignError::Failed)?;
                Ok(signature)
            }
            ToSign::Digest(bytes) => {
                let mu = mu(bytes)?;
                let parse = || MuKey::private(self.parameters.nid(), self.seed.expose());
                let key = self.mu.get_or_init(parse).as_ref().ok_or(SignError::Failed)?;
                key.sign(mu, len).ok_or(SignError::Failed)
            }
        }
    }

    /// The public half.
    pub fn public(&self) -> &VerifyingKey {
        &self.public
    }

    /// Signs and verifies once: what a new pair has passed, and an imported one should.
    ///
    /// # Errors
    /// [`KeyError::Inconsistent`] if its own signature does not verify.
    pub fn check_pair(&self) -> Result<(), KeyError> {
        let over = ToSign::Message(PAIRWISE);
        let signature = self.sign(over).map_err(|_| KeyError::Inconsistent)?;
        self.public.verify(over, &signature).map_err(|_| KeyError::Inconsistent)
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ml_dsa::SigningKey")
            .field("parameters", &self.parameters)
            .finish_non_exhaustive()
    }
}

/// Verifies. Keep it parsed.
pub struct VerifyingKey {
    parameters: Parameters,
    raw: Vec<u8>,
    key: ParsedPublicKey,
    /// The same key for µ, from when it is first needed.
    mu: OnceLock<Option<MuKey>>,
}

impl VerifyingKey {
    /// A key from its SubjectPublicKeyInfo DER.
    ///
    /// # Errors
    /// [`KeyError`]: what is wrong with it.
    pub fn from_spki(parameters: Parameters, spki: &[u8]) -> Result<Self, KeyError> {
        Self::from_raw(parameters, der::public_key(spki, parameters.id())?)
    }

    fn from_raw(parameters: Parameters, raw: &[u8]) -> Result<Self, KeyError> {
        if raw.len() != parameters.signing().public_key_len() {
            return Err(KeyError::Inconsistent);
        }
        let key = ParsedPublicKey::new(parameters.verification(), raw);
        let key = key.map_err(|_| KeyError::Inconsistent)?;
        Ok(Self { parameters, raw: raw.to_vec(), key, mu: OnceLock::new() })
    }

    /// Its SubjectPublicKeyInfo DER.
    pub fn to_spki(&self) -> Vec<u8> {
        der::spki(self.parameters.id(), &self.raw)
    }

    /// The parameter set it is of.
    pub fn parameters(&self) -> Parameters {
        self.parameters
    }

    /// Checks `signature` over a message, or over the µ of one.
    ///
    /// # Errors
    /// [`VerifyError::Digest`] if a µ has another length; [`VerifyError::BadSignature`] if the
    /// signature is not this key's over this.
    pub fn verify(&self, over: ToSign<'_>, signature: &[u8]) -> Result<(), VerifyError> {
        let is_valid = match over {
            ToSign::Message(message) => self.key.verify_sig(message, signature).is_ok(),
            ToSign::Digest(bytes) => {
                let mu = mu(bytes)?;
                let parse = || MuKey::public(self.parameters.nid(), &self.raw);
                let key = self.mu.get_or_init(parse).as_ref();
                key.is_some_and(|key| key.verify(mu, signature))
            }
        };
        if is_valid { Ok(()) } else { Err(VerifyError::BadSignature) }
    }
}

impl fmt::Debug for VerifyingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ml_dsa::VerifyingKey")
            .field("parameters", &self.parameters)
            .finish_non_exhaustive()
    }
}

fn mu(bytes: &[u8]) -> Result<&[u8; MU_LEN], DigestLengthError> {
    bytes.try_into().map_err(|_| DigestLengthError { expected: MU_LEN, found: bytes.len() })
}

/// The seed in an ML-DSA private key, in either form that has one.
fn seed(key: &[u8]) -> Result<Key, KeyError> {
    let mut reader = Reader::new(key);
    let seed = match reader.peek() {
        Some(SEED) => reader.next(SEED),
        Some(SEQUENCE) => {
            reader.next(SEQUENCE).and_then(|both| Reader::new(both).next(OCTET_STRING))
        }
        Some(OCTET_STRING) => return Err(KeyError::NoSeed),
        _ => None,
    };
    let seed = seed.filter(|_| reader.is_empty()).ok_or(KeyError::Inconsistent)?;
    Key::from_slice(seed).map_err(|_| KeyError::Inconsistent)
}
