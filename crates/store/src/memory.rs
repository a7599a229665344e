//! A [`State`] with its blobs in memory: for tests and simulation of what stands above the store.
//!
//! It applies the same commands as a replica does, one log entry each, without a cluster. Nothing
//! is durable. It keeps every audit step, so that a test can read what was audited.

use std::collections::BTreeMap;
use std::sync::Arc;

use conclave_proto::audit::{SealedEntry, Step};
use conclave_proto::store as proto;

use crate::{
    Applied, BatchBuilder, BlobDigest, FEATURE_LEVEL, Family, Fatal, GuardDigest, Kind, LastUse,
    LogIndex, Outcome, ReadError, RecordId, Rejection, State, TxnBody, TxnId, View, Write,
    member_change,
};

/// The whole store of one imagined node.
#[derive(Clone, Debug)]
pub struct MemoryStore {
    state: State,
    blobs: BTreeMap<RecordId, Arc<[u8]>>,
    steps: Vec<Step>,
    writer: u64,
    sequence: u64,
}

impl MemoryStore {
    /// An empty domain with one registered writer.
    pub fn new(domain_id: [u8; 16]) -> MemoryStore {
        let mut store = MemoryStore {
            state: State::new(domain_id),
            blobs: BTreeMap::new(),
            steps: Vec::new(),
            writer: 0,
            sequence: 0,
        };
        let register = proto::RegisterWriter { raft_id: 1, nonce: vec![0; 16] };
        let op = proto::command::Op::RegisterWriter(register);
        store.writer =
            store.apply_known(0, op).registered.map_or(0, |registered| registered.writer);
        store
    }

    /// Commits one txn as a batch of its own, stamped `stamp_ms`.
    pub fn commit(&mut self, body: TxnBody, stamp_ms: u64) -> Outcome {
        self.sequence += 1;
        let mut batch = BatchBuilder::new();
        let id = TxnId { writer: self.writer, sequence: self.sequence };
        if batch.push(id, &body).is_err() {
            return Outcome::Rejected(Rejection::Malformed);
        }
        let batch = batch.finish(self.state.applied().0, self.state.head().hash);
        let applied = self.apply_known(stamp_ms, proto::command::Op::Batch(batch));
        let outcome = applied.outcomes.first().and_then(|o| Outcome::from_proto(o).ok());
        outcome.map_or(Outcome::Rejected(Rejection::Unspecified), |(_, outcome)| outcome)
    }

    /// Writes records without a guard, with an audit entry that says nothing: to set a stage.
    pub fn write(&mut self, writes: Vec<Write>) {
        let audit = SealedEntry { key: 0, commitment: vec![0; 32], sealed: vec![0] };
        let change = member_change(&writes, audit).expect("a test writes within the limits");
        self.apply_known(0, proto::command::Op::MemberChange(change));
    }

    /// Applies any command at the next log index.
    pub fn apply(&mut self, command: &proto::Command) -> Result<Applied, Fatal> {
        let applied = self.state.apply(self.state.applied().0 + 1, command)?;
        for (id, blob) in &applied.writes {
            match blob {
                Some(blob) => self.blobs.insert(*id, blob.clone()),
                None => self.blobs.remove(id),
            };
        }
        self.steps.extend(applied.steps.iter().map(|(_, step)| step.clone()));
        Ok(applied)
    }

    /// The state without its blobs.
    pub fn state(&self) -> &State {
        &self.state
    }

    /// The state, for its digest.
    pub fn state_mut(&mut self) -> &mut State {
        &mut self.state
    }

    /// Every step of the audit chain since the store was made.
    pub fn steps(&self) -> &[Step] {
        &self.steps
    }

    fn apply_known(&mut self, time_ms: u64, op: proto::command::Op) -> Applied {
        let command = proto::Command { feature_level: FEATURE_LEVEL, time_ms, op: Some(op) };
        self.apply(&command).expect("commands made of checked types are not fatal")
    }
}

impl View for MemoryStore {
    fn digest(&self, id: &RecordId) -> Option<BlobDigest> {
        self.state.digest(id)
    }

    fn blob(&self, id: &RecordId) -> Result<Option<Arc<[u8]>>, ReadError> {
        let Some(digest) = self.state.digest(id) else { return Ok(None) };
        let blob = self.blobs.get(id).ok_or(ReadError::Missing { record: *id })?;
        if BlobDigest::of(blob) != digest {
            return Err(ReadError::Damaged { record: *id });
        }
        Ok(Some(blob.clone()))
    }

    fn list(&self, kind: Kind, after: Option<&RecordId>, limit: usize) -> Vec<RecordId> {
        self.state.list(kind, after, limit)
    }

    fn family(&self, family: &Family, after: Option<&RecordId>, limit: usize) -> Vec<RecordId> {
        self.state.family(family, after, limit)
    }

    fn count(&self, family: &Family) -> u32 {
        self.state.count(family)
    }

    fn scan_guard(&self, family: &Family) -> Option<GuardDigest> {
        self.state.scan_guard(family)
    }

    fn last_use(&self, id: &RecordId) -> Option<LastUse> {
        self.state.last_use(id)
    }

    fn applied(&self) -> LogIndex {
        self.state.applied()
    }
}
