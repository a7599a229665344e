//! GetPublicKey.

use conclave_proto::v1;

use crate::action::Action;
use crate::audit_entry::Told;
use crate::fields::GrantTokens;
use crate::key_ref::KeyRef;
use crate::keys::check_usable;
use crate::keys::metadata::Algorithms;
use crate::operation::{Operation, Use};
use crate::refusal::Refusal;
use crate::response::Response;
use crate::work::{Stop, Work};

#[derive(Debug)]
pub(crate) struct GetPublicKey {
    key: KeyRef,
}

impl TryFrom<v1::GetPublicKeyRequest> for GetPublicKey {
    type Error = Refusal;

    fn try_from(sent: v1::GetPublicKeyRequest) -> Result<Self, Refusal> {
        GrantTokens::parse(&sent.grant_tokens)?;
        Ok(Self { key: KeyRef::parse(&sent.key_id)? })
    }
}

impl Operation for GetPublicKey {
    fn action(&self) -> Action {
        Action::GetPublicKey
    }

    fn tell(&self, told: &mut Told<'_>) {
        told.key(&self.key);
    }
}

impl Use for GetPublicKey {
    fn perform(&self, work: &mut Work<'_>) -> Result<Response, Stop> {
        let key = work.find_key(&self.key)?;
        let arn = work.domain.key_arn(key.id);
        if !key.spec.is_asymmetric() {
            let what = format!("A public key of {}", key.spec.name());
            return Err(Refusal::NotOffered { what }.into());
        }
        check_usable(key.state, &arn)?;
        let (_, current) = work.current(&key)?;
        let algorithms = Algorithms::of(key.spec, key.usage);
        Ok(v1::GetPublicKeyResponse {
            key_id: arn,
            public_key: work.pair(&key, current)?.spki(),
            customer_master_key_spec: key.spec.has_old_name().then(|| key.spec.name().to_owned()),
            key_spec: key.spec.name().to_owned(),
            key_usage: key.usage.name().to_owned(),
            encryption_algorithms: algorithms.encryption,
            signing_algorithms: algorithms.signing,
            key_agreement_algorithms: algorithms.key_agreement,
            encapsulation_algorithms: algorithms.encapsulation,
        }
        .into())
    }
}
