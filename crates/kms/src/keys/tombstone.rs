//! GetKeyTombstone: what became of a key that was destroyed, and how far that has come.

use conclave_proto::v1;

use crate::action::Action;
use crate::audit_entry::Told;
use crate::key_ref::{KeyName, KeyRef};
use crate::operation::{Operation, Use};
use crate::refusal::Refusal;
use crate::response::Response;
use crate::work::{Stop, Work};

#[derive(Debug)]
pub(crate) struct GetKeyTombstone {
    key: KeyRef,
}

impl TryFrom<v1::GetKeyTombstoneRequest> for GetKeyTombstone {
    type Error = Refusal;

    fn try_from(sent: v1::GetKeyTombstoneRequest) -> Result<Self, Refusal> {
        Ok(Self { key: KeyRef::parse_key(&sent.key_id)? })
    }
}

impl Operation for GetKeyTombstone {
    fn action(&self) -> Action {
        Action::GetKeyTombstone
    }

    fn tell(&self, told: &mut Told<'_>) {
        told.key(&self.key);
    }
}

impl Use for GetKeyTombstone {
    fn perform(&self, work: &mut Work<'_>) -> Result<Response, Stop> {
        let arn = self.key.arn(work.domain);
        let found = match self.key.name {
            KeyName::Id(id) => work.reads.tombstone(id)?,
            KeyName::Alias(_) => None,
        };
        let tombstone = found.ok_or_else(|| Refusal::NotDestroyed { arn: arn.clone() })?;
        let epochs = work.reads.domain_keys()?;
        let is_kept = epochs.is_some_and(|epochs| {
            epochs.current <= tombstone.domain_key
                || epochs.older.iter().any(|epoch| *epoch <= tombstone.domain_key)
        });
        Ok(v1::GetKeyTombstoneResponse {
            key_id: arn,
            destroyed_date_ms: tombstone.destroyed_ms,
            domain_key: tombstone.domain_key,
            domain_key_retired: !is_kept,
        }
        .into())
    }
}
