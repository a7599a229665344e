//! Bytes that change on a node's disk, and folders that go back to what they were.
//!
//! Where things are is found by what they hold, so that the layout of the log may change.

use std::collections::{BTreeMap, HashMap};
use std::fs::{self, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use super::super::load::AuditLog;
use super::super::{Cluster, LONG, run, wait_for};
use super::{Dice, tool};

/// A part of a node's data folder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    Index,
    Log,
    Snapshot,
    Audit,
}

impl Cluster {
    /// The files of a part of that node's data folder, sorted; there are some.
    pub fn files_of(&self, id: &str, part: Part) -> Vec<PathBuf> {
        let found = self.find_files(id, part);
        assert!(!found.is_empty(), "{id} has no {part:?}");
        found
    }

    fn find_files(&self, id: &str, part: Part) -> Vec<PathBuf> {
        let domains = self.node(id).data_dir.join("domains");
        let files = files_under(&domains);
        let domain = files[0].strip_prefix(&domains).unwrap().components().next().unwrap();
        let domain = domains.join(domain);
        let holds = |file: &&PathBuf| {
            let inside = file.strip_prefix(&domain).unwrap().to_str().unwrap();
            match part {
                Part::Index => inside.starts_with("index/"),
                Part::Log => inside.starts_with("raft") || inside.starts_with("log"),
                Part::Snapshot => inside.starts_with("snapshot/") && inside.ends_with(".snap"),
                Part::Audit => inside.starts_with("audit/"),
            }
        };
        files.iter().filter(holds).cloned().collect()
    }

    /// The log entries that a node keeps after its snapshot and that hold audit entries, in order:
    /// the bytes by which they are found. What stands before may be waste that nobody reads.
    pub fn kept_entries(&self, id: &str, log: &AuditLog) -> Vec<[u8; 32]> {
        let snapshots = self.find_files(id, Part::Snapshot);
        let after = snapshots.iter().filter_map(|file| {
            u64::from_str_radix(file.file_stem().unwrap().to_str().unwrap(), 16).ok()
        });
        let after = after.max().unwrap_or_default();
        let by_start: HashMap<&[u8], &(u64, [u8; 32])> = log
            .commitments()
            .iter()
            .filter(|(index, commitment)| *index > after && commitment[0] != 0)
            .map(|entry| (&entry.1[..8], entry))
            .collect();
        let mut kept = BTreeMap::new();
        for file in self.files_of(id, Part::Log) {
            let text = fs::read(file).unwrap();
            // Much of a log file may be zeros that nobody wrote.
            let starts = (0..text.len().saturating_sub(32)).filter(|at| text[*at] != 0);
            for at in starts {
                let Some((index, commitment)) = by_start.get(&text[at..at + 8]) else { continue };
                if text[at..].starts_with(commitment) {
                    kept.insert(*index, *commitment);
                }
            }
        }
        kept.into_values().collect()
    }

    /// Empties the data folder of a node that does not run, and has it come back under a new Raft
    /// id by the one command that there is for it.
    pub fn rejoin(&mut self, id: &str) {
        let other = self.names().into_iter().find(|name| name != id).unwrap();
        fs::remove_dir_all(&self.node(id).data_dir).unwrap();
        self.restart(id);
        let mut replace = self.cli_at(&other);
        replace.args(["--timeout", "120", "node", "replace"]);
        run(replace.arg(format!("{id}={}", self.node(id).peer)));
        self.unseal_all(&[id]);
    }
}

/// Changes a bit at the same distance from each place where these bytes stand: a log may hold older
/// copies of an entry beside the one that counts.
pub fn flip_near(files: &[PathBuf], bytes: &[u8], distance: usize, bit: u8) {
    let mut changed = 0;
    for file in files {
        let text = fs::read(file).unwrap();
        for place in find(&text, bytes) {
            flip(file, place + distance, bit).unwrap();
            changed += 1;
        }
    }
    assert!(changed > 0);
}

/// Changes a bit somewhere in the newest of these files, but not in the zeros that nobody wrote. A
/// running node may have replaced a file meanwhile, so they are looked up until one is there.
pub fn flip_somewhere(files: impl Fn() -> Vec<PathBuf>, dice: &mut Dice) {
    wait_for("a file to change", LONG, || flip_last(&files(), dice));
}

fn flip_last(files: &[PathBuf], dice: &mut Dice) -> Option<()> {
    let file = files.last()?;
    let text = fs::read(file).ok()?;
    let written: Vec<usize> = (0..text.len()).filter(|at| text[*at] != 0).collect();
    let place = written[usize::try_from(dice.below(written.len() as u64)).unwrap()];
    flip(file, place, u8::try_from(dice.below(8)).unwrap())?;
    eprintln!("changed byte {place} of {} in {}", text.len(), file.display());
    Some(())
}

/// In place, so that a process that has the file open sees it.
/// None: it is there no more.
fn flip(path: &Path, place: usize, bit: u8) -> Option<()> {
    let file = OpenOptions::new().read(true).write(true).open(path).ok()?;
    let mut byte = [0];
    file.read_exact_at(&mut byte, place as u64).unwrap();
    file.write_all_at(&[byte[0] ^ (1 << bit)], place as u64).unwrap();
    Some(())
}

fn find<'a>(text: &'a [u8], bytes: &'a [u8]) -> impl Iterator<Item = usize> + 'a {
    let starts = (0..text.len()).filter(move |at| text[*at] == bytes[0]);
    starts.filter(move |at| text[*at..].starts_with(bytes))
}

/// Every file under a folder, sorted.
fn files_under(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() { &mut folders } else { &mut files }.push(path);
        }
    }
    files.sort();
    files
}

/// Puts a copy of `from` in the place of `to`.
pub fn put(from: &Path, to: &Path) {
    if to.is_dir() {
        fs::remove_dir_all(to).unwrap();
    }
    tool("cp", &["-a", from.to_str().unwrap(), to.to_str().unwrap()]);
}
