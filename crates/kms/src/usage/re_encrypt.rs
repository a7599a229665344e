//! ReEncrypt: the plaintext stays inside.

use conclave_proto::v1;

use crate::action::Action;
use crate::audit_entry::Told;
use crate::fields::{EncryptionContext, GrantTokens};
use crate::key_ref::KeyRef;
use crate::operation::{Operation, Use};
use crate::refusal::Refusal;
use crate::response::Response;
use crate::usage::decrypt::{Sealed, decrypt};
use crate::usage::encrypt::{Under, algorithm, encrypt};
use crate::work::{Stop, Work};

/// From one key, or context, to another.
#[derive(Debug)]
pub(crate) struct ReEncrypt {
    source: Sealed,
    destination: Under,
    dry_run: bool,
}

impl TryFrom<v1::ReEncryptRequest> for ReEncrypt {
    type Error = Refusal;

    fn try_from(sent: v1::ReEncryptRequest) -> Result<Self, Refusal> {
        GrantTokens::parse(&sent.grant_tokens)?;
        let source = Sealed::parse(
            sent.ciphertext_blob,
            &sent.source_encryption_algorithm,
            sent.source_encryption_context,
            &sent.source_key_id,
        )?;
        let name = &sent.destination_encryption_algorithm;
        let algorithm = algorithm("destinationEncryptionAlgorithm", name)?;
        let context = EncryptionContext::parse(sent.destination_encryption_context)?;
        Under::check_context(algorithm, &context)?;
        let key = KeyRef::parse(&sent.destination_key_id)?;
        let destination = Under { key, algorithm, context };
        Ok(Self { source, destination, dry_run: sent.dry_run })
    }
}

impl Operation for ReEncrypt {
    fn action(&self) -> Action {
        Action::ReEncrypt
    }

    /// There are two contexts: the source's stands where the only one of other requests does, the
    /// destination's among the parameters.
    fn tell(&self, told: &mut Told<'_>) {
        self.source.tell(told);
        if let Some(key) = &self.source.key {
            told.other_key("SourceKeyId", key);
        }
        told.put("SourceEncryptionAlgorithm", self.source.algorithm());
        told.other_key("DestinationKeyId", &self.destination.key);
        told.put("DestinationEncryptionAlgorithm", self.destination.algorithm.name());
        let context = self.destination.context.pairs();
        told.put_all("DestinationEncryptionContext.", context);
        told.dry_run(self.dry_run);
        told.context(&self.source.context);
    }
}

impl Use for ReEncrypt {
    fn perform(&self, work: &mut Work<'_>) -> Result<Response, Stop> {
        let opened = decrypt(work, Action::ReEncrypt, &self.source)?;
        let made = encrypt(work, Action::ReEncrypt, &self.destination, &opened.plaintext)?;
        work.unless_dry_run(self.dry_run)?;
        Ok(v1::ReEncryptResponse {
            ciphertext_blob: made.ciphertext,
            source_key_id: opened.key,
            key_id: made.key,
            source_encryption_algorithm: opened.algorithm.to_owned(),
            destination_encryption_algorithm: made.algorithm.to_owned(),
            source_key_material_id: opened.material,
            destination_key_material_id: made.material,
        }
        .into())
    }
}
