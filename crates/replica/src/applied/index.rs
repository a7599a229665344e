//! Blobs of the applied records, in sled: an index that is thrown away and rebuilt at every start.
//!
//! sled's `flush` does not reach the disk on Linux, so nothing depends on what it kept. What is
//! read from it is checked against the digest that the state holds in memory.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bincode::config::{Configuration, standard};
use conclave_store::{BlobDigest, ReadError, RecordId};
use rustix::fs::{FallocateFlags, fallocate};

use crate::disk::{FileError, OnFile};

/// sled's own cache, in bytes.
const CACHE_BYTES: u64 = 32 << 20;
const ENCODING: Configuration = standard();

/// Stands before each blob. Never read by another version: the index does not outlive the process.
#[derive(bincode::Encode, bincode::Decode)]
struct ValueHeader {
    /// The log entry that wrote the blob; 0 if it came with a snapshot.
    written_at: u64,
}

/// Changes that take effect together.
#[derive(Default)]
pub(super) struct IndexBatch {
    batch: sled::Batch,
    is_empty: bool,
    bytes: u64,
}

impl IndexBatch {
    pub(super) fn new() -> Self {
        Self { batch: sled::Batch::default(), is_empty: true, bytes: 0 }
    }

    pub(super) fn set(
        &mut self,
        record: &RecordId,
        blob: Option<&[u8]>,
        written_at: u64,
    ) -> Result<(), IndexError> {
        self.is_empty = false;
        let key = record.to_bytes();
        let Some(blob) = blob else {
            self.batch.remove(key.as_slice());
            return Ok(());
        };
        let mut value = bincode::encode_to_vec(ValueHeader { written_at }, ENCODING)
            .map_err(|error| IndexError::Value(error.to_string()))?;
        value.extend_from_slice(blob);
        self.bytes += (key.len() + value.len()) as u64;
        self.batch.insert(key.as_slice(), value);
        Ok(())
    }
}

/// Room kept on the disk beyond the index's file. sled takes a write that found no room for the end,
/// and by the time this is used up a log on the same disk has stopped the supply.
const RESERVED_BYTES: u64 = 64 << 20;
/// Bytes handed to sled after which room is reserved anew.
const RESERVE_EVERY: u64 = 4 << 20;

/// The blobs, by record.
pub(super) struct Index {
    db: sled::Db,
    file: PathBuf,
    unreserved: AtomicU64,
}

impl Index {
    /// An empty index, whatever was in the folder.
    pub(super) fn create(dir: &Path) -> Result<Self, IndexError> {
        if dir.exists() {
            fs::remove_dir_all(dir).on(dir)?;
        }
        let config = sled::Config::new().path(dir).cache_capacity(CACHE_BYTES);
        let index =
            Self { db: config.open()?, file: dir.join("db"), unreserved: AtomicU64::new(0) };
        index.reserve();
        Ok(index)
    }

    /// Makes room ahead of need. Where there is none the log finds out too, and says so.
    fn reserve(&self) {
        let reserved = File::options().write(true).open(&self.file).and_then(|file| {
            let end = file.metadata()?.len();
            Ok(fallocate(&file, FallocateFlags::KEEP_SIZE, end, RESERVED_BYTES)?)
        });
        if let Err(error) = reserved {
            tracing::debug!(%error, "no room could be reserved for the index");
        }
    }

    pub(super) fn apply(&self, batch: IndexBatch) -> Result<(), IndexError> {
        if !batch.is_empty {
            self.db.apply_batch(batch.batch)?;
            if self.unreserved.fetch_add(batch.bytes, Ordering::Relaxed) > RESERVE_EVERY {
                self.unreserved.store(0, Ordering::Relaxed);
                self.reserve();
            }
        }
        Ok(())
    }

    pub(super) fn clear(&self) -> Result<(), IndexError> {
        Ok(self.db.clear()?)
    }

    /// What is there for `record`, whatever it is.
    pub(super) fn unchecked_blob(
        &self,
        record: &RecordId,
    ) -> Result<Option<Arc<[u8]>>, IndexError> {
        let value = self.db.get(record.to_bytes())?;
        Ok(value.as_deref().and_then(blob_of).map(Arc::from))
    }

    /// The blob of `record`, which must have `digest`.
    pub(super) fn blob(
        &self,
        record: &RecordId,
        digest: BlobDigest,
    ) -> Result<Arc<[u8]>, ReadError> {
        let record = *record;
        let value = match self.db.get(record.to_bytes()) {
            Ok(value) => value.ok_or(ReadError::Missing { record })?,
            Err(source) => return Err(ReadError::Storage { record, source: Box::new(source) }),
        };
        match blob_of(&value) {
            Some(blob) if BlobDigest::of(blob) == digest => Ok(blob.into()),
            _ => Err(ReadError::Damaged { record }),
        }
    }
}

fn blob_of(value: &[u8]) -> Option<&[u8]> {
    let (_, read) = bincode::decode_from_slice::<ValueHeader, _>(value, ENCODING).ok()?;
    value.get(read..)
}

/// Why the index failed. The node stops and rebuilds it at the next start.
#[derive(Debug, thiserror::Error)]
pub enum IndexError {
    /// The folder could not be emptied.
    #[error("index: {0}")]
    File(#[from] FileError),
    /// sled failed.
    #[error("index: {0}")]
    Sled(#[from] sled::Error),
    /// A value could not be encoded.
    #[error("index: {0}")]
    Value(String),
}
