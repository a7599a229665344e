//! A small language for the store's tests: txns are built in one line, and what a command did is
//! shown as text, whole.
#![allow(
    dead_code,
    unreachable_pub,
    clippy::unwrap_used,
    reason = "each test program uses a part of it"
)]

use conclave_proto::audit::SealedEntry;
use conclave_proto::store as proto;
use conclave_proto::store::command::Op;
use conclave_store::{
    Applied, BatchBuilder, BlobDigest, Family, Fatal, GuardDigest, Guarded, Kind, MemoryStore,
    Outcome, RecordId, State, Touch, TxnBody, TxnId, View, Write,
};
use prost::Message;

pub const DOMAIN: [u8; 16] = [0xd0; 16];
pub const NOW: u64 = 1_700_000_000_000;
/// The writer that every new `MemoryStore` has.
pub const WRITER: u64 = 1;

/// The grant whose id is sixteen times `n`.
pub fn grant(n: u8) -> RecordId {
    RecordId::new(Kind::Grant, [n; 16])
}

/// The grants under a key.
pub fn grants_of(key: RecordId) -> Family {
    Family::new(key, Kind::Grant)
}

/// The record of kind key whose id is sixteen times `n`.
pub fn key(n: u8) -> RecordId {
    RecordId::new(Kind::Key, [n; 16])
}

pub fn sealed(n: u8) -> SealedEntry {
    SealedEntry { key: 1, commitment: vec![n; 32], sealed: vec![n; 40] }
}

pub fn guard_of(blob: &str) -> GuardDigest {
    BlobDigest::of(blob.as_bytes()).guard()
}

/// A txn being written down.
#[derive(Clone, Debug)]
pub struct T {
    pub id: TxnId,
    pub body: TxnBody,
}

/// The default writer's txn of this sequence, decided at `NOW`.
pub fn txn(sequence: u64) -> T {
    let audit = sealed(sequence as u8);
    T { id: TxnId { writer: WRITER, sequence }, body: TxnBody::new(NOW, audit) }
}

impl T {
    pub fn by(mut self, writer: u64) -> T {
        self.id.writer = writer;
        self
    }
    pub fn at(mut self, now_ms: u64) -> T {
        self.body.now_ms = now_ms;
        self
    }
    pub fn reads(mut self, id: RecordId, blob: &str) -> T {
        self.body.guards.insert(id, Some(guard_of(blob)));
        self
    }
    pub fn misses(mut self, id: RecordId) -> T {
        self.body.guards.insert(id, None);
        self
    }
    pub fn puts(mut self, id: RecordId, blob: &str) -> T {
        self.body.writes.push(Write::put(id, blob.into()));
        self
    }
    pub fn puts_under(mut self, parent: RecordId, id: RecordId, blob: &str) -> T {
        self.body.writes.push(Write::put(id, blob.into()).under(parent));
        self
    }
    pub fn deletes(mut self, id: RecordId) -> T {
        self.body.writes.push(Write::delete(id));
        self
    }
    /// Is guarded on the family as `store` has it.
    pub fn scans(mut self, store: &MemoryStore, family: Family) -> T {
        self.body.scans.insert(family, store.scan_guard(&family));
        self
    }
    pub fn fewer(mut self, family: Family, than: u32) -> T {
        self.body.fewer.insert(family, than);
        self
    }
    pub fn touches(mut self, record: RecordId, operation: u32) -> T {
        self.body.touches.push(Touch { record, operation });
        self
    }
    pub fn token(mut self, token: u8, answer: &str) -> T {
        self.body.token = Some([token; 32]);
        self.body.answer = answer.into();
        self
    }
}

pub fn batch_of(txns: &[T]) -> proto::Batch {
    let mut batch = BatchBuilder::new();
    txns.iter().for_each(|t| batch.push(t.id, &t.body).unwrap());
    batch.finish(0, [0; 32])
}

pub fn command(time_ms: u64, op: Op) -> proto::Command {
    proto::Command { feature_level: 1, time_ms, op: Some(op) }
}

pub fn batch(txns: &[T]) -> proto::Command {
    command(NOW, Op::Batch(batch_of(txns)))
}

pub fn register(raft_id: u64) -> proto::Command {
    let register = proto::RegisterWriter { raft_id, nonce: vec![raft_id as u8; 16] };
    command(NOW, Op::RegisterWriter(register))
}

pub fn checkpoint() -> proto::Command {
    command(NOW, Op::Checkpoint(proto::Checkpoint { raft_id: 1 }))
}

/// A store with one writer and, at log index 2, key 1 = "one".
pub fn store() -> MemoryStore {
    let mut store = MemoryStore::new(DOMAIN);
    store.apply(&batch(&[txn(100).puts(key(1), "one")])).unwrap();
    store
}

/// Everything that applying did, one line each.
pub fn show(applied: &Result<Applied, Fatal>) -> String {
    let applied = match applied {
        Ok(applied) => applied,
        Err(fatal) => return format!("fatal {fatal:?}"),
    };
    let mut lines = Vec::new();
    for outcome in &applied.outcomes {
        let (txn, outcome) = Outcome::from_proto(outcome).unwrap();
        let outcome = match outcome {
            Outcome::Committed(revision) => format!("committed {revision}"),
            Outcome::Conflict { log_index, on } => {
                let on = match on {
                    Some(Guarded::Record(record)) => short(record),
                    Some(Guarded::Scan(family)) => format!("scan {}", short_family(family)),
                    Some(Guarded::Fewer(family)) => format!("fewer {}", short_family(family)),
                    None => "time".to_owned(),
                };
                format!("conflict {log_index} {on}")
            }
            Outcome::Known { revision, answer } => {
                format!("known {revision} {}", String::from_utf8_lossy(&answer))
            }
            Outcome::Rejected(rejection) => format!("rejected {rejection:?}"),
        };
        lines.push(format!("txn {}/{} {outcome}", txn.writer, txn.sequence));
    }
    for (record, blob) in &applied.writes {
        let blob = blob.as_ref().map(|blob| String::from_utf8_lossy(blob).into_owned());
        lines.push(format!("{} = {}", short(*record), blob.unwrap_or("nothing".into())));
    }
    for (segment, step) in &applied.steps {
        lines.push(format!(
            "step {} of {}/{} at {}.{} in segment {segment}",
            step.index, step.writer, step.sequence, step.log_index, step.position
        ));
    }
    if applied.rolled {
        lines.push("rolled".into());
    }
    if let Some(registered) = applied.registered {
        lines.push(format!("writer {} of Raft id {}", registered.writer, registered.raft_id));
    }
    if let Some(note) = applied.checkpoint {
        lines.push(format!("checkpoint at {}", note.index));
    }
    lines.join("\n")
}

fn short(record: RecordId) -> String {
    format!("{:?} {}", record.kind(), record.id()[0])
}

fn short_family(family: Family) -> String {
    format!("{:?} under {}", family.kind, short(family.parent))
}

/// Applies the command and compares everything it did.
#[track_caller]
pub fn check(store: &mut MemoryStore, command: &proto::Command, expected: &[&str]) {
    let shown = show(&store.apply(command));
    assert_eq!(shown.lines().collect::<Vec<_>>(), expected, "\n{shown}");
}

/// All of a state, as the items of its snapshot.
pub fn items(store: &MemoryStore) -> Vec<proto::SnapshotItem> {
    items_of(store.state(), store)
}

pub fn items_of(state: &State, blobs: &dyn View) -> Vec<proto::SnapshotItem> {
    let blob = |id: &RecordId| match blobs.blob(id) {
        Ok(Some(blob)) => Ok(blob.to_vec()),
        _ => Err("no blob"),
    };
    state.snapshot_items(b"raft".to_vec(), blob).collect::<Result<Vec<_>, _>>().unwrap()
}

pub fn encode(items: &[proto::SnapshotItem]) -> Vec<Vec<u8>> {
    items.iter().map(Message::encode_to_vec).collect()
}
