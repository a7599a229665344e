//! What a node does unasked: follows the share epoch, keeps its keyring fresh, adds audit keys ahead
//! of need, and hands leadership on while it cannot serve. One loop over time and applied entries.
//! What concerns shares has a loop of its own, in `ceremony::tending`.

use std::collections::BTreeMap;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use conclave_crypto::{Key, SystemEntropy};
use conclave_proto::peer::NodeStatusRequest;
use conclave_proto::record::SecretKey;
use conclave_seal::{Effect, RaftId, SealState};
use conclave_store::{BlobDigest, Kind, RecordId, View, Write};
use prost::Message;
use tokio::sync::watch;
use tonic::Code;
use tracing::{error, warn};
use zeroize::{Zeroize, Zeroizing};

use crate::audited::{Happened, commit};
use crate::ceremony::effects::carry_out;
use crate::ceremony::members::{EXCLUDED, REMOVED};
use crate::ceremony::tending;
use crate::ceremony::vouching::ask_about_strangers;
use crate::drain::Fitness;
use crate::hosted::Hosted;
use crate::listener::told_to;
use crate::node::Node;
use crate::peer;
use crate::resealing;
use crate::scheduler;

/// Between rounds while nothing is applied.
const TICK: Duration = Duration::from_millis(250);
/// Between rounds however much is applied: nothing here is urgent.
const PACE: Duration = Duration::from_millis(20);
/// Between rounds of asking about strangers.
const ASK_EVERY: Duration = Duration::from_millis(500);
/// Between rounds of asking the others whether this node still belongs to them.
const BELONGS_EVERY: Duration = Duration::from_secs(5);
/// How long one of them may take to answer that.
const BELONGS_TIMEOUT: Duration = Duration::from_secs(1);

/// Starts the loop; it ends with the node, with the domain, or when told to stop.
pub(crate) fn start(node: &Arc<Node>, hosted: &Arc<Hosted>, stop: watch::Receiver<bool>) {
    tending::start(node, hosted, stop.clone());
    resealing::start(hosted, stop.clone());
    scheduler::start(node, hosted, stop.clone());
    tokio::spawn(run(Arc::downgrade(node), Arc::downgrade(hosted), stop));
}

async fn run(node: Weak<Node>, hosted: Weak<Hosted>, mut stop: watch::Receiver<bool>) {
    let Some(mut applied) = hosted.upgrade().map(|hosted| hosted.replica.applied_watch()) else {
        return;
    };
    let mut seen = Seen::default();
    let mut fitness = Fitness::default();
    let mut asked_about = None::<Instant>;
    let mut belonged = Instant::now();
    loop {
        tokio::select! {
            changed = applied.changed() => if changed.is_err() { return },
            () = tokio::time::sleep(TICK) => {}
            () = told_to(&mut stop) => return,
        }
        tokio::time::sleep(PACE).await;
        let (Some(node), Some(hosted)) = (node.upgrade(), hosted.upgrade()) else { return };
        if let Err(error) = follow(&hosted, &mut seen) {
            error!(%error, "the disk refused a share; sealing this node");
            hosted.wipe();
        }
        fitness.look(&node, &hosted);
        if asked_about.is_none_or(|at| at.elapsed() >= ASK_EVERY) {
            asked_about = Some(Instant::now());
            ask_about_strangers(&node, &hosted).await;
        }
        if hosted.is_open() {
            refresh(&hosted);
            add_audit_key(&hosted).await;
        }
        if hosted.seal().state() != SealState::Sealed && belonged.elapsed() >= BELONGS_EVERY {
            belonged = Instant::now();
            tokio::spawn(async move { check_belongs(&node, &hosted).await });
        }
    }
}

/// A node that was away while it was removed never sees the log entry that says so: nobody sends
/// it any. It hears of it from the members, who refuse it, and go on refusing it: one that has only
/// just started may not know yet who belongs.
async fn check_belongs(node: &Arc<Node>, hosted: &Arc<Hosted>) {
    if !is_refused(node, hosted).await {
        return;
    }
    tokio::time::sleep(BELONGS_EVERY).await;
    if is_refused(node, hosted).await && hosted.seal().state() != SealState::Sealed {
        warn!("the members refuse this node, so it was removed: all keys wiped");
        hosted.wipe();
        hosted.set_detail(REMOVED);
    }
}

/// Whether most of the others refuse this node.
async fn is_refused(node: &Arc<Node>, hosted: &Arc<Hosted>) -> bool {
    let Some(members) = hosted.members().filter(|_| !hosted.awaits_members()) else { return false };
    let (mut others, mut refusing) = (0, 0);
    for member in members.members.iter().filter(|m| m.raft_id != hosted.raft_id().0) {
        others += 1;
        let to = Some((hosted.domain_id(), RaftId(member.raft_id)));
        let Ok(mut client) = peer::client(node, &member.name, &member.peer, to) else { continue };
        match peer::timed(BELONGS_TIMEOUT, client.node_status(NodeStatusRequest {})).await {
            Ok(_) => {}
            Err(status) => refusing += usize::from(status.code() == Code::PermissionDenied),
        }
    }
    refusing * 2 > others
}

/// Digests of the records last looked at.
#[derive(Default)]
struct Seen {
    epoch: Option<BlobDigest>,
    operator: Option<BlobDigest>,
}

fn follow(hosted: &Arc<Hosted>, seen: &mut Seen) -> Result<(), crate::folder::FolderError> {
    let (epoch, operator) = {
        let view = hosted.replica.view();
        (
            view.digest(&RecordId::singleton(Kind::ShareEpoch)),
            view.digest(&RecordId::singleton(Kind::OperatorKey)),
        )
    };
    if operator != seen.operator
        && let Some(record) = hosted.operator_key()
    {
        hosted.seal().operator_key_changed(record);
        seen.operator = operator;
    }
    if epoch != seen.epoch
        && let Some(record) = hosted.share_epochs()
    {
        let effects = hosted.seal().epochs_changed(record);
        let lost_its_share = effects.iter().any(|effect| matches!(effect, Effect::DropKeyring));
        carry_out(hosted, effects)?;
        seen.epoch = epoch;
        hosted.news.notify_one();
        if lost_its_share {
            warn!("this node holds no share any more: all keys wiped");
            hosted.wipe();
            let is_member = hosted.members().is_some_and(|members| {
                members.members.iter().any(|member| member.raft_id == hosted.raft_id().0)
            });
            hosted.set_detail(if is_member { EXCLUDED } else { REMOVED });
        }
    }
    hosted.seal().tick(hosted.replica.own_clock_ms());
    Ok(())
}

fn refresh(hosted: &Hosted) {
    if let Err(error) = hosted.refresh_keyring() {
        error!(%error, "the keyring cannot be read anew");
    }
}

/// Keeps one audit key ahead of the segment being written.
async fn add_audit_key(hosted: &Hosted) {
    let segment = hosted.replica.view().state().segment().number;
    let newest = {
        let view = hosted.replica.view();
        let mut newest = 0;
        // Numbered from 1 without gaps.
        while view.digest(&RecordId::numbered(Kind::AuditKey, newest + 1)).is_some() {
            newest += 1;
        }
        newest
    };
    if newest == 0 || newest > segment {
        return;
    }
    let number = newest + 1;
    let id = RecordId::numbered(Kind::AuditKey, number);
    let sealed = hosted.with_keyring(|keyring| {
        keyring.map(|keyring| {
            let under = keyring.domain_keys_guard();
            let key = Key::generate(&mut SystemEntropy);
            let mut message = SecretKey { key: key.expose().to_vec(), number };
            let plaintext = Zeroizing::new(message.encode_to_vec());
            message.key.zeroize();
            (keyring.seal_record(&id, &plaintext, &mut SystemEntropy), under)
        })
    });
    let Some((sealed, under)) = sealed else { return };
    let happened = Happened {
        action: "AddAuditKey",
        parameters: vec![("number", number.to_string())],
        ..Happened::default()
    };
    let added = commit(hosted, &happened, &[Write::put(id, sealed)], || {
        if hosted.replica.view().digest(&id).is_some() {
            return Err(tonic::Status::already_exists("another node was first"));
        }
        if hosted.replica.view().guard(&under.0) != under.1 {
            return Err(tonic::Status::aborted("the domain key was rotated meanwhile"));
        }
        Ok(BTreeMap::from([(id, None), under]))
    })
    .await;
    if let Err(status) = added {
        tracing::debug!(status = status.message(), "no audit key added");
    }
}
