//! Decrypt: also the first half of ReEncrypt.

use std::sync::Arc;

use conclave_crypto::Secret;
use conclave_crypto::rsa::Oaep;
use conclave_proto::v1;

use crate::action::Action;
use crate::audit_entry::Told;
use crate::ciphertext::Envelope;
use crate::computation::Computed;
use crate::fields::{CiphertextBlob, EncryptionContext, GrantTokens};
use crate::invalid::Invalid;
use crate::key_ref::KeyRef;
use crate::material::Pair;
use crate::operation::{Operation, Use};
use crate::refusal::Refusal;
use crate::response::Response;
use crate::spec::{EncryptionAlgorithm, KeyUsage};
use crate::usage::encrypt::{Under, algorithm, oaep};
use crate::work::{Stop, Work};

#[derive(Debug)]
pub(crate) struct Decrypt {
    sealed: Sealed,
    dry_run: bool,
}

/// A ciphertext, and what is said to be known of it.
#[derive(Debug)]
pub(crate) struct Sealed {
    ciphertext: CiphertextBlob,
    algorithm: EncryptionAlgorithm,
    pub(crate) context: EncryptionContext,
    /// Without it the ciphertext says which key, which only those of symmetric keys do.
    pub(crate) key: Option<KeyRef>,
    opened: Computed<Option<Secret>>,
}

/// What came of it.
pub(crate) struct Decrypted {
    pub(crate) plaintext: Secret,
    /// The key's ARN.
    pub(crate) key: String,
    pub(crate) algorithm: &'static str,
    /// Of symmetric keys.
    pub(crate) material: Option<String>,
}

impl Sealed {
    pub(crate) fn parse(
        ciphertext: Vec<u8>,
        algorithm_name: &str,
        context: impl IntoIterator<Item = (String, String)>,
        key: &str,
    ) -> Result<Self, Refusal> {
        let algorithm = algorithm("encryptionAlgorithm", algorithm_name)?;
        let context = EncryptionContext::parse(context)?;
        Under::check_context(algorithm, &context)?;
        let key = KeyRef::parse_optional(key)?;
        if key.is_none() && algorithm != EncryptionAlgorithm::SymmetricDefault {
            return Err(Invalid::Missing { member: "keyId" }.into());
        }
        let ciphertext = CiphertextBlob::parse(ciphertext)?;
        Ok(Self { ciphertext, algorithm, context, key, opened: Computed::default() })
    }

    pub(crate) fn tell(&self, told: &mut Told<'_>) {
        match (&self.key, self.algorithm) {
            (_, EncryptionAlgorithm::SymmetricDefault) => {
                told.ciphertext(self.ciphertext.bytes());
            }
            (Some(key), _) => told.key(key),
            (None, _) => {}
        }
    }

    pub(crate) fn algorithm(&self) -> &'static str {
        self.algorithm.name()
    }
}

impl TryFrom<v1::DecryptRequest> for Decrypt {
    type Error = Refusal;

    fn try_from(sent: v1::DecryptRequest) -> Result<Self, Refusal> {
        GrantTokens::parse(&sent.grant_tokens)?;
        if sent.recipient.is_some() {
            return Err(Refusal::NotOffered { what: "Recipient".to_owned() });
        }
        let sealed = Sealed::parse(
            sent.ciphertext_blob,
            &sent.encryption_algorithm,
            sent.encryption_context,
            &sent.key_id,
        )?;
        Ok(Self { sealed, dry_run: sent.dry_run })
    }
}

impl Operation for Decrypt {
    fn action(&self) -> Action {
        Action::Decrypt
    }

    fn tell(&self, told: &mut Told<'_>) {
        self.sealed.tell(told);
        if let Some(key) = &self.sealed.key {
            told.other_key("KeyId", key);
        }
        told.put("EncryptionAlgorithm", self.sealed.algorithm());
        told.dry_run(self.dry_run);
        told.context(&self.sealed.context);
    }
}

impl Use for Decrypt {
    fn perform(&self, work: &mut Work<'_>) -> Result<Response, Stop> {
        let opened = decrypt(work, Action::Decrypt, &self.sealed)?;
        work.unless_dry_run(self.dry_run)?;
        Ok(v1::DecryptResponse {
            key_id: opened.key,
            plaintext: opened.plaintext.expose().to_vec(),
            encryption_algorithm: opened.algorithm.to_owned(),
            key_material_id: opened.material,
        }
        .into())
    }
}

/// The ciphertext says which key; a key that the request names beside it must be that one.
pub(crate) fn decrypt(
    work: &mut Work<'_>,
    action: Action,
    sealed: &Sealed,
) -> Result<Decrypted, Stop> {
    let algorithm = sealed.algorithm.name();
    if let (Some(oaep), Some(named)) = (oaep(sealed.algorithm), &sealed.key) {
        return decrypt_oaep(work, action, named, oaep, sealed);
    }
    let envelope = Envelope::parse(sealed.ciphertext.bytes());
    let envelope = envelope.ok_or(Refusal::InvalidCiphertext)?;
    let id = envelope.header.key;
    if let Some(named) = &sealed.key
        && work.find_key(named)?.id != id
    {
        return Err(Refusal::IncorrectKey.into());
    }
    let key = work.reads.key(id)?.ok_or(Refusal::InvalidCiphertext)?;
    work.concerns_key(id);
    work.check_use(&key, KeyUsage::EncryptDecrypt, action)?;
    let version = key.version(envelope.header.version).ok_or(Refusal::InvalidCiphertext)?;
    let Some(material) = version.material.as_ref() else {
        return Err(Refusal::PendingImport { arn: work.domain.key_arn(id) }.into());
    };
    let material = material.symmetric().ok_or(Refusal::InvalidCiphertext)?;
    let plaintext = envelope.open(material, &sealed.context).ok_or(Refusal::InvalidCiphertext)?;
    let material = Some(hex::encode(version.id));
    Ok(Decrypted { plaintext, key: work.domain.key_arn(id), algorithm, material })
}

fn decrypt_oaep(
    work: &mut Work<'_>,
    action: Action,
    named: &KeyRef,
    oaep: Oaep,
    sealed: &Sealed,
) -> Result<Decrypted, Stop> {
    let key = work.usable_key(named, KeyUsage::EncryptDecrypt, action)?;
    let (algorithm, spec) = (sealed.algorithm.name(), key.spec.name());
    let (version, current) = work.current(&key)?;
    let Some(Pair::RsaDecrypt(_)) = key.pair(version) else {
        return Err(Refusal::AlgorithmOfSpec { algorithm, spec }.into());
    };
    let (of, ciphertext) = (Arc::clone(&key), sealed.ciphertext.clone());
    let open = move || match of.pair(version) {
        Some(Pair::RsaDecrypt(pair)) => pair.decrypt(oaep, ciphertext.bytes()).ok(),
        _ => None,
    };
    let opened = sealed.opened.get(current.id, open)?;
    let plaintext = opened.as_ref().as_ref().ok_or(Refusal::InvalidCiphertext)?;
    let plaintext = Secret::copy_from(plaintext.expose());
    Ok(Decrypted { plaintext, key: work.domain.key_arn(key.id), algorithm, material: None })
}
