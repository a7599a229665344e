//! ListKeyPolicies: of each key the same.

use conclave_proto::v1;

use crate::action::Action;
use crate::audit_entry::Told;
use crate::fields::{PageLimit, PolicyName};
use crate::key_ref::KeyRef;
use crate::operation::{Operation, Use};
use crate::refusal::Refusal;
use crate::response::Response;
use crate::work::{Stop, Work};

#[derive(Debug)]
pub(crate) struct ListKeyPolicies {
    key: KeyRef,
}

impl TryFrom<v1::ListKeyPoliciesRequest> for ListKeyPolicies {
    type Error = Refusal;

    fn try_from(sent: v1::ListKeyPoliciesRequest) -> Result<Self, Refusal> {
        PageLimit::parse(sent.limit, 100, 1000)?;
        if !sent.marker.is_empty() {
            // One name fits on a page, so no page ever gave one.
            return Err(Refusal::InvalidMarker);
        }
        Ok(Self { key: KeyRef::parse_key(&sent.key_id)? })
    }
}

impl Operation for ListKeyPolicies {
    fn action(&self) -> Action {
        Action::ListKeyPolicies
    }

    fn tell(&self, told: &mut Told<'_>) {
        told.key(&self.key);
    }
}

impl Use for ListKeyPolicies {
    fn perform(&self, work: &mut Work<'_>) -> Result<Response, Stop> {
        work.find_key(&self.key)?;
        let policy_names = vec![PolicyName::TEXT.to_owned()];
        let (next_marker, truncated) = (None, false);
        Ok(v1::ListKeyPoliciesResponse { policy_names, next_marker, truncated }.into())
    }
}
