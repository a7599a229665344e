//! Why a log does not open, in words that say what to do next.

use std::io;
use std::path::PathBuf;

use crate::codec::CodecError;
use crate::types::LogId;

/// A log that cannot be trusted or reached. Nothing was changed on disk.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process holds the folder.
    #[error("{path:?} is in use: another process runs on this data folder; stop it first")]
    InUse {
        /// The log's folder.
        path: PathBuf,
    },
    /// It cannot be reached.
    #[error("cannot open the Raft log {path:?}: {source}; check the disk and the permissions")]
    Io {
        /// The log's folder.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// A log of an earlier build, which this one does not read.
    #[error(
        "{path:?} is a Raft log of an unreleased build and cannot be read; move the data folder \
         aside and let the node join under a new Raft id"
    )]
    Earlier {
        /// The earlier log's file.
        path: PathBuf,
    },
    /// What lies there is not what was written.
    #[error("the Raft log {path:?} is damaged: {damage}. {REMEDY}")]
    Damaged {
        /// The log's folder.
        path: PathBuf,
        /// Where.
        damage: Damage,
    },
    /// Written by a newer version.
    #[error(
        "the Raft log {path:?} has format {found}, this version reads {known}; run a newer version"
    )]
    Format {
        /// The log's folder.
        path: PathBuf,
        /// The format found.
        found: u32,
        /// The format this version writes.
        known: u32,
    },
}

const REMEDY: &str = "Nothing was cut away. Do not start this node with an emptied folder under \
     the same Raft id: move the data folder aside and let the node rejoin under a new Raft id";

/// What is wrong, and where.
#[derive(Debug, thiserror::Error)]
pub enum Damage {
    /// The folder is there, and no segment in it.
    #[error("its folder holds no segment")]
    NoSegment,
    /// A segment between others is absent.
    #[error("segment {segment:08x} is missing")]
    NoFile {
        /// Which.
        segment: u32,
    },
    /// A file is shorter or longer than its header says.
    #[error("segment {segment:08x} has {found} bytes, its header says {expected}")]
    Size {
        /// Which.
        segment: u32,
        /// Bytes found.
        found: u64,
        /// Bytes it should have.
        expected: u64,
    },
    /// A segment does not begin as one.
    #[error("the header of segment {segment:08x} is damaged")]
    Header {
        /// Which.
        segment: u32,
    },
    /// A sound segment in the place of another, or of another log.
    #[error("segment {segment:08x} belongs elsewhere: {found}")]
    Foreign {
        /// The place.
        segment: u32,
        /// What its header says it is.
        found: String,
    },
    /// A sector that was written, and is not what was written.
    #[error("sector {sector} of segment {segment:08x} fails its checksum")]
    Sector {
        /// Which segment.
        segment: u32,
        /// Which sector of it.
        sector: u32,
    },
    /// A sound sector where it cannot be.
    #[error("sector {sector} of segment {segment:08x} is not what belongs after batch {after}")]
    Misfit {
        /// Which segment.
        segment: u32,
        /// Which sector of it.
        sector: u32,
        /// The last sound batch before it.
        after: u64,
    },
    /// A segment does not begin where the one before it ended.
    #[error("segment {segment:08x} does not continue the one before it")]
    Break {
        /// Which.
        segment: u32,
    },
    /// A record in sound sectors that is none.
    #[error("batch {batch} in segment {segment:08x} holds a record that is not sound")]
    Record {
        /// Which segment.
        segment: u32,
        /// Which batch.
        batch: u64,
    },
    /// A record that is sound, and not an entry although it says so.
    #[error("an entry in batch {batch} of segment {segment:08x} cannot be read: {source}")]
    EntryRecord {
        /// Which segment.
        segment: u32,
        /// Which batch.
        batch: u64,
        /// Why not.
        source: CodecError,
    },
    /// A record of a kind that this version does not know.
    #[error("batch {batch} holds a record of unknown kind {kind}, maybe of a newer version")]
    Kind {
        /// Which batch.
        batch: u64,
        /// The kind.
        kind: u8,
    },
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
    /// An entry that does not continue the log.
    #[error("entry {found} follows {last:?}")]
    Order {
        /// The entry found.
        found: LogId,
        /// The entry before it.
        last: Option<LogId>,
    },
    /// A hole.
    #[error("entry {index} is missing")]
    Missing {
        /// Which entry.
        index: u64,
    },
}
