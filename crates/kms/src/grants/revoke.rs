//! RevokeGrant: a grant ends by those who administer its key.

use conclave_proto::v1;

use crate::action::Action;
use crate::answer::Kept;
use crate::audit_entry::Told;
use crate::fields::GrantId;
use crate::grants::retire::find_grant;
use crate::key_ref::{DomainInfo, KeyRef};
use crate::operation::{Change, Operation};
use crate::reads::grant_record_id;
use crate::refusal::Refusal;
use crate::response::Response;
use crate::work::{Stop, Work};

#[derive(Debug)]
pub(crate) struct RevokeGrant {
    key: KeyRef,
    grant: GrantId,
    dry_run: bool,
}

impl TryFrom<v1::RevokeGrantRequest> for RevokeGrant {
    type Error = Refusal;

    fn try_from(sent: v1::RevokeGrantRequest) -> Result<Self, Refusal> {
        Ok(Self {
            key: KeyRef::parse_key(&sent.key_id)?,
            grant: GrantId::parse(&sent.grant_id)?,
            dry_run: sent.dry_run,
        })
    }
}

impl Operation for RevokeGrant {
    fn action(&self) -> Action {
        Action::RevokeGrant
    }

    fn tell(&self, told: &mut Told<'_>) {
        told.key(&self.key);
        told.put("GrantId", &self.grant.to_string());
        told.dry_run(self.dry_run);
    }
}

impl Change for RevokeGrant {
    fn perform(&self, work: &mut Work<'_>) -> Result<Kept, Stop> {
        let grant = find_grant(work, &self.key, self.grant)?;
        work.unless_dry_run(self.dry_run)?;
        work.delete(grant_record_id(grant.id));
        Ok(Kept::nothing(work.now_ms))
    }

    fn response(&self, _: &Kept, _: &DomainInfo) -> Response {
        v1::RevokeGrantResponse {}.into()
    }
}
