//! Shares between members: asking for them, and releasing one's own.
//!
//! A release is a txn, guarded on the members and the share epoch, committed before the share
//! leaves: a node that is stale or cut off releases nothing, and every release is audited.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use conclave_crypto::SystemEntropy;
use conclave_crypto::sharing::Share;
use conclave_proto::peer::{
    ReleaseShareRequest, ReleaseShareResponse, ShareChallengeRequest, ShareChallengeResponse,
};
use conclave_seal::exchange::{Parties, ask};
use conclave_seal::{RaftId, SealState, ShareEpoch};
use conclave_store::{Kind, RecordId, View};
use tonic::Status;
use tracing::debug;

use crate::audited::{Happened, commit};
use crate::ceremony::effects::carry_out;
use crate::hosted::Hosted;
use crate::meta::{precondition, unavailable};
use crate::node::Node;
use crate::peer;

/// How long one member may take to release its share; it commits a txn for it.
const RELEASE_TIMEOUT: Duration = Duration::from_secs(10);

/// Asks the other holders of each dealing whose root key is wanted, once. What comes back goes to the
/// state machine, which opens the node when it has enough.
pub(crate) async fn ask_all(node: &Arc<Node>, hosted: &Arc<Hosted>) {
    let Some(members) = hosted.members() else { return };
    // A single node needs nobody else's.
    let again = hosted.seal().reopen();
    if let Err(error) = carry_out(hosted, again) {
        tracing::error!(%error, "the disk refused");
    }
    let wanted: Vec<ShareEpoch> = hosted.seal().wanted().into_iter().cloned().collect();
    let mut missing = Vec::new();
    for epoch in wanted {
        for holder in epoch.holders.iter().filter(|holder| holder.raft_id != hosted.raft_id()) {
            if hosted.seal().wanted().iter().all(|wanted| wanted.number != epoch.number) {
                break;
            }
            let Some(member) = members.members.iter().find(|m| m.raft_id == holder.raft_id.0)
            else {
                continue;
            };
            match ask_one(node, hosted, &epoch, holder.raft_id, &member.name, &member.peer).await {
                Ok(share) => {
                    let effects = hosted.seal().share_received(holder.raft_id, epoch.number, share);
                    match effects {
                        Ok(effects) => {
                            if let Err(error) = carry_out(hosted, effects) {
                                tracing::error!(%error, "the disk refused");
                            }
                        }
                        Err(reason) => missing.push(format!("{}: {reason}", member.name)),
                    }
                }
                Err(status) => missing.push(format!("{}: {}", member.name, status.message())),
            }
        }
    }
    let waits = hosted.seal().waits_for();
    if !hosted.is_open() && !waits.is_empty() {
        debug!(waits, ?missing, "not enough shares yet");
        hosted.set_detail(if missing.is_empty() {
            waits
        } else {
            format!("{waits}; {}", missing.join("; "))
        });
    }
}

async fn ask_one(
    node: &Arc<Node>,
    hosted: &Arc<Hosted>,
    epoch: &ShareEpoch,
    giver: RaftId,
    name: &str,
    addr: &str,
) -> Result<Share, Status> {
    let mut client = peer::client(node, name, addr, Some((hosted.domain_id(), giver)))?;
    let asker = hosted.raft_id();
    let challenge = peer::timed(
        RELEASE_TIMEOUT,
        client.share_challenge(ShareChallengeRequest { asker: asker.0 }),
    )
    .await?;
    let nonce = challenge
        .nonce
        .as_slice()
        .try_into()
        .map_err(|_| unavailable("the challenge is malformed"))?;
    let parties = Parties { asker, giver };
    let (asked, request) = {
        let seal = hosted.seal();
        let own = seal
            .own_share(epoch.number)
            .ok_or_else(|| unavailable("this node is sealed again, or the share epoch changed"))?;
        ask(own, hosted.domain_id(), epoch.number, parties, nonce, &mut SystemEntropy)
    };
    let answer = peer::timed(RELEASE_TIMEOUT, client.release_share(request)).await?;
    asked.receive(&answer, epoch).map_err(|reason| unavailable(reason.to_string()))
}

/// A member asks for a nonce.
pub(crate) fn challenge(
    hosted: &Hosted,
    caller: &str,
    request: &ShareChallengeRequest,
) -> Result<ShareChallengeResponse, Status> {
    let asker = RaftId(request.asker);
    check_name(hosted, caller, asker)?;
    if hosted.seal().state() == SealState::Sealed {
        return Err(unavailable("this node is sealed itself"));
    }
    let epochs = hosted.share_epochs().ok_or_else(|| unavailable("no share epoch here yet"))?;
    let now_ms = hosted.replica.own_clock_ms();
    let nonce = hosted
        .giver()
        .challenge(asker, &epochs, now_ms, &mut SystemEntropy)
        .map_err(|refusal| precondition(refusal.to_string()))?;
    Ok(ShareChallengeResponse { nonce: nonce.to_vec() })
}

/// A member proves that it has unwrapped its own share, and gets this node's.
pub(crate) async fn release(
    hosted: &Arc<Hosted>,
    caller: &str,
    request: &ReleaseShareRequest,
) -> Result<ReleaseShareResponse, Status> {
    let asker = RaftId(request.asker);
    check_name(hosted, caller, asker)?;
    let epochs = hosted.share_epochs().ok_or_else(|| unavailable("no share epoch here yet"))?;
    let now_ms = hosted.replica.own_clock_ms();
    let checked = hosted.giver().check(request, &epochs, now_ms);
    let happened = Happened {
        action: "ReleaseShare",
        resources: vec![hosted.name.clone(), caller.to_owned()],
        parameters: vec![("epoch", request.epoch.to_string()), ("asker", asker.to_string())],
        refused: checked.as_ref().err().map(ToString::to_string).unwrap_or_default(),
        ..Happened::default()
    };
    // Whatever the check said rests on these two: if either has changed, nothing is released.
    let rests_on = [RecordId::singleton(Kind::Members), RecordId::singleton(Kind::ShareEpoch)];
    commit(hosted, &happened, &[], || {
        let view = hosted.replica.view();
        let guards: BTreeMap<_, _> = rests_on.iter().map(|id| (*id, view.guard(id))).collect();
        drop(view);
        let still = hosted.share_epochs().is_some_and(|now| now == epochs);
        check_name(hosted, caller, asker)?;
        if still {
            Ok(guards)
        } else {
            Err(unavailable("the share epoch has just changed; ask again"))
        }
    })
    .await?;
    let release = checked.map_err(|refusal| precondition(refusal.to_string()))?;
    let seal = hosted.seal();
    let own = seal
        .own_share(release.epoch())
        .ok_or_else(|| unavailable("this node has no share of that epoch unwrapped"))?;
    release.answer(own, &mut SystemEntropy).map_err(|refusal| precondition(refusal.to_string()))
}

/// The certificate must name the member that asks.
fn check_name(hosted: &Hosted, caller: &str, asker: RaftId) -> Result<(), Status> {
    let members = hosted.members().ok_or_else(|| unavailable("no members known here yet"))?;
    if members.members.iter().any(|member| member.raft_id == asker.0 && member.name == caller) {
        return Ok(());
    }
    Err(Status::permission_denied(format!("{caller} is not the member with Raft id {asker}")))
}
