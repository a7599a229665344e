//! One domain's replica on this node: what the server holds and calls.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex as StdMutex, PoisonError};
use std::time::{Duration, Instant};

use conclave_crypto::{Entropy, SystemEntropy};
use conclave_proto::audit::Step;
use conclave_proto::peer::replication_server::ReplicationServer;
use conclave_proto::peer::{
    AddLearnerRequest, ChangeMembersRequest, ReadIndexRequest, add_learner_response,
    change_members_response, read_index_response,
};
use conclave_proto::raft::Node;
use conclave_proto::store::{Guard, MemberChange};
use conclave_store::{CheckpointNote, GuardDigest, RecordId, TxnBody};
use openraft::errors::RaftError;
use tokio::sync::{Mutex, RwLock, mpsc, watch};
use tokio::task::JoinHandle;

use crate::applied::{Applied, AppliedView, ApplyError, Restored};
use crate::campaign;
use crate::clock::ClusterClock;
use crate::config::{ConfigError, ReplicaConfig};
use crate::core::{Core, Unanswered};
use crate::counters::Counters;
use crate::decided::{Decided, ProposeError};
use crate::disk::{FileError, OnFile, create_dir};
use crate::duties;
use crate::hearing::Hearing;
use crate::log::{LogStore, Owner};
use crate::machine::Machine;
use crate::network::Network;
use crate::peers::{Identity, PeerDialer, Peers};
use crate::proposer::Proposer;
use crate::returning;
use crate::segments::SegmentsError;
use crate::service::ReplicationService;
use crate::snapshot::{SnapshotError, SnapshotStore};
use crate::standing::{Standing, Standings};
use crate::status::ReplicaStatus;
use crate::types::{PeerNode, RaftId};
use crate::witness::Witness;

/// Between two tries to reach a leader, unless there is another one sooner.
const RETRY_AFTER: Duration = Duration::from_millis(25);
/// A leader confirms that it leads within this, or is asked again.
const READ_INDEX_TIMEOUT: Duration = Duration::from_secs(2);

/// A running replica. Clones are handles of the same one.
#[derive(Clone)]
pub struct Replica {
    core: Arc<Core>,
    proposer: Proposer,
    tasks: Arc<StdMutex<Option<Tasks>>>,
}

struct Tasks {
    /// These end when Raft does.
    ending: Vec<JoinHandle<()>>,
    /// Waits for others, and holds nothing that must be put in order.
    returning: JoinHandle<()>,
}

impl Replica {
    /// Opens what is on disk and starts taking part. The applied state is rebuilt from the last
    /// snapshot and the log, so a long log takes its time.
    pub async fn start(
        config: ReplicaConfig,
        dialer: Arc<dyn PeerDialer>,
    ) -> Result<Self, StartError> {
        let raft_config = Arc::new(config.raft_config()?);
        create_dir(&config.data_dir).on(&config.data_dir)?;
        let clock = Arc::new(ClusterClock::new(config.wall_clock.clone()));
        let counters = Arc::new(Counters::default());
        let (notices, noticed) = mpsc::unbounded_channel();

        let opening = {
            let (config, clock, counters) = (config.clone(), clock.clone(), counters.clone());
            tokio::task::spawn_blocking(move || open(&config, notices, clock, counters))
        };
        let (applied, snapshots, log) =
            opening.await.map_err(|error| StartError::Raft(error.to_string()))??;

        let peers = Arc::new(Peers::new(&config, dialer));
        let start = {
            let mut start = [0; 8];
            SystemEntropy.fill(&mut start);
            u64::from_be_bytes(start)
        };
        let held = log.held();
        let held_at_start = held.get();
        let floor = log.log_state().on(&config.data_dir)?.last_log_id.map_or(0, |last| last.index);
        let witness = Arc::new(Witness::open(&config.data_dir, start, held));
        let standing = Arc::new(Standings::new());
        let network = Network {
            peers: peers.clone(),
            clock: clock.clone(),
            witness: witness.clone(),
            standing: standing.clone(),
        };
        let machine = Machine {
            applied: applied.clone(),
            snapshots: snapshots.clone(),
            counters: counters.clone(),
        };
        let room = log.room();
        let raft = openraft::Raft::new(config.raft_id, raft_config, network, log, machine).await;
        let raft = raft.map_err(|fatal| StartError::Raft(fatal.to_string()))?;
        let election_ms = (config.election_min_ms, config.election_max_ms);
        let (shortest, longest) =
            (Duration::from_millis(election_ms.0), Duration::from_millis(election_ms.1));
        let hearing = Hearing::new(shortest, longest, Instant::now());
        let core = Arc::new(Core {
            identity: Identity::new(&config.cluster, config.domain_id),
            config,
            raft,
            applied,
            snapshots,
            room,
            clock,
            hearing,
            reluctant: AtomicBool::new(false),
            peers,
            counters,
            witness,
            standing,
            gate: Arc::new(RwLock::new(())),
            members: Arc::new(Mutex::new(())),
            receiving: Arc::new(Mutex::new(())),
        });
        let mut nonce = [0; 16];
        SystemEntropy.fill(&mut nonce);
        let (proposer, proposing) = Proposer::start(core.clone(), noticed, nonce);
        let scrubbed = core.clone();
        tokio::task::spawn_blocking(move || returning::scrub(&scrubbed));
        let ending = vec![
            proposing,
            tokio::spawn(duties::run(core.clone())),
            tokio::spawn(campaign::keep_time(core.clone())),
            tokio::spawn(campaign::attend(core.clone())),
        ];
        let returning = tokio::spawn(returning::run(core.clone(), held_at_start, floor));
        let tasks = Tasks { ending, returning };
        Ok(Self { core, proposer, tasks: Arc::new(StdMutex::new(Some(tasks))) })
    }

    /// Proposes a txn and waits for its outcome, or until `deadline`. A replica that has yet to prove
    /// itself after its start proposes nothing.
    pub async fn propose(&self, body: TxnBody, deadline: Instant) -> Result<Decided, ProposeError> {
        if !self.core.standing.proven(deadline).await {
            return Err(ProposeError::Unavailable);
        }
        self.proposer.propose(body, deadline).await
    }

    /// How far this replica has got since its start. Until it is [`Standing::Proven`], what is
    /// proposed waits.
    pub fn standing(&self) -> Standing {
        self.core.standing.get()
    }

    /// A log index such that whoever has applied it sees everything that was acknowledged before
    /// this call.
    pub async fn read_index(&self, deadline: Instant) -> Result<u64, Unavailable> {
        loop {
            let timeout = remaining(deadline)?.min(READ_INDEX_TIMEOUT);
            match self.core.ask_leader(ReadIndexRequest {}, timeout).await {
                Ok(answer) => {
                    if let Some(read_index_response::Result::LogIndex(index)) = answer.result {
                        return Ok(index);
                    }
                }
                Err(Unanswered::Stopped) => return Err(Unavailable),
                Err(error) => tracing::debug!(%error, "no read index yet"),
            }
            self.core.another_leader(RETRY_AFTER).await;
        }
    }

    /// Waits until this replica has applied `index`.
    pub async fn wait_applied(&self, index: u64, deadline: Instant) -> Result<(), Unavailable> {
        let mut applied = self.core.applied.watch();
        let reached = applied.wait_for(|applied| *applied >= index);
        match tokio::time::timeout_at(deadline.into(), reached).await {
            Ok(Ok(_)) => Ok(()),
            _ => Err(Unavailable),
        }
    }

    /// The applied index, as it advances.
    pub fn applied_watch(&self) -> watch::Receiver<u64> {
        self.core.applied.watch()
    }

    /// One consistent reading of applied state; see [`AppliedView`] for how long to hold it.
    pub fn view(&self) -> AppliedView<'_> {
        self.core.applied.view()
    }

    /// Cluster time as known here, milliseconds since 1970; `None` before the first stamp.
    pub fn now_ms(&self) -> Option<u64> {
        self.core.clock.now_ms()
    }

    /// The latest time that a majority of the voters say their own clocks have passed, at every call for the
    /// last seconds, milliseconds since 1970. Only the leader hears them: `None` elsewhere, and while too few
    /// were heard lately. For whoever calls it again and again.
    pub fn passed_ms(&self) -> Option<u64> {
        let metrics = self.core.metrics();
        let configs = metrics.membership_config.get_joint_config();
        let (clock, now) = (&self.core.clock, Instant::now());
        let is_leader = metrics.state.is_leader();
        let passed = is_leader.then(|| clock.passed(self.core.own_id(), configs, now)).flatten();
        clock.steady(passed, now)
    }

    /// This node's own wall clock, milliseconds since 1970.
    pub fn own_clock_ms(&self) -> u64 {
        self.core.clock.own_ms()
    }

    /// What this replica says about itself.
    pub fn status(&self) -> ReplicaStatus {
        ReplicaStatus::of(&self.core)
    }

    /// Digest over all records applied so far.
    pub fn state_digest(&self) -> [u8; 32] {
        self.core.applied.state_digest()
    }

    /// What this replica noted at the last checkpoint entries, oldest first.
    pub fn checkpoints(&self) -> Vec<CheckpointNote> {
        self.core.applied.checkpoints()
    }

    /// What it counts.
    pub fn counters(&self) -> &Counters {
        &self.core.counters
    }

    /// Audit steps from `first` up to but not including `end`, at most
    /// [`STEPS_PER_READ_MAX`](crate::STEPS_PER_READ_MAX). Reads the disk.
    pub fn steps(&self, first: u64, end: u64) -> Result<Vec<Step>, SegmentsError> {
        let plan = self.core.applied.segments().plan(first, end)?;
        plan.run().inspect_err(|error| returning::found(&self.core, error))
    }

    /// Forms the Raft group. Every founder may call it, with the same members; it counts once.
    pub async fn initialize(
        &self,
        members: BTreeMap<RaftId, PeerNode>,
    ) -> Result<(), MembersError> {
        match self.core.raft.initialize(members).await {
            Ok(()) => Ok(()),
            Err(RaftError::Fatal(_)) => Err(MembersError::Unavailable),
            Err(error) => Err(MembersError::Refused(error.to_string())),
        }
    }

    /// Makes a node a learner and waits until it has caught up, audit history included.
    pub async fn add_learner(
        &self,
        raft_id: RaftId,
        node: PeerNode,
        deadline: Instant,
    ) -> Result<u64, MembersError> {
        use add_learner_response::Result;
        loop {
            let node = Node { name: node.name.clone(), peer: node.peer.clone() };
            let request = AddLearnerRequest { raft_id, node: Some(node) };
            match self.core.ask_leader(request, remaining(deadline)?).await {
                Ok(answer) => match answer.result {
                    Some(Result::LogIndex(index)) => return Ok(index),
                    Some(Result::Refused(why)) => return Err(MembersError::Refused(why)),
                    Some(Result::NotLeader(_)) | None => {}
                },
                Err(Unanswered::Stopped) => return Err(MembersError::Unavailable),
                Err(error) => tracing::debug!(%error, "no learner added yet"),
            }
            self.core.another_leader(RETRY_AFTER).await;
        }
    }

    /// Changes the voters and, in Raft's own log entry, the public records in `change`.
    /// `guards` are the records that the change was planned on: the leader refuses it if one of them
    /// is another by now. Gives back the index of the entry that holds the records.
    ///
    /// Asked once: if the leader is lost midway, whether the change took effect is for
    /// [`Replica::status`] to say.
    pub async fn change_members(
        &self,
        voters: &[RaftId],
        change: MemberChange,
        guards: &BTreeMap<RecordId, Option<GuardDigest>>,
        deadline: Instant,
    ) -> Result<u64, MembersError> {
        use change_members_response::Result;
        let voters: BTreeSet<RaftId> = voters.iter().copied().collect();
        let guard = |(record, digest): (&RecordId, &Option<GuardDigest>)| Guard {
            record: record.to_bytes().to_vec(),
            digest: digest.map(|digest| digest.0.to_vec()).unwrap_or_default(),
            family: None,
        };
        let guards: Vec<Guard> = guards.iter().map(guard).collect();
        loop {
            let request = ChangeMembersRequest {
                voters: voters.iter().copied().collect(),
                change: Some(change.clone()),
                guards: guards.clone(),
            };
            match self.core.ask_leader(request, remaining(deadline)?).await {
                Ok(answer) => match answer.result {
                    Some(Result::LogIndex(index)) => return Ok(index),
                    Some(Result::Refused(_)) if answer.overtaken => {
                        return Err(MembersError::Overtaken);
                    }
                    Some(Result::Refused(why)) => return Err(MembersError::Refused(why)),
                    Some(Result::NotLeader(_)) | None => {}
                },
                Err(Unanswered::NoLeader) => {}
                Err(Unanswered::Stopped) => return Err(MembersError::Unavailable),
                Err(error) => return Err(MembersError::OutcomeUnknown(error.to_string())),
            }
            self.core.another_leader(RETRY_AFTER).await;
        }
    }

    /// Whether others had better lead, since this node is sealed, say, or about to stop. It goes on
    /// voting, and leads if nobody else does.
    pub fn set_reluctant(&self, reluctant: bool) {
        self.core.reluctant.store(reluctant, Ordering::Relaxed);
    }

    /// Hands leadership to another voter, if this node has it, and waits until it is gone.
    pub async fn transfer_leader(&self, to: RaftId) -> Result<(), MembersError> {
        let metrics = self.core.metrics();
        if !metrics.state.is_leader() {
            return Err(MembersError::NotLeader(metrics.current_leader));
        }
        if to == self.core.own_id() {
            return Ok(());
        }
        if !metrics.membership_config.voter_ids().any(|id| id == to) {
            return Err(MembersError::Refused(format!("Raft id {to} does not vote")));
        }
        let trigger = self.core.raft.trigger();
        trigger.transfer_leader(to).await.map_err(|_| MembersError::Unavailable)?;
        let patience = Duration::from_millis(2 * self.core.config.election_max_ms);
        let wait = self.core.raft.wait(Some(patience));
        let own = self.core.own_id();
        let gone = |metrics: &crate::core::RaftMetrics| {
            metrics.current_leader.is_some_and(|leader| leader != own)
        };
        wait.metrics(gone, "leadership moves")
            .await
            .map(drop)
            .map_err(|_| MembersError::Refused(format!("Raft id {to} did not take over in time")))
    }

    /// Ends when Raft has stopped, by [`Replica::shutdown`] or because this node must not go on, and
    /// says why.
    pub async fn stopped(&self) -> String {
        self.core.until_stopped().await;
        self.status().stopped.unwrap_or_else(|| "Raft has stopped".to_owned())
    }

    /// Takes a snapshot now, whatever the log's length; done in the background.
    pub async fn trigger_snapshot(&self) -> Result<(), Unavailable> {
        self.core.raft.trigger().snapshot().await.map_err(|_| Unavailable)
    }

    /// Lets go of the log's entries up to `upto` now, as far as the snapshot on disk stands for them,
    /// rather than keep some for followers that are a little behind; done in the background.
    pub async fn purge_log(&self, upto: u64) -> Result<(), Unavailable> {
        self.core.raft.trigger().purge_log(upto).await.map_err(|_| Unavailable)
    }

    /// The service that other members call, for the peer listener. Whoever calls it must have been
    /// found to be a member already.
    pub fn services(&self) -> ReplicationServer<ReplicationService> {
        ReplicationService::server(self.core.clone())
    }

    /// Stops taking part. What waits is told; nothing acknowledged is lost by it, or without it.
    pub async fn shutdown(&self) {
        self.core.applied.stop_proposer();
        if let Err(error) = self.core.raft.shutdown().await {
            tracing::error!(%error, "Raft did not stop cleanly");
        }
        let tasks = self.tasks.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(Tasks { ending, returning }) = tasks {
            returning.abort();
            for task in ending.into_iter().chain([returning]) {
                // A task that panicked was reported when it did.
                let _ = task.await;
            }
        }
        if let Err(error) = self.core.witness.save() {
            tracing::warn!(%error, "what was seen of the other disks could not be written");
        }
        if let Err(error) = self.core.applied.segments().sync() {
            tracing::error!(%error, "the audit history was not flushed; the next start rewrites it");
        }
    }
}

type Opened = (Arc<Applied>, Arc<SnapshotStore>, LogStore);

fn open(
    config: &ReplicaConfig,
    notices: mpsc::UnboundedSender<crate::applied::Notice>,
    clock: Arc<ClusterClock>,
    counters: Arc<Counters>,
) -> Result<Opened, StartError> {
    let owner = Owner { domain: config.domain_id, raft_id: config.raft_id };
    let log = LogStore::open(&config.log_dir(), owner)?;
    let (snapshots, restored) = SnapshotStore::open(config)?;
    let restored = restored.unwrap_or_else(|| Restored::nothing(config));
    let applied = Applied::open(config, restored, notices, clock, counters)?;
    applied.fill(snapshots.records()?.map(|record| record.map_err(Into::into)))?;
    Ok((Arc::new(applied), Arc::new(snapshots), log))
}

fn remaining(deadline: Instant) -> Result<Duration, Unavailable> {
    let remaining = deadline.saturating_duration_since(Instant::now());
    if remaining.is_zero() { Err(Unavailable) } else { Ok(remaining) }
}

/// Why a replica did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The configuration.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The data folder.
    #[error("data folder: {0}")]
    File(#[from] FileError),
    /// The Raft log.
    #[error(transparent)]
    Log(#[from] crate::log::OpenError),
    /// The snapshot.
    #[error(transparent)]
    Snapshot(#[from] SnapshotError),
    /// The audit history or the index.
    #[error(transparent)]
    Apply(#[from] ApplyError),
    /// openraft, reading back what is on the disk.
    #[error("Raft did not start: {0}")]
    Raft(String),
}

/// Nobody who could answer was reached before the deadline, or this replica has stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no leader answered in time, or this node is stopping")]
pub struct Unavailable;

/// Why the members were not changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MembersError {
    /// Something stands against it.
    #[error("{0}")]
    Refused(String),
    /// A record that it was planned on has changed; nothing else has.
    #[error("a record has changed since this was planned; plan again")]
    Overtaken,
    /// Only the leader can do this.
    #[error("this node is not the leader")]
    NotLeader(Option<RaftId>),
    /// It may have happened or may yet; look at the status.
    #[error("whether the members were changed is not known ({0}); look at the status")]
    OutcomeUnknown(String),
    /// No leader in time.
    #[error("no leader answered in time, or this node is stopping; nothing was changed")]
    Unavailable,
}

impl From<Unavailable> for MembersError {
    fn from(_: Unavailable) -> Self {
        MembersError::Unavailable
    }
}
