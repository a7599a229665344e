//! Raft's types to and from their protobuf form, for the disk and the wire alike.
//!
//! Every direction from bytes is total and checked: whatever comes in, the answer is a value that
//! openraft may hold or an error that names what is wrong. Nothing is framed or checksummed here;
//! the log and the snapshots do that for what they keep.

use std::collections::{BTreeMap, BTreeSet};
use std::io;

use bytes::Bytes;
use conclave_proto::raft as proto;
use prost::Message;

use crate::types::{
    Command, Entry, Leader, LogId, Membership, Payload, PeerNode, SnapshotMeta, StoredMembership,
    Vote,
};

/// The largest encoded entry that the log takes and the wire carries. A proposer keeps its batches
/// well below; what is larger is refused before anything is written.
pub const ENTRY_BYTES_MAX: usize = 4 << 20;
/// Configurations in one membership: two in a joint change, with room to spare.
pub const CONFIGS_MAX: usize = 4;
/// Members of one domain, voters and learners.
pub const NODES_MAX: usize = 64;
/// Bytes of a node's name (a DNS label list) or of its host:port.
pub const NODE_TEXT_BYTES_MAX: usize = 512;

/// Why bytes are not one of Raft's types.
#[derive(Debug, thiserror::Error)]
pub enum CodecError {
    /// Not protobuf, or of another message.
    #[error("the bytes are not a valid {what}: {source}")]
    Malformed {
        /// The message expected.
        what: &'static str,
        /// What the decoder says.
        source: prost::DecodeError,
    },
    /// A field that must be there is absent.
    #[error("{what} is missing")]
    Missing {
        /// Message and field.
        what: &'static str,
    },
    /// Two fields contradict each other.
    #[error("{what}")]
    Contradiction {
        /// Which do, and how.
        what: &'static str,
    },
    /// More than the bound.
    #[error("{what}: {count} is more than {max}")]
    TooMany {
        /// Of what.
        what: &'static str,
        /// How many there are.
        count: usize,
        /// How many there may be.
        max: usize,
    },
    /// A configuration that openraft would not accept.
    #[error("the membership is invalid: {0}")]
    Membership(String),
}

impl From<CodecError> for io::Error {
    fn from(error: CodecError) -> Self {
        io::Error::new(io::ErrorKind::InvalidData, error)
    }
}

/// The wire form of a log id.
pub fn log_id_to_proto(id: &LogId) -> proto::LogId {
    proto::LogId { term: id.leader_id.term, leader: id.leader_id.node_id, index: id.index }
}

/// A log id from its wire form; any three numbers are one.
pub fn log_id_from_proto(id: &proto::LogId) -> LogId {
    LogId::new(Leader { term: id.term, node_id: id.leader }, id.index)
}

/// The wire form of a vote.
pub fn vote_to_proto(vote: &Vote) -> proto::Vote {
    proto::Vote {
        term: vote.leader_id.term,
        leader: vote.leader_id.node_id,
        committed: vote.committed,
    }
}

/// A vote from its wire form; any term and leader make one.
pub fn vote_from_proto(vote: &proto::Vote) -> Vote {
    Vote { leader_id: Leader { term: vote.term, node_id: vote.leader }, committed: vote.committed }
}

/// A vote that a message must carry; `what` names the message and field in the error.
pub fn require_vote(vote: Option<&proto::Vote>, what: &'static str) -> Result<Vote, CodecError> {
    vote.map(vote_from_proto).ok_or(CodecError::Missing { what })
}

/// The wire form of a membership.
pub fn membership_to_proto(membership: &Membership) -> proto::Membership {
    let voters =
        |config: &BTreeSet<u64>| proto::Voters { raft_ids: config.iter().copied().collect() };
    let node = |(raft_id, node): (&u64, &PeerNode)| proto::NodeEntry {
        raft_id: *raft_id,
        node: Some(proto::Node { name: node.name.clone(), peer: node.peer.clone() }),
    };
    proto::Membership {
        configs: membership.get_joint_config().iter().map(voters).collect(),
        nodes: membership.nodes().map(node).collect(),
    }
}

/// A membership from its wire form: bounded, no id twice, each voter with its node.
pub fn membership_from_proto(membership: &proto::Membership) -> Result<Membership, CodecError> {
    bound("configurations in a membership", membership.configs.len(), CONFIGS_MAX)?;
    bound("nodes in a membership", membership.nodes.len(), NODES_MAX)?;
    let configs =
        membership.configs.iter().map(config_from_proto).collect::<Result<Vec<_>, _>>()?;
    let mut nodes = BTreeMap::new();
    for entry in &membership.nodes {
        let node = entry.node.as_ref().ok_or(CodecError::Missing { what: "NodeEntry.node" })?;
        bound("bytes of a node's name", node.name.len(), NODE_TEXT_BYTES_MAX)?;
        bound("bytes of a node's peer address", node.peer.len(), NODE_TEXT_BYTES_MAX)?;
        let node = PeerNode { name: node.name.clone(), peer: node.peer.clone() };
        if nodes.insert(entry.raft_id, node).is_some() {
            return Err(CodecError::Contradiction { what: "a membership names one Raft id twice" });
        }
    }
    Membership::new(configs, nodes).map_err(|error| CodecError::Membership(error.to_string()))
}

fn config_from_proto(voters: &proto::Voters) -> Result<BTreeSet<u64>, CodecError> {
    bound("voters in a configuration", voters.raft_ids.len(), NODES_MAX)?;
    let config: BTreeSet<u64> = voters.raft_ids.iter().copied().collect();
    if config.len() != voters.raft_ids.len() {
        return Err(CodecError::Contradiction { what: "a configuration names one voter twice" });
    }
    Ok(config)
}

/// The wire form of a stored membership.
pub fn stored_membership_to_proto(stored: &StoredMembership) -> proto::StoredMembership {
    proto::StoredMembership {
        log_id: stored.log_id().as_ref().map(log_id_to_proto),
        membership: Some(membership_to_proto(stored.membership())),
    }
}

/// A stored membership from its wire form.
pub fn stored_membership_from_proto(
    stored: &proto::StoredMembership,
) -> Result<StoredMembership, CodecError> {
    let membership = stored
        .membership
        .as_ref()
        .ok_or(CodecError::Missing { what: "StoredMembership.membership" })?;
    let log_id = stored.log_id.as_ref().map(log_id_from_proto);
    Ok(StoredMembership::new(log_id, membership_from_proto(membership)?))
}

/// The wire form of a snapshot's metadata. openraft no longer names transfers, so the id is empty.
pub fn snapshot_meta_to_proto(meta: &SnapshotMeta) -> proto::SnapshotMeta {
    proto::SnapshotMeta {
        last_log_id: meta.last_log_id.as_ref().map(log_id_to_proto),
        membership: Some(stored_membership_to_proto(&meta.last_membership)),
        snapshot_id: String::new(),
    }
}

/// A snapshot's metadata from its wire form.
pub fn snapshot_meta_from_proto(meta: &proto::SnapshotMeta) -> Result<SnapshotMeta, CodecError> {
    let membership =
        meta.membership.as_ref().ok_or(CodecError::Missing { what: "SnapshotMeta.membership" })?;
    Ok(SnapshotMeta {
        last_log_id: meta.last_log_id.as_ref().map(log_id_from_proto),
        last_membership: stored_membership_from_proto(membership)?,
    })
}

/// A snapshot's metadata as bytes, for the snapshot's header.
pub fn encode_snapshot_meta(meta: &SnapshotMeta) -> Vec<u8> {
    snapshot_meta_to_proto(meta).encode_to_vec()
}

/// A snapshot's metadata from bytes.
pub fn decode_snapshot_meta(bytes: &[u8]) -> Result<SnapshotMeta, CodecError> {
    let meta = proto::SnapshotMeta::decode(bytes)
        .map_err(|source| CodecError::Malformed { what: "SnapshotMeta", source })?;
    snapshot_meta_from_proto(&meta)
}

/// An entry as the log and the wire carry it.
pub fn encode_entry(entry: &Entry) -> Vec<u8> {
    entry_to_proto(entry).encode_to_vec()
}

/// Appends what [`encode_entry`] answers.
pub(crate) fn append_entry(entry: &Entry, out: &mut Vec<u8>) {
    entry_to_proto(entry).encode_raw(out);
}

/// Bytes that [`encode_entry`] answers.
pub(crate) fn entry_len(entry: &Entry) -> usize {
    entry_to_proto(entry).encoded_len()
}

/// Shares the command's bytes, uncopied.
fn entry_to_proto(entry: &Entry) -> proto::Entry {
    let command = entry.payload.command.as_ref();
    proto::Entry {
        log_id: Some(log_id_to_proto(&entry.log_id)),
        command: command.map(|command| command.0.clone()).unwrap_or_default(),
        membership: entry.payload.membership.as_ref().map(membership_to_proto),
        has_command: command.is_some(),
    }
}

/// An entry from bytes, bounded by [`ENTRY_BYTES_MAX`]. Its command shares them, uncopied.
pub fn decode_entry(bytes: Bytes) -> Result<Entry, CodecError> {
    bound("bytes of a log entry", bytes.len(), ENTRY_BYTES_MAX)?;
    let entry = proto::Entry::decode(bytes)
        .map_err(|source| CodecError::Malformed { what: "Entry", source })?;
    if !entry.has_command && !entry.command.is_empty() {
        return Err(CodecError::Contradiction {
            what: "an entry has a command and says it has none",
        });
    }
    let log_id = entry.log_id.as_ref().ok_or(CodecError::Missing { what: "Entry.log_id" })?;
    Ok(Entry {
        log_id: log_id_from_proto(log_id),
        payload: Payload {
            command: entry.has_command.then(|| Command(entry.command)),
            membership: entry.membership.as_ref().map(membership_from_proto).transpose()?,
        },
    })
}

fn bound(what: &'static str, count: usize, max: usize) -> Result<(), CodecError> {
    if count > max { Err(CodecError::TooMany { what, count, max }) } else { Ok(()) }
}
