//! A page of grants, and how each is shown.

use std::sync::Arc;

use conclave_proto::v1;
use conclave_store::RecordId;

use crate::fields::GrantId;
use crate::key_ref::DomainInfo;
use crate::records::GrantRecord;
use crate::work::{Stop, Work};

/// Grants that are looked at for one page: where few are wanted it ends before it is full, and says
/// that more follow.
pub(super) const LOOKED_AT_MAX: usize = 1000;

/// At most `limit` of `records` that are wanted. `records` has at most one more than
/// [`LOOKED_AT_MAX`].
pub(super) fn page(
    work: &Work<'_>,
    records: &[RecordId],
    limit: usize,
    is_wanted: impl Fn(&GrantRecord) -> bool,
) -> Result<v1::ListGrantsResponse, Stop> {
    let mut grants: Vec<Arc<GrantRecord>> = Vec::new();
    let mut looked_at = 0;
    for record in records.iter().take(LOOKED_AT_MAX) {
        if grants.len() == limit {
            break;
        }
        grants.extend(work.reads.listed_grant(*record)?.filter(|grant| is_wanted(grant)));
        looked_at += 1;
    }
    let truncated = looked_at < records.len();
    let last = records[..looked_at].last().filter(|_| truncated);
    Ok(v1::ListGrantsResponse {
        grants: grants.iter().map(|grant| shown(grant, work.domain)).collect(),
        next_marker: last.map(|record| GrantId::new(*record.id()).to_string()),
        truncated,
        read_index: work.reads.read_index(),
    })
}

fn shown(grant: &GrantRecord, domain: &DomainInfo) -> v1::GrantListEntry {
    let is_bound = !grant.context_equals.is_empty() || !grant.context_subset.is_empty();
    let constraints = is_bound.then(|| v1::GrantConstraints {
        encryption_context_equals: grant.context_equals.iter().cloned().collect(),
        encryption_context_subset: grant.context_subset.iter().cloned().collect(),
        source_arn: None,
    });
    v1::GrantListEntry {
        key_id: domain.key_arn(grant.key),
        grant_id: grant.id.to_string(),
        name: grant.name.clone(),
        creation_date_ms: grant.created_ms,
        grantee_principal: grant.grantee.clone(),
        retiring_principal: grant.retiring.clone(),
        issuing_account: domain.root_arn(),
        operations: grant.operations.names(),
        constraints,
    }
}
