//! GetParametersForImport: a new key pair to wrap key material with, and the token that remembers it.
//! Nothing of it is kept here.

use conclave_crypto::Secret;
use conclave_proto::v1;

use crate::action::Action;
use crate::audit_entry::Told;
use crate::importing::check_importable;
use crate::importing::token::{ImportToken, VALID_MS};
use crate::importing::wrapping::Wrapping;
use crate::key_ref::KeyRef;
use crate::material::{Pair, ToMake};
use crate::operation::{Operation, Use};
use crate::plan::DecideError;
use crate::refusal::Refusal;
use crate::response::Response;
use crate::spec::KeyUsage;
use crate::work::{Stop, Work};

#[derive(Debug)]
pub(crate) struct GetParametersForImport {
    key: KeyRef,
    wrapping: Wrapping,
    pair: ToMake,
}

impl TryFrom<v1::GetParametersForImportRequest> for GetParametersForImport {
    type Error = Refusal;

    fn try_from(sent: v1::GetParametersForImportRequest) -> Result<Self, Refusal> {
        let key = KeyRef::parse_key(&sent.key_id)?;
        let wrapping = Wrapping::parse(&sent.wrapping_algorithm, &sent.wrapping_key_spec)?;
        let pair = ToMake::new(wrapping.key_spec(), KeyUsage::EncryptDecrypt);
        Ok(Self { key, wrapping, pair })
    }
}

impl Operation for GetParametersForImport {
    fn action(&self) -> Action {
        Action::GetParametersForImport
    }

    fn tell(&self, told: &mut Told<'_>) {
        let (algorithm, spec) = self.wrapping.names();
        told.key(&self.key);
        told.put("WrappingAlgorithm", algorithm);
        told.put("WrappingKeySpec", spec);
    }

    fn slow(&self) -> Option<&ToMake> {
        Some(&self.pair)
    }
}

impl Use for GetParametersForImport {
    fn perform(&self, work: &mut Work<'_>) -> Result<Response, Stop> {
        let key = work.find_key(&self.key)?;
        let arn = work.domain.key_arn(key.id);
        check_importable(&key, &arn)?;
        if !self.wrapping.has_room_for(key.spec) {
            let (algorithm, wrapping_spec) = self.wrapping.names();
            let spec = key.spec.name();
            return Err(Refusal::WrappingOfSpec { algorithm, wrapping_spec, spec }.into());
        }
        let made = self.pair.get(work.entropy).map_err(DecideError::from)?;
        let public_key = made.pair().map(Pair::spki).unwrap_or_default();
        let token = ImportToken {
            wrapping: self.wrapping,
            ends_ms: work.now_ms.saturating_add(VALID_MS),
            private_key: Secret::copy_from(made.bytes()),
        };
        Ok(v1::GetParametersForImportResponse {
            key_id: arn,
            import_token: token.seal(key.id, work),
            public_key,
            parameters_valid_to_ms: token.ends_ms,
        }
        .into())
    }
}
