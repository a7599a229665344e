//! Reading a log as it lies there, without changing a byte of it.
//!
//! Opening a log puts it in order: it blanks a batch that was torn, and makes segments ahead. Here all
//! of that happens in memory, above a folder that is only read.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::folder::{Folder, SegmentFile};
use super::segment::{Owner, SEGMENT_BYTES};
use super::{LogStore, OpenError};

impl LogStore {
    /// Opens the log in this folder to read it. What is appended to it is never written.
    pub(crate) fn open_unchanged(path: &Path, owner: Owner) -> Result<Self, OpenError> {
        let folder = Above { path: path.to_owned(), files: Mutex::default() };
        Self::start(Arc::new(folder), owner, SEGMENT_BYTES, path)
    }
}

/// A folder, and above it what was changed.
#[derive(Debug)]
struct Above {
    path: PathBuf,
    files: Mutex<Files>,
}

#[derive(Debug, Default)]
struct Files {
    /// Those opened or made.
    here: BTreeMap<String, Arc<Patched>>,
    /// Those removed or renamed away.
    gone: BTreeSet<String>,
}

impl Above {
    fn files(&self) -> MutexGuard<'_, Files> {
        self.files.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Folder for Above {
    fn names(&self) -> io::Result<Vec<String>> {
        let files = self.files();
        let mut names: BTreeSet<String> = files.here.keys().cloned().collect();
        for entry in fs::read_dir(&self.path)? {
            let name = entry?.file_name().into_string();
            names.extend(name.ok().filter(|name| !files.gone.contains(name)));
        }
        Ok(names.into_iter().collect())
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn SegmentFile>> {
        let mut files = self.files();
        if let Some(file) = files.here.get(name) {
            return Ok(file.clone());
        }
        if files.gone.contains(name) {
            return Err(io::ErrorKind::NotFound.into());
        }
        let file = File::open(self.path.join(name))?;
        let bytes = file.metadata()?.len();
        let file = Arc::new(Patched { below: Some((file, bytes)), patches: Mutex::default() });
        files.here.insert(name.to_owned(), file.clone());
        Ok(file)
    }

    fn create(&self, name: &str) -> io::Result<Arc<dyn SegmentFile>> {
        let file = Arc::new(Patched { below: None, patches: Mutex::default() });
        self.files().here.insert(name.to_owned(), file.clone());
        Ok(file)
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.open(from)?;
        let mut files = self.files();
        if let Some(file) = files.here.remove(from) {
            files.here.insert(to.to_owned(), file);
        }
        files.gone.insert(from.to_owned());
        Ok(())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.open(name)?;
        let mut files = self.files();
        files.here.remove(name);
        files.gone.insert(name.to_owned());
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        Ok(())
    }
}

/// A file, if it lies in the folder, and what was written over it, oldest first.
#[derive(Debug)]
struct Patched {
    below: Option<(File, u64)>,
    patches: Mutex<Vec<(u64, Vec<u8>)>>,
}

impl Patched {
    fn patches(&self) -> MutexGuard<'_, Vec<(u64, Vec<u8>)>> {
        self.patches.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl SegmentFile for Patched {
    fn len(&self) -> io::Result<u64> {
        let below = self.below.as_ref().map_or(0, |(_, bytes)| *bytes);
        let ends = self.patches().iter().map(|(at, bytes)| at + bytes.len() as u64).max();
        Ok(below.max(ends.unwrap_or(0)))
    }

    fn read_at(&self, at: u64, out: &mut [u8]) -> io::Result<()> {
        let end = at + out.len() as u64;
        if end > self.len()? {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        out.fill(0);
        if let Some((file, bytes)) = &self.below
            && at < *bytes
        {
            let there = usize::try_from(bytes - at).unwrap_or(usize::MAX).min(out.len());
            file.read_exact_at(&mut out[..there], at)?;
        }
        for (patch_at, patch) in self.patches().iter() {
            let (from, to) = ((*patch_at).max(at), (patch_at + patch.len() as u64).min(end));
            if from < to {
                let source = (from - patch_at) as usize..(to - patch_at) as usize;
                out[(from - at) as usize..(to - at) as usize].copy_from_slice(&patch[source]);
            }
        }
        Ok(())
    }

    fn write_at(&self, at: u64, bytes: &[u8]) -> io::Result<()> {
        self.patches().push((at, bytes.to_vec()));
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        Ok(())
    }

    fn forget(&self) -> io::Result<()> {
        Ok(())
    }
}
