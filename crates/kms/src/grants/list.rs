//! ListGrants: those of one key, in order of their ids. The shell has made sure that the view is fresh.

use conclave_proto::v1;

use crate::action::Action;
use crate::audit_entry::Told;
use crate::fields::{GrantId, PageLimit, PrincipalRef};
use crate::grants::page::{LOOKED_AT_MAX, page};
use crate::key_ref::KeyRef;
use crate::operation::{Operation, Use};
use crate::reads::grant_record_id;
use crate::records::GrantRecord;
use crate::refusal::Refusal;
use crate::response::Response;
use crate::work::{Stop, Work};

#[derive(Debug)]
pub(crate) struct ListGrants {
    key: KeyRef,
    limit: PageLimit,
    after: Option<GrantId>,
    id: Option<GrantId>,
    grantee: Option<PrincipalRef>,
}

impl TryFrom<v1::ListGrantsRequest> for ListGrants {
    type Error = Refusal;

    fn try_from(sent: v1::ListGrantsRequest) -> Result<Self, Refusal> {
        if !sent.grantee_service_principal.is_empty() {
            return Err(Refusal::NotOffered { what: "A service principal".to_owned() });
        }
        let id = match sent.grant_id.as_str() {
            "" => None,
            id => Some(GrantId::parse(id)?),
        };
        Ok(Self {
            key: KeyRef::parse_key(&sent.key_id)?,
            limit: PageLimit::parse(sent.limit, 50, 100)?,
            after: GrantId::parse_marker(&sent.marker)?,
            id,
            grantee: PrincipalRef::parse_optional("granteePrincipal", &sent.grantee_principal)?,
        })
    }
}

impl Operation for ListGrants {
    fn action(&self) -> Action {
        Action::ListGrants
    }

    fn tell(&self, told: &mut Told<'_>) {
        told.key(&self.key);
        told.put("Limit", &self.limit.get().to_string());
        if let Some(after) = self.after {
            told.put("Marker", &after.to_string());
        }
        if let Some(id) = self.id {
            told.put("GrantId", &id.to_string());
        }
        if let Some(grantee) = &self.grantee {
            told.put("GranteePrincipal", &grantee.told());
        }
    }
}

impl Use for ListGrants {
    fn perform(&self, work: &mut Work<'_>) -> Result<Response, Stop> {
        let key = work.find_key(&self.key)?;
        let grantee = self.grantee.as_ref().map(|grantee| grantee.arn(work.domain)).transpose()?;
        let records = match self.id {
            Some(id) => vec![grant_record_id(id)],
            None => work.reads.grants_after(Some(key.id), self.after, LOOKED_AT_MAX + 1),
        };
        let is_wanted = |grant: &GrantRecord| {
            let is_theirs = grantee.as_ref().is_none_or(|grantee| *grantee == grant.grantee);
            grant.key == key.id && is_theirs
        };
        Ok(page(work, &records, self.limit.get(), is_wanted)?.into())
    }
}
