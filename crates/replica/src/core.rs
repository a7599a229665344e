//! What the parts of one running replica share, and how anything is asked of the leader.
//!
//! A request to the leader has one form, whether the leader is this node or another: the peer
//! message. `lead` and `members` answer them, `service` takes them off the wire, and
//! [`Core::ask_leader`] brings them to whoever leads.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use conclave_proto::peer::{
    AddLearnerRequest, AddLearnerResponse, ChangeMembersRequest, ChangeMembersResponse,
    ProposeRequest, ProposeResponse, ReadIndexRequest, ReadIndexResponse,
};
use openraft::async_runtime::WatchReceiver;
use openraft::metrics::RaftServerMetrics;
use tokio::sync::{Mutex, RwLock, watch};
use tonic::{Response, Status};

use crate::applied::Applied;
use crate::clock::ClusterClock;
use crate::config::ReplicaConfig;
use crate::counters::Counters;
use crate::hearing::Hearing;
use crate::log::Room;
use crate::machine::Machine;
use crate::peers::{Identity, PeerClient, Peers};
use crate::snapshot::SnapshotStore;
use crate::standing::Standings;
use crate::types::{PeerNode, RaftId, Types};
use crate::witness::Witness;

pub(crate) type Raft = openraft::Raft<Types, Machine>;
pub(crate) type RaftMetrics = openraft::RaftMetrics<Types>;

/// The shared parts.
pub(crate) struct Core {
    pub(crate) config: ReplicaConfig,
    pub(crate) identity: Identity,
    pub(crate) raft: Raft,
    pub(crate) applied: Arc<Applied>,
    pub(crate) snapshots: Arc<SnapshotStore>,
    /// Whether the log has room to grow.
    pub(crate) room: watch::Receiver<Room>,
    pub(crate) clock: Arc<ClusterClock>,
    pub(crate) hearing: Hearing,
    /// Whether others had better lead: this node is sealed, or drained.
    pub(crate) reluctant: AtomicBool,
    pub(crate) peers: Arc<Peers>,
    pub(crate) counters: Arc<Counters>,
    pub(crate) witness: Arc<Witness>,
    pub(crate) standing: Arc<Standings>,
    /// Held for reading while a command is on its way through Raft, for writing by a change of
    /// members, whose checks must stay true until its entry is in the log.
    pub(crate) gate: Arc<RwLock<()>>,
    /// One change of Raft's configuration at a time.
    pub(crate) members: Arc<Mutex<()>>,
    /// One snapshot is received at a time.
    pub(crate) receiving: Arc<Mutex<()>>,
}

/// A request that only the leader answers.
pub(crate) trait AskLeader: Send + 'static {
    type Answer: Send;

    /// This node believes that it leads.
    fn here(self, core: &Arc<Core>) -> impl Future<Output = Self::Answer> + Send;

    /// Another does.
    fn there(
        self,
        client: PeerClient,
    ) -> impl Future<Output = Result<Response<Self::Answer>, Status>> + Send;
}

macro_rules! ask_leader {
    ($($request:ty => $answer:ty, $here:ident, $there:ident;)*) => {$(
        impl AskLeader for $request {
            type Answer = $answer;

            async fn here(self, core: &Arc<Core>) -> $answer {
                core.$here(self).await
            }

            async fn there(self, mut client: PeerClient) -> Result<Response<$answer>, Status> {
                client.$there(self).await
            }
        }
    )*};
}

ask_leader! {
    ProposeRequest => ProposeResponse, answer_propose, propose;
    ReadIndexRequest => ReadIndexResponse, answer_read_index, read_index;
    AddLearnerRequest => AddLearnerResponse, answer_add_learner, add_learner;
    ChangeMembersRequest => ChangeMembersResponse, answer_change_members, change_members;
}

/// Why nobody answered. For a proposal that means its fate is unknown, but for `NoLeader`.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Unanswered {
    #[error("no leader is known")]
    NoLeader,
    #[error("the leader changed meanwhile")]
    LeaderChanged,
    #[error("the leader did not answer in time")]
    TimedOut,
    #[error("the leader could not be asked: {0}")]
    Failed(Status),
    #[error("this node's Raft has stopped")]
    Stopped,
}

impl Core {
    pub(crate) fn own_id(&self) -> RaftId {
        self.config.raft_id
    }

    /// A copy of openraft's metrics; holding the watched value itself would block Raft.
    pub(crate) fn metrics(&self) -> RaftMetrics {
        self.raft.metrics().borrow_watched().clone()
    }

    /// The leader this node knows, 0 for none.
    pub(crate) fn leader_id(&self) -> RaftId {
        self.raft.server_metrics().borrow_watched().current_leader.unwrap_or(0)
    }

    pub(crate) fn is_stopped(&self) -> bool {
        self.raft.metrics().borrow_watched().running_state.is_err()
    }

    /// Ends when Raft has stopped.
    pub(crate) async fn until_stopped(&self) {
        let mut metrics = self.raft.metrics();
        while metrics.borrow_watched().running_state.is_ok() {
            if metrics.changed().await.is_err() {
                return;
            }
        }
    }

    /// Where a member's peer listener is.
    pub(crate) fn node(&self, id: RaftId) -> Option<PeerNode> {
        let membership = self.raft.server_metrics().borrow_watched().membership_config.clone();
        membership.membership().get_node(&id).cloned()
    }

    /// Brings a request to the leader and waits for the answer, at most `timeout`, and only as long
    /// as that leader leads as far as this node knows.
    pub(crate) async fn ask_leader<R: AskLeader>(
        self: &Arc<Self>,
        request: R,
        timeout: Duration,
    ) -> Result<R::Answer, Unanswered> {
        if self.is_stopped() {
            return Err(Unanswered::Stopped);
        }
        let leader = self.leader_id();
        let answer = async {
            if leader == self.own_id() {
                return Ok(request.here(self).await);
            }
            let node = self.node(leader).ok_or(Unanswered::NoLeader)?;
            let client = self.peers.client(leader, &node).map_err(Unanswered::Failed)?;
            let answer = request.there(client).await.map_err(Unanswered::Failed)?;
            Ok(answer.into_inner())
        };
        tokio::select! {
            answer = answer => answer,
            () = self.leader_is_not(leader) => Err(Unanswered::LeaderChanged),
            () = tokio::time::sleep(timeout) => Err(Unanswered::TimedOut),
        }
    }

    /// Ends when this node hears of another leader, at the latest after `longest`: what could not be
    /// asked of the last one may be asked again.
    pub(crate) async fn another_leader(&self, longest: Duration) {
        let leader = self.leader_id();
        // The leader may be the same and still have become able to answer.
        let _ = tokio::time::timeout(longest, self.leader_is_not(leader)).await;
    }

    /// Ends once this node takes another, or none, for the leader.
    async fn leader_is_not(&self, leader: RaftId) {
        let mut metrics = self.raft.server_metrics();
        let leads = |metrics: &RaftServerMetrics<Types>| metrics.current_leader.unwrap_or(0);
        while leads(&metrics.borrow_watched()) == leader {
            if metrics.changed().await.is_err() {
                return;
            }
        }
    }
}
