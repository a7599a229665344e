//! Why a log does not open, in words that say what to do next.

use std::io;
use std::path::PathBuf;

use crate::codec::CodecError;
use crate::types::LogId;

/// A log that cannot be trusted or reached. Nothing was changed on disk.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process holds the file.
    #[error("{path:?} is in use: another process runs on this data folder; stop it first")]
    InUse {
        /// The log's file.
        path: PathBuf,
    },
    /// The file cannot be reached.
    #[error("cannot open the Raft log {path:?}: {source}; check the disk and the permissions")]
    Io {
        /// The log's file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The database refuses its file.
    #[error("the Raft log {path:?} is not a sound database: {reason}. {REMEDY}")]
    Database {
        /// The log's file.
        path: PathBuf,
        /// What redb says.
        reason: String,
    },
    /// What the database holds is not what was written.
    #[error("the Raft log {path:?} is damaged: {damage}. {REMEDY}")]
    Damaged {
        /// The log's file.
        path: PathBuf,
        /// Where.
        damage: Damage,
    },
    /// Written by a newer version.
    #[error(
        "the Raft log {path:?} has format {found}, this version reads {known}; run a newer version"
    )]
    Format {
        /// The log's file.
        path: PathBuf,
        /// The format found.
        found: u64,
        /// The format this version writes.
        known: u64,
    },
}

const REMEDY: &str = "Nothing was cut away. Do not start this node with an emptied folder under \
     the same Raft id: move the data folder aside and let the node rejoin under a new Raft id";

/// What is wrong, and where.
#[derive(Debug, thiserror::Error)]
pub enum Damage {
    /// The checksum of an entry does not fit.
    #[error("entry {index} fails its checksum")]
    Checksum {
        /// Which entry.
        index: u64,
    },
    /// An entry's bytes are intact, but not an entry.
    #[error("entry {index} cannot be read: {source}")]
    Entry {
        /// Which entry.
        index: u64,
        /// Why not.
        source: CodecError,
    },
    /// An entry lies under another's index.
    #[error("entry {found} lies in the place of entry {index}")]
    Misplaced {
        /// The place.
        index: u64,
        /// What the entry says it is.
        found: u64,
    },
    /// A hole.
    #[error("entry {index} is missing")]
    Missing {
        /// Which entry.
        index: u64,
    },
    /// An entry outside the bounds.
    #[error("entry {index} lies outside the bounds")]
    Unexpected {
        /// Which entry.
        index: u64,
    },
    /// The entries do not end where the bounds say.
    #[error("the entries end at {found:?}, the bounds at {expected:?}")]
    End {
        /// The last entry found.
        found: Option<LogId>,
        /// The last entry by the bounds.
        expected: Option<LogId>,
    },
    /// The bounds contradict each other.
    #[error("the bounds are impossible: first {first}, purged {purged:?}")]
    Bounds {
        /// The first entry by the bounds.
        first: u64,
        /// The purged log id by the bounds.
        purged: Option<LogId>,
    },
    /// The vote, the bounds, the format or the committed log id.
    #[error("the record {name:?} is missing, fails its checksum or cannot be read")]
    Record {
        /// Which.
        name: &'static str,
    },
}
