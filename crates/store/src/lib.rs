//! The replicated state machine: records and their families, guarded transactions, exactly-once windows, the audit head.
//!
//! A [`State`] is what every replica computes from the same log. [`State::apply`] is deterministic:
//! it reads no clock, no disk and no randomness, and it iterates over nothing whose order is not
//! fixed. Blobs are opaque and live outside, in whatever the replica keeps them in; the state holds
//! each one's digest, so a sealed node applies like any other and a blob that rotted is recognised.
//!
//! What this crate does not do: it decrypts nothing, knows no names, reaches no agreement (that is
//! the replica's work) and decides nothing about keys (that is the service's).
//!
//! Start reading at [`state`]; then [`command`] (what is refused, and what stops a node), and
//! [`snapshot`] with [`restore`].

pub mod batch;
pub mod body;
mod buckets;
pub mod command;
pub mod digest;
pub mod families;
pub mod guard;
pub mod id;
pub mod limits;
pub mod memory;
pub mod outcome;
mod records;
pub mod restore;
mod segment;
pub mod snapshot;
pub mod state;
mod tokens;
pub mod uses;
pub mod view;
pub mod write;
mod writers;

pub use batch::{BatchBuilder, PushError};
pub use body::{BodyError, TxnBody, member_change};
pub use command::{Fatal, check_command};
pub use digest::{BlobDigest, GuardDigest, LengthError};
pub use families::Family;
pub use guard::Guarded;
pub use id::{Kind, LogIndex, RecordId, RecordIdError, Revision, TimeMs, TxnId};
pub use limits::MAX_GUARDS_PER_TXN;
pub use memory::MemoryStore;
pub use outcome::{Outcome, OutcomeError, Rejection};
pub use restore::{RestoreError, Restorer};
pub use segment::SegmentPosition;
pub use snapshot::SnapshotError;
pub use state::{Applied, CheckpointNote, FEATURE_LEVEL, Registered, State};
pub use uses::LastUse;
pub use view::{ReadError, View};
pub use write::{Touch, Write, WriteOp};
