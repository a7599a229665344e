//! What this node has applied: the store's state, its blobs in the index, its steps in segments.
//!
//! Apply holds the write lock for a round of entries, from the first change to the last byte handed
//! to the system; then it publishes the applied index, answers whoever waits for these entries at
//! the leader, and tells this node's own proposer what became of its txns. An error in here is
//! fatal: this replica would part from the others.

mod frozen;
mod index;
mod view;

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use conclave_proto::audit::Step;
use conclave_proto::store::{self as proto, outcome};
use conclave_store::{CheckpointNote, Fatal, Registered, State};
use prost::Message;
use tokio::sync::{mpsc, watch};

use self::index::{Index, IndexBatch};
use crate::clock::ClusterClock;
use crate::config::ReplicaConfig;
use crate::counters::Counters;
use crate::segments::{ChainEnd, Segments, SegmentsError};
use crate::types::{ApplyReply, Entry, LogId, StoredMembership};

pub(crate) use self::frozen::Frozen;
pub use self::index::IndexError;
pub use self::view::AppliedView;

/// Checkpoint notes kept: an hour of them.
pub(crate) const CHECKPOINTS_KEPT: usize = 64;
/// Records written to the index at once while it is rebuilt.
const REBUILD_BATCH: usize = 256;

/// The applied state, shared by apply, readers and the snapshot builder.
pub(crate) struct Applied {
    content: RwLock<Content>,
    segments: Mutex<Segments>,
    applied_index: watch::Sender<u64>,
    checkpoints: Mutex<VecDeque<CheckpointNote>>,
    /// The proposer's writer; outcomes of others are not its business.
    own_writer: AtomicU64,
    notices: mpsc::UnboundedSender<Notice>,
    /// Bytes of commands applied since the last snapshot began.
    unsnapshotted_bytes: AtomicU64,
    clock: Arc<ClusterClock>,
    counters: Arc<Counters>,
}

/// What changes together.
pub(crate) struct Content {
    pub(crate) state: State,
    pub(crate) last_applied: Option<LogId>,
    pub(crate) membership: StoredMembership,
    index: Index,
    /// While a snapshot is being built: blobs as they were when it began, of records changed since.
    pre_images: Option<frozen::PreImages>,
}

/// What apply tells this node's proposer.
#[derive(Debug)]
pub(crate) enum Notice {
    /// A writer of this node's Raft id was registered.
    Registered(Registered),
    /// How txns of its writer ended.
    Outcomes(Vec<proto::Outcome>),
    /// The replica is shutting down.
    Stop,
}

/// A state without its blobs, and where Raft stood: what a snapshot restores.
pub(crate) struct Restored {
    pub(crate) state: State,
    pub(crate) last_applied: Option<LogId>,
    pub(crate) membership: StoredMembership,
}

impl Restored {
    /// A domain before its first entry.
    pub(crate) fn nothing(config: &ReplicaConfig) -> Self {
        Self {
            state: State::with_segment_bytes(config.domain_id, config.segment_bytes),
            last_applied: None,
            membership: StoredMembership::default(),
        }
    }

    pub(crate) fn chain_end(&self) -> ChainEnd {
        ChainEnd { size: self.state.head().size, hash: self.state.head().hash }
    }
}

impl Applied {
    /// Starts from what a snapshot restored; the index is empty until [`Applied::fill`].
    pub(crate) fn open(
        config: &ReplicaConfig,
        restored: Restored,
        notices: mpsc::UnboundedSender<Notice>,
        clock: Arc<ClusterClock>,
        counters: Arc<Counters>,
    ) -> Result<Self, ApplyError> {
        let end = restored.chain_end();
        let segments = Segments::open(&config.audit_dir(), config.domain_id, end)?;
        let Restored { state, last_applied, membership } = restored;
        let applied_index = watch::Sender::new(state.applied().0);
        let index = Index::create(&config.index_dir())?;
        Ok(Self {
            content: RwLock::new(Content {
                state,
                last_applied,
                membership,
                index,
                pre_images: None,
            }),
            segments: Mutex::new(segments),
            applied_index,
            checkpoints: Mutex::default(),
            own_writer: AtomicU64::new(0),
            notices,
            unsnapshotted_bytes: AtomicU64::new(0),
            clock,
            counters,
        })
    }

    pub(crate) fn view(&self) -> AppliedView<'_> {
        AppliedView { content: self.content.read().expect(UNPOISONED) }
    }

    /// The applied index, as it advances.
    pub(crate) fn watch(&self) -> watch::Receiver<u64> {
        self.applied_index.subscribe()
    }

    pub(crate) fn segments(&self) -> MutexGuard<'_, Segments> {
        // A half-appended round is never read: its steps are beyond what any reader asks for, and
        // the node stops.
        self.segments.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn checkpoints(&self) -> Vec<CheckpointNote> {
        self.checkpoints.lock().unwrap_or_else(PoisonError::into_inner).iter().copied().collect()
    }

    pub(crate) fn set_own_writer(&self, writer: u64) {
        self.own_writer.store(writer, Ordering::Relaxed);
    }

    /// Bytes of commands that a start would have to apply again.
    pub(crate) fn unsnapshotted_bytes(&self) -> u64 {
        self.unsnapshotted_bytes.load(Ordering::Relaxed)
    }

    /// Tells the proposer to end.
    pub(crate) fn stop_proposer(&self) {
        // It may have ended already.
        let _ = self.notices.send(Notice::Stop);
    }

    /// With the content locked for reading.
    pub(crate) fn read<T>(&self, read: impl FnOnce(&Content) -> T) -> T {
        read(&self.content.read().expect(UNPOISONED))
    }

    /// The state's digest now.
    pub(crate) fn state_digest(&self) -> [u8; 32] {
        self.content.write().expect(UNPOISONED).state.state_digest()
    }

    /// Applies a round of entries, in order, and says what to answer for each.
    pub(crate) fn apply(&self, entries: &[Entry]) -> Result<Vec<ApplyReply>, ApplyError> {
        let mut round = Round::default();
        {
            let mut content = self.content.write().expect(UNPOISONED);
            let mut segments = self.segments();
            let mut batch = IndexBatch::new();
            for entry in entries {
                round.apply(&mut content, entry, &mut batch)?;
            }
            for (segment, step) in &round.steps {
                segments.append(*segment, step)?;
            }
            segments.write()?;
            content.index.apply(batch)?;
            round.applied_index = content.state.applied().0;
        }
        self.publish(round, entries.len())
    }

    fn publish(&self, round: Round, entries: usize) -> Result<Vec<ApplyReply>, ApplyError> {
        if let Some(time_ms) = round.time_ms {
            self.clock.applied(time_ms);
        }
        self.counters.applied_entries.add(entries as u64);
        self.unsnapshotted_bytes.fetch_add(round.bytes, Ordering::Relaxed);
        let outcomes = round.replies.iter().flat_map(|reply| &reply.outcomes);
        outcomes.clone().for_each(|outcome| self.count(outcome));
        let own = self.own_writer.load(Ordering::Relaxed);
        let own: Vec<_> = outcomes.filter(|outcome| outcome.writer == own).cloned().collect();
        self.applied_index.send_replace(round.applied_index);
        {
            let mut kept = self.checkpoints.lock().unwrap_or_else(PoisonError::into_inner);
            kept.extend(round.checkpoints);
            let surplus = kept.len().saturating_sub(CHECKPOINTS_KEPT);
            kept.drain(..surplus);
        }
        // A proposer that is gone needs no notice.
        for registered in round.registered {
            let _ = self.notices.send(Notice::Registered(registered));
        }
        if !own.is_empty() {
            let _ = self.notices.send(Notice::Outcomes(own));
        }
        Ok(round.replies)
    }

    fn count(&self, outcome: &proto::Outcome) {
        match outcome.result {
            Some(outcome::Result::Committed(_)) => self.counters.committed_txns.one(),
            Some(outcome::Result::Conflict(_)) => self.counters.conflicts.one(),
            Some(outcome::Result::Known(_)) => self.counters.known.one(),
            Some(outcome::Result::Rejected(_)) | None => self.counters.rejections.one(),
        }
    }

    /// Goes on as another group, whose log begins after `at`; see [`State::skip_to`].
    pub(crate) fn continue_at(
        &self,
        at: LogId,
        membership: StoredMembership,
    ) -> Result<(), ApplyError> {
        let mut content = self.content.write().expect(UNPOISONED);
        content.state.skip_to(at.index)?;
        content.last_applied = Some(at);
        content.membership = membership;
        Ok(())
    }

    /// Fills the index from a snapshot's records, before anyone reads.
    pub(crate) fn fill(
        &self,
        records: impl Iterator<Item = Result<Record, RecordError>>,
    ) -> Result<(), ApplyError> {
        self.content.write().expect(UNPOISONED).fill(records)
    }

    /// Puts a received snapshot in place of everything applied so far. Its audit steps are already
    /// on the disk.
    pub(crate) fn replace(
        &self,
        restored: Restored,
        records: impl Iterator<Item = Result<Record, RecordError>>,
    ) -> Result<(), ApplyError> {
        let applied_index = restored.state.applied().0;
        let time_ms = restored.state.time().0;
        {
            let mut content = self.content.write().expect(UNPOISONED);
            content.index.clear()?;
            content.state = restored.state;
            content.last_applied = restored.last_applied;
            content.membership = restored.membership;
            content.fill(records)?;
        }
        self.clock.applied(time_ms);
        self.applied_index.send_replace(applied_index);
        Ok(())
    }
}

/// A record and its blob.
pub(crate) type Record = (conclave_store::RecordId, Vec<u8>);
/// Why whatever holds the records could not give one.
pub(crate) type RecordError = Box<dyn std::error::Error + Send + Sync>;

const UNPOISONED: &str = "apply panicked, so its state is not whole and must not be read";

impl Content {
    fn fill(
        &mut self,
        records: impl Iterator<Item = Result<Record, RecordError>>,
    ) -> Result<(), ApplyError> {
        let mut batch = IndexBatch::new();
        for (count, record) in (1..).zip(records) {
            let (id, blob) = record?;
            batch.set(&id, Some(&blob), 0)?;
            if count % REBUILD_BATCH == 0 {
                self.index.apply(std::mem::replace(&mut batch, IndexBatch::new()))?;
            }
        }
        Ok(self.index.apply(batch)?)
    }
}

/// What a round of entries did.
#[derive(Default)]
struct Round {
    replies: Vec<ApplyReply>,
    steps: Vec<(u64, Step)>,
    checkpoints: Vec<CheckpointNote>,
    registered: Vec<Registered>,
    time_ms: Option<u64>,
    applied_index: u64,
    bytes: u64,
}

impl Round {
    fn apply(
        &mut self,
        content: &mut Content,
        entry: &Entry,
        batch: &mut IndexBatch,
    ) -> Result<(), ApplyError> {
        let index = entry.log_id.index;
        let mut reply = ApplyReply::default();
        match &entry.payload.command {
            None => content.state.apply_blank(index)?,
            Some(command) => {
                self.bytes += command.0.len() as u64;
                let command = proto::Command::decode(command.0.clone())
                    .map_err(|source| ApplyError::Command { index, source })?;
                let applied = content.state.apply(index, &command)?;
                for (record, blob) in &applied.writes {
                    content.keep_pre_image(record)?;
                    batch.set(record, blob.as_deref(), index)?;
                }
                self.steps.extend(applied.steps);
                self.checkpoints.extend(applied.checkpoint);
                self.registered.extend(applied.registered);
                let time_ms = content.state.time().0;
                self.time_ms = Some(time_ms);
                reply = ApplyReply { time_ms, outcomes: applied.outcomes };
            }
        }
        content.last_applied = Some(entry.log_id);
        if let Some(membership) = &entry.payload.membership {
            content.membership = StoredMembership::new(Some(entry.log_id), membership.clone());
        }
        self.replies.push(reply);
        Ok(())
    }
}

/// Why this replica cannot go on applying. It stops.
#[derive(Debug, thiserror::Error)]
pub enum ApplyError {
    /// The log holds what this version must not apply.
    #[error(transparent)]
    Fatal(#[from] Fatal),
    /// The log holds bytes that are no command.
    #[error("log entry {index} holds no command: {source}; rebuild this node")]
    Command {
        /// Which entry.
        index: u64,
        /// What the decoder says.
        source: prost::DecodeError,
    },
    /// The audit history on this disk.
    #[error(transparent)]
    Segments(#[from] SegmentsError),
    /// The index on this disk.
    #[error(transparent)]
    Index(#[from] IndexError),
    /// The snapshot that a record came from.
    #[error(transparent)]
    Record(#[from] RecordError),
}

#[cfg(test)]
mod tests;
