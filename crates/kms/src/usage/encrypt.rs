//! Encrypt: also the second half of ReEncrypt and GenerateDataKey.

use conclave_crypto::Secret;
use conclave_crypto::rsa::{EncryptError, Oaep};
use conclave_proto::v1;

use crate::action::Action;
use crate::audit_entry::Told;
use crate::ciphertext::{self, Header};
use crate::fields::{EncryptionContext, GrantTokens, Plaintext};
use crate::invalid::Invalid;
use crate::key_ref::KeyRef;
use crate::material::Pair;
use crate::operation::{Operation, Use};
use crate::plan::DecideError;
use crate::refusal::Refusal;
use crate::response::Response;
use crate::spec::{EncryptionAlgorithm, KeyUsage};
use crate::work::{Stop, Work};

#[derive(Debug)]
pub(crate) struct Encrypt {
    plaintext: Plaintext,
    under: Under,
    dry_run: bool,
}

/// What to encrypt under.
#[derive(Debug)]
pub(crate) struct Under {
    pub(crate) key: KeyRef,
    pub(crate) algorithm: EncryptionAlgorithm,
    pub(crate) context: EncryptionContext,
}

/// What came of it.
pub(crate) struct Encrypted {
    pub(crate) ciphertext: Vec<u8>,
    /// The key's ARN.
    pub(crate) key: String,
    pub(crate) algorithm: &'static str,
    /// Of symmetric keys.
    pub(crate) material: Option<String>,
}

impl Under {
    /// A key for symmetric encryption.
    pub(crate) fn symmetric(key: KeyRef, context: EncryptionContext) -> Self {
        Self { key, algorithm: EncryptionAlgorithm::SymmetricDefault, context }
    }

    pub(crate) fn check_context(
        algorithm: EncryptionAlgorithm,
        context: &EncryptionContext,
    ) -> Result<(), Refusal> {
        if algorithm == EncryptionAlgorithm::SymmetricDefault || context.pairs().is_empty() {
            Ok(())
        } else {
            Err(Invalid::ContextOfAsymmetric.into())
        }
    }
}

/// SYMMETRIC_DEFAULT if nothing is given.
pub(crate) fn algorithm(member: &'static str, text: &str) -> Result<EncryptionAlgorithm, Refusal> {
    match text {
        "" => Ok(EncryptionAlgorithm::SymmetricDefault),
        text => EncryptionAlgorithm::parse(member, text),
    }
}

impl TryFrom<v1::EncryptRequest> for Encrypt {
    type Error = Refusal;

    fn try_from(sent: v1::EncryptRequest) -> Result<Self, Refusal> {
        // First of all, so that a refusal of the rest wipes it too.
        let plaintext = Plaintext::parse(sent.plaintext);
        GrantTokens::parse(&sent.grant_tokens)?;
        let algorithm = algorithm("encryptionAlgorithm", &sent.encryption_algorithm)?;
        let context = EncryptionContext::parse(sent.encryption_context)?;
        Under::check_context(algorithm, &context)?;
        let under = Under { key: KeyRef::parse(&sent.key_id)?, algorithm, context };
        Ok(Self { plaintext: plaintext?, under, dry_run: sent.dry_run })
    }
}

impl Operation for Encrypt {
    fn action(&self) -> Action {
        Action::Encrypt
    }

    fn tell(&self, told: &mut Told<'_>) {
        told.key(&self.under.key);
        told.put("EncryptionAlgorithm", self.under.algorithm.name());
        told.dry_run(self.dry_run);
        told.context(&self.under.context);
    }
}

impl Use for Encrypt {
    fn perform(&self, work: &mut Work<'_>) -> Result<Response, Stop> {
        let made = encrypt(work, Action::Encrypt, &self.under, self.plaintext.secret())?;
        work.unless_dry_run(self.dry_run)?;
        Ok(v1::EncryptResponse {
            ciphertext_blob: made.ciphertext,
            key_id: made.key,
            encryption_algorithm: made.algorithm.to_owned(),
        }
        .into())
    }
}

pub(crate) fn encrypt(
    work: &mut Work<'_>,
    action: Action,
    under: &Under,
    plaintext: &Secret,
) -> Result<Encrypted, Stop> {
    let key = work.usable_key(&under.key, KeyUsage::EncryptDecrypt, action)?;
    let (arn, algorithm) = (work.domain.key_arn(key.id), under.algorithm.name());
    if !key.spec.encryption_algorithms().contains(&under.algorithm) {
        return Err(Refusal::AlgorithmOfSpec { algorithm, spec: key.spec.name() }.into());
    }
    let (version, current) = work.current(&key)?;
    if let Some(oaep) = oaep(under.algorithm) {
        let Pair::RsaDecrypt(pair) = work.pair(&key, current)? else {
            return Err(Refusal::AlgorithmOfSpec { algorithm, spec: key.spec.name() }.into());
        };
        let ciphertext =
            pair.public().encrypt(oaep, plaintext.expose()).map_err(|error| match error {
                EncryptError::TooLong { max, .. } => {
                    let spec = key.spec.name();
                    Stop::from(Refusal::from(Invalid::RsaPlaintext { algorithm, spec, max }))
                }
                error => DecideError::from(error).into(),
            })?;
        return Ok(Encrypted { ciphertext, key: arn, algorithm, material: None });
    }
    let Some(material) = current.material.as_ref().and_then(|material| material.symmetric()) else {
        return Err(Refusal::AlgorithmOfSpec { algorithm, spec: key.spec.name() }.into());
    };
    let header = Header { key: key.id, version };
    let ciphertext = ciphertext::seal(header, material, &under.context, plaintext, work.entropy);
    let material = Some(hex::encode(current.id));
    Ok(Encrypted { ciphertext, key: arn, algorithm, material })
}

/// The padding that an algorithm of RSA keys is.
pub(crate) fn oaep(algorithm: EncryptionAlgorithm) -> Option<Oaep> {
    match algorithm {
        EncryptionAlgorithm::RsaesOaepSha1 => Some(Oaep::Sha1),
        EncryptionAlgorithm::RsaesOaepSha256 => Some(Oaep::Sha256),
        EncryptionAlgorithm::SymmetricDefault | EncryptionAlgorithm::Sm2Pke => None,
    }
}
