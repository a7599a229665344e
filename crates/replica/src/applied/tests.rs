//! Apply's effects on the index, and what a frozen state still sees.

use conclave_proto::audit::SealedEntry;
use conclave_proto::store::command::Op;
use conclave_store::{BatchBuilder, Kind, ReadError, RecordId, TxnBody, TxnId, View, Write};

use super::*;
use crate::clock::SystemClock;
use crate::types::{Command, Leader, Payload};

struct Bench {
    applied: Arc<Applied>,
    next: u64,
    _dir: tempfile::TempDir,
    _notices: mpsc::UnboundedReceiver<Notice>,
}

const WRITER: u64 = 1;

impl Bench {
    fn new() -> Bench {
        let dir = tempfile::tempdir().unwrap();
        let config = ReplicaConfig::new(dir.path(), "test", [1; 16], 1, "n");
        let (notices, _notices) = mpsc::unbounded_channel();
        let clock = Arc::new(ClusterClock::new(Arc::new(SystemClock)));
        let nothing = Restored::nothing(&config);
        let applied = Applied::open(&config, nothing, notices, clock, Arc::default()).unwrap();
        let mut bench = Bench { applied: Arc::new(applied), next: 1, _dir: dir, _notices };
        let register = proto::RegisterWriter { raft_id: 1, nonce: vec![0; 16] };
        bench.apply(Op::RegisterWriter(register));
        bench
    }

    fn apply(&mut self, op: Op) -> ApplyReply {
        let command = proto::Command { feature_level: 1, time_ms: 10, op: Some(op) };
        let command = Some(Command(command.encode_to_vec().into()));
        let log_id = LogId::new(Leader { term: 1, node_id: 1 }, self.next);
        self.next += 1;
        let entry = Entry { log_id, payload: Payload { command, membership: None } };
        self.applied.apply(&[entry]).unwrap().remove(0)
    }

    fn write(&mut self, writes: &[(u64, Option<&str>)]) {
        let writes = writes.iter().map(|(id, blob)| match blob {
            Some(blob) => Write::put(record(*id), blob.as_bytes().to_vec()),
            None => Write::delete(record(*id)),
        });
        let audit = SealedEntry { key: 1, commitment: vec![0; 32], sealed: vec![1] };
        let body = TxnBody { writes: writes.collect(), ..TxnBody::new(10, audit) };
        let mut batch = BatchBuilder::new();
        batch.push(TxnId { writer: WRITER, sequence: self.next }, &body).unwrap();
        let reply = self.apply(Op::Batch(batch.finish(0, [0; 32])));
        assert!(matches!(reply.outcomes[0].result, Some(outcome::Result::Committed(_))));
    }

    fn blob(&self, id: u64) -> Result<Option<String>, ReadError> {
        let blob = self.applied.view().blob(&record(id))?;
        Ok(blob.map(|blob| String::from_utf8(blob.to_vec()).unwrap()))
    }
}

fn record(id: u64) -> RecordId {
    RecordId::numbered(Kind::Key, id)
}

#[test]
fn a_frozen_state_keeps_its_blobs_while_apply_goes_on() {
    let mut bench = Bench::new();
    bench.write(&[(1, Some("a")), (2, Some("b")), (3, Some("c"))]);
    let applied = bench.applied.clone();
    let frozen = applied.freeze();
    bench.write(&[(1, Some("a2")), (2, None), (4, Some("d"))]);
    bench.write(&[(1, Some("a3")), (2, Some("b3"))]);
    let items = frozen.state.snapshot_items(Vec::new(), |id| frozen.blob(id));
    let items = items.collect::<Result<Vec<_>, _>>().unwrap();
    let blobs: Vec<_> = items
        .into_iter()
        .filter_map(|item| match item.item {
            Some(proto::snapshot_item::Item::Record(record)) => Some(record.blob),
            _ => None,
        })
        .collect();
    assert_eq!(blobs, [b"a", b"b", b"c"]);
    drop(frozen);
    assert!(applied.read(|content| content.pre_images.is_none()));
    assert_eq!(bench.blob(1).unwrap().as_deref(), Some("a3"));
    assert_eq!(bench.blob(2).unwrap().as_deref(), Some("b3"));
    assert_eq!(bench.blob(4).unwrap().as_deref(), Some("d"));
}

#[test]
fn a_blob_that_changed_on_disk_is_not_served() {
    let mut bench = Bench::new();
    bench.write(&[(1, Some("a")), (2, Some("b"))]);
    bench.applied.read(|content| {
        let mut batch = IndexBatch::new();
        batch.set(&record(1), Some(b"x"), 2).unwrap();
        batch.set(&record(2), None, 2).unwrap();
        content.index.apply(batch).unwrap();
    });
    assert!(matches!(bench.blob(1), Err(ReadError::Damaged { .. })));
    assert!(matches!(bench.blob(2), Err(ReadError::Missing { .. })));
    assert_eq!(bench.blob(3).unwrap(), None);
}

#[test]
fn an_entry_that_is_no_command_or_out_of_order_is_fatal() {
    let bench = Bench::new();
    let entry = |index, bytes: &'static [u8]| Entry {
        log_id: LogId::new(Leader { term: 1, node_id: 1 }, index),
        payload: Payload { command: Some(Command(bytes.into())), membership: None },
    };
    assert!(matches!(bench.applied.apply(&[entry(2, b"\xff")]), Err(ApplyError::Command { .. })));
    assert!(matches!(bench.applied.apply(&[entry(2, b"")]), Err(ApplyError::Fatal(_))));
    let blank = Entry { payload: Payload::default(), ..entry(7, b"") };
    let answer = bench.applied.apply(&[blank]);
    assert!(matches!(answer, Err(ApplyError::Fatal(Fatal::OutOfOrder { .. }))));
}
