//! UpdateKeyDescription.

use conclave_proto::v1;

use crate::action::Action;
use crate::answer::Kept;
use crate::audit_entry::Told;
use crate::fields::Description;
use crate::key_ref::{DomainInfo, KeyRef};
use crate::keys::state::check_labelled;
use crate::operation::{Change, Operation};
use crate::refusal::Refusal;
use crate::response::Response;
use crate::work::{Stop, Work};

#[derive(Debug)]
pub(crate) struct UpdateKeyDescription {
    key: KeyRef,
    description: Description,
}

impl TryFrom<v1::UpdateKeyDescriptionRequest> for UpdateKeyDescription {
    type Error = Refusal;

    fn try_from(sent: v1::UpdateKeyDescriptionRequest) -> Result<Self, Refusal> {
        let description = Description::parse(sent.description)?;
        Ok(Self { key: KeyRef::parse_key(&sent.key_id)?, description })
    }
}

impl Operation for UpdateKeyDescription {
    fn action(&self) -> Action {
        Action::UpdateKeyDescription
    }

    /// An empty description is told too: the old one is taken away.
    fn tell(&self, told: &mut Told<'_>) {
        told.key(&self.key);
        told.put("Description", self.description.as_str());
    }
}

impl Change for UpdateKeyDescription {
    fn perform(&self, work: &mut Work<'_>) -> Result<Kept, Stop> {
        let key = work.find_key(&self.key)?;
        check_labelled(key.state, &work.domain.key_arn(key.id))?;
        // Sealing the same again would change the digest, and every use under way would conflict.
        if key.description != self.description.as_str() {
            let mut stored = key.to_stored();
            stored.description = self.description.as_str().to_owned();
            work.put_key(&stored);
        }
        Ok(Kept::nothing(work.now_ms))
    }

    fn response(&self, _: &Kept, _: &DomainInfo) -> Response {
        v1::UpdateKeyDescriptionResponse {}.into()
    }
}
