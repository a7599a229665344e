//! What Raft replicates and keeps: commands, entries, the log's own records.

use std::collections::BTreeMap;

use bytes::Bytes;
use conclave_proto::{raft, store};
use conclave_replica::codec;
use conclave_store::{
    BatchBuilder, Family, Kind, MemoryStore, Outcome, RecordId, Touch, TxnBody, TxnId, Write,
    check_command, member_change,
};
use prost::Message;

use super::{choose, chosen, message};
use crate::Target;
use crate::stage::{DOMAIN, NOW_MS, STAGE, audit_entry, entropy};

pub(super) const STORE_COMMAND: Target =
    Target { name: "store_command", run: store_command, valid: store_commands, brief: 18_000 };

pub(super) const RAFT_ENTRY: Target =
    Target { name: "raft_entry", run: raft_entry, valid: entries, brief: 36_000 };

pub(super) const LOG_RECORD: Target =
    Target { name: "log_record", run: log_record, valid: log_records, brief: 36_000 };

/// Two commands in a row: what may enter the log is applied, and the state stays valid.
fn store_command(input: &[u8]) -> bool {
    let Some(command) = message::<store::Command>(input) else { return false };
    let mut store = MemoryStore::new(DOMAIN.0);
    let allowed = check_command(&command);
    for _ in 0..2 {
        let applied = store.apply(&command);
        assert_eq!(allowed.is_ok(), applied.is_ok(), "{allowed:?} but {:?}", applied.is_ok());
        store.state().validate();
        for outcome in applied.iter().flat_map(|applied| &applied.outcomes) {
            Outcome::from_proto(outcome).expect("an outcome is well formed");
        }
    }
    allowed.is_ok()
}

pub(super) fn batch() -> store::Command {
    let (key, grant) = (RecordId::new(Kind::Key, [3; 16]), RecordId::new(Kind::Grant, [4; 16]));
    let grants = Family::new(key, Kind::Grant);
    let sealed = STAGE.founding.keyring.seal_entry(&audit_entry(), &mut entropy());
    let mut batch = BatchBuilder::new();
    // A grant that comes, is changed where it is, and stays unless the family is full.
    for sequence in 1..=3 {
        let body = TxnBody {
            guards: BTreeMap::from([(RecordId::singleton(Kind::Members), None)]),
            scans: BTreeMap::from([(Family::new(key, Kind::Due), None)]),
            fewer: BTreeMap::from([(grants, 2)]),
            writes: vec![match sequence {
                1 => Write::put(grant, vec![1; 80]).under(key),
                2 => Write::put(grant, vec![2; 80]),
                _ => Write::delete(grant),
            }],
            touches: vec![Touch { record: grant, operation: 7 }],
            token: Some([sequence as u8; 32]),
            answer: vec![2; 60],
            ..TxnBody::new(NOW_MS, sealed.clone())
        };
        let _ = batch.push(TxnId { writer: 1, sequence }, &body);
    }
    command(store::command::Op::Batch(batch.finish(1, [0; 32])))
}

fn command(op: store::command::Op) -> store::Command {
    store::Command { feature_level: 1, time_ms: NOW_MS, op: Some(op) }
}

fn store_commands() -> Vec<Vec<u8>> {
    use store::command::Op;
    let sealed = STAGE.founding.keyring.seal_entry(&audit_entry(), &mut entropy());
    let records = STAGE.founding.writes.iter().filter(|it| it.record.kind() == Kind::Members);
    let change = member_change(&records.cloned().collect::<Vec<_>>(), sealed);
    let register = store::RegisterWriter { raft_id: 2, nonce: vec![5; 16] };
    let mut commands = vec![
        batch(),
        command(Op::RegisterWriter(register)),
        command(Op::Checkpoint(store::Checkpoint { raft_id: 1 })),
    ];
    commands.extend(change.ok().map(|change| command(Op::MemberChange(change))));
    commands.iter().map(Message::encode_to_vec).collect()
}

fn raft_entry(input: &[u8]) -> bool {
    let Ok(entry) = codec::decode_entry(Bytes::copy_from_slice(input)) else { return false };
    let written = codec::encode_entry(&entry);
    let again = codec::decode_entry(written.clone().into()).expect("what was encoded decodes");
    assert!(again == entry, "an entry changed when it was written");
    assert!(codec::encode_entry(&again) == written, "two encodings of one entry");
    true
}

fn membership() -> raft::Membership {
    let node = |raft_id| raft::NodeEntry {
        raft_id,
        node: Some(raft::Node {
            name: format!("n{raft_id}"),
            peer: format!("n{raft_id}.example.test:7401"),
        }),
    };
    raft::Membership {
        configs: vec![
            raft::Voters { raft_ids: vec![1, 2, 3] },
            raft::Voters { raft_ids: vec![2, 3] },
        ],
        nodes: vec![node(1), node(2), node(3), node(9)],
    }
}

pub(super) fn entries() -> Vec<Vec<u8>> {
    let log_id = Some(raft::LogId { term: 3, leader: 1, index: 9 });
    let blank = raft::Entry { log_id, ..Default::default() };
    let normal =
        raft::Entry { command: batch().encode_to_vec().into(), has_command: true, ..blank.clone() };
    let members = raft::Entry { membership: Some(membership()), ..normal.clone() };
    [blank, normal, members].iter().map(Message::encode_to_vec).collect()
}

pub(super) fn valid_snapshot_meta() -> raft::SnapshotMeta {
    let log_id = Some(raft::LogId { term: 3, leader: 1, index: 9 });
    let membership = Some(raft::StoredMembership { log_id, membership: Some(membership()) });
    raft::SnapshotMeta { last_log_id: log_id, membership, snapshot_id: String::new() }
}

/// A snapshot's metadata: what is taken is written and taken again as the same.
pub(super) fn snapshot_meta(meta: &raft::SnapshotMeta) -> bool {
    let Ok(meta) = codec::snapshot_meta_from_proto(meta) else { return false };
    let again = codec::decode_snapshot_meta(&codec::encode_snapshot_meta(&meta));
    assert!(again.is_ok_and(|again| again == meta), "metadata changed when it was written");
    true
}

/// A record of the log: of a kind from 0 to 7 with the checksum that belongs there, so that what
/// lies behind it is reached; else bytes as a batch holds them.
fn log_record(input: &[u8]) -> bool {
    use conclave_replica::fuzzing::{log_payload, log_record};
    let (which, bytes) = choose(input);
    match which % 16 {
        kind @ ..8 => log_record(kind, bytes),
        _ => log_payload(Bytes::copy_from_slice(bytes)),
    }
}

fn log_records() -> Vec<Vec<u8>> {
    let mut records: Vec<_> = entries().iter().map(|entry| chosen(1, entry)).collect();
    let log_id = raft::LogId { term: 3, leader: 1, index: 9 }.encode_to_vec();
    let length = log_id.len() as u8;
    let message = |tag| [&[tag, length], log_id.as_slice()].concat();
    for kind in [2, 3, 5] {
        records.push(chosen(kind, &message(0x0a)));
    }
    records.push(chosen(4, &raft::Vote { term: 3, leader: 1, committed: true }.encode_to_vec()));
    // An opening: purged, first, last, committed.
    let opening = [message(0x0a), vec![0x10, 10], message(0x1a), message(0x2a)].concat();
    records.push(chosen(6, &opening));
    records
}
