//! What openraft is told about Conclave: its type configuration and the few types it lets us choose.
//!
//! The payload is our own, because openraft's carries either a command or a membership, and a
//! change of members must write its public records in the very log entry that changes Raft's
//! configuration. Bytes are made in `codec`; what a command means is the store's business.

use std::fmt;

use bytes::Bytes;
use conclave_proto::store::Outcome;
use openraft::entry::RaftPayload;
use openraft::impls::leader_id_adv::LeaderId;

/// A node's Raft id: made anew for every empty data folder, never reused; 0 means none.
pub type RaftId = u64;
/// The term and the leader that proposed an entry.
pub type Leader = LeaderId<u64, RaftId>;
/// Names one log entry: leader and index.
pub type LogId = openraft::LogId<Leader>;
/// A vote or a leadership, and whether a quorum granted it.
pub type Vote = openraft::Vote<Leader>;
/// Who votes and who learns.
pub type Membership = openraft::Membership<RaftId, PeerNode>;
/// A membership and the entry that made it so.
pub type StoredMembership = openraft::StoredMembership<Leader, RaftId, PeerNode>;
/// What a snapshot covers.
pub type SnapshotMeta = openraft::storage::SnapshotMeta<Leader, RaftId, PeerNode>;
/// One entry of the Raft log.
pub type Entry = openraft::Entry<Leader, Payload>;
/// openraft's answer to the completion of an append.
pub type Flushed = openraft::storage::IOFlushed<Types>;

openraft::declare_raft_types!(
    /// The types openraft is instantiated with.
    pub Types:
        D = Command,
        R = ApplyReply,
        NodeId = RaftId,
        Node = PeerNode,
        Term = u64,
        LeaderId = Leader,
        Payload = Payload,
);

/// An encoded `conclave.store.v1.Command`. Its content never shows in logs.
#[derive(Clone, PartialEq, Eq)]
pub struct Command(pub Bytes);

impl fmt::Debug for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "command of {} bytes", self.0.len())
    }
}

/// What an entry carries: a command, a membership, both, or neither (a new leader's blank).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Payload {
    /// For the store, if any.
    pub command: Option<Command>,
    /// Raft's new configuration, if any.
    pub membership: Option<Membership>,
}

impl RaftPayload for Payload {
    type D = Command;
    type NodeId = RaftId;
    type Node = PeerNode;

    fn blank() -> Self {
        Self::default()
    }

    fn with_normal(self, data: Command) -> Self {
        Self { command: Some(data), ..self }
    }

    fn with_membership(self, membership: Membership) -> Self {
        Self { membership: Some(membership), ..self }
    }

    fn get_membership(&self) -> Option<Membership> {
        self.membership.clone()
    }
}

impl fmt::Display for Payload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.command, &self.membership) {
            (None, None) => f.write_str("blank"),
            (Some(command), None) => write!(f, "{command}"),
            (None, Some(membership)) => write!(f, "membership {membership}"),
            (Some(command), Some(membership)) => {
                write!(f, "{command} with membership {membership}")
            }
        }
    }
}

/// What applying one entry answers the leader's `client_write` with.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ApplyReply {
    /// Cluster time after the entry, in milliseconds since 1970; 0 for an entry without a command.
    pub time_ms: u64,
    /// How each txn of the batch ended, in its order; empty for an entry without a batch.
    pub outcomes: Vec<Outcome>,
}

/// Where a member's peer listener is, as Raft's configuration keeps it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PeerNode {
    /// The node's stable name.
    pub name: String,
    /// host:port of its peer listener.
    pub peer: String,
}

impl fmt::Display for PeerNode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at {}", self.name, self.peer)
    }
}
