//! ListRetirableGrants: those of all keys that somebody may retire. Nothing is sorted by who that is, so
//! grants are looked through a stretch at a time.

use conclave_proto::v1;

use crate::action::Action;
use crate::audit_entry::Told;
use crate::fields::{GrantId, PageLimit, PrincipalRef};
use crate::grants::page::{LOOKED_AT_MAX, page};
use crate::operation::{Operation, Use};
use crate::records::GrantRecord;
use crate::refusal::Refusal;
use crate::response::Response;
use crate::work::{Stop, Work};

#[derive(Debug)]
pub(crate) struct ListRetirableGrants {
    limit: PageLimit,
    after: Option<GrantId>,
    retiring: PrincipalRef,
}

impl TryFrom<v1::ListRetirableGrantsRequest> for ListRetirableGrants {
    type Error = Refusal;

    fn try_from(sent: v1::ListRetirableGrantsRequest) -> Result<Self, Refusal> {
        if !sent.retiring_service_principal.is_empty() {
            return Err(Refusal::NotOffered { what: "A service principal".to_owned() });
        }
        Ok(Self {
            limit: PageLimit::parse(sent.limit, 50, 100)?,
            after: GrantId::parse_marker(&sent.marker)?,
            retiring: PrincipalRef::parse("retiringPrincipal", &sent.retiring_principal)?,
        })
    }
}

impl Operation for ListRetirableGrants {
    fn action(&self) -> Action {
        Action::ListRetirableGrants
    }

    fn tell(&self, told: &mut Told<'_>) {
        told.put("Limit", &self.limit.get().to_string());
        if let Some(after) = self.after {
            told.put("Marker", &after.to_string());
        }
        told.put("RetiringPrincipal", &self.retiring.told());
    }
}

impl Use for ListRetirableGrants {
    fn perform(&self, work: &mut Work<'_>) -> Result<Response, Stop> {
        let retiring = self.retiring.arn(work.domain)?;
        let records = work.reads.grants_after(None, self.after, LOOKED_AT_MAX + 1);
        let is_wanted = |grant: &GrantRecord| grant.retiring.as_ref() == Some(&retiring);
        let v1::ListGrantsResponse { grants, next_marker, truncated, read_index } =
            page(work, &records, self.limit.get(), is_wanted)?;
        Ok(v1::ListRetirableGrantsResponse { grants, next_marker, truncated, read_index }.into())
    }
}
