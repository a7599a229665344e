//! What becomes of dealings after they are committed: members ask for the root keys they want, store
//! and acknowledge the shares they missed, and make a pending dealing the complete one when nobody is
//! missing any more. Nobody orders any of it, and any node may do it: guards make it happen once.

use std::sync::{Arc, Weak};
use std::time::Duration;

use conclave_crypto::SystemEntropy;
use conclave_proto::peer::NodeStatusRequest;
use conclave_seal::members::recipients;
use conclave_seal::{RaftId, SealKind, SealState, ShareEpoch, dealing};
use futures::future::join_all;
use tokio::sync::watch;
use tonic::Status;
use tracing::{debug, error, info};

use crate::audited::{Happened, commit_once};
use crate::ceremony::dealing::ground;
use crate::ceremony::effects::carry_out;
use crate::ceremony::exchange::ask_all;
use crate::ceremony::storing;
use crate::hosted::Hosted;
use crate::listener::told_to;
use crate::node::Node;
use crate::peer;

/// Between rounds.
const EVERY: Duration = Duration::from_millis(500);
/// Rounds between attempts to give shares to those who were away.
const DELIVER_EVERY: u32 = 4;
/// How long a member may take to say how it stands, and to store its share.
const STATUS_TIMEOUT: Duration = Duration::from_secs(2);
const STORE_TIMEOUT: Duration = Duration::from_secs(20);

/// Starts the rounds; they end with the node, with the domain, or when told to stop.
///
/// What this node's HSM has to do goes on beside the rest: it may take long, or never answer, and neither
/// the other members nor this node's own part in a dealing wait for it.
pub(crate) fn start(node: &Arc<Node>, hosted: &Arc<Hosted>, stop: watch::Receiver<bool>) {
    tokio::spawn(tend_shares(Arc::downgrade(node), Arc::downgrade(hosted), stop.clone()));
    tokio::spawn(tend_token(Arc::downgrade(node), Arc::downgrade(hosted), stop));
}

async fn tend_shares(node: Weak<Node>, hosted: Weak<Hosted>, mut stop: watch::Receiver<bool>) {
    let mut round = 0_u32;
    loop {
        let Some(news) = hosted.upgrade().map(|hosted| Arc::clone(&hosted.news)) else { return };
        tokio::select! {
            () = news.notified() => {}
            () = tokio::time::sleep(EVERY) => {}
            () = told_to(&mut stop) => return,
        }
        let (Some(node), Some(hosted)) = (node.upgrade(), hosted.upgrade()) else { return };
        if !hosted.seal().wanted().is_empty() {
            ask_all(&node, &hosted).await;
        }
        learn_keys(&hosted);
        let done = async {
            acknowledge(&hosted).await?;
            if hosted.is_open() && round.is_multiple_of(DELIVER_EVERY) {
                deliver_missing(&node, &hosted).await;
            }
            complete(&hosted).await
        };
        if let Err(status) = done.await {
            debug!(why = status.message(), "another node was first, or nobody leads");
        }
        round = round.wrapping_add(1);
    }
}

/// Unwraps this node's share, keeps it under the configured seal, and leaves no older key in the token.
async fn tend_token(node: Weak<Node>, hosted: Weak<Hosted>, mut stop: watch::Receiver<bool>) {
    let mut tidied = None;
    loop {
        tokio::select! {
            () = tokio::time::sleep(EVERY) => {}
            () = told_to(&mut stop) => return,
        }
        let (Some(node), Some(hosted)) = (node.upgrade(), hosted.upgrade()) else { return };
        storing::unwrap(&hosted).await;
        storing::rewrap(&node, &hosted).await;
        let kept = hosted.seal().kept();
        if tidied.as_ref() != Some(&kept) && storing::tidy(&hosted).await {
            tidied = Some(kept);
        }
    }
}

/// An open node unwraps shares under any operator generation, whoever wrapped them for it.
fn learn_keys(hosted: &Arc<Hosted>) {
    let Some(record) = hosted.operator_key() else { return };
    for generation in record.each().map(|record| record.generation) {
        if hosted.seal().knows(generation) {
            continue;
        }
        let key = hosted.with_keyring(|keyring| {
            let root = keyring?.node_seal_root_of(generation)?;
            Some(root.node_key(hosted.domain_id(), &hosted.name))
        });
        if let Some(key) = key {
            let effects = hosted.seal().learn(key);
            if let Err(error) = carry_out(hosted, effects) {
                error!(%error, "the disk refused");
            }
        }
    }
}

/// Says in a txn that this node has stored its share, and under what seal, unless that is known.
async fn acknowledge(hosted: &Arc<Hosted>) -> Result<(), Status> {
    let (ground, guards) = ground(hosted)?;
    for number in ground.epochs.each().map(|epoch| epoch.number) {
        let Some(kind) = hosted.seal().sealed_with(number) else { continue };
        let me = hosted.raft_id();
        let Some(write) = dealing::acknowledged(&ground.epochs, number, me, kind) else { continue };
        let happened = Happened {
            action: "AcknowledgeShare",
            resources: vec![hosted.name.clone()],
            parameters: vec![("epoch", number.to_string()), ("seal", kind.as_str().to_owned())],
            ..Happened::default()
        };
        return commit_once(hosted, &happened, &[write], guards).await.map(drop);
    }
    Ok(())
}

/// Sends the holders of the pending dealing who have not acknowledged their shares.
async fn deliver_missing(node: &Arc<Node>, hosted: &Arc<Hosted>) {
    let Some(pending) = hosted.share_epochs().and_then(|epochs| epochs.pending) else { return };
    let missing: Vec<RaftId> = pending.missing().collect();
    let members = hosted.members().unwrap_or_default().members;
    let waiting = members.iter().filter(|member| missing.contains(&RaftId(member.raft_id)));
    let sent = waiting.map(async |member| {
        let to = Some((hosted.domain_id(), RaftId(member.raft_id)));
        let mut client = peer::client(node, &member.name, &member.peer, to).ok()?;
        let status = client.node_status(NodeStatusRequest {});
        let kind = SealKind::parse(&peer::timed(STATUS_TIMEOUT, status).await.ok()?.seal)?;
        let recipient = recipients(std::slice::from_ref(member)).ok()?.pop()?;
        let delivery = hosted.with_keyring(|keyring| {
            keyring?.deliver(&pending, &recipient, kind, &mut SystemEntropy)
        })?;
        let stored = client.store_share(delivery.to_request(&pending));
        match peer::timed(STORE_TIMEOUT, stored).await {
            Ok(_) => info!(name = member.name, epoch = %pending.number, "has its share now"),
            Err(status) => {
                debug!(name = member.name, why = status.message(), "does not take its share");
            }
        }
        Some(())
    });
    join_all(sent).await;
}

/// Makes the pending dealing the complete one, if nobody is missing any more.
async fn complete(hosted: &Arc<Hosted>) -> Result<(), Status> {
    let is_due = |epoch: &ShareEpoch| epoch.missing().next().is_none();
    let pending = hosted.share_epochs().and_then(|epochs| epochs.pending);
    if !pending.as_ref().is_some_and(is_due) || hosted.seal().state() == SealState::Sealed {
        return Ok(());
    }
    let (ground, guards) = ground(hosted)?;
    let number = ground.epochs.newest().number;
    let Some(writes) = dealing::completed(ground) else { return Ok(()) };
    let happened = Happened {
        action: "CompleteShareEpoch",
        resources: vec![hosted.name.clone()],
        parameters: vec![("epoch", number.to_string())],
        ..Happened::default()
    };
    commit_once(hosted, &happened, &writes, guards).await?;
    info!(epoch = %number, "the pending dealing is complete: older shares and root keys go");
    Ok(())
}
