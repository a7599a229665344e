//! The verbs that the log needs of a disk, and the operating system's way of doing them.
//!
//! They are a trait so that tests can lose power, fill the disk or break it at every single step.

use std::fmt::Debug;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{Advice, fadvise};

use crate::disk::sync_dir;

/// The folder that the log lies in; nobody else uses it meanwhile.
pub trait Folder: Debug + Send + Sync + 'static {
    /// The names of all files.
    fn names(&self) -> io::Result<Vec<String>>;
    /// Opens a file that is there.
    fn open(&self, name: &str) -> io::Result<Arc<dyn SegmentFile>>;
    /// Makes an empty file, in place of one that is there.
    fn create(&self, name: &str) -> io::Result<Arc<dyn SegmentFile>>;
    /// Gives a file another name. Durable after [`Folder::sync`].
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;
    /// Removes a file. Durable after [`Folder::sync`].
    fn remove(&self, name: &str) -> io::Result<()>;
    /// Makes names durable.
    fn sync(&self) -> io::Result<()>;
}

/// A file that grows only while it is made, and is written over after that.
pub trait SegmentFile: Debug + Send + Sync + 'static {
    /// Bytes.
    fn len(&self) -> io::Result<u64>;
    /// Whether it has no bytes.
    fn is_empty(&self) -> io::Result<bool> {
        Ok(self.len()? == 0)
    }
    /// Fills `out` with what begins at `at`.
    fn read_at(&self, at: u64, out: &mut [u8]) -> io::Result<()>;
    /// Writes at `at`. Durable after [`SegmentFile::sync`].
    fn write_at(&self, at: u64, bytes: &[u8]) -> io::Result<()>;
    /// Makes everything written durable.
    fn sync(&self) -> io::Result<()>;
    /// Asks that the next reading comes from the disk, not from a cache.
    fn forget(&self) -> io::Result<()>;
}

/// A folder of the operating system's, locked while it is open.
#[derive(Debug)]
pub(super) struct OsFolder {
    path: PathBuf,
    /// Holds the lock.
    _folder: File,
}

impl OsFolder {
    /// Opens a folder that is there. None: another process has it open.
    pub(super) fn lock(path: &Path) -> io::Result<Option<Self>> {
        let folder = File::open(path)?;
        match folder.try_lock() {
            Ok(()) => Ok(Some(Self { path: path.to_owned(), _folder: folder })),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }
}

impl Folder for OsFolder {
    fn names(&self) -> io::Result<Vec<String>> {
        let name = |entry: io::Result<fs::DirEntry>| Ok(entry?.file_name().into_string().ok());
        fs::read_dir(&self.path)?.filter_map(|entry| name(entry).transpose()).collect()
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn SegmentFile>> {
        let file = OpenOptions::new().read(true).write(true).open(self.path.join(name))?;
        Ok(Arc::new(OsFile(file)))
    }

    fn create(&self, name: &str) -> io::Result<Arc<dyn SegmentFile>> {
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(true);
        Ok(Arc::new(OsFile(options.open(self.path.join(name))?)))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        fs::rename(self.path.join(from), self.path.join(to))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        fs::remove_file(self.path.join(name))
    }

    fn sync(&self) -> io::Result<()> {
        sync_dir(&self.path)
    }
}

#[derive(Debug)]
struct OsFile(File);

impl SegmentFile for OsFile {
    fn len(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }

    fn read_at(&self, at: u64, out: &mut [u8]) -> io::Result<()> {
        self.0.read_exact_at(out, at)
    }

    fn write_at(&self, at: u64, bytes: &[u8]) -> io::Result<()> {
        self.0.write_all_at(bytes, at)
    }

    fn sync(&self) -> io::Result<()> {
        self.0.sync_data()
    }

    fn forget(&self) -> io::Result<()> {
        Ok(fadvise(&self.0, 0, None, Advice::DontNeed)?)
    }
}
