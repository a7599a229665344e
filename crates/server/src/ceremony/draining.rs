//! `node drain` and `node undrain`: an operator's order, authorised and audited by the node that is
//! asked, carried out by the node it is about.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use conclave_kms::{Admin, AdminAction, Caller, Request};
use conclave_proto::peer::DrainRequest;
use conclave_proto::record::Member;
use conclave_seal::RaftId;
use tonic::Status;

use crate::drain::{self, FINISH_MAX, Heir};
use crate::hosted::Hosted;
use crate::meta::{precondition, unavailable};
use crate::node::Node;
use crate::peer;
use crate::staircase::perform;

/// Leadership moves, then open requests end.
const DRAIN_TIMEOUT: Duration = FINISH_MAX.saturating_add(Duration::from_secs(10));

/// Drains the node of that name, or puts it back into service.
pub(crate) async fn order(
    node: &Arc<Node>,
    hosted: &Arc<Hosted>,
    caller: &Caller,
    name: &str,
    drained: bool,
) -> Result<(), Status> {
    let action = if drained { AdminAction::DrainNode } else { AdminAction::UndrainNode };
    let request = Request::from(Admin {
        action,
        resources: vec![name.to_owned()],
        parameters: Vec::new(),
        guards: BTreeMap::new(),
        writes: Vec::new(),
    });
    // Authorised and audited before anything is told.
    perform(hosted, &node.request_counters, caller, Duration::ZERO, &request)
        .await?
        .into_response(&hosted.domain_name())?;
    let members = hosted.members().unwrap_or_default().members;
    let Some(member) = members.into_iter().find(|member| member.name == name) else {
        return Err(precondition(format!("{name} is not a member; see `conclave node list`")));
    };
    if drained && !somebody_else_serves(node, hosted, &member).await {
        return Err(precondition(format!(
            "nobody could serve in place of {name}: unseal or undrain another voter first, or stop {name} if that is meant"
        )));
    }
    if member.raft_id == hosted.raft_id().0 {
        return carry_out(node, hosted, drained).await;
    }
    let to = Some((hosted.domain_id(), RaftId(member.raft_id)));
    let mut client = peer::client(node, &member.name, &member.peer, to)?;
    let told = peer::timed(DRAIN_TIMEOUT, client.drain(DrainRequest { drained })).await;
    told.map(drop).map_err(|status| unavailable(format!("{name}: {}", status.message())))
}

/// Does it, on the node it is about.
pub(crate) async fn carry_out(
    node: &Arc<Node>,
    hosted: &Arc<Hosted>,
    drained: bool,
) -> Result<(), Status> {
    if drained {
        return drain::drain(node, hosted).await;
    }
    node.admission.reopen();
    tracing::info!("serving again by order");
    Ok(())
}

async fn somebody_else_serves(node: &Arc<Node>, hosted: &Arc<Hosted>, drained: &Member) -> bool {
    let serves_here = hosted.is_open() && node.admission.refuses().is_none();
    if drained.raft_id != hosted.raft_id().0 && serves_here {
        return true;
    }
    let others = drain::heirs(node, hosted, Heir::Open).await;
    others.into_iter().any(|raft_id| raft_id != drained.raft_id)
}
