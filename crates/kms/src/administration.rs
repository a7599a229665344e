//! What operators and auditors ask for. Most of the work is the shell's: here it is authorised, guarded
//! and audited.

use std::collections::BTreeMap;

use conclave_proto::v1;
use conclave_seal::keyring::rotation::DomainKeyError;
use conclave_store::{GuardDigest, RecordId, Write};

use crate::action::Action;
use crate::answer::Kept;
use crate::audit_entry::Told;
use crate::key_ref::DomainInfo;
use crate::operation::{Change, Operation, Use};
use crate::plan::DecideError;
use crate::refusal::Refusal;
use crate::response::Response;
use crate::work::{Stop, Work};

/// A step of a ceremony that the shell has worked out: it is authorised and audited here, and its
/// writes go into the same txn.
#[derive(Debug)]
pub struct Admin {
    /// What for.
    pub action: AdminAction,
    /// For the audit entry: the nodes.
    pub resources: Vec<String>,
    /// For the audit entry: names and values, in any order.
    pub parameters: Vec<(String, String)>,
    /// What the ceremony read. If it is not so any more, the step is refused as
    /// [overtaken](Refusal::Overtaken).
    pub guards: BTreeMap<RecordId, Option<GuardDigest>>,
    /// What it writes. Sealed kinds are sealed already.
    pub writes: Vec<Write>,
}

/// The ceremonies that an operator's certificate authorises.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names say it")]
pub enum AdminAction {
    AddNodes,
    RemoveNode,
    SealNode,
    DrainNode,
    UndrainNode,
    RotateRoot,
    ExcludeNode,
    DealOperatorShares,
}

/// A reading of the audit log: authorised and audited here, streamed by the shell.
#[derive(Debug)]
pub struct ReadAudit {
    /// Whether it is an export, which proves itself, or a listing.
    pub export: bool,
    /// For the audit entry: filters and bounds, in any order.
    pub parameters: Vec<(String, String)>,
}

impl Operation for Admin {
    fn action(&self) -> Action {
        match self.action {
            AdminAction::AddNodes => Action::AddNodes,
            AdminAction::RemoveNode => Action::RemoveNode,
            AdminAction::SealNode => Action::SealNode,
            AdminAction::DrainNode => Action::DrainNode,
            AdminAction::UndrainNode => Action::UndrainNode,
            AdminAction::RotateRoot => Action::RotateRoot,
            AdminAction::ExcludeNode => Action::ExcludeNode,
            AdminAction::DealOperatorShares => Action::DealOperatorShares,
        }
    }

    fn tell(&self, told: &mut Told<'_>) {
        self.resources.iter().for_each(|resource| told.resource(resource.clone()));
        told.put_all("", &self.parameters);
    }
}

impl Use for Admin {
    fn perform(&self, work: &mut Work<'_>) -> Result<Response, Stop> {
        for (record, read) in &self.guards {
            if work.reads.guard(*record) != *read {
                return Err(Refusal::Overtaken.into());
            }
        }
        work.write_all(&self.writes);
        Ok(Response::Done)
    }
}

impl Operation for ReadAudit {
    fn action(&self) -> Action {
        if self.export { Action::ExportAudit } else { Action::ListAudit }
    }

    fn tell(&self, told: &mut Told<'_>) {
        told.put_all("", &self.parameters);
    }
}

impl Use for ReadAudit {
    /// The entry says that the log was read, by whom and how much of it; the shell streams it.
    fn perform(&self, _: &mut Work<'_>) -> Result<Response, Stop> {
        Ok(Response::Done)
    }
}

/// A new domain key. What lies under the old one is sealed again by the shell, in the background.
#[derive(Debug)]
pub(crate) struct RotateDomainKey;

impl TryFrom<v1::RotateDomainKeyRequest> for RotateDomainKey {
    type Error = Refusal;

    fn try_from(_: v1::RotateDomainKeyRequest) -> Result<Self, Refusal> {
        Ok(Self)
    }
}

impl Operation for RotateDomainKey {
    fn action(&self) -> Action {
        Action::RotateDomainKey
    }

    fn tell(&self, _: &mut Told<'_>) {}
}

impl Change for RotateDomainKey {
    fn perform(&self, work: &mut Work<'_>) -> Result<Kept, Stop> {
        let change = match work.reads.rotate_domain_key(work.now_ms, work.entropy) {
            Ok(change) => change,
            Err(DomainKeyError::TooMany { older }) => {
                return Err(Refusal::TooManyDomainKeys { older }.into());
            }
            Err(DomainKeyError::Pending) => return Err(Refusal::ShareEpochPending.into()),
            Err(error) => return Err(DecideError::from(error).into()),
        };
        work.reads.adopt(&change.guards)?;
        work.write_all(&change.writes);
        let epoch = change.epochs.current;
        work.concerns(format!("domain-key/{epoch}"));
        Ok(Kept { epoch, ..Kept::nothing(work.now_ms) })
    }

    fn response(&self, kept: &Kept, _: &DomainInfo) -> Response {
        v1::RotateDomainKeyResponse { domain_key: kept.epoch }.into()
    }
}
