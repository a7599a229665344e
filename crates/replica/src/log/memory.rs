//! What readers of the log see: its bounds, the vote, its most recent entries, and where on disk the
//! others are.
//!
//! An entry is here from the moment it is appended, and stays at least until it is durable; then the
//! oldest give way to [`RECENT_BYTES_MAX`], and 12 bytes that say where it lies remain of each.
//! Nothing here touches the disk.

use std::collections::VecDeque;
use std::io;
use std::ops::Range;

use super::record::{Bounds, Change, Head};
use super::segment::SegmentNumber;
use crate::types::{Entry, LogId, Vote};

/// Recent entries kept decoded, so that neither replication to healthy followers nor apply reads
/// the disk. Entries that are not yet durable may exceed it.
pub(super) const RECENT_BYTES_MAX: usize = 8 << 20;

/// Counts appends; an entry is durable once the disk has reached its number.
pub(super) type AppendNumber = u64;

#[derive(Default)]
pub(super) struct Memory {
    head: Head,
    /// Where entries lie, from `slots_from` on.
    slots: VecDeque<Slot>,
    /// `head.bounds.first`, except while a log is opened whose older segments are gone.
    slots_from: u64,
    bytes: u64,
    recent: VecDeque<Recent>,
    recent_bytes: usize,
    appended: AppendNumber,
    durable: AppendNumber,
    /// Counts truncations and purges, so that a read from disk knows that it ran across one.
    removals: u64,
    failure: Option<String>,
}

/// Where an entry's record lies.
#[derive(Clone, Copy, Debug)]
pub(super) struct Slot {
    /// Meaningless until the entry is durable, and so is `offset`.
    pub(super) segment: SegmentNumber,
    /// In the segment's file.
    pub(super) offset: u32,
    /// Of the record, without what sectors add to it.
    pub(super) bytes: u32,
}

impl Slot {
    fn unplaced(bytes: usize) -> Self {
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
        Self { segment: SegmentNumber(0), offset: 0, bytes }
    }
}

struct Recent {
    entry: Entry,
    bytes: usize,
    append: AppendNumber,
}

/// Where the entries of a read are.
pub(super) struct Plan {
    /// The index of the first one to be read from disk.
    pub(super) start: u64,
    /// To be read from disk, before ...
    pub(super) disk: Vec<Slot>,
    /// ... these.
    pub(super) recent: Vec<Entry>,
    /// What [`Memory::removals`] was.
    pub(super) removals: u64,
}

impl Memory {
    /// What the disk holds begins with this; its entries follow, or are no longer there.
    pub(super) fn begin(&mut self, head: Head) {
        self.head = head;
        self.slots_from = head.bounds.end();
    }

    /// Takes over a change found on disk; an entry's place must have been checked.
    pub(super) fn replay(&mut self, change: Change, slot: Slot) {
        match change {
            Change::Append(entry) => {
                self.push(entry, slot);
                self.evict();
            }
            Change::Truncate(last) => self.truncate_after(last),
            Change::Purge(upto) => self.purge(upto),
            Change::Vote(_) | Change::Committed(_) => self.head.apply(&change),
        }
    }

    /// The first entry of the log that is nowhere on disk.
    pub(super) fn missing(&self) -> Option<u64> {
        let bounds = &self.head.bounds;
        let all = bounds.is_empty() || (!self.slots.is_empty() && self.slots_from == bounds.first);
        (!all).then_some(bounds.first)
    }

    pub(super) fn head(&self) -> Head {
        self.head
    }

    pub(super) fn bounds(&self) -> Bounds {
        self.head.bounds
    }

    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    pub(super) fn removals(&self) -> u64 {
        self.removals
    }

    /// A vote that is durable.
    pub(super) fn set_vote(&mut self, vote: Option<Vote>) {
        self.head.vote = vote;
    }

    pub(super) fn set_committed(&mut self, committed: Option<LogId>) {
        self.head.committed = committed;
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

    /// Makes entries readable; each comes with the bytes of its record.
    pub(super) fn append(
        &mut self,
        entries: impl IntoIterator<Item = (Entry, usize)>,
    ) -> AppendNumber {
        self.appended += 1;
        for (entry, bytes) in entries {
            self.push(entry, Slot::unplaced(bytes));
        }
        self.appended
    }

    /// Says where an entry lies on disk. It may have been purged or truncated since; if another
    /// took its place, that one is still among the recent ones and will be placed later.
    pub(super) fn place(&mut self, index: u64, slot: Slot) {
        let at = index.checked_sub(self.slots_from).and_then(|at| usize::try_from(at).ok());
        if let Some(known) = at.and_then(|at| self.slots.get_mut(at)) {
            *known = Slot { bytes: known.bytes, ..slot };
        }
    }

    /// The appends up to this one are durable, and placed.
    pub(super) fn flushed(&mut self, upto: AppendNumber) {
        self.durable = self.durable.max(upto);
        self.evict();
    }

    /// Removes all after `last`, but nothing purged.
    pub(super) fn truncate_after(&mut self, last: Option<LogId>) {
        self.head.apply(&Change::Truncate(last));
        let end = self.head.bounds.end();
        while !self.slots.is_empty() && self.slots_end() > end {
            self.bytes -= self.slots.pop_back().map_or(0, |slot| u64::from(slot.bytes));
            self.recent_bytes -= self.recent.pop_back().map_or(0, |cut| cut.bytes);
        }
        self.slots_from = self.slots_from.min(end);
        self.removals += 1;
    }

    /// Removes all up to `upto`, which may lie beyond the end: a snapshot came instead.
    pub(super) fn purge(&mut self, upto: LogId) {
        self.head.apply(&Change::Purge(upto));
        while !self.slots.is_empty() && self.slots_from <= upto.index {
            self.bytes -= self.slots.pop_front().map_or(0, |slot| u64::from(slot.bytes));
            self.slots_from += 1;
            if self.recent.len() > self.slots.len() {
                self.recent_bytes -= self.recent.pop_front().map_or(0, |old| old.bytes);
            }
        }
        self.removals += 1;
    }

    /// Where to read a range, of it the first entries that fit into `bytes_max`, but at least one.
    pub(super) fn plan(&self, range: Range<u64>, bytes_max: usize) -> Plan {
        let start = range.start.max(self.slots_from);
        let end = range.end.min(self.slots_end());
        let slot = |index: u64| self.slots[(index - self.slots_from) as usize];
        let mut stop = start;
        let mut bytes = 0;
        while stop < end {
            bytes += slot(stop).bytes as usize;
            if bytes > bytes_max && stop > start {
                break;
            }
            stop += 1;
        }
        let recent_start = self.slots_end() - self.recent.len() as u64;
        let split = recent_start.clamp(start, stop);
        let recent = (split..stop)
            .map(|index| self.recent[(index - recent_start) as usize].entry.clone())
            .collect();
        let disk = (start..split).map(slot).collect();
        Plan { start, disk, recent, removals: self.removals }
    }

    fn slots_end(&self) -> u64 {
        self.slots_from + self.slots.len() as u64
    }

    fn push(&mut self, entry: Entry, slot: Slot) {
        if self.slots.is_empty() {
            self.slots_from = entry.log_id.index;
        }
        self.slots.push_back(slot);
        self.bytes += u64::from(slot.bytes);
        let bytes = slot.bytes as usize;
        self.recent_bytes += bytes;
        self.head.bounds.append(entry.log_id);
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
