//! ListKeys. The ids are read from the view as it is: the shell has made sure that it is fresh.

use conclave_proto::v1;
use conclave_store::Kind;

use crate::action::Action;
use crate::audit_entry::Told;
use crate::fields::PageLimit;
use crate::key_ref::KeyId;
use crate::operation::{Operation, Use};
use crate::reads::key_record_id;
use crate::refusal::Refusal;
use crate::response::Response;
use crate::work::{Stop, Work};

#[derive(Debug)]
pub(crate) struct ListKeys {
    limit: PageLimit,
    after: Option<KeyId>,
}

impl TryFrom<v1::ListKeysRequest> for ListKeys {
    type Error = Refusal;

    fn try_from(sent: v1::ListKeysRequest) -> Result<Self, Refusal> {
        let after = match sent.marker.as_str() {
            "" => None,
            marker => Some(KeyId::parse(marker).ok_or(Refusal::InvalidMarker)?),
        };
        Ok(Self { limit: PageLimit::parse(sent.limit, 100, 1000)?, after })
    }
}

impl Operation for ListKeys {
    fn action(&self) -> Action {
        Action::ListKeys
    }

    fn tell(&self, told: &mut Told<'_>) {
        told.put("Limit", &self.limit.get().to_string());
        if let Some(after) = self.after {
            told.put("Marker", &after.to_string());
        }
    }
}

impl Use for ListKeys {
    fn perform(&self, work: &mut Work<'_>) -> Result<Response, Stop> {
        let after = self.after.map(key_record_id);
        let (page, truncated) = work.reads.page(Kind::Key, after.as_ref(), self.limit.get());
        let ids: Vec<_> = page.iter().map(|record| KeyId::new(*record.id())).collect();
        let entry = |id: &KeyId| v1::KeyListEntry {
            key_id: id.to_string(),
            key_arn: work.domain.key_arn(*id),
        };
        Ok(v1::ListKeysResponse {
            keys: ids.iter().map(entry).collect(),
            next_marker: ids.last().filter(|_| truncated).map(KeyId::to_string),
            truncated,
            read_index: work.reads.read_index(),
        }
        .into())
    }
}
