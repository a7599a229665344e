//! A node that has started, on its way to serving: first its disk against what the others saw of
//! it, then its state against theirs; the latter goes on at every checkpoint.
//!
//! No single node asserts the truth here, the leader included: a majority of voters does. One that a
//! majority contradicts stops. Without a majority, a node that serves goes on, and one that has yet
//! to serve waits and names whom it misses, so in a tie nobody starts serving.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use conclave_proto::peer::{
    NotedRequest, NotedResponse, ProposeRequest, WitnessRequest, propose_request,
};
use conclave_proto::store::Checkpoint;
use conclave_store::CheckpointNote;
use futures::future::join_all;
use tonic::Code;

use crate::core::Core;
use crate::held::Held;
use crate::segments::SegmentsError;
use crate::standing::Standing;
use crate::types::{Membership, PeerNode, RaftId, Types};

/// How long one member may take to answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(1);
/// Between two rounds of asking those who have not answered yet.
const ASK_AGAIN: Duration = Duration::from_millis(100);
/// Between two rounds of asking those who were silent when this node began to take part.
const ASK_SILENT_AGAIN: Duration = Duration::from_secs(1);
/// How long the others may take to apply a checkpoint that this node has applied.
const COMPARE_MAX: Duration = Duration::from_secs(3);
/// Between two looks for new notes.
const LOOK_UNPROVEN: Duration = Duration::from_millis(20);
const LOOK_PROVEN: Duration = Duration::from_secs(1);
/// An unproven node asks for a checkpoint again after this.
const PROPOSE_AGAIN: Duration = Duration::from_millis(500);
/// What the witnesses saw is written down this often.
const SAVE_EVERY: Duration = Duration::from_secs(1);

type Others = BTreeMap<RaftId, PeerNode>;

/// Runs until Raft stops or this replica gives up. `held_at_start` is what its disk held then, and
/// `floor` the last entry of its log.
pub(crate) async fn run(core: Arc<Core>, held_at_start: Held, floor: u64) {
    // Raft's own state: its metrics say nothing until it has run for a while.
    let membership = |state: &openraft::RaftState<Types>| {
        state.membership_state.effective().membership().clone()
    };
    let Ok(membership) = core.raft.with_raft_state(membership).await else { return };
    let silent = others(&core, &membership);
    let Some(silent) = compare_disk(&core, held_at_start, silent).await else { return };
    core.standing.set(Standing::Unproven { missing: Vec::new(), unlike: Vec::new() });
    tokio::join!(
        hear_silent(&core, held_at_start, silent),
        compare_states(&core, floor),
        save_sightings(&core)
    );
}

/// Asks every other voter what it saw of this node's disk, and waits a while for those who do not
/// answer; gives back who did not. `None`: this replica has given up or is stopping.
async fn compare_disk(core: &Arc<Core>, held: Held, mut silent: Others) -> Option<Others> {
    let deadline = Instant::now() + core.config.witness_wait;
    loop {
        ask_witnesses(core, held, &mut silent).await?;
        if silent.is_empty() {
            return Some(silent);
        }
        if Instant::now() >= deadline {
            let names: Vec<_> = silent.values().map(|node| node.name.as_str()).collect();
            tracing::warn!(silent = ?names, "taking part before these voters said what they saw of this node's disk");
            return Some(silent);
        }
        tokio::time::sleep(ASK_AGAIN).await;
    }
}

/// Whoever was silent at the start may come back and know better.
async fn hear_silent(core: &Arc<Core>, held: Held, mut silent: Others) {
    while !silent.is_empty() {
        tokio::time::sleep(ASK_SILENT_AGAIN).await;
        if ask_witnesses(core, held, &mut silent).await.is_none() {
            return;
        }
    }
}

/// One round; who answers is silent no more. `None`: this replica has given up or is stopping.
async fn ask_witnesses(core: &Arc<Core>, held: Held, silent: &mut Others) -> Option<()> {
    if core.is_stopped() {
        return None;
    }
    let asking = silent.iter().map(|(id, node)| async {
        let request = WitnessRequest { raft_id: core.own_id(), start: core.witness.start() };
        let mut client = core.peers.client(*id, node).ok()?;
        match tokio::time::timeout(ANSWER_TIMEOUT, client.witness(request)).await {
            Ok(Ok(answer)) => Some((*id, answer.into_inner().held)),
            // Not the member this node knew, or one that knows this node no more.
            Ok(Err(status)) if is_final(status.code()) => Some((*id, None)),
            Ok(Err(_)) | Err(_) => None,
        }
    });
    for (id, seen) in join_all(asking).await.into_iter().flatten() {
        let node = silent.remove(&id);
        let seen = seen.as_ref().map(Held::from_proto).unwrap_or_default();
        if seen > held {
            let witness = node.map(|node| node.name).unwrap_or_default();
            give_up(
                core,
                format!(
                    "the disk of this node went back: it holds {held}, and {witness} saw it hold {seen}. \
                 Nothing that it lacks may be voted away, so it must not take part again: stop it, \
                 start it with an empty data folder, and bring it back with `conclave node replace`"
                ),
            );
            return None;
        }
    }
    Some(())
}

fn is_final(code: Code) -> bool {
    matches!(code, Code::FailedPrecondition | Code::PermissionDenied)
}

/// Compares each new checkpoint with the other voters, and asks for checkpoints until one has
/// proven this replica.
async fn compare_states(core: &Arc<Core>, floor: u64) {
    let mut compared = floor;
    let mut asked = None::<Instant>;
    while !core.is_stopped() {
        let newest = core.applied.checkpoints().last().copied();
        let Some(note) = newest.filter(|note| note.index.0 > compared) else {
            let proven = core.standing.is_proven();
            if !proven && asked.is_none_or(|asked| asked.elapsed() >= PROPOSE_AGAIN) {
                asked = Some(Instant::now());
                propose_checkpoint(core).await;
            }
            tokio::time::sleep(if proven { LOOK_PROVEN } else { LOOK_UNPROVEN }).await;
            continue;
        };
        compared = note.index.0;
        match compare(core, &note).await {
            Verdict::Alike => core.standing.set(Standing::Proven),
            Verdict::Parted => {
                give_up(
                    core,
                    format!(
                        "a majority of the voters has another state at log entry {} than this node: its \
                     disk or memory was altered. Stop it, start it with an empty data folder, and \
                     bring it back with `conclave node replace`",
                        note.index.0
                    ),
                );
                return;
            }
            Verdict::Open { missing, unlike } => {
                let names = |ids: BTreeSet<RaftId>| -> Vec<String> {
                    ids.iter().filter_map(|id| core.node(*id)).map(|node| node.name).collect()
                };
                let (missing, unlike) = (names(missing), names(unlike));
                if !unlike.is_empty() {
                    tracing::error!(
                        ?missing,
                        ?unlike,
                        log_index = note.index.0,
                        "replicas differ, and no majority decides"
                    );
                }
                if !core.standing.is_proven() {
                    core.standing.set(Standing::Unproven { missing, unlike });
                }
            }
        }
    }
}

async fn propose_checkpoint(core: &Arc<Core>) {
    let checkpoint = Checkpoint { raft_id: core.own_id() };
    let op = Some(propose_request::Op::Checkpoint(checkpoint));
    let request = ProposeRequest { feature_level: conclave_store::FEATURE_LEVEL, op };
    if let Err(error) = core.ask_leader(request, ANSWER_TIMEOUT).await {
        tracing::debug!(%error, "no checkpoint yet");
    }
}

/// Asks the other voters until there is a verdict, or no more are likely to answer.
async fn compare(core: &Arc<Core>, own: &CheckpointNote) -> Verdict {
    let deadline = Instant::now() + COMPARE_MAX;
    let mut alike = BTreeSet::from([core.own_id()]);
    let mut unlike = BTreeSet::new();
    loop {
        let membership = core.metrics().membership_config.membership().clone();
        let mut asking = others(core, &membership);
        asking.retain(|id, _| !alike.contains(id) && !unlike.contains(id));
        let asking = asking.into_iter().map(|(id, node)| async move {
            let mut client = core.peers.client(id, &node).ok()?;
            let request = NotedRequest { log_index: own.index.0 };
            let answer = tokio::time::timeout(ANSWER_TIMEOUT, client.noted(request)).await.ok()?;
            Some((id, answer.ok()?.into_inner())).filter(|(_, answer)| answer.noted)
        });
        for (id, NotedResponse { state_digest, audit_head, .. }) in
            join_all(asking).await.into_iter().flatten()
        {
            let same = state_digest == own.state_digest && audit_head == own.head;
            if same {
                alike.insert(id)
            } else {
                unlike.insert(id)
            };
        }
        let verdict = tally(membership.get_joint_config(), &alike, &unlike);
        let is_open = matches!(&verdict, Verdict::Open { missing, .. } if !missing.is_empty());
        if !is_open || Instant::now() >= deadline || core.is_stopped() {
            return verdict;
        }
        tokio::time::sleep(ASK_AGAIN).await;
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    Alike,
    Parted,
    Open { missing: BTreeSet<RaftId>, unlike: BTreeSet<RaftId> },
}

/// Of one set of voters, or of two while the configuration is joint: alike to a majority of each,
/// or against a majority of one.
fn tally(
    configs: &[BTreeSet<RaftId>],
    alike: &BTreeSet<RaftId>,
    unlike: &BTreeSet<RaftId>,
) -> Verdict {
    let majority = |of: &BTreeSet<RaftId>, voters: &BTreeSet<RaftId>| {
        voters.intersection(of).count() * 2 > voters.len()
    };
    if !configs.is_empty() && configs.iter().all(|voters| majority(alike, voters)) {
        return Verdict::Alike;
    }
    if configs.iter().any(|voters| majority(unlike, voters)) {
        return Verdict::Parted;
    }
    let voters: BTreeSet<RaftId> = configs.iter().flatten().copied().collect();
    let heard: BTreeSet<RaftId> = alike.union(unlike).copied().collect();
    Verdict::Open {
        missing: voters.difference(&heard).copied().collect(),
        unlike: voters.intersection(unlike).copied().collect(),
    }
}

/// The voters but this node.
fn others(core: &Core, membership: &Membership) -> Others {
    let others = membership.voter_ids().filter(|id| *id != core.own_id());
    others.filter_map(|id| Some((id, membership.get_node(&id)?.clone()))).collect()
}

/// Checks the audit history that the start took on trust.
pub(crate) fn scrub(core: &Arc<Core>) {
    let scrub = core.applied.segments().scrub();
    let files = scrub.files();
    let checked = scrub.run(|file| {
        core.applied.segments().checked(file);
        !core.is_stopped()
    });
    match checked {
        Ok(()) if files > 0 => tracing::info!(files, "the audit history was checked"),
        Ok(()) => {}
        Err(error) => give_up(core, error.to_string()),
    }
}

/// Stops a replica whose audit history was found damaged while it served.
pub(crate) fn found(core: &Arc<Core>, error: &SegmentsError) {
    if error.is_damage() {
        give_up(core, error.to_string());
    }
}

/// Stops taking part, for good.
fn give_up(core: &Arc<Core>, reason: String) {
    tracing::error!(reason, "this replica stops");
    core.standing.give_up(reason);
    let core = core.clone();
    tokio::spawn(async move {
        if let Err(error) = core.raft.shutdown().await {
            tracing::error!(%error, "Raft did not stop cleanly");
        }
    });
}

async fn save_sightings(core: &Arc<Core>) {
    while !core.is_stopped() {
        tokio::time::sleep(SAVE_EVERY).await;
        let witness = core.witness.clone();
        let saved = tokio::task::spawn_blocking(move || witness.save()).await;
        if let Ok(Err(error)) = saved {
            tracing::warn!(%error, "what was seen of the other disks could not be written");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(ids: &[RaftId]) -> BTreeSet<RaftId> {
        ids.iter().copied().collect()
    }

    #[test]
    fn a_majority_decides_and_a_tie_decides_nothing() {
        let three = [set(&[1, 2, 3])];
        assert_eq!(tally(&three, &set(&[1, 2]), &set(&[])), Verdict::Alike);
        assert_eq!(tally(&three, &set(&[1, 2]), &set(&[3])), Verdict::Alike);
        assert_eq!(tally(&three, &set(&[1]), &set(&[2, 3])), Verdict::Parted);
        let open = |missing: &[_], unlike: &[_]| Verdict::Open {
            missing: set(missing),
            unlike: set(unlike),
        };
        assert_eq!(tally(&three, &set(&[1]), &set(&[2])), open(&[3], &[2]));
        assert_eq!(tally(&[set(&[1, 2])], &set(&[1]), &set(&[2])), open(&[], &[2]));
        assert_eq!(tally(&[set(&[1])], &set(&[1]), &set(&[])), Verdict::Alike);
        assert_eq!(tally(&[], &set(&[1]), &set(&[])), open(&[], &[]));
        // A learner is no voter: its own note counts for nothing.
        assert_eq!(tally(&three, &set(&[9, 1]), &set(&[])), open(&[2, 3], &[]));
        // Both halves of a joint configuration.
        let joint = [set(&[1]), set(&[1, 2, 3])];
        assert_eq!(tally(&joint, &set(&[1]), &set(&[])), open(&[2, 3], &[]));
        assert_eq!(tally(&joint, &set(&[1, 3]), &set(&[])), Verdict::Alike);
        assert_eq!(tally(&joint, &set(&[2, 3]), &set(&[1])), Verdict::Parted);
    }
}
