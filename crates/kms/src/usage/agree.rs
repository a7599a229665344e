//! DeriveSharedSecret, Encapsulate, Decapsulate: secrets that two ends come to share.

use conclave_crypto::ecdh;
use conclave_proto::v1;

use crate::action::Action;
use crate::audit_entry::Told;
use crate::fields::{GrantTokens, Tagged};
use crate::invalid::Invalid;
use crate::key_ref::KeyRef;
use crate::material::Pair;
use crate::operation::{Operation, Use};
use crate::plan::DecideError;
use crate::refusal::Refusal;
use crate::response::Response;
use crate::spec::{EncapsulationAlgorithm, KeyAgreementAlgorithm, KeyUsage};
use crate::work::{Stop, Work};

/// Longest public key that is looked at, in bytes.
const PUBLIC_KEY_BYTES_MAX: usize = 8192;

#[derive(Debug)]
pub(crate) struct DeriveSharedSecret {
    key: KeyRef,
    public_key: Vec<u8>,
    dry_run: bool,
}

impl TryFrom<v1::DeriveSharedSecretRequest> for DeriveSharedSecret {
    type Error = Refusal;

    fn try_from(sent: v1::DeriveSharedSecretRequest) -> Result<Self, Refusal> {
        GrantTokens::parse(&sent.grant_tokens)?;
        if sent.recipient.is_some() {
            return Err(Refusal::NotOffered { what: "Recipient".to_owned() });
        }
        if sent.key_agreement_algorithm.is_empty() {
            return Err(Invalid::Missing { member: "keyAgreementAlgorithm" }.into());
        }
        KeyAgreementAlgorithm::parse("keyAgreementAlgorithm", &sent.key_agreement_algorithm)?;
        if !(1..=PUBLIC_KEY_BYTES_MAX).contains(&sent.public_key.len()) {
            return Err(Invalid::PublicKey.into());
        }
        let key = KeyRef::parse(&sent.key_id)?;
        Ok(Self { key, public_key: sent.public_key, dry_run: sent.dry_run })
    }
}

impl Operation for DeriveSharedSecret {
    fn action(&self) -> Action {
        Action::DeriveSharedSecret
    }

    fn tell(&self, told: &mut Told<'_>) {
        told.key(&self.key);
        told.put("KeyAgreementAlgorithm", KeyAgreementAlgorithm::Ecdh.name());
        told.dry_run(self.dry_run);
    }
}

impl Use for DeriveSharedSecret {
    fn perform(&self, work: &mut Work<'_>) -> Result<Response, Stop> {
        let key = work.usable_key(&self.key, KeyUsage::KeyAgreement, self.action())?;
        let (_, current) = work.current(&key)?;
        let Pair::Ecdh(private) = work.pair(&key, current)? else {
            return Err(Refusal::from(Invalid::PublicKey).into());
        };
        let peer = ecdh::PublicKey::from_spki(private.public().curve(), &self.public_key)
            .map_err(|_| Refusal::from(Invalid::PublicKey))?;
        let shared = private.agree(&peer).map_err(|_| Refusal::from(Invalid::PublicKey))?;
        work.unless_dry_run(self.dry_run)?;
        Ok(v1::DeriveSharedSecretResponse {
            key_id: work.domain.key_arn(key.id),
            shared_secret: shared.expose().to_vec(),
            key_agreement_algorithm: KeyAgreementAlgorithm::Ecdh.name().to_owned(),
            key_origin: if key.external { "EXTERNAL" } else { "AWS_KMS" }.to_owned(),
        }
        .into())
    }
}

fn ml_kem(text: &str) -> Result<(), Refusal> {
    if text.is_empty() {
        return Err(Invalid::Missing { member: "encapsulationAlgorithm" }.into());
    }
    EncapsulationAlgorithm::parse("encapsulationAlgorithm", text).map(|_| ())
}

#[derive(Debug)]
pub(crate) struct Encapsulate {
    key: KeyRef,
    dry_run: bool,
}

impl TryFrom<v1::EncapsulateRequest> for Encapsulate {
    type Error = Refusal;

    fn try_from(sent: v1::EncapsulateRequest) -> Result<Self, Refusal> {
        GrantTokens::parse(&sent.grant_tokens)?;
        ml_kem(&sent.encapsulation_algorithm)?;
        Ok(Self { key: KeyRef::parse(&sent.key_id)?, dry_run: sent.dry_run })
    }
}

impl Operation for Encapsulate {
    fn action(&self) -> Action {
        Action::Encapsulate
    }

    fn tell(&self, told: &mut Told<'_>) {
        told.key(&self.key);
        told.dry_run(self.dry_run);
    }
}

impl Use for Encapsulate {
    fn perform(&self, work: &mut Work<'_>) -> Result<Response, Stop> {
        let key = work.usable_key(&self.key, KeyUsage::EncapsulateDecapsulate, self.action())?;
        let (_, current) = work.current(&key)?;
        let Pair::MlKem(private) = work.pair(&key, current)? else {
            return Err(Refusal::InvalidCiphertext.into());
        };
        let made = private.public().encapsulate().map_err(DecideError::from)?;
        work.unless_dry_run(self.dry_run)?;
        Ok(v1::EncapsulateResponse {
            key_id: work.domain.key_arn(key.id),
            shared_secret: made.shared_secret.expose().to_vec(),
            shared_secret_ciphertext_blob: made.ciphertext,
            encapsulation_algorithm: EncapsulationAlgorithm::MlKem.name().to_owned(),
        }
        .into())
    }
}

#[derive(Debug)]
pub(crate) struct Decapsulate {
    key: KeyRef,
    ciphertext: Tagged,
    dry_run: bool,
}

impl TryFrom<v1::DecapsulateRequest> for Decapsulate {
    type Error = Refusal;

    fn try_from(sent: v1::DecapsulateRequest) -> Result<Self, Refusal> {
        GrantTokens::parse(&sent.grant_tokens)?;
        ml_kem(&sent.encapsulation_algorithm)?;
        let ciphertext =
            Tagged::parse("sharedSecretCiphertextBlob", sent.shared_secret_ciphertext_blob)?;
        Ok(Self { key: KeyRef::parse(&sent.key_id)?, ciphertext, dry_run: sent.dry_run })
    }
}

impl Operation for Decapsulate {
    fn action(&self) -> Action {
        Action::Decapsulate
    }

    fn tell(&self, told: &mut Told<'_>) {
        told.key(&self.key);
        told.dry_run(self.dry_run);
    }
}

impl Use for Decapsulate {
    fn perform(&self, work: &mut Work<'_>) -> Result<Response, Stop> {
        let key = work.usable_key(&self.key, KeyUsage::EncapsulateDecapsulate, self.action())?;
        let (_, current) = work.current(&key)?;
        let Pair::MlKem(private) = work.pair(&key, current)? else {
            return Err(Refusal::InvalidCiphertext.into());
        };
        let shared = private.decapsulate(self.ciphertext.bytes());
        let shared = shared.map_err(|_| Refusal::InvalidCiphertext)?;
        work.unless_dry_run(self.dry_run)?;
        Ok(v1::DecapsulateResponse {
            key_id: work.domain.key_arn(key.id),
            shared_secret: shared.expose().to_vec(),
            encapsulation_algorithm: EncapsulationAlgorithm::MlKem.name().to_owned(),
        }
        .into())
    }
}
