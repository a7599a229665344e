//! RetireGrant: a grant ends by those that it is for.

use std::sync::Arc;

use conclave_proto::v1;

use crate::action::Action;
use crate::answer::Kept;
use crate::audit_entry::Told;
use crate::authorize::may_retire;
use crate::fields::{GrantId, GrantToken};
use crate::invalid::Invalid;
use crate::key_ref::{DomainInfo, KeyRef};
use crate::operation::{Change, Operation};
use crate::reads::grant_record_id;
use crate::records::GrantRecord;
use crate::refusal::Refusal;
use crate::response::Response;
use crate::work::{Stop, Work};

#[derive(Debug)]
pub(crate) struct RetireGrant {
    key: KeyRef,
    grant: GrantId,
    dry_run: bool,
}

impl TryFrom<v1::RetireGrantRequest> for RetireGrant {
    type Error = Refusal;

    fn try_from(sent: v1::RetireGrantRequest) -> Result<Self, Refusal> {
        let by_ids = !sent.key_id.is_empty() || !sent.grant_id.is_empty();
        let (key, grant) = match sent.grant_token.as_str() {
            "" if by_ids => (KeyRef::parse_key(&sent.key_id)?, GrantId::parse(&sent.grant_id)?),
            token if !by_ids && !token.is_empty() => {
                let GrantToken { key, grant } = GrantToken::parse(token)?;
                (KeyRef::of(key), grant)
            }
            _ => return Err(Invalid::GrantNamedTwice.into()),
        };
        Ok(Self { key, grant, dry_run: sent.dry_run })
    }
}

impl Operation for RetireGrant {
    fn action(&self) -> Action {
        Action::RetireGrant
    }

    fn tell(&self, told: &mut Told<'_>) {
        told.key(&self.key);
        told.put("GrantId", &self.grant.to_string());
        told.dry_run(self.dry_run);
    }
}

impl Change for RetireGrant {
    fn perform(&self, work: &mut Work<'_>) -> Result<Kept, Stop> {
        let grant = find_grant(work, &self.key, self.grant)?;
        let caller = work.caller.principal.clone();
        let principal = work.reads.principal(&caller)?;
        let arn = work.domain.principal_arn(&caller);
        if !principal.is_some_and(|principal| may_retire(&principal, &arn, &grant)) {
            return Err(Refusal::Denied {
                principal: caller,
                action: Action::RetireGrant,
                resource: work.domain.key_arn(grant.key),
            }
            .into());
        }
        work.unless_dry_run(self.dry_run)?;
        work.delete(grant_record_id(grant.id));
        Ok(Kept::nothing(work.now_ms))
    }

    fn response(&self, _: &Kept, _: &DomainInfo) -> Response {
        v1::RetireGrantResponse {}.into()
    }
}

/// A grant of this key, whatever the key's state.
pub(super) fn find_grant(
    work: &mut Work<'_>,
    key: &KeyRef,
    id: GrantId,
) -> Result<Arc<GrantRecord>, Stop> {
    let key = work.find_key(key)?;
    let grant = work.reads.grant(id)?.filter(|grant| grant.key == key.id);
    let unknown = || Refusal::UnknownGrant { id: id.to_string(), arn: work.domain.key_arn(key.id) };
    grant.ok_or_else(|| unknown().into())
}
