//! A disk in memory that loses power, fails or fills up when told to.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::sync::{Arc, Mutex};

use conclave_replica::log::{Folder, SegmentFile};

const SECTOR: usize = 512;

/// A folder on such a disk. Clones share it.
#[derive(Clone)]
pub(crate) struct SimFolder(Arc<Mutex<State>>);

impl fmt::Debug for SimFolder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(simulated)")
    }
}

#[derive(Default)]
struct State {
    files: Vec<Inode>,
    /// What the process sees.
    names: BTreeMap<String, usize>,
    /// What survives for certain.
    kept_names: BTreeMap<String, usize>,
    pending_names: Vec<Rename>,
    /// Steps until the power goes; every step after that fails.
    power: Option<u64>,
    /// Syncs of files until one fails, once.
    good_syncs: Option<u64>,
    /// Bytes left on the disk.
    room: Option<u64>,
    syncs: u64,
    chance: u64,
}

#[derive(Default, Clone)]
struct Inode {
    seen: Vec<u8>,
    kept: Vec<u8>,
    pending: Vec<(usize, Vec<u8>)>,
}

#[derive(Clone)]
enum Rename {
    Set(String, usize),
    Move(String, String, usize),
    Remove(String),
}

impl Rename {
    fn apply(self, names: &mut BTreeMap<String, usize>) {
        match self {
            Rename::Set(name, inode) => drop(names.insert(name, inode)),
            Rename::Move(from, to, inode) => {
                names.remove(&from);
                names.insert(to, inode);
            }
            Rename::Remove(name) => drop(names.remove(&name)),
        }
    }
}

fn no_power() -> io::Error {
    io::Error::other("no power")
}

impl State {
    fn chance(&mut self) -> u64 {
        self.chance = self.chance.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.chance ^ (self.chance >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        (z ^ (z >> 27)) >> 7
    }

    /// One step; false: the power goes in the middle of it.
    fn step(&mut self) -> io::Result<bool> {
        match &mut self.power {
            None => Ok(true),
            Some(0) => Err(no_power()),
            Some(left) => {
                *left -= 1;
                Ok(*left > 0)
            }
        }
    }

    fn rename(&mut self, change: Rename) -> io::Result<()> {
        let goes_on = self.step()?;
        self.pending_names.push(change.clone());
        change.apply(&mut self.names);
        if goes_on { Ok(()) } else { Err(no_power()) }
    }
}

impl SimFolder {
    pub(crate) fn new(seed: u64) -> Self {
        Self(Arc::new(Mutex::new(State { chance: seed, ..State::default() })))
    }

    /// A sound disk with these files.
    pub(crate) fn with(seed: u64, files: &BTreeMap<String, Vec<u8>>) -> Self {
        let folder = Self::new(seed);
        {
            let mut state = folder.0.lock().unwrap();
            for (name, bytes) in files {
                let inode = state.files.len();
                let (seen, kept) = (bytes.clone(), bytes.clone());
                state.files.push(Inode { seen, kept, pending: Vec::new() });
                state.names.insert(name.clone(), inode);
                state.kept_names.insert(name.clone(), inode);
            }
        }
        folder
    }

    pub(crate) fn lose_power_after(&self, steps: u64) {
        self.0.lock().unwrap().power = Some(steps);
    }

    /// A process was killed, not the machine: what it wrote is still in the cache.
    pub(crate) fn only_killed(&self) {
        self.0.lock().unwrap().power = None;
    }

    pub(crate) fn has_power(&self) -> bool {
        self.0.lock().unwrap().power != Some(0)
    }

    /// The sync after so many good ones fails; later ones report success again.
    pub(crate) fn fail_sync_after(&self, syncs: u64) {
        self.0.lock().unwrap().good_syncs = Some(syncs);
    }

    pub(crate) fn has_failed(&self) -> bool {
        self.0.lock().unwrap().good_syncs.is_none()
    }

    /// Leaves this much room for new bytes.
    pub(crate) fn set_room(&self, bytes: Option<u64>) {
        self.0.lock().unwrap().room = bytes;
    }

    /// Syncs of files so far.
    pub(crate) fn syncs(&self) -> u64 {
        self.0.lock().unwrap().syncs
    }

    /// A disk that hangs until the answer is dropped.
    pub(crate) fn hold(&self) -> impl Sized + '_ {
        self.0.lock().unwrap()
    }

    /// What a process reads.
    pub(crate) fn files(&self) -> BTreeMap<String, Vec<u8>> {
        let state = self.0.lock().unwrap();
        let read =
            |(name, inode): (&String, &usize)| (name.clone(), state.files[*inode].seen.clone());
        state.names.iter().map(read).collect()
    }

    /// The files after the power came back: of the sectors and names that were not synced, any may
    /// be there and any may not.
    pub(crate) fn after_power_loss(&self) -> BTreeMap<String, Vec<u8>> {
        let mut state = self.0.lock().unwrap();
        let mut names = state.kept_names.clone();
        for change in state.pending_names.clone() {
            if state.chance().is_multiple_of(2) {
                change.apply(&mut names);
            }
        }
        let mut files = BTreeMap::new();
        for (name, inode) in names {
            let Inode { seen, kept, pending } = state.files[inode].clone();
            let mut image = kept;
            if state.chance().is_multiple_of(2) {
                image.resize(seen.len(), 0);
            }
            let all = state.chance().is_multiple_of(4);
            for (offset, sector) in pending {
                let end = offset + sector.len();
                if end <= image.len() && (all || state.chance().is_multiple_of(2)) {
                    image[offset..end].copy_from_slice(&sector);
                }
            }
            files.insert(name, image);
        }
        files
    }

    fn find(&self, name: &str) -> io::Result<usize> {
        let state = self.0.lock().unwrap();
        state.names.get(name).copied().ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn file(&self, inode: usize) -> Arc<dyn SegmentFile> {
        Arc::new(SimFile { folder: self.clone(), inode })
    }
}

impl Folder for SimFolder {
    fn names(&self) -> io::Result<Vec<String>> {
        Ok(self.0.lock().unwrap().names.keys().cloned().collect())
    }

    fn open(&self, name: &str) -> io::Result<Arc<dyn SegmentFile>> {
        Ok(self.file(self.find(name)?))
    }

    fn create(&self, name: &str) -> io::Result<Arc<dyn SegmentFile>> {
        let inode = {
            let mut state = self.0.lock().unwrap();
            state.files.push(Inode::default());
            let inode = state.files.len() - 1;
            state.rename(Rename::Set(name.to_owned(), inode))?;
            inode
        };
        Ok(self.file(inode))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let inode = self.find(from)?;
        self.0.lock().unwrap().rename(Rename::Move(from.to_owned(), to.to_owned(), inode))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let inode = self.find(name)?;
        let mut state = self.0.lock().unwrap();
        state.rename(Rename::Remove(name.to_owned()))?;
        let freed = state.files[inode].seen.len() as u64;
        state.room = state.room.map(|room| room + freed);
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        let mut state = self.0.lock().unwrap();
        if !state.step()? {
            return Err(no_power());
        }
        for change in std::mem::take(&mut state.pending_names) {
            change.apply(&mut state.kept_names);
        }
        Ok(())
    }
}

#[derive(Debug)]
struct SimFile {
    folder: SimFolder,
    inode: usize,
}

impl SegmentFile for SimFile {
    fn len(&self) -> io::Result<u64> {
        Ok(self.folder.0.lock().unwrap().files[self.inode].seen.len() as u64)
    }

    fn read_at(&self, at: u64, out: &mut [u8]) -> io::Result<()> {
        let state = self.folder.0.lock().unwrap();
        let bytes = &state.files[self.inode].seen;
        let found = bytes.get(at as usize..at as usize + out.len());
        out.copy_from_slice(found.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn write_at(&self, at: u64, bytes: &[u8]) -> io::Result<()> {
        let mut state = self.folder.0.lock().unwrap();
        let goes_on = state.step()?;
        let mut offset = at as usize;
        let end = offset + bytes.len();
        let grows = end.saturating_sub(state.files[self.inode].seen.len()) as u64;
        if state.room.is_some_and(|room| room < grows) {
            return Err(io::Error::from_raw_os_error(28));
        }
        state.room = state.room.map(|room| room - grows);
        let file = &mut state.files[self.inode];
        file.seen.resize(end.max(file.seen.len()), 0);
        file.seen[offset..end].copy_from_slice(bytes);
        let mut bytes = bytes;
        while !bytes.is_empty() {
            let (sector, rest) = bytes.split_at(bytes.len().min(SECTOR - offset % SECTOR));
            file.pending.push((offset, sector.to_vec()));
            (offset, bytes) = (offset + sector.len(), rest);
        }
        if goes_on { Ok(()) } else { Err(no_power()) }
    }

    fn sync(&self) -> io::Result<()> {
        let mut state = self.folder.0.lock().unwrap();
        if !state.step()? {
            return Err(no_power());
        }
        state.syncs += 1;
        match state.good_syncs {
            None => {}
            Some(0) => {
                // Only once: as with a real fsync, the next one reports success, and what was not
                // written is still in the cache.
                state.good_syncs = None;
                state.files[self.inode].pending.clear();
                return Err(io::Error::from_raw_os_error(5));
            }
            Some(left) => state.good_syncs = Some(left - 1),
        }
        let file = &mut state.files[self.inode];
        for (offset, sector) in std::mem::take(&mut file.pending) {
            let end = (offset + sector.len()).max(file.kept.len());
            file.kept.resize(end, 0);
            file.kept[offset..][..sector.len()].copy_from_slice(&sector);
        }
        Ok(())
    }

    fn forget(&self) -> io::Result<()> {
        let mut state = self.folder.0.lock().unwrap();
        let file = &mut state.files[self.inode];
        // What waits to be written cannot be forgotten.
        if file.pending.is_empty() {
            file.seen = file.kept.clone();
        }
        Ok(())
    }
}
