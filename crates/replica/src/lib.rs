//! One domain's replica on one node: openraft over a durable log, the applied state, snapshots, the
//! audit history's files, the transport between members, and the proposer.
//!
//! Bottom up: `types` and `codec` are Raft's own types and their bytes; [`log`] keeps log and vote;
//! `segments` keeps the audit history; `snapshot` keeps snapshots; `applied` is the store's state
//! with its blobs, and `machine` drives it from openraft. `peers`, `network`, `service` and
//! `receive` talk to the other members; `held` and `witness` are what they see of each other's
//! disks. [`clock`] is cluster time, `hearing` how long a leader may be silent. `core` joins these;
//! on it stand `lead` and `members` (what a leader does when asked), `duties` (what it does unasked),
//! `returning` (from a start to serving), `campaign` (when a node stands for election) and
//! `proposer`. [`Replica`] is what the server holds. [`recovery`] is for when a quorum is gone, and runs
//! while nothing else does.
//!
//! **Architecture invariant:** nothing here reads a record's content. The store judges commands,
//! and the audit crate judges steps.

mod append_stream;
mod applied;
mod campaign;
pub mod clock;
pub mod codec;
mod config;
mod core;
mod counters;
mod decided;
mod disk;
mod duties;
#[doc(hidden)]
pub mod fuzzing;
mod hearing;
mod held;
mod lead;
pub mod log;
mod machine;
mod malformed;
mod members;
mod network;
mod peers;
mod proposer;
mod receive;
pub mod recovery;
mod replica;
mod returning;
mod segments;
mod service;
mod snapshot;
mod standing;
mod status;
pub mod types;
mod witness;

pub use append_stream::StillAdmitted;
pub use applied::{AppliedView, ApplyError, IndexError};
pub use clock::{SystemClock, WallClock};
pub use config::{
    ConfigError, ELECTION_MAX_MS, ELECTION_MIN_MS, HEARTBEAT_MS, ReplicaConfig, SNAPSHOT_EVERY,
};
pub use counters::{Counter, Counters};
pub use decided::{Decided, ProposeError};
pub use disk::FileError;
pub use held::{Durable, Held};
pub use peers::{Addressed, Identity, MESSAGE_BYTES_MAX, PeerDialer};
pub use proposer::QUEUE_MAX;
pub use replica::{MembersError, Replica, StartError, Unavailable};
pub use segments::{STEPS_PER_READ_MAX, SegmentsError};
pub use service::ReplicationService;
pub use snapshot::{SnapshotError, SnapshotFileError};
pub use standing::Standing;
pub use status::ReplicaStatus;
pub use types::{PeerNode, RaftId};
