//! The state every replica computes from the same log, and `apply`, which computes it.
//!
//! A command is read whole before anything changes ([`crate::command`]), so a [`Fatal`] leaves the
//! state as it was. What a txn goes through, in order: is its writer known, is it new, is it well
//! shaped, is its token new, is it timely, do its guards hold. Only then does it take effect: its
//! writes, its touches, one step of the audit chain, its token. However it ended is remembered for its
//! writer. Guards are checked before the txn's own writes and after those of all txns before it.

use std::sync::Arc;

use conclave_audit::segment::FRAME_OVERHEAD;
use conclave_audit::{Head, StepData};
use conclave_crypto::sha256;
use conclave_proto::audit::Step;
use conclave_proto::store as proto;
use prost::Message;

use crate::body::Sealed;
use crate::command::{Content, Op, Txn, parse};
use crate::guard::Guard;
use crate::limits::MAX_DECISION_SKEW_MS;
use crate::records::Records;
use crate::tokens::{Taken, Tokens};
use crate::write::{OpRef, Touch, WriteRef};
use crate::writers::{Recall, Writers};
use crate::{
    BlobDigest, Family, Fatal, GuardDigest, Kind, LastUse, LogIndex, Outcome, RecordId, Rejection,
    Revision, SegmentPosition, TimeMs, TxnId,
};

/// The newest commands this version can apply.
pub const FEATURE_LEVEL: u32 = 1;

/// Replicated state, blobs aside.
#[derive(Clone, Debug)]
pub struct State {
    pub(crate) domain_id: [u8; 16],
    pub(crate) applied: LogIndex,
    pub(crate) feature_level: u32,
    pub(crate) time: TimeMs,
    pub(crate) head: Head,
    pub(crate) segment: SegmentPosition,
    pub(crate) records: Records,
    pub(crate) writers: Writers,
    pub(crate) tokens: Tokens,
}

/// What applying one command did, for the replica to carry out: blobs to store, steps to append,
/// proposers to answer.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Applied {
    /// One for each txn of a batch, in order.
    pub outcomes: Vec<proto::Outcome>,
    /// Blobs to store or delete, in order: where a record appears twice, the later one stands.
    pub writes: Vec<(RecordId, Option<Arc<[u8]>>)>,
    /// Steps of the audit chain, each with the number of the segment it belongs to.
    pub steps: Vec<(u64, Step)>,
    /// Whether any of the steps began a new segment.
    pub rolled: bool,
    /// Of a checkpoint command.
    pub checkpoint: Option<CheckpointNote>,
    /// Of a registration that was accepted.
    pub registered: Option<Registered>,
}

/// What replicas compare: equal logs must have led to equal notes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CheckpointNote {
    /// The checkpoint command's log entry.
    pub index: LogIndex,
    /// Over all records.
    pub state_digest: [u8; 32],
    /// The audit chain's hash after its last step.
    pub head: [u8; 32],
}

/// A proposer's registration took effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Registered {
    /// Names its txns from now on.
    pub writer: u64,
    /// Whose proposer it is.
    pub raft_id: u64,
    /// How it recognises its own.
    pub nonce: [u8; 16],
}

/// What changes when a txn commits or Raft's membership changes.
struct Effect<'a> {
    writes: &'a [WriteRef<'a>],
    touches: &'a [Touch],
    audit: &'a Sealed<'a>,
}

impl State {
    /// A domain before its first log entry.
    pub fn new(domain_id: [u8; 16]) -> State {
        State::with_segment_bytes(domain_id, crate::limits::SEGMENT_BYTES)
    }

    /// With audit segments of another size. All replicas of a domain must use the same.
    pub fn with_segment_bytes(domain_id: [u8; 16], bytes_max: u64) -> State {
        State {
            domain_id,
            applied: LogIndex(0),
            feature_level: 1,
            time: TimeMs(0),
            head: Head::genesis(&domain_id),
            segment: SegmentPosition::new(bytes_max),
            records: Records::default(),
            writers: Writers::default(),
            tokens: Tokens::default(),
        }
    }

    /// Applies the log entry at `log_index`. On an error nothing has changed, and the node must stop.
    pub fn apply(&mut self, log_index: u64, command: &proto::Command) -> Result<Applied, Fatal> {
        let op = parse(command)?;
        self.advance(log_index)?;
        self.time = self.time.max(TimeMs(command.time_ms));
        let mut applied = Applied::default();
        match op {
            Op::Batch(txns) => {
                for (position, txn) in (0u32..).zip(&txns) {
                    let at = Revision { log_index: self.applied, position };
                    let outcome = self.apply_txn(at, txn, &mut applied);
                    applied.outcomes.push(outcome.to_proto(txn.id));
                }
            }
            Op::Register(Some((raft_id, nonce))) => {
                self.writers.register(log_index, raft_id, nonce);
                applied.registered = Some(Registered { writer: log_index, raft_id, nonce });
            }
            Op::Register(None) => {}
            Op::Checkpoint => {
                applied.checkpoint = Some(CheckpointNote {
                    index: self.applied,
                    state_digest: self.state_digest(),
                    head: self.head.hash,
                });
            }
            Op::MemberChange { writes, audit } => {
                let at = Revision { log_index: self.applied, position: 0 };
                let id = TxnId { writer: 0, sequence: log_index };
                self.take_effect(
                    at,
                    id,
                    &Effect { writes: &writes, touches: &[], audit: &audit },
                    &mut applied,
                );
            }
        }
        self.debug_validate();
        Ok(applied)
    }

    /// Passes a log entry that holds no command: a blank one or a change of membership.
    pub fn apply_blank(&mut self, log_index: u64) -> Result<(), Fatal> {
        if (log_index, self.applied) == (0, LogIndex(0)) {
            return Ok(()); // The log's first entry, which forms the cluster.
        }
        self.advance(log_index)
    }

    /// Goes on at a log entry far ahead, with nothing in between: how a state is taken out of a log
    /// that others may have continued. `log_index` must be one that no log of the domain ever reached.
    ///
    /// # Errors
    /// [`Fatal::OutOfOrder`] if it is not ahead.
    pub fn skip_to(&mut self, log_index: u64) -> Result<(), Fatal> {
        if log_index <= self.applied.0 {
            return Err(Fatal::OutOfOrder { index: log_index, applied: self.applied.0 });
        }
        self.applied = LogIndex(log_index);
        Ok(())
    }

    fn advance(&mut self, log_index: u64) -> Result<(), Fatal> {
        if self.applied.0.checked_add(1) != Some(log_index) {
            return Err(Fatal::OutOfOrder { index: log_index, applied: self.applied.0 });
        }
        self.applied = LogIndex(log_index);
        Ok(())
    }

    fn apply_txn(&mut self, at: Revision, txn: &Txn<'_>, applied: &mut Applied) -> Outcome {
        match self.writers.recall(txn.id) {
            Recall::UnknownWriter => return Outcome::Rejected(Rejection::UnknownWriter),
            Recall::Forgotten => return Outcome::Rejected(Rejection::BelowWindow),
            Recall::Ended(outcome) => return outcome.clone(),
            Recall::New => {}
        }
        let outcome = match &txn.content {
            Err(_) => Outcome::Rejected(Rejection::Malformed),
            Ok(content) => match self.obstacle(content) {
                Some(obstacle) => obstacle,
                None => {
                    let Content { writes, touches, audit, .. } = content;
                    self.take_effect(at, txn.id, &Effect { writes, touches, audit }, applied);
                    if let Some(token) = content.token {
                        let answer = content.answer.into();
                        self.tokens.take(token, Taken { revision: at, time: self.time, answer });
                    }
                    Outcome::Committed(at)
                }
            },
        };
        self.writers.remember(txn.id, outcome.clone());
        outcome
    }

    /// What keeps a well-shaped new txn from taking effect.
    fn obstacle(&self, txn: &Content<'_>) -> Option<Outcome> {
        if let Some(taken) = txn.token.and_then(|token| self.tokens.get(&token)) {
            let Taken { revision, answer, .. } = taken.clone();
            return Some(Outcome::Known { revision, answer });
        }
        let log_index = self.applied;
        if txn.now_ms.abs_diff(self.time.0) > MAX_DECISION_SKEW_MS {
            return Some(Outcome::Conflict { log_index, on: None });
        }
        let failed = txn.guards.iter().find(|guard| !self.holds(guard));
        failed.map(|guard| Outcome::Conflict { log_index, on: Some(guard.on()) })
    }

    fn holds(&self, guard: &Guard) -> bool {
        match guard {
            Guard::Record(record, digest) => {
                self.records.get(record).map(|digest| digest.guard()) == *digest
            }
            Guard::Scan(family, digest) => self.scan_guard(family) == *digest,
            Guard::Fewer(family, than) => self.count(family) < *than,
        }
    }

    fn take_effect(&mut self, at: Revision, id: TxnId, effect: &Effect<'_>, applied: &mut Applied) {
        for &WriteRef { record, op } in effect.writes {
            let blob = match op {
                OpRef::Put { blob, parent } => {
                    self.records.put(record, BlobDigest::of(blob), parent);
                    Some(blob.into())
                }
                OpRef::Delete => {
                    self.records.delete(&record);
                    None
                }
            };
            applied.writes.push((record, blob));
        }
        let (time, audit_index) = (self.time, self.head.size);
        for &Touch { record, operation } in effect.touches {
            self.records.touch(record, LastUse { time, operation, audit_index });
        }
        let step = self.extend_chain(at, id, effect.audit);
        let frame_bytes = FRAME_OVERHEAD + step.encoded_len();
        applied.rolled |= self.segment.add(step.index, frame_bytes as u64);
        applied.steps.push((self.segment.number, step));
    }

    fn extend_chain(&mut self, at: Revision, id: TxnId, audit: &Sealed<'_>) -> Step {
        let index = self.head.size;
        let hash = self.head.append(&StepData {
            time_ms: self.time.0,
            writer: id.writer,
            sequence: id.sequence,
            log_index: at.log_index.0,
            position: at.position,
            key: audit.entry.key,
            commitment: audit.commitment,
            sealed_sha256: sha256(&[&audit.entry.sealed]),
        });
        Step {
            index,
            time_ms: self.time.0,
            writer: id.writer,
            sequence: id.sequence,
            log_index: at.log_index.0,
            position: at.position,
            entry: Some(audit.entry.clone()),
            hash: hash.to_vec(),
        }
    }

    /// Digest over all records, which parents they are under, the families' chains and the last uses;
    /// only what changed since the last time is hashed again.
    pub fn state_digest(&mut self) -> [u8; 32] {
        self.records.digest()
    }

    /// The last log entry applied; 0 if none.
    pub fn applied(&self) -> LogIndex {
        self.applied
    }

    /// The domain whose state this is.
    pub fn domain_id(&self) -> &[u8; 16] {
        &self.domain_id
    }

    /// What commands may need at most; a proposer never exceeds it.
    pub fn feature_level(&self) -> u32 {
        self.feature_level
    }

    /// Cluster time: the highest stamp applied.
    pub fn time(&self) -> TimeMs {
        self.time
    }

    /// What the token table may have forgotten: every token that committed strictly after this
    /// cluster time, in milliseconds, is still known. `None`: none was ever forgotten.
    pub fn token_horizon_ms(&self) -> Option<u64> {
        self.tokens.horizon().map(|time| time.0)
    }

    /// The audit chain after its last step.
    pub fn head(&self) -> &Head {
        &self.head
    }

    /// Where the next audit step goes, unless it rolls the segment.
    pub fn segment(&self) -> SegmentPosition {
        self.segment
    }

    /// Digest of a record's blob; `None` if there is no such record.
    pub fn digest(&self, id: &RecordId) -> Option<BlobDigest> {
        self.records.get(id)
    }

    /// At most `limit` records of `kind` in order of id, from the first one after `after`.
    pub fn list(&self, kind: Kind, after: Option<&RecordId>, limit: usize) -> Vec<RecordId> {
        self.records.list(kind, after, limit)
    }

    /// At most `limit` members of a family in order of id, from the first one after `after`.
    pub fn family(&self, family: &Family, after: Option<&RecordId>, limit: usize) -> Vec<RecordId> {
        self.records.families().list(family, after, limit)
    }

    /// How many members a family has.
    pub fn count(&self, family: &Family) -> u32 {
        self.records.families().chain(family).map_or(0, |chain| chain.members)
    }

    /// A family's chain; `None` if it has no members.
    pub fn scan_guard(&self, family: &Family) -> Option<GuardDigest> {
        self.records.families().chain(family).map(|chain| chain.digest)
    }

    /// What a record is under; `None` if nothing, or if there is no such record.
    pub fn parent(&self, id: &RecordId) -> Option<RecordId> {
        self.records.families().parent(id)
    }

    /// A record's last use; `None` if it was not used since it was made, or is not there.
    pub fn last_use(&self, id: &RecordId) -> Option<LastUse> {
        self.records.last_use(id)
    }

    /// How many records there are.
    pub fn records(&self) -> usize {
        self.records.len()
    }

    /// Whether txns of this writer are accepted.
    pub fn knows_writer(&self, writer: u64) -> bool {
        let txn = TxnId { writer, sequence: u64::MAX };
        !matches!(self.writers.recall(txn), Recall::UnknownWriter)
    }

    /// Panics unless everything that always holds does. Reads the whole state.
    pub fn validate(&self) {
        self.records.validate();
        self.writers.validate();
        self.tokens.validate();
        assert!(self.segment.number >= 1 && self.segment.first <= self.head.size);
        assert!((self.segment.bytes == 0) == (self.segment.first == self.head.size));
        assert!((1..=FEATURE_LEVEL).contains(&self.feature_level));
        assert!(self.writers.iter().all(|(id, _)| id <= self.applied.0));
        let newest = self.tokens.newest();
        assert!(newest.is_none_or(|taken| taken.revision.log_index <= self.applied));
        assert!(newest.is_none_or(|taken| taken.time <= self.time));
    }

    /// In debug builds, while the state is small enough for it not to be felt.
    fn debug_validate(&self) {
        if cfg!(debug_assertions) && self.records.len() <= 256 && self.tokens.len() <= 256 {
            self.validate();
        }
    }
}
