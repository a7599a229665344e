//! Raft's types as bytes: what goes in comes out, what is wrong is refused, and the form is fixed.
#![allow(clippy::unwrap_used, reason = "a test")]

mod log_support;

use bytes::Bytes;
use conclave_proto::raft as proto;
use conclave_replica::codec::{
    CodecError, ENTRY_BYTES_MAX, NODES_MAX, decode_entry, decode_snapshot_meta, encode_entry,
    encode_snapshot_meta, log_id_from_proto, log_id_to_proto, membership_from_proto,
    membership_to_proto, stored_membership_from_proto, stored_membership_to_proto, vote_from_proto,
    vote_to_proto,
};
use conclave_replica::types::{
    Command, Entry, Leader, LogId, Membership, Payload, SnapshotMeta, StoredMembership,
};
use log_support::{entry, id, member_entry, vote};
use prost::Message;

#[test]
fn everything_round_trips() {
    let empty_command = Payload { command: Some(Command(Bytes::new())), membership: None };
    let entries = [
        entry(7),
        member_entry(8),
        Entry {
            log_id: LogId::new(Leader { term: 0, node_id: 0 }, 0),
            payload: Payload::default(),
        },
        Entry { log_id: id(u64::MAX), payload: empty_command },
    ];
    for entry in entries {
        assert_eq!(decode_entry(encode_entry(&entry).into()).unwrap(), entry);
    }
    for vote in [vote(3), vote(4)] {
        assert_eq!(vote_from_proto(&vote_to_proto(&vote)), vote);
    }
    assert_eq!(log_id_from_proto(&log_id_to_proto(&id(9))), id(9));
    let membership = member_entry(1).payload.membership.unwrap();
    for (log_id, membership) in [(None, Membership::default()), (Some(id(5)), membership)] {
        let stored = StoredMembership::new(log_id, membership);
        let wire = stored_membership_to_proto(&stored);
        assert_eq!(stored_membership_from_proto(&wire).unwrap(), stored);
        let meta = SnapshotMeta { last_log_id: log_id, last_membership: stored };
        assert_eq!(decode_snapshot_meta(&encode_snapshot_meta(&meta)).unwrap(), meta);
    }
}

// Entries lie on disk and cross between versions: these bytes may never change their meaning.
#[test]
fn golden_entry() {
    let mut golden = member_entry(3);
    golden.payload.command = Some(Command(Bytes::from_static(b"txn")));
    let bytes = encode_entry(&golden);
    assert_eq!(hex::encode(&bytes), GOLDEN);
}

const GOLDEN: &str = concat!(
    "0a06080110011803120374786e1a640a040a0201020a050a03010203121b080112170a066e6f6465",
    "2d31120d31302e302e302e313a37313031121b080212170a066e6f64652d32120d31302e302e302e",
    "323a37313031121b080312170a066e6f64652d33120d31302e302e302e333a373130312001",
);

#[test]
fn what_is_wrong_is_refused() {
    let wire = |membership: &Membership| membership_to_proto(membership);
    let good = wire(&member_entry(1).payload.membership.unwrap());
    let bad = |change: &dyn Fn(&mut proto::Membership)| {
        let mut membership = good.clone();
        change(&mut membership);
        membership_from_proto(&membership).unwrap_err()
    };
    assert!(matches!(bad(&|m| drop(m.nodes.pop())), CodecError::Membership(_)));
    assert!(matches!(bad(&|m| m.configs[0].raft_ids.clear()), CodecError::Membership(_)));
    let twice = |m: &mut proto::Membership| m.nodes[1].raft_id = 1;
    assert!(matches!(bad(&twice), CodecError::Contradiction { .. }));
    let twice = |m: &mut proto::Membership| m.configs[0].raft_ids.push(1);
    assert!(matches!(bad(&twice), CodecError::Contradiction { .. }));
    assert!(matches!(bad(&|m| m.nodes[0].node = None), CodecError::Missing { .. }));
    let many = |m: &mut proto::Membership| m.nodes = vec![m.nodes[0].clone(); NODES_MAX + 1];
    assert!(matches!(bad(&many), CodecError::TooMany { .. }));

    let mut silent = proto::Entry::decode(&encode_entry(&entry(1))[..]).unwrap();
    silent.has_command = false;
    let error = decode_entry(silent.encode_to_vec().into()).unwrap_err();
    assert!(matches!(error, CodecError::Contradiction { .. }));
    silent.log_id = None;
    silent.command.clear();
    let error = decode_entry(silent.encode_to_vec().into()).unwrap_err();
    assert!(matches!(error, CodecError::Missing { .. }));
    let large = decode_entry(vec![0; ENTRY_BYTES_MAX + 1].into()).unwrap_err();
    assert!(matches!(large, CodecError::TooMany { .. }));
    let cut = encode_entry(&entry(1));
    assert!(decode_entry(cut[..cut.len() - 1].to_vec().into()).is_err());
}

// A command's bytes never show, whatever prints the entry.
#[test]
fn debug_shows_only_lengths() {
    let mut entry = entry(1);
    entry.payload.command = Some(Command(Bytes::from_static(b"sealed")));
    for text in [format!("{entry:?}"), format!("{entry}")] {
        assert!(text.contains("command of 6 bytes") && !text.contains("sealed"), "{text}");
    }
}
