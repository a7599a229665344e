//! What this node saw of the others' disks, so that one that went back is caught before it votes
//! or acknowledges.
//!
//! Every Raft message says how far its sender's disk has come. The most that was seen of each
//! member is kept, and written to a small file now and then: all nodes may lose power together.
//! Whoever starts asks for it; and whoever talks without having asked is not heard if it has less.
//!
//! The file is written at most once a second and not at every message, so of a fall back by less
//! than that, while every witness lost its memory too, nobody knows.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use conclave_proto::raft as proto;
use prost::Message;

use crate::disk::{FileError, OnFile, sync_dir};
use crate::held::{Durable, Held};
use crate::types::RaftId;

/// Members remembered; a domain has fewer, and ids are never used again.
const SEEN_MAX: usize = 1024;
/// Largest file that is read.
const FILE_BYTES_MAX: u64 = 1 << 20;
const FILE: &str = "witness";
const UNNAMED: &str = "witness.tmp";

/// What was seen of everyone, and what everyone is told of this node.
pub(crate) struct Witness {
    /// Drawn at this start of the node.
    start: u64,
    own: Arc<Durable>,
    dir: PathBuf,
    seen: Mutex<Seen>,
}

#[derive(Default)]
struct Seen {
    of: BTreeMap<RaftId, Sighting>,
    is_saved: bool,
}

/// What was seen of one member.
#[derive(Clone, Copy, Default)]
struct Sighting {
    /// The start of the node it was last seen in, and what it held in it.
    start: u64,
    held: Held,
    /// The most it held in earlier starts.
    before: Held,
}

impl Sighting {
    fn before(self, start: u64) -> Held {
        if self.start == start { self.before } else { self.before.max(self.held) }
    }
}

/// A member's disk holds less than it was seen to hold.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("the disk of Raft id {raft_id} went back: it holds {now}, and held {before}")]
pub(crate) struct WentBack {
    raft_id: RaftId,
    now: Held,
    before: Held,
}

impl Witness {
    /// With what an earlier start wrote. A file that cannot be read is as good as none: what it
    /// said is known to others too, or was lost with the power.
    pub(crate) fn open(dir: &Path, start: u64, own: Arc<Durable>) -> Self {
        let path = dir.join(FILE);
        let mut seen = Seen { is_saved: true, ..Seen::default() };
        let fits = std::fs::metadata(&path).is_ok_and(|meta| meta.len() <= FILE_BYTES_MAX);
        if fits && let Ok(bytes) = std::fs::read(&path) {
            match decode(&bytes) {
                Some(of) => seen.of = of,
                None => tracing::warn!(
                    file = %path.display(),
                    "what was seen of the other disks is unreadable and starts anew"
                ),
            }
        }
        Self { start, own, dir: dir.to_owned(), seen: Mutex::new(seen) }
    }

    /// This start of the node.
    pub(crate) fn start(&self) -> u64 {
        self.start
    }

    /// What this node says of its own disk.
    pub(crate) fn own(&self) -> proto::Held {
        self.own.get().to_proto(self.start)
    }

    /// Notes how far `raft_id` says that its disk has come, if it says so.
    pub(crate) fn hear(&self, raft_id: RaftId, said: Option<&proto::Held>) -> Result<(), WentBack> {
        let Some(said) = said else { return Ok(()) };
        let (start, now) = (said.start, Held::from_proto(said));
        let mut seen = self.seen();
        if seen.of.len() >= SEEN_MAX && !seen.of.contains_key(&raft_id) {
            return Ok(());
        }
        let known = seen.of.get(&raft_id).copied().unwrap_or_default();
        let before = known.before(start);
        if now < before {
            return Err(WentBack { raft_id, now, before });
        }
        let held = if known.start == start { known.held.max(now) } else { now };
        if (known.start, known.held) != (start, held) {
            seen.of.insert(raft_id, Sighting { start, held, before });
            seen.is_saved = false;
        }
        Ok(())
    }

    /// The most that `raft_id` held before its present start.
    pub(crate) fn before(&self, raft_id: RaftId, start: u64) -> Option<Held> {
        self.seen().of.get(&raft_id).map(|known| known.before(start))
    }

    /// Writes what has changed.
    pub(crate) fn save(&self) -> Result<(), FileError> {
        let bytes = {
            let mut seen = self.seen();
            if std::mem::replace(&mut seen.is_saved, true) {
                return Ok(());
            }
            encode(&seen.of)
        };
        let written = self.write(&bytes);
        if written.is_err() {
            self.seen().is_saved = false;
        }
        written
    }

    fn write(&self, bytes: &[u8]) -> Result<(), FileError> {
        let (unnamed, path) = (self.dir.join(UNNAMED), self.dir.join(FILE));
        let mut file = std::fs::File::create(&unnamed).on(&unnamed)?;
        file.write_all(bytes).on(&unnamed)?;
        file.sync_all().on(&unnamed)?;
        std::fs::rename(&unnamed, &path).on(&path)?;
        sync_dir(&self.dir).on(&self.dir)
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        // Nothing panics while it holds this, and the map is whole at every point.
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn encode(of: &BTreeMap<RaftId, Sighting>) -> Vec<u8> {
    let seen = of.iter().map(|(raft_id, sighting)| proto::Seen {
        raft_id: *raft_id,
        held: Some(sighting.held.to_proto(sighting.start)),
        before: Some(sighting.before.to_proto(0)),
    });
    let bytes = proto::SeenFile { seen: seen.collect() }.encode_to_vec();
    [crc32c::crc32c(&bytes).to_be_bytes().as_slice(), &bytes].concat()
}

fn decode(bytes: &[u8]) -> Option<BTreeMap<RaftId, Sighting>> {
    let (crc, bytes) = bytes.split_first_chunk::<4>()?;
    if crc32c::crc32c(bytes).to_be_bytes() != *crc {
        return None;
    }
    let file = proto::SeenFile::decode(bytes).ok()?;
    let sighting = |seen: proto::Seen| {
        let (held, before) = (seen.held?, seen.before?);
        let (start, held) = (held.start, Held::from_proto(&held));
        Some((seen.raft_id, Sighting { start, held, before: Held::from_proto(&before) }))
    };
    file.seen.into_iter().take(SEEN_MAX).map(sighting).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open(dir: &Path) -> Witness {
        Witness::open(dir, 1, Arc::default())
    }

    fn held(term: u64, index: u64, start: u64) -> proto::Held {
        proto::Held { term, leader: 1, committed: true, index, start }
    }

    #[test]
    fn less_than_before_a_start_is_refused_and_less_within_one_is_only_late() {
        let dir = tempfile::tempdir().unwrap();
        let witness = open(dir.path());
        assert!(witness.hear(7, None).is_ok());
        assert_eq!(witness.before(7, 1), None);
        witness.hear(7, Some(&held(3, 100, 1))).unwrap();
        // Messages overtake each other.
        witness.hear(7, Some(&held(3, 90, 1))).unwrap();
        let most = Held::from_proto(&held(3, 100, 0));
        assert_eq!(witness.before(7, 1), Some(Held::default()));
        assert_eq!(witness.before(7, 2), Some(most));

        assert!(witness.hear(7, Some(&held(3, 99, 2))).is_err());
        assert!(witness.hear(7, Some(&held(2, 500, 2))).is_err());
        witness.save().unwrap();

        // The same by another start of the witness.
        let witness = open(dir.path());
        assert!(witness.hear(7, Some(&held(3, 99, 2))).is_err());
        witness.hear(7, Some(&held(4, 0, 2))).unwrap();
        witness.hear(7, Some(&held(4, 101, 2))).unwrap();
        assert_eq!(witness.before(7, 2), Some(most));
        assert_eq!(witness.before(7, 3), Some(Held::from_proto(&held(4, 101, 0))));
    }

    #[test]
    fn a_damaged_file_is_as_good_as_none() {
        let dir = tempfile::tempdir().unwrap();
        let witness = open(dir.path());
        witness.hear(7, Some(&held(3, 100, 1))).unwrap();
        witness.save().unwrap();
        let path = dir.path().join(FILE);
        let bytes = std::fs::read(&path).unwrap();
        for place in 0..bytes.len() {
            let mut bytes = bytes.clone();
            bytes[place] ^= 0x10;
            std::fs::write(&path, bytes).unwrap();
            assert_eq!(open(dir.path()).before(7, 2), None);
        }
    }
}
