//! How a snapshot lies in its file: frames, then the SHA-256 of all of them.
//!
//! ```text
//! frame   length u32 ‖ crc32c(payload) u32 ‖ payload (conclave.store.v1.SnapshotItem)
//! ...     header first, trailer last
//! digest  SHA-256 of every byte before it [32]
//! ```
//! Integers are big-endian. What items mean, and their order, is for `conclave_store` to judge.

use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::path::{Path, PathBuf};

use aws_lc_rs::digest::{Context, SHA256};
use conclave_proto::store::{SnapshotItem, snapshot_item};
use prost::Message;

use crate::disk::{FileError, OnFile};

/// Largest encoded item: the store keeps its own below 2 MiB.
const ITEM_BYTES_MAX: usize = 4 << 20;
/// Items are seldom longer.
const USUAL_ITEM_BYTES: usize = 64 << 10;
/// Bytes of the digest at the end.
pub(crate) const DIGEST_BYTES: usize = 32;
const FRAME_OVERHEAD: usize = 8;

/// Writes a snapshot file. Until [`SnapshotWriter::finish`] it is worth nothing.
pub(crate) struct SnapshotWriter {
    path: PathBuf,
    file: BufWriter<File>,
    digest: Running,
    bytes: u64,
}

impl SnapshotWriter {
    pub(crate) fn create(path: &Path) -> Result<Self, FileError> {
        let file = File::options().read(true).write(true).create(true).truncate(true).open(path);
        let file = BufWriter::new(file.on(path)?);
        Ok(Self { path: path.to_owned(), file, digest: Running::new(), bytes: 0 })
    }

    pub(crate) fn write(&mut self, item: &SnapshotItem) -> Result<(), FileError> {
        let payload = item.encode_to_vec();
        let mut head = [0; FRAME_OVERHEAD];
        head[..4].copy_from_slice(&(payload.len() as u32).to_be_bytes());
        head[4..].copy_from_slice(&crc32c::crc32c(&payload).to_be_bytes());
        self.put(&head)?;
        self.put(&payload)
    }

    fn put(&mut self, bytes: &[u8]) -> Result<(), FileError> {
        self.digest.update(bytes);
        self.bytes += bytes.len() as u64;
        self.file.write_all(bytes).on(&self.path)
    }

    /// Ends the file and makes its content durable, though not its name. Gives back the file, its
    /// length and digest.
    pub(crate) fn finish(mut self) -> Result<(File, u64, [u8; 32]), FileError> {
        let digest = std::mem::replace(&mut self.digest, Running::new()).finish();
        self.file.write_all(&digest).on(&self.path)?;
        let file = self.file.into_inner().map_err(|error| error.into_error()).on(&self.path)?;
        file.sync_all().on(&self.path)?;
        Ok((file, self.bytes + DIGEST_BYTES as u64, digest))
    }
}

/// Reads a snapshot file, and ends well only if every byte was as written.
pub(crate) struct SnapshotReader {
    path: PathBuf,
    file: BufReader<File>,
    digest: Running,
    ended: bool,
}

impl SnapshotReader {
    pub(crate) fn open(path: &Path) -> Result<Self, FileError> {
        let file = BufReader::new(File::open(path).on(path)?);
        Ok(Self { path: path.to_owned(), file, digest: Running::new(), ended: false })
    }

    /// The next item; `None` after the trailer, once the digest was found to match.
    pub(crate) fn next_item(&mut self) -> Result<Option<SnapshotItem>, SnapshotFileError> {
        if self.ended {
            return self.check_end().map(|()| None);
        }
        let mut head = [0; FRAME_OVERHEAD];
        self.take(&mut head)?;
        let (length, crc) = head.split_at(4);
        let length = length.iter().fold(0, |n, byte| n << 8 | usize::from(*byte));
        if length > ITEM_BYTES_MAX {
            return Err(self.damaged("a frame is longer than any item"));
        }
        let payload = self.take_payload(length)?;
        if crc != crc32c::crc32c(&payload).to_be_bytes() {
            return Err(self.damaged("a frame's checksum does not match"));
        }
        let item = SnapshotItem::decode(payload.as_slice())
            .map_err(|_| self.damaged("a frame holds no snapshot item"))?;
        self.ended = matches!(item.item, Some(snapshot_item::Item::Trailer(_)));
        Ok(Some(item))
    }

    fn check_end(&mut self) -> Result<(), SnapshotFileError> {
        let expected = std::mem::replace(&mut self.digest, Running::new()).finish();
        let mut rest = Vec::new();
        let limit = DIGEST_BYTES as u64 + 1;
        self.file.by_ref().take(limit).read_to_end(&mut rest).on(&self.path)?;
        if rest != expected {
            return Err(self.damaged("its SHA-256 does not match"));
        }
        Ok(())
    }

    /// Takes memory for what is there, not for what a damaged head says.
    fn take_payload(&mut self, length: usize) -> Result<Vec<u8>, SnapshotFileError> {
        let mut payload = Vec::with_capacity(length.min(USUAL_ITEM_BYTES));
        self.file.by_ref().take(length as u64).read_to_end(&mut payload).on(&self.path)?;
        if payload.len() < length {
            return Err(self.damaged("it ends too early"));
        }
        self.digest.update(&payload);
        Ok(payload)
    }

    fn take(&mut self, buffer: &mut [u8]) -> Result<(), SnapshotFileError> {
        match self.file.read_exact(buffer) {
            Ok(()) => self.digest.update(buffer),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                return Err(self.damaged("it ends too early"));
            }
            Err(source) => return Err(FileError { path: self.path.clone(), source }.into()),
        }
        Ok(())
    }

    fn damaged(&self, what: &'static str) -> SnapshotFileError {
        SnapshotFileError::Damaged { file: self.path.clone(), what }
    }
}

/// A SHA-256 (FIPS 180-4) over what has passed so far.
pub(super) struct Running(Context);

impl Running {
    pub(super) fn new() -> Self {
        Self(Context::new(&SHA256))
    }

    pub(super) fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    pub(super) fn finish(self) -> [u8; DIGEST_BYTES] {
        let mut digest = [0; DIGEST_BYTES];
        digest.copy_from_slice(self.0.finish().as_ref());
        digest
    }
}

/// Why a file is no snapshot.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotFileError {
    /// The disk refused.
    #[error("snapshot: {0}")]
    File(#[from] FileError),
    /// Not what was written.
    #[error("snapshot {} is damaged: {what}; rebuild this node", file.display())]
    Damaged {
        /// Which file.
        file: PathBuf,
        /// What is wrong with it.
        what: &'static str,
    },
}
