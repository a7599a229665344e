//! Snapshots on this node's disk: built, received, installed, and what a start begins from.
//!
//! The order that keeps what was promised: audit segments fsynced, then the snapshot file, its
//! rename, its folder; only then may openraft purge the log. A snapshot names how far the segments
//! must reach, so the steps that a received one needs are fetched and fsynced before it counts.

mod build;
mod file;
mod install;
mod steps;

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use conclave_store::Restorer;

use crate::applied::{Record, Restored};
use crate::codec::{self, CodecError};
use crate::config::ReplicaConfig;
use crate::disk::{FileError, OnFile, create_dir, is_full, sync_dir};
use crate::types::{Leader, PeerNode, RaftId, SnapshotMeta};

pub(crate) use self::build::Builder;
pub use self::file::SnapshotFileError;
pub(crate) use self::file::SnapshotReader;
pub(crate) use self::install::Arrived;
pub(crate) use self::steps::{StagedSteps, StepStager};

/// A snapshot as openraft handles it.
pub(crate) type Snapshot = openraft::storage::Snapshot<Leader, RaftId, PeerNode, SnapshotData>;

/// Largest snapshot that a node receives, in bytes.
pub(crate) const SNAPSHOT_BYTES_MAX: u64 = 16 << 30;

const BUILDING: &str = "building.tmp";
const RECEIVING: &str = "receiving.tmp";
const STAGED_STEPS: &str = "steps.tmp";

/// An open snapshot file.
pub(crate) struct SnapshotData {
    file: File,
    bytes: u64,
    sha256: [u8; 32],
    /// Of one that was received and is to be installed: where it lies, and the steps it needs.
    received: Option<Received>,
}

struct Received {
    path: PathBuf,
    steps: StagedSteps,
}

impl SnapshotData {
    /// Length of the file.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The digest that the file ends in.
    pub(crate) fn sha256(&self) -> [u8; 32] {
        self.sha256
    }

    pub(crate) fn file_mut(&mut self) -> &mut File {
        &mut self.file
    }
}

/// The snapshots of one domain on one node. There is at most one that counts.
pub(crate) struct SnapshotStore {
    dir: PathBuf,
    domain_id: [u8; 16],
    segment_bytes: u64,
    current: Mutex<Option<Current>>,
    /// Held while a snapshot is built, and while one is installed.
    working: Mutex<()>,
}

/// A snapshot file that was checked.
#[derive(Clone)]
pub(crate) struct Current {
    meta: SnapshotMeta,
    path: PathBuf,
    bytes: u64,
    sha256: [u8; 32],
}

impl Current {
    fn index(&self) -> u64 {
        self.meta.last_log_id.map_or(0, |id| id.index)
    }

    fn open(&self) -> Result<Snapshot, SnapshotError> {
        let file = File::open(&self.path).on(&self.path)?;
        let Current { meta, bytes, sha256, .. } = self.clone();
        Ok(Snapshot { meta, snapshot: SnapshotData { file, bytes, sha256, received: None } })
    }
}

impl SnapshotStore {
    /// Finds the newest snapshot and reads it whole. Unfinished files are removed.
    pub(crate) fn open(
        config: &ReplicaConfig,
    ) -> Result<(SnapshotStore, Option<Restored>), SnapshotError> {
        let dir = config.snapshot_dir();
        create_dir(&dir).on(&dir)?;
        let store = SnapshotStore {
            dir,
            domain_id: config.domain_id,
            segment_bytes: config.segment_bytes,
            current: Mutex::default(),
            working: Mutex::default(),
        };
        let mut newest: Option<(u64, PathBuf)> = None;
        for entry in fs::read_dir(&store.dir).on(&store.dir)? {
            let path = entry.on(&store.dir)?.path();
            match index_of(&path) {
                Some(index) => newest = newest.max(Some((index, path))),
                None => fs::remove_file(&path).on(&path)?,
            }
        }
        let Some((_, path)) = newest else { return Ok((store, None)) };
        let (restored, current) = store.check(&path)?;
        *store.current() = Some(current);
        store.remove_older()?;
        Ok((store, Some(restored)))
    }

    /// To check and read files that lie elsewhere. It has no folder.
    pub(crate) fn over(config: &ReplicaConfig) -> Self {
        Self {
            dir: PathBuf::new(),
            domain_id: config.domain_id,
            segment_bytes: config.segment_bytes,
            current: Mutex::default(),
            working: Mutex::default(),
        }
    }

    /// The snapshot that counts, opened.
    pub(crate) fn get(&self) -> Result<Option<Snapshot>, SnapshotError> {
        self.current().as_ref().map(Current::open).transpose()
    }

    /// The last log entry that it contains.
    pub(crate) fn index(&self) -> Option<u64> {
        self.current().as_ref().map(Current::index)
    }

    /// The records of the snapshot that counts; none if there is none.
    pub(crate) fn records(&self) -> Result<Records, SnapshotError> {
        let path = self.current().as_ref().map(|current| current.path.clone());
        path.map(|path| self.records_of(&path)).unwrap_or_else(|| Ok(Records::none(self)))
    }

    /// The whole file is as it was written and makes a state.
    pub(crate) fn check(&self, path: &Path) -> Result<(Restored, Current), SnapshotError> {
        let mut records = self.records_of(path)?;
        for record in &mut records {
            record?;
        }
        let raft = records.restorer.raft().unwrap_or_default();
        let meta = codec::decode_snapshot_meta(raft)
            .map_err(|source| SnapshotError::Meta { file: path.to_owned(), source })?;
        let state = records.restorer.finish().map_err(|source| SnapshotError::Restore {
            file: path.to_owned(),
            source: Box::new(source),
        })?;
        if meta.last_log_id.is_none_or(|id| id.index != state.applied().0) {
            return Err(SnapshotError::OtherIndex { file: path.to_owned() });
        }
        let (bytes, sha256) = ending(path)?;
        let current = Current { meta: meta.clone(), path: path.to_owned(), bytes, sha256 };
        let (last_applied, membership) = (meta.last_log_id, meta.last_membership);
        Ok((Restored { state, last_applied, membership }, current))
    }

    pub(crate) fn records_of(&self, path: &Path) -> Result<Records, SnapshotError> {
        Ok(Records {
            path: path.to_owned(),
            reader: Some(SnapshotReader::open(path)?),
            restorer: Restorer::with_segment_bytes(self.domain_id, self.segment_bytes),
        })
    }

    /// Gives a finished file its name, durably, and removes what is older. An older one than the
    /// one that counts is dropped.
    fn adopt(&self, unnamed: &Path, mut current: Current) -> Result<(), SnapshotError> {
        let mut counting = self.current();
        if counting.as_ref().is_some_and(|counts| counts.index() >= current.index()) {
            return Ok(fs::remove_file(unnamed).on(unnamed)?);
        }
        current.path = self.dir.join(format!("{:016x}.snap", current.index()));
        fs::rename(unnamed, &current.path).on(&current.path)?;
        sync_dir(&self.dir).on(&self.dir)?;
        *counting = Some(current);
        drop(counting);
        self.remove_older()
    }

    fn remove_older(&self) -> Result<(), SnapshotError> {
        let keep = self.index();
        for entry in fs::read_dir(&self.dir).on(&self.dir)? {
            let path = entry.on(&self.dir)?.path();
            if index_of(&path).is_some_and(|index| Some(index) < keep) {
                fs::remove_file(&path).on(&path)?;
            }
        }
        Ok(())
    }

    fn alone(&self) -> MutexGuard<'_, ()> {
        self.working.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn current(&self) -> MutexGuard<'_, Option<Current>> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

pub(crate) fn index_of(path: &Path) -> Option<u64> {
    let name = path.file_name()?.to_str()?;
    u64::from_str_radix(name.strip_suffix(".snap")?, 16).ok()
}

/// Length and closing digest of a file that was checked.
fn ending(path: &Path) -> Result<(u64, [u8; 32]), FileError> {
    let read = || -> io::Result<(u64, [u8; 32])> {
        use std::io::{Read, Seek, SeekFrom};
        let mut file = File::open(path)?;
        let bytes = file.seek(SeekFrom::End(-(file::DIGEST_BYTES as i64)))?;
        let mut digest = [0; file::DIGEST_BYTES];
        file.read_exact(&mut digest)?;
        Ok((bytes + file::DIGEST_BYTES as u64, digest))
    };
    read().on(path)
}

/// The records of a snapshot file, checked as they pass.
pub(crate) struct Records {
    path: PathBuf,
    reader: Option<SnapshotReader>,
    restorer: Restorer,
}

impl Records {
    fn none(store: &SnapshotStore) -> Self {
        let restorer = Restorer::with_segment_bytes(store.domain_id, store.segment_bytes);
        Self { path: PathBuf::new(), reader: None, restorer }
    }

    fn next_record(&mut self) -> Result<Option<Record>, SnapshotError> {
        let Some(reader) = &mut self.reader else { return Ok(None) };
        while let Some(item) = reader.next_item()? {
            let record = self.restorer.push(item).map_err(|source| SnapshotError::Restore {
                file: self.path.clone(),
                source: Box::new(source),
            })?;
            if record.is_some() {
                return Ok(record);
            }
        }
        self.reader = None;
        Ok(None)
    }
}

impl Iterator for Records {
    type Item = Result<Record, SnapshotError>;

    fn next(&mut self) -> Option<Self::Item> {
        let next = self.next_record().transpose();
        if matches!(next, Some(Err(_))) {
            self.reader = None;
        }
        next
    }
}

/// Why a snapshot could not be written, read or installed.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    /// The file.
    #[error(transparent)]
    Snapshot(#[from] SnapshotFileError),
    /// The disk refused.
    #[error("snapshot: {0}")]
    File(#[from] FileError),
    /// Raft's part of the header is not what a replica writes.
    #[error("snapshot {}: {source}", file.display())]
    Meta {
        /// Which file.
        file: PathBuf,
        /// What is wrong.
        source: CodecError,
    },
    /// It makes no state.
    #[error("snapshot {}: {source}", file.display())]
    Restore {
        /// Which file.
        file: PathBuf,
        /// What the store says.
        source: Box<conclave_store::RestoreError>,
    },
    /// Raft and the store say different things about its last log entry.
    #[error("snapshot {} contradicts itself about its last log entry", file.display())]
    OtherIndex {
        /// Which file.
        file: PathBuf,
    },
    /// The index could not be read for a snapshot.
    #[error("{0}")]
    Blob(Box<dyn std::error::Error + Send + Sync>),
    /// Nothing was applied yet.
    #[error("there is nothing to write a snapshot of")]
    Nothing,
    /// The audit history.
    #[error(transparent)]
    Segments(#[from] crate::segments::SegmentsError),
    /// The steps fetched for a snapshot do not lead to it.
    #[error("the audit steps fetched for a snapshot do not end where it says")]
    Steps,
    /// openraft handed back a snapshot to install that was never received. An error of ours.
    #[error("this snapshot was not received")]
    NotReceived,
}

impl SnapshotError {
    /// Whether there was no room on the disk, which another time may find.
    fn is_full(&self) -> bool {
        use crate::segments::SegmentsError;
        match self {
            Self::File(error)
            | Self::Snapshot(SnapshotFileError::File(error))
            | Self::Segments(SegmentsError::File(error)) => is_full(&error.source),
            _ => false,
        }
    }
}

impl From<SnapshotError> for io::Error {
    fn from(error: SnapshotError) -> Self {
        io::Error::other(error)
    }
}
