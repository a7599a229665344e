//! Who may ask at all. Roles are given when a principal is created and never change; another role
//! means another principal, or deleting and creating this one, each of which leaves its entry.

use conclave_crypto::Secret;
use conclave_store::{Kind, RecordId};

use crate::fields::{PageLimit, PrincipalName, Roles};
use crate::key_ref::KeyId;
use crate::records::{PrincipalRecord, encode_principal};
use crate::refusal::Refusal;
use crate::response::{PrincipalInfo, PrincipalPage, Response};
use crate::work::{Stop, Work};

/// Whoever asks exists, so nobody gives themself roles: that is refused like any other existing name.
pub(crate) fn create_principal(
    work: &mut Work<'_>,
    name: &PrincipalName,
    roles: &Roles,
) -> Result<Response, Stop> {
    if work.reads.principal(name.as_str())?.is_some() {
        return Err(Refusal::PrincipalExists { name: name.as_str().to_owned() }.into());
    }
    let record = work.reads.principal_record_id(name.as_str());
    let encoded = encode_principal(name, roles, work.now_ms);
    work.put(record, &Secret::from_vec(encoded));
    Ok(Response::PrincipalCreated(PrincipalInfo {
        name: name.as_str().to_owned(),
        roles: roles.as_slice().to_vec(),
        created_ms: work.now_ms,
    }))
}

/// Nobody deletes themself, and only an operator deletes: so the operator who did it remains, and with
/// its record guarded there is always one.
pub(crate) fn delete_principal(
    work: &mut Work<'_>,
    name: &PrincipalName,
) -> Result<Response, Stop> {
    if name.as_str() == work.caller.principal {
        return Err(Refusal::OwnPrincipal { principal: work.caller.principal.clone() }.into());
    }
    if work.reads.principal(name.as_str())?.is_none() {
        return Err(Refusal::UnknownPrincipal { name: name.as_str().to_owned() }.into());
    }
    work.delete(work.reads.principal_record_id(name.as_str()));
    Ok(Response::PrincipalDeleted)
}

/// In order of record id, which is no order of names: names are not what records are found by.
pub(crate) fn list_principals(
    work: &mut Work<'_>,
    limit: PageLimit,
    after: Option<RecordId>,
) -> Result<Response, Stop> {
    let (page, truncated) = work.reads.page(Kind::Principal, after.as_ref(), limit.get());
    let mut principals = Vec::with_capacity(page.len());
    for record in &page {
        let listed = work.reads.listed_principal(*record)?;
        principals.extend(listed.map(|principal| info(&principal)));
    }
    let last = page.last().filter(|_| truncated);
    Ok(Response::Principals(PrincipalPage {
        principals,
        next_marker: last.map(|record| KeyId::new(*record.id()).to_string()),
        read_index: work.reads.read_index(),
    }))
}

fn info(principal: &PrincipalRecord) -> PrincipalInfo {
    PrincipalInfo {
        name: principal.name.clone(),
        roles: principal.roles.as_slice().to_vec(),
        created_ms: principal.created_ms,
    }
}
