//! Who may ask at all. Roles are given when a principal is created and never change; another role
//! means another principal, or deleting and creating this one, each of which leaves its entry.

use conclave_crypto::Secret;
use conclave_proto::v1;
use conclave_store::{Kind, RecordId};

use crate::action::Action;
use crate::answer::Kept;
use crate::audit_entry::Told;
use crate::fields::{PageLimit, PrincipalName, Roles};
use crate::key_ref::{DomainInfo, KeyId};
use crate::operation::{Change, Operation, Use};
use crate::records::{PrincipalRecord, encode_principal};
use crate::refusal::Refusal;
use crate::response::Response;
use crate::work::{Stop, Work};

#[derive(Debug)]
pub(crate) struct CreatePrincipal {
    name: PrincipalName,
    roles: Roles,
}

impl TryFrom<v1::CreatePrincipalRequest> for CreatePrincipal {
    type Error = Refusal;

    fn try_from(sent: v1::CreatePrincipalRequest) -> Result<Self, Refusal> {
        Ok(Self { name: PrincipalName::parse(&sent.name)?, roles: Roles::parse(&sent.roles)? })
    }
}

impl Operation for CreatePrincipal {
    fn action(&self) -> Action {
        Action::CreatePrincipal
    }

    fn tell(&self, told: &mut Told<'_>) {
        told.resource(format!("principal/{}", self.name.as_str()));
        told.put("Roles", &role_names(&self.roles).join(","));
    }
}

impl Change for CreatePrincipal {
    /// Whoever asks exists, so nobody gives themself roles: that is refused like any other existing
    /// name.
    fn perform(&self, work: &mut Work<'_>) -> Result<Kept, Stop> {
        let name = self.name.as_str();
        if work.reads.principal(name)?.is_some() {
            return Err(Refusal::PrincipalExists { name: name.to_owned() }.into());
        }
        let record = work.reads.principal_record_id(name);
        let encoded = encode_principal(&self.name, &self.roles, work.now_ms);
        work.put(record, &Secret::from_vec(encoded));
        Ok(Kept::nothing(work.now_ms))
    }

    fn response(&self, kept: &Kept, _: &DomainInfo) -> Response {
        let principal = v1::PrincipalInfo {
            name: self.name.as_str().to_owned(),
            roles: role_names(&self.roles),
            created_ms: kept.now_ms,
        };
        v1::CreatePrincipalResponse { principal: Some(principal) }.into()
    }
}

#[derive(Debug)]
pub(crate) struct DeletePrincipal {
    name: PrincipalName,
}

impl TryFrom<v1::DeletePrincipalRequest> for DeletePrincipal {
    type Error = Refusal;

    fn try_from(sent: v1::DeletePrincipalRequest) -> Result<Self, Refusal> {
        Ok(Self { name: PrincipalName::parse(&sent.name)? })
    }
}

impl Operation for DeletePrincipal {
    fn action(&self) -> Action {
        Action::DeletePrincipal
    }

    fn tell(&self, told: &mut Told<'_>) {
        told.resource(format!("principal/{}", self.name.as_str()));
    }
}

impl Change for DeletePrincipal {
    /// Nobody deletes themself, and only an operator deletes: so the operator who did it remains, and
    /// with its record guarded there is always one.
    fn perform(&self, work: &mut Work<'_>) -> Result<Kept, Stop> {
        let name = self.name.as_str();
        if name == work.caller.principal {
            return Err(Refusal::OwnPrincipal { principal: name.to_owned() }.into());
        }
        if work.reads.principal(name)?.is_none() {
            return Err(Refusal::UnknownPrincipal { name: name.to_owned() }.into());
        }
        work.delete(work.reads.principal_record_id(name));
        Ok(Kept::nothing(work.now_ms))
    }

    fn response(&self, _: &Kept, _: &DomainInfo) -> Response {
        v1::DeletePrincipalResponse {}.into()
    }
}

#[derive(Debug)]
pub(crate) struct ListPrincipals {
    limit: PageLimit,
    after: Option<RecordId>,
}

impl TryFrom<v1::ListPrincipalsRequest> for ListPrincipals {
    type Error = Refusal;

    fn try_from(sent: v1::ListPrincipalsRequest) -> Result<Self, Refusal> {
        // The marker is a record id in the shape of a key id: principals are listed by theirs.
        let after = match sent.marker.as_str() {
            "" => None,
            marker => {
                let id = KeyId::parse(marker).ok_or(Refusal::InvalidMarker)?;
                Some(RecordId::new(Kind::Principal, *id.bytes()))
            }
        };
        Ok(Self { limit: PageLimit::parse(sent.limit, 100, 1000)?, after })
    }
}

impl Operation for ListPrincipals {
    fn action(&self) -> Action {
        Action::ListPrincipals
    }

    fn tell(&self, told: &mut Told<'_>) {
        told.put("Limit", &self.limit.get().to_string());
    }
}

impl Use for ListPrincipals {
    /// In order of record id, which is no order of names: names are not what records are found by.
    fn perform(&self, work: &mut Work<'_>) -> Result<Response, Stop> {
        let limit = self.limit.get();
        let (page, truncated) = work.reads.page(Kind::Principal, self.after.as_ref(), limit);
        let mut principals = Vec::with_capacity(page.len());
        for record in &page {
            let listed = work.reads.listed_principal(*record)?;
            principals.extend(listed.map(|principal| info(&principal)));
        }
        let last = page.last().filter(|_| truncated);
        Ok(v1::ListPrincipalsResponse {
            principals,
            next_marker: last.map(|record| KeyId::new(*record.id()).to_string()),
            truncated,
            read_index: work.reads.read_index(),
        }
        .into())
    }
}

fn info(principal: &PrincipalRecord) -> v1::PrincipalInfo {
    v1::PrincipalInfo {
        name: principal.name.clone(),
        roles: role_names(&principal.roles),
        created_ms: principal.created_ms,
    }
}

fn role_names(roles: &Roles) -> Vec<String> {
    roles.as_slice().iter().map(|role| role.name().to_owned()).collect()
}
