//! Operators' shares coming in at this node, and the order to seal it.

use std::sync::Arc;

use conclave_kms::{Admin, AdminAction, Caller, Request};
use conclave_seal::SealState;
use conclave_seal::node::UnsealError;
use tonic::{Code, Status};
use tracing::{info, warn};

use crate::audited::{Happened, note_or_later};
use crate::ceremony::effects::carry_out_or_refuse;
use crate::counters::RequestCounters;
use crate::hosted::Hosted;
use crate::meta::precondition;
use crate::refusals::named;
use crate::staircase;

/// Operator shares taken in one call; a domain has at most 16.
const SHARES_PER_CALL_MAX: usize = 16;

/// How far the unsealing is.
pub(crate) struct Progress {
    pub(crate) state: SealState,
    pub(crate) held: u8,
    pub(crate) threshold: u8,
}

/// Takes operator shares. They stay in memory for ten minutes; the shares are the authority.
pub(crate) async fn unseal(
    hosted: &Arc<Hosted>,
    caller: &Caller,
    shares: &[String],
) -> Result<Progress, Status> {
    if shares.len() > SHARES_PER_CALL_MAX {
        return Err(precondition("at most 16 operator shares in one call"));
    }
    if let Some(reason) = hosted.barred() {
        return Err(precondition(reason));
    }
    let threshold = hosted.operator_key().map_or(0, |record| record.split.threshold());
    let before = hosted.state();
    let mut refused = None;
    for share in shares {
        let now_ms = hosted.replica.own_clock_ms();
        let effects = hosted.seal().operator_share(share, now_ms);
        match effects {
            Ok(effects) => carry_out_or_refuse(hosted, effects)?,
            Err(reason) => {
                refused = Some(reason);
                break;
            }
        }
    }
    hosted.news.notify_one();
    let after = hosted.state();
    let happened = Happened {
        parameters: vec![("state", after.as_str().to_owned())],
        refused: refused.as_ref().map(ToString::to_string).unwrap_or_default(),
        ..Happened::by(caller, "Unseal", vec![hosted.name.clone()])
    };
    if refused.is_some() || before != after {
        note_or_later(hosted, happened).await?;
    }
    match refused {
        None => {
            if before != after {
                info!(state = after.as_str(), "operator shares entered");
            }
            Ok(Progress { state: after, held: hosted.seal().operator_shares_held(), threshold })
        }
        Some(reason) => {
            warn!(%reason, "operator shares refused");
            Err(match reason {
                UnsealError::NotCaughtUp | UnsealError::NoShare { .. } => {
                    precondition(reason.to_string())
                }
                _ => named(Code::InvalidArgument, "ValidationException", reason.to_string()),
            })
        }
    }
}

/// Wipes every key of this node. Authorised from what is applied here; the keys go first, the
/// audit entry follows through the intake key.
pub(crate) async fn seal(
    hosted: &Arc<Hosted>,
    counters: &RequestCounters,
    caller: &Caller,
) -> Result<(), Status> {
    match hosted.state() {
        SealState::Sealed => return Ok(()),
        // It cannot read who may. Its share is in this process alone, so stopping that does it.
        SealState::ShareReady => {
            return Err(precondition(
                "this node is share-ready, so it cannot tell who is an operator; stop its process to seal it",
            ));
        }
        SealState::Open => {}
    }
    let request = Request::from(Admin {
        action: AdminAction::SealNode,
        resources: vec![hosted.name.clone()],
        parameters: Vec::new(),
        guards: std::collections::BTreeMap::new(),
        writes: Vec::new(),
    });
    if !staircase::authorized_here(hosted, caller, &request)? {
        // The denial is an operation like any other. Roles may have changed by the time it counts.
        let age = std::time::Duration::ZERO;
        let performed = staircase::perform(hosted, counters, caller, age, &request).await?;
        performed.into_response(&hosted.domain_name())?;
    }
    hosted.wipe_by_order();
    // The audit entry names who it was; the log, readable to others, only which certificate.
    warn!(certificate_serial = caller.certificate_serial, "sealed by order: all keys wiped");
    let happened = Happened::by(caller, "SealNode", vec![hosted.name.clone()]);
    note_or_later(hosted, happened).await
}
