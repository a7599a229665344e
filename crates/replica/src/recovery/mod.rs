//! A domain whose quorum is gone, taken out of what one disk or one snapshot still holds.
//!
//! [`read`] says what is there, without changing a byte of it; [`rebuild`] makes the folder of a group
//! of one from it. Nothing runs meanwhile, neither on the source nor on what is made.
//!
//! The new group continues the old one's log far ahead of where it ended ([`FAR`]): no entry, revision,
//! writer or Raft id of it was ever given to anything else, in what is known here of the old group's
//! log or in what only others know. Its one member has a Raft id of its own, so calls of the old group
//! reach it no more, and it calls none of them.

mod read;
mod rebuild;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use conclave_store::RecordId;

use crate::applied::ApplyError;
use crate::disk::FileError;
use crate::log::OpenError;
use crate::segments::SegmentsError;
use crate::snapshot::SnapshotError;
use crate::types::{LogId, RaftId};

pub use read::read;
pub use rebuild::rebuild;

/// How far ahead of the old log's end the new group begins, at least; it is drawn from twice that. At
/// 10,000 entries a second a log grows by so much in three and a half years.
pub const FAR: u64 = 1 << 40;

/// Where to recover from.
#[derive(Clone, Debug)]
pub enum Source {
    /// A domain's folder on a disk that survived, and the Raft id it was used under.
    Disk {
        /// The domain's folder.
        dir: PathBuf,
        /// The domain.
        domain_id: [u8; 16],
        /// Who used it.
        raft_id: RaftId,
    },
    /// A snapshot file, and the folder of the audit history's segments that it names.
    Snapshot {
        /// The file.
        file: PathBuf,
        /// The folder.
        audit: PathBuf,
    },
}

/// What a source holds.
#[derive(Clone, Debug)]
pub struct Holding {
    /// The domain.
    pub domain_id: [u8; 16],
    /// Log index of the snapshot, if there is one.
    pub snapshot_index: Option<u64>,
    /// The last log entry.
    pub last: LogId,
    /// The highest term that it voted or wrote in.
    pub term: u64,
    /// The last log entry that it knew to be committed. Those after it may be, or not.
    pub committed_index: u64,
    /// Cluster time of the last batch, milliseconds since 1970.
    pub time_ms: u64,
    /// Entries of the audit log.
    pub audit_size: u64,
    /// The audit chain's hash after the last of them.
    pub audit_head: [u8; 32],
    /// All records.
    pub records: usize,
    /// Those in clear, as of the last log entry.
    pub public: BTreeMap<RecordId, Arc<[u8]>>,
}

impl Holding {
    /// Log entries that this disk did not know to be committed.
    pub fn uncertain(&self) -> u64 {
        self.last.index.saturating_sub(self.committed_index)
    }
}

/// Why nothing was recovered.
#[derive(Debug, thiserror::Error)]
pub enum RecoveryError {
    /// There is nothing in it.
    #[error("{}: no log entry and no snapshot are there; recover from another disk", path.display())]
    Nothing {
        /// Where.
        path: PathBuf,
    },
    /// The log does not join the snapshot.
    #[error(
        "{}: the log begins after entry {wanted}, where the snapshot ends; recover from another disk",
        path.display()
    )]
    Gap {
        /// The log's folder.
        path: PathBuf,
        /// The entry that is missing.
        wanted: u64,
    },
    /// What was rebuilt is not what was read.
    #[error("the source changed while it was read; stop whatever uses it and begin again")]
    Changed,
    /// The segments are not in the folder.
    #[error(
        "{}: the audit history that the snapshot names is not there; give its folder with --audit-dir",
        path.display()
    )]
    NoAudit {
        /// The folder.
        path: PathBuf,
    },
    /// The disk refused.
    #[error(transparent)]
    File(#[from] FileError),
    /// The log.
    #[error(transparent)]
    Log(#[from] OpenError),
    /// The log could not be read or written.
    #[error("Raft log: {0}")]
    LogIo(#[from] std::io::Error),
    /// The snapshot.
    #[error(transparent)]
    Snapshot(#[from] SnapshotError),
    /// The audit history.
    #[error(transparent)]
    Segments(#[from] SegmentsError),
    /// An entry that this version must not apply.
    #[error(transparent)]
    Fatal(#[from] conclave_store::Fatal),
    /// The log could not be applied.
    #[error(transparent)]
    Apply(#[from] ApplyError),
}
