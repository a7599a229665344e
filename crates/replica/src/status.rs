//! What a replica says about itself.

use std::collections::BTreeMap;

use crate::core::Core;
use crate::log::Room;
use crate::standing::Standing;
use crate::types::{PeerNode, RaftId};

/// One replica's state, as it sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReplicaStatus {
    /// Its Raft id.
    pub raft_id: RaftId,
    /// The leader it knows.
    pub leader: Option<RaftId>,
    /// Its term.
    pub term: u64,
    /// The last log entry it applied.
    pub applied_index: u64,
    /// The last log entry it has.
    pub last_log_index: Option<u64>,
    /// Steps of its audit chain.
    pub audit_size: u64,
    /// The chain's hash after the last one.
    pub audit_head: [u8; 32],
    /// Cluster time of the last batch applied, milliseconds since 1970.
    pub time_ms: u64,
    /// Who votes; while the configuration is joint, in either half.
    pub voters: Vec<RaftId>,
    /// Who has a copy but no vote.
    pub learners: Vec<RaftId>,
    /// Whether a change of voters is under way.
    pub is_joint: bool,
    /// All members and where they are.
    pub nodes: BTreeMap<RaftId, PeerNode>,
    /// On the leader: how many entries each other member lacks, as far as it was heard from.
    pub lags: BTreeMap<RaftId, u64>,
    /// The last log entry in the snapshot on disk.
    pub snapshot_index: Option<u64>,
    /// The last log entry that was purged.
    pub purged_index: Option<u64>,
    /// How far it has got since its start.
    pub standing: Standing,
    /// Whether the disk has room for the log to grow.
    pub log_room: Room,
    /// Why Raft stopped, if it did.
    pub stopped: Option<String>,
}

impl ReplicaStatus {
    pub(crate) fn of(core: &Core) -> Self {
        let metrics = core.metrics();
        let membership = metrics.membership_config.membership();
        let (applied_index, audit_size, audit_head, time_ms) = core.applied.read(|content| {
            let state = &content.state;
            (state.applied().0, state.head().size, state.head().hash, state.time().0)
        });
        let last = metrics.last_log_index.unwrap_or(0);
        let lags = metrics.replication.iter().flatten();
        let lags = lags
            .filter_map(|(id, matched)| Some((*id, last.saturating_sub(matched.as_ref()?.index))));
        let stopped = metrics.running_state.clone().err();
        let gave_up = core.standing.gave_up().map(str::to_owned);
        Self {
            raft_id: metrics.id,
            leader: metrics.current_leader,
            term: metrics.current_term,
            applied_index,
            last_log_index: metrics.last_log_index,
            audit_size,
            audit_head,
            time_ms,
            voters: membership.voter_ids().collect(),
            learners: membership.learner_ids().collect(),
            is_joint: membership.get_joint_config().len() > 1,
            nodes: membership.nodes().map(|(id, node)| (*id, node.clone())).collect(),
            lags: lags.collect(),
            snapshot_index: core.snapshots.index(),
            purged_index: metrics.purged.map(|id| id.index),
            standing: core.standing.get(),
            log_room: *core.room.borrow(),
            stopped: stopped.map(|fatal| gave_up.unwrap_or_else(|| fatal.to_string())),
        }
    }
}
