//! Key material of every kind, parsed once: what a version of a key computes with.

use std::sync::OnceLock;

use conclave_crypto::ec::Curve;
use conclave_crypto::hmac::{MacAlgorithm, MacKey};
use conclave_crypto::secret::KEY_LEN;
use conclave_crypto::{
    Entropy, GenerateError, Key, KeyError, Secret, ecdh, ecdsa, ed25519, hmac_sha256, ml_dsa,
    ml_kem, rsa, sha256,
};

use crate::key_ref::KeyId;
use crate::spec::{KeySpec, KeyUsage};

/// Names a key material: derived from it, so that the same material has the same name.
pub(crate) type MaterialId = [u8; 32];

/// The bytes that are stored, and what they parse to.
#[derive(Debug)]
pub(crate) enum Material {
    Symmetric(Key),
    Mac { bytes: Secret, key: Box<MacKey> },
    Pair { pkcs8: Secret, pair: Box<Pair> },
}

/// A key pair, parsed for what it is used for.
#[derive(Debug)]
pub(crate) enum Pair {
    RsaSign(Box<rsa::SigningKey>),
    RsaDecrypt(rsa::DecryptingKey),
    Ecdsa(ecdsa::SigningKey),
    Ecdh(ecdh::PrivateKey),
    Ed25519(ed25519::SigningKey),
    MlDsa(ml_dsa::SigningKey),
    MlKem(ml_kem::DecapsulationKey),
}

/// The public half of a pair that signs: all that verification is given.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Public<'k> {
    Rsa(&'k rsa::VerifyingKey),
    Ecdsa(&'k ecdsa::VerifyingKey),
    Ed25519(ed25519::VerifyingKey),
    MlDsa(&'k ml_dsa::VerifyingKey),
}

/// What a key spec means to the algorithms below.
enum Family {
    Symmetric,
    Mac(MacAlgorithm),
    Rsa(rsa::Size),
    Ec(Curve),
    Ed25519,
    MlDsa(ml_dsa::Parameters),
    MlKem(ml_kem::Parameters),
}

/// `None` for SM2, which is offered nowhere.
fn family(spec: KeySpec) -> Option<Family> {
    Some(match spec {
        KeySpec::SymmetricDefault => Family::Symmetric,
        KeySpec::Rsa2048 => Family::Rsa(rsa::Size::Rsa2048),
        KeySpec::Rsa3072 => Family::Rsa(rsa::Size::Rsa3072),
        KeySpec::Rsa4096 => Family::Rsa(rsa::Size::Rsa4096),
        KeySpec::EccNistP256 => Family::Ec(Curve::P256),
        KeySpec::EccNistP384 => Family::Ec(Curve::P384),
        KeySpec::EccNistP521 => Family::Ec(Curve::P521),
        KeySpec::EccSecgP256k1 => Family::Ec(Curve::Secp256k1),
        KeySpec::EccNistEdwards25519 => Family::Ed25519,
        KeySpec::Hmac224 => Family::Mac(MacAlgorithm::HmacSha224),
        KeySpec::Hmac256 => Family::Mac(MacAlgorithm::HmacSha256),
        KeySpec::Hmac384 => Family::Mac(MacAlgorithm::HmacSha384),
        KeySpec::Hmac512 => Family::Mac(MacAlgorithm::HmacSha512),
        KeySpec::MlDsa44 => Family::MlDsa(ml_dsa::Parameters::MlDsa44),
        KeySpec::MlDsa65 => Family::MlDsa(ml_dsa::Parameters::MlDsa65),
        KeySpec::MlDsa87 => Family::MlDsa(ml_dsa::Parameters::MlDsa87),
        KeySpec::MlKem512 => Family::MlKem(ml_kem::Parameters::MlKem512),
        KeySpec::MlKem768 => Family::MlKem(ml_kem::Parameters::MlKem768),
        KeySpec::MlKem1024 => Family::MlKem(ml_kem::Parameters::MlKem1024),
        KeySpec::Sm2 => return None,
    })
}

/// Material that an operation is to make. Where that is slow it is made ahead of the decision, which
/// others wait for; and once, however often the decision is taken anew.
#[derive(Debug)]
pub(crate) struct ToMake {
    spec: KeySpec,
    usage: KeyUsage,
    made: OnceLock<Result<Material, GenerateError>>,
}

impl ToMake {
    pub(crate) fn new(spec: KeySpec, usage: KeyUsage) -> Self {
        Self { spec, usage, made: OnceLock::new() }
    }

    pub(crate) fn is_slow(&self) -> bool {
        self.spec.is_slow_to_make() && self.made.get().is_none()
    }

    /// The one, made now if it was not before.
    pub(crate) fn get(&self, entropy: &mut dyn Entropy) -> Result<&Material, GenerateError> {
        let made = self.made.get_or_init(|| Material::generate(self.spec, self.usage, entropy));
        made.as_ref().map_err(|error| *error)
    }
}

impl KeySpec {
    /// Whether making such a key takes so long that it must not be done where others wait.
    fn is_slow_to_make(self) -> bool {
        matches!(self, Self::Rsa2048 | Self::Rsa3072 | Self::Rsa4096)
    }
}

impl Material {
    /// New material, which has passed its pairwise consistency test. For RSA this takes up to seconds.
    pub(crate) fn generate(
        spec: KeySpec,
        usage: KeyUsage,
        entropy: &mut dyn Entropy,
    ) -> Result<Self, GenerateError> {
        let Some(family) = family(spec) else {
            return Err(GenerateError { algorithm: spec.name() });
        };
        let agrees = usage == KeyUsage::KeyAgreement;
        let pair = match family {
            Family::Symmetric => return Ok(Self::Symmetric(Key::generate(entropy))),
            Family::Mac(algorithm) => {
                let bytes = algorithm.generate(entropy);
                return Ok(Self::Mac { key: Box::new(MacKey::new(algorithm, &bytes)), bytes });
            }
            Family::Rsa(size) if usage == KeyUsage::SignVerify => {
                Pair::RsaSign(Box::new(rsa::SigningKey::generate(size)?))
            }
            Family::Rsa(size) => Pair::RsaDecrypt(rsa::DecryptingKey::generate(size)?),
            Family::Ec(curve) if agrees => Pair::Ecdh(ecdh::PrivateKey::generate(curve)?),
            Family::Ec(curve) => Pair::Ecdsa(ecdsa::SigningKey::generate(curve)?),
            Family::Ed25519 => Pair::Ed25519(ed25519::SigningKey::generate(entropy)?),
            Family::MlDsa(parameters) => {
                Pair::MlDsa(ml_dsa::SigningKey::generate(parameters, entropy)?)
            }
            Family::MlKem(parameters) => {
                Pair::MlKem(ml_kem::DecapsulationKey::generate(parameters, entropy)?)
            }
        };
        Ok(Self::Pair { pkcs8: pair.to_pkcs8(), pair: Box::new(pair) })
    }

    /// Reads what is stored, or comes from outside.
    pub(crate) fn parse(spec: KeySpec, usage: KeyUsage, bytes: &[u8]) -> Result<Self, KeyError> {
        let Some(family) = family(spec) else {
            return Err(KeyError::OtherAlgorithm { expected: spec.name() });
        };
        let agrees = usage == KeyUsage::KeyAgreement;
        let pair = match family {
            Family::Symmetric => {
                let key = Key::from_slice(bytes).map_err(|_| KeyError::Inconsistent)?;
                return Ok(Self::Symmetric(key));
            }
            Family::Mac(algorithm) => {
                let bytes = Secret::copy_from(bytes);
                return Ok(Self::Mac { key: Box::new(MacKey::new(algorithm, &bytes)), bytes });
            }
            Family::Rsa(size) if usage == KeyUsage::SignVerify => {
                Pair::RsaSign(Box::new(rsa::SigningKey::from_pkcs8(size, bytes)?))
            }
            Family::Rsa(size) => Pair::RsaDecrypt(rsa::DecryptingKey::from_pkcs8(size, bytes)?),
            Family::Ec(curve) if agrees => Pair::Ecdh(ecdh::PrivateKey::from_pkcs8(curve, bytes)?),
            Family::Ec(curve) => Pair::Ecdsa(ecdsa::SigningKey::from_pkcs8(curve, bytes)?),
            Family::Ed25519 => Pair::Ed25519(ed25519::SigningKey::from_pkcs8(bytes)?),
            Family::MlDsa(parameters) => {
                Pair::MlDsa(ml_dsa::SigningKey::from_pkcs8(parameters, bytes)?)
            }
            Family::MlKem(parameters) => {
                Pair::MlKem(ml_kem::DecapsulationKey::from_pkcs8(parameters, bytes)?)
            }
        };
        Ok(Self::Pair { pkcs8: Secret::copy_from(bytes), pair: Box::new(pair) })
    }

    /// What comes from outside, in the one form that such material is stored in, so that its id does
    /// not depend on how it was written. It has passed what new material has.
    pub(crate) fn import(
        spec: KeySpec,
        usage: KeyUsage,
        bytes: &Secret,
    ) -> Result<Self, WrongMaterial> {
        let expected = match family(spec) {
            Some(Family::Symmetric) => Some(KEY_LEN),
            Some(Family::Mac(algorithm)) => Some(algorithm.key_len()),
            _ => None,
        };
        let found = bytes.len();
        if let Some(expected) = expected.filter(|expected| *expected != found) {
            return Err(WrongMaterial::Length { spec: spec.name(), expected, found });
        }
        match Self::parse(spec, usage, bytes.expose())? {
            Self::Pair { pair, .. } => {
                pair.check()?;
                Ok(Self::Pair { pkcs8: pair.to_pkcs8(), pair })
            }
            symmetric => Ok(symmetric),
        }
    }

    /// As it is stored.
    pub(crate) fn bytes(&self) -> &[u8] {
        match self {
            Self::Symmetric(key) => key.expose(),
            Self::Mac { bytes, .. } => bytes.expose(),
            Self::Pair { pkcs8, .. } => pkcs8.expose(),
        }
    }

    /// One way, and of no use for another key.
    pub(crate) fn id(&self, key: KeyId) -> MaterialId {
        let hash = Secret::copy_from(&sha256(&[self.bytes()]));
        let hashed = Key::from_slice(hash.expose()).expect("a SHA-256 hash has a key's length");
        hmac_sha256(&hashed, &[b"conclave/kms/key-material-id/v1", key.bytes()])
    }

    /// If it is for symmetric encryption.
    pub(crate) fn symmetric(&self) -> Option<&Key> {
        match self {
            Self::Symmetric(key) => Some(key),
            Self::Mac { .. } | Self::Pair { .. } => None,
        }
    }

    /// If it is for MACs.
    pub(crate) fn mac(&self) -> Option<&MacKey> {
        match self {
            Self::Mac { key, .. } => Some(key),
            Self::Symmetric(_) | Self::Pair { .. } => None,
        }
    }

    /// If it has a public half.
    pub(crate) fn pair(&self) -> Option<&Pair> {
        match self {
            Self::Pair { pair, .. } => Some(pair),
            Self::Symmetric(_) | Self::Mac { .. } => None,
        }
    }
}

impl Pair {
    /// Uses both halves once, to see that they belong together.
    fn check(&self) -> Result<(), KeyError> {
        match self {
            Self::RsaSign(key) => key.check_pair(),
            Self::RsaDecrypt(key) => key.check_pair(),
            Self::Ecdsa(key) => key.check_pair(),
            Self::Ecdh(key) => key.check_pair(),
            Self::Ed25519(key) => key.check_pair(),
            Self::MlDsa(key) => key.check_pair(),
            Self::MlKem(key) => key.check_pair(),
        }
    }

    /// The half that verifies, if the other signs.
    pub(crate) fn public(&self) -> Option<Public<'_>> {
        match self {
            Self::RsaSign(key) => Some(Public::Rsa(key.public())),
            Self::Ecdsa(key) => Some(Public::Ecdsa(key.public())),
            Self::Ed25519(key) => Some(Public::Ed25519(key.verifying_key())),
            Self::MlDsa(key) => Some(Public::MlDsa(key.public())),
            Self::RsaDecrypt(_) | Self::Ecdh(_) | Self::MlKem(_) => None,
        }
    }

    fn to_pkcs8(&self) -> Secret {
        match self {
            Self::RsaSign(key) => key.to_pkcs8(),
            Self::RsaDecrypt(key) => key.to_pkcs8(),
            Self::Ecdsa(key) => key.to_pkcs8(),
            Self::Ecdh(key) => key.to_pkcs8(),
            Self::Ed25519(key) => key.to_pkcs8(),
            Self::MlDsa(key) => key.to_pkcs8(),
            Self::MlKem(key) => key.to_pkcs8(),
        }
    }

    /// The public half as SubjectPublicKeyInfo, DER.
    pub(crate) fn spki(&self) -> Vec<u8> {
        match self {
            Self::RsaSign(key) => key.public().spki().to_vec(),
            Self::RsaDecrypt(key) => key.public().spki().to_vec(),
            Self::Ecdsa(key) => key.public().to_spki(),
            Self::Ecdh(key) => key.public().spki().to_vec(),
            Self::Ed25519(key) => key.verifying_key().to_spki(),
            Self::MlDsa(key) => key.public().to_spki(),
            Self::MlKem(key) => key.public().to_spki(),
        }
    }
}

impl Public<'_> {
    /// Does `with` the public key of a key of `spec` that stands in SubjectPublicKeyInfo, DER.
    pub(crate) fn with_spki<T>(
        spec: KeySpec,
        spki: &[u8],
        with: impl FnOnce(Public<'_>) -> T,
    ) -> Result<T, KeyError> {
        let other = KeyError::OtherAlgorithm { expected: spec.name() };
        Ok(match family(spec) {
            Some(Family::Rsa(size)) => {
                let key = rsa::VerifyingKey::from_spki(spki)?;
                if key.size() != size {
                    return Err(other);
                }
                with(Public::Rsa(&key))
            }
            Some(Family::Ec(curve)) => {
                with(Public::Ecdsa(&ecdsa::VerifyingKey::from_spki(curve, spki)?))
            }
            Some(Family::Ed25519) => with(Public::Ed25519(ed25519::VerifyingKey::from_spki(spki)?)),
            Some(Family::MlDsa(parameters)) => {
                with(Public::MlDsa(&ml_dsa::VerifyingKey::from_spki(parameters, spki)?))
            }
            Some(Family::Symmetric | Family::Mac(_) | Family::MlKem(_)) | None => {
                return Err(other);
            }
        })
    }
}

/// Why bytes from outside are no material of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum WrongMaterial {
    /// Too long or too short.
    #[error("the key material has {found} bytes, that of a key of {spec} has {expected}")]
    Length {
        /// The kind of key.
        spec: &'static str,
        /// How many it has.
        expected: usize,
        /// How many there were.
        found: usize,
    },
    /// Not a private key of the kind.
    #[error(transparent)]
    Key(#[from] KeyError),
}
