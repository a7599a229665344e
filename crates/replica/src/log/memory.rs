//! What readers of the log see: its bounds, the vote, and its most recent entries.
//!
//! The single place where the log's bounds are computed. An entry is here from the moment it is
//! appended, and stays at least until it is durable; then the oldest give way to
//! [`RECENT_BYTES_MAX`]. Nothing here touches the disk.

use std::collections::VecDeque;
use std::io;
use std::ops::Range;

use super::disk::Kept;
use super::record::Bounds;
use crate::types::{Entry, LogId, Vote};

/// Recent entries kept decoded, so that neither replication to healthy followers nor apply reads
/// the disk. Entries that are not yet durable may exceed it.
pub(super) const RECENT_BYTES_MAX: usize = 8 << 20;

/// Counts appends; an entry is durable once the disk has reached its number.
pub(super) type AppendNumber = u64;

#[derive(Default)]
pub(super) struct Memory {
    pub(super) vote: Option<Vote>,
    pub(super) committed: Option<LogId>,
    bounds: Bounds,
    /// Bytes on disk of every entry from `bounds.first` on.
    sizes: VecDeque<u32>,
    bytes: u64,
    recent: VecDeque<Recent>,
    recent_bytes: usize,
    appended: AppendNumber,
    durable: AppendNumber,
    /// Counts truncations and purges, so that a read from disk knows that it ran across one.
    removals: u64,
    failure: Option<String>,
}

struct Recent {
    entry: Entry,
    bytes: usize,
    append: AppendNumber,
}

/// Where the entries of a read are.
pub(super) struct Plan {
    /// To be read from disk, before ...
    pub(super) disk: Range<u64>,
    /// ... these.
    pub(super) recent: Vec<Entry>,
    /// What [`Memory::removals`] was.
    pub(super) removals: u64,
}

impl Memory {
    /// Takes over an entry found on disk; they come in order.
    pub(super) fn load(&mut self, entry: Entry, bytes: usize) {
        self.push(entry, bytes);
        self.evict();
    }

    /// Takes over the rest of what was found on disk, after its entries.
    pub(super) fn loaded(&mut self, kept: Kept) {
        self.bounds = kept.bounds;
        self.vote = kept.vote;
        self.committed = kept.committed;
    }

    pub(super) fn bounds(&self) -> Bounds {
        self.bounds
    }

    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    pub(super) fn removals(&self) -> u64 {
        self.removals
    }

    /// Makes every later call fail. The first reason stands.
    pub(super) fn fail(&mut self, reason: String) {
        self.failure.get_or_insert(reason);
    }

    /// An error if the log has failed.
    pub(super) fn sound(&self) -> io::Result<()> {
        match &self.failure {
            None => Ok(()),
            Some(reason) => Err(io::Error::other(format!(
                "the Raft log failed and takes nothing more until the node restarts: {reason}"
            ))),
        }
    }

    /// Whether entries that begin at this index leave no hole. A log that never held any entry may
    /// begin anywhere.
    pub(super) fn continues_at(&self, index: u64) -> bool {
        self.bounds.last.is_none() || index == self.bounds.end()
    }

    /// Makes entries readable; each comes with its size on disk.
    pub(super) fn append(&mut self, entries: Vec<(Entry, usize)>) -> AppendNumber {
        self.appended += 1;
        for (entry, bytes) in entries {
            if self.bounds.is_empty() {
                self.bounds.first = entry.log_id.index;
            }
            self.bounds.last = Some(entry.log_id);
            self.push(entry, bytes);
        }
        self.appended
    }

    /// The appends up to this one are durable.
    pub(super) fn flushed(&mut self, upto: AppendNumber) {
        self.durable = self.durable.max(upto);
        self.evict();
    }

    /// Removes all after `last`, but nothing purged.
    pub(super) fn truncate_after(&mut self, last: Option<LogId>) {
        let keep_end = last.map_or(0, |last| last.index.saturating_add(1));
        if keep_end >= self.bounds.end() {
            return;
        }
        self.removals += 1;
        let keep = keep_end.saturating_sub(self.bounds.first) as usize;
        while self.sizes.len() > keep {
            self.bytes -= self.sizes.pop_back().map_or(0, u64::from);
            self.recent_bytes -= self.recent.pop_back().map_or(0, |cut| cut.bytes);
        }
        self.bounds.last = if keep == 0 { self.bounds.purged } else { last };
    }

    /// Removes all up to `upto`, which may lie beyond the end: a snapshot came instead.
    pub(super) fn purge(&mut self, upto: LogId) {
        if self.bounds.purged.is_some_and(|purged| upto.index <= purged.index) {
            return;
        }
        self.removals += 1;
        let first = upto.index.saturating_add(1);
        let gone = first.saturating_sub(self.bounds.first).min(self.sizes.len() as u64);
        for _ in 0..gone {
            self.bytes -= self.sizes.pop_front().map_or(0, u64::from);
            if self.recent.len() > self.sizes.len() {
                self.recent_bytes -= self.recent.pop_front().map_or(0, |old| old.bytes);
            }
        }
        self.bounds.purged = Some(upto);
        self.bounds.first = first;
        if self.sizes.is_empty() {
            self.bounds.last = Some(upto);
        }
    }

    /// Where to read a range, of it the first entries that fit into `bytes_max`, but at least one.
    pub(super) fn plan(&self, range: Range<u64>, bytes_max: usize) -> Plan {
        let (first, end) =
            if self.bounds.is_empty() { (0, 0) } else { (self.bounds.first, self.bounds.end()) };
        let start = range.start.max(first);
        let mut stop = start;
        let mut bytes = 0;
        while stop < range.end.min(end) {
            bytes += self.sizes[(stop - first) as usize] as usize;
            if bytes > bytes_max && stop > start {
                break;
            }
            stop += 1;
        }
        let recent_start = end - self.recent.len() as u64;
        let split = recent_start.clamp(start, stop);
        let recent = (split..stop)
            .map(|index| self.recent[(index - recent_start) as usize].entry.clone())
            .collect();
        Plan { disk: start..split, recent, removals: self.removals }
    }

    fn push(&mut self, entry: Entry, bytes: usize) {
        self.sizes.push_back(u32::try_from(bytes).unwrap_or(u32::MAX));
        self.bytes += bytes as u64;
        self.recent_bytes += bytes;
        self.recent.push_back(Recent { entry, bytes, append: self.appended });
    }

    fn evict(&mut self) {
        while self.recent_bytes > RECENT_BYTES_MAX
            && self.recent.front().is_some_and(|oldest| oldest.append <= self.durable)
            && let Some(oldest) = self.recent.pop_front()
        {
            self.recent_bytes -= oldest.bytes;
        }
    }
}
