//! GetKeyLastUsage.

use conclave_proto::v1;

use crate::action::Action;
use crate::audit_entry::Told;
use crate::key_ref::KeyRef;
use crate::operation::{Operation, Use};
use crate::refusal::Refusal;
use crate::response::Response;
use crate::work::{Stop, Work};

#[derive(Debug)]
pub(crate) struct GetKeyLastUsage {
    key: KeyRef,
}

impl TryFrom<v1::GetKeyLastUsageRequest> for GetKeyLastUsage {
    type Error = Refusal;

    fn try_from(sent: v1::GetKeyLastUsageRequest) -> Result<Self, Refusal> {
        Ok(Self { key: KeyRef::parse_key(&sent.key_id)? })
    }
}

impl Operation for GetKeyLastUsage {
    fn action(&self) -> Action {
        Action::GetKeyLastUsage
    }

    fn tell(&self, told: &mut Told<'_>) {
        told.key(&self.key);
    }
}

impl Use for GetKeyLastUsage {
    fn perform(&self, work: &mut Work<'_>) -> Result<Response, Stop> {
        let key = work.find_key(&self.key)?;
        let last = work.reads.last_use(key.id).map(|last| v1::KeyLastUsage {
            operation: Action::of_use(last.operation).map_or("Unknown", Action::name).to_owned(),
            timestamp_ms: last.time.0,
            cloud_trail_event_id: last.audit_index.to_string(),
        });
        Ok(v1::GetKeyLastUsageResponse {
            key_id: work.domain.key_arn(key.id),
            key_last_usage: last,
            // Every use is noted from the first on.
            tracking_start_date_ms: key.created_ms,
            key_creation_date_ms: key.created_ms,
        }
        .into())
    }
}
