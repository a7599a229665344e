//! GenerateDataKey, with its plaintext or without.

use conclave_crypto::Secret;
use conclave_proto::v1;

use crate::action::Action;
use crate::audit_entry::Told;
use crate::fields::{DataKeyBytes, EncryptionContext, GrantTokens};
use crate::key_ref::KeyRef;
use crate::operation::{Operation, Use};
use crate::refusal::Refusal;
use crate::response::Response;
use crate::usage::encrypt::{Encrypted, Under, encrypt};
use crate::usage::random::draw;
use crate::work::{Stop, Work};

/// A data key to be made.
#[derive(Debug)]
struct DataKey {
    bytes: DataKeyBytes,
    under: Under,
    dry_run: bool,
}

impl DataKey {
    fn tell(&self, told: &mut Told<'_>) {
        told.key(&self.under.key);
        told.put("NumberOfBytes", &self.bytes.get().to_string());
        told.dry_run(self.dry_run);
        told.context(&self.under.context);
    }

    fn make(&self, work: &mut Work<'_>, action: Action) -> Result<(Secret, Encrypted), Stop> {
        let plaintext = draw(work, self.bytes.get());
        let made = encrypt(work, action, &self.under, &plaintext)?;
        work.unless_dry_run(self.dry_run)?;
        Ok((plaintext, made))
    }
}

#[derive(Debug)]
pub(crate) struct GenerateDataKey(DataKey);

impl TryFrom<v1::GenerateDataKeyRequest> for GenerateDataKey {
    type Error = Refusal;

    fn try_from(sent: v1::GenerateDataKeyRequest) -> Result<Self, Refusal> {
        if sent.recipient.is_some() {
            return Err(Refusal::NotOffered { what: "Recipient".to_owned() });
        }
        GrantTokens::parse(&sent.grant_tokens)?;
        let bytes = DataKeyBytes::parse(sent.number_of_bytes, &sent.key_spec)?;
        let context = EncryptionContext::parse(sent.encryption_context)?;
        let under = Under::symmetric(KeyRef::parse(&sent.key_id)?, context);
        Ok(Self(DataKey { bytes, under, dry_run: sent.dry_run }))
    }
}

impl Operation for GenerateDataKey {
    fn action(&self) -> Action {
        Action::GenerateDataKey
    }

    fn tell(&self, told: &mut Told<'_>) {
        self.0.tell(told);
    }
}

impl Use for GenerateDataKey {
    fn perform(&self, work: &mut Work<'_>) -> Result<Response, Stop> {
        let (plaintext, made) = self.0.make(work, self.action())?;
        Ok(v1::GenerateDataKeyResponse {
            ciphertext_blob: made.ciphertext,
            plaintext: plaintext.expose().to_vec(),
            key_id: made.key,
            key_material_id: made.material,
        }
        .into())
    }
}

#[derive(Debug)]
pub(crate) struct GenerateDataKeyWithoutPlaintext(DataKey);

impl TryFrom<v1::GenerateDataKeyWithoutPlaintextRequest> for GenerateDataKeyWithoutPlaintext {
    type Error = Refusal;

    fn try_from(sent: v1::GenerateDataKeyWithoutPlaintextRequest) -> Result<Self, Refusal> {
        GrantTokens::parse(&sent.grant_tokens)?;
        let bytes = DataKeyBytes::parse(sent.number_of_bytes, &sent.key_spec)?;
        let context = EncryptionContext::parse(sent.encryption_context)?;
        let under = Under::symmetric(KeyRef::parse(&sent.key_id)?, context);
        Ok(Self(DataKey { bytes, under, dry_run: sent.dry_run }))
    }
}

impl Operation for GenerateDataKeyWithoutPlaintext {
    fn action(&self) -> Action {
        Action::GenerateDataKeyWithoutPlaintext
    }

    fn tell(&self, told: &mut Told<'_>) {
        self.0.tell(told);
    }
}

impl Use for GenerateDataKeyWithoutPlaintext {
    fn perform(&self, work: &mut Work<'_>) -> Result<Response, Stop> {
        let (_, made) = self.0.make(work, self.action())?;
        Ok(v1::GenerateDataKeyWithoutPlaintextResponse {
            ciphertext_blob: made.ciphertext,
            key_id: made.key,
            key_material_id: made.material,
        }
        .into())
    }
}
