//! Bytes that every later version must still write and read: a command, a state digest, a snapshot.
//!
//! If one of these fails, replicas of two versions would part. Change the feature level, not the file.

#![allow(clippy::unwrap_used, reason = "a test program: what is missing fails it")]

mod common;

use common::*;
use conclave_proto::store as proto;
use conclave_proto::store::command::Op;
use conclave_store::{Kind, MemoryStore, RecordId, Restorer, Write, member_change};
use prost::Message;

/// Compares with the file's lines of hex; writes nothing.
#[track_caller]
fn check_golden(found: &[Vec<u8>], golden: &str) {
    let found: Vec<_> = found.iter().map(hex::encode).collect();
    assert_eq!(found, golden.lines().collect::<Vec<_>>(), "\n{}\n", found.join("\n"));
}

fn commands() -> Vec<proto::Command> {
    let change = member_change(
        &[Write::put(RecordId::singleton(Kind::Members), b"members".to_vec())],
        sealed(7),
    );
    vec![
        batch(&[
            txn(1).misses(key(2)).puts(key(2), "two").puts(key(3), "three").token(9, "answer"),
            txn(2).reads(key(2), "two").deletes(key(3)).at(NOW + 1),
        ]),
        register(2),
        command(NOW + 2, Op::MemberChange(change.unwrap())),
        batch(&[txn(1).by(3), txn(3).misses(key(2)), txn(4).token(9, "other")]),
        checkpoint(),
    ]
}

/// What families, quotas and last uses added: the same forms otherwise.
fn family_commands() -> Vec<proto::Command> {
    let grants = grants_of(key(2));
    let mut listed = txn(3).fewer(grants, 1).touches(key(2), 3);
    listed.body.scans.insert(grants, Some(guard_of("chain")));
    let change = member_change(&[Write::put(key(4), b"four".to_vec()).under(key(2))], sealed(7));
    vec![
        batch(&[
            txn(1).puts(key(2), "two").puts_under(key(2), grant(1), "g1").touches(key(2), 1),
            txn(2).puts_under(key(2), grant(3), "g3").deletes(grant(1)).touches(key(2), 2),
            listed,
            txn(4).fewer(grants, 1),
        ]),
        command(NOW + 2, Op::MemberChange(change.unwrap())),
        checkpoint(),
    ]
}

#[test]
fn families_keep_their_bytes() {
    let commands = family_commands();
    let encoded: Vec<_> = commands.iter().map(Message::encode_to_vec).collect();
    check_golden(&encoded, include_str!("golden/family_commands.hex"));
    let mut store = MemoryStore::new(DOMAIN);
    commands.iter().for_each(|command| drop(store.apply(command).unwrap()));
    check_golden(&encode(&items(&store)), include_str!("golden/family_snapshot.hex"));
}

#[test]
fn commands_keep_their_bytes() {
    let encoded: Vec<_> = commands().iter().map(Message::encode_to_vec).collect();
    check_golden(&encoded, include_str!("golden/commands.hex"));
}

#[test]
fn the_state_digest_keeps_its_definition() {
    let mut store = MemoryStore::new(DOMAIN);
    let empty = store.state_mut().state_digest().to_vec();
    commands().iter().for_each(|command| drop(store.apply(command).unwrap()));
    let digest = store.state_mut().state_digest().to_vec();
    let head = store.state().head().hash.to_vec();
    check_golden(&[empty, digest, head], include_str!("golden/digests.hex"));
}

#[test]
fn snapshots_keep_their_bytes() {
    let mut store = MemoryStore::new(DOMAIN);
    commands().iter().for_each(|command| drop(store.apply(command).unwrap()));
    let golden = include_str!("golden/snapshot.hex");
    check_golden(&encode(&items(&store)), golden);
    let mut restorer = Restorer::new(DOMAIN);
    for line in golden.lines() {
        let bytes = hex::decode(line).unwrap();
        restorer.push(proto::SnapshotItem::decode(bytes.as_slice()).unwrap()).unwrap();
    }
    assert!(restorer.finish().is_ok());
}
