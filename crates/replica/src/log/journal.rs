//! What of the log is on disk: segments, filled one after another, one sync a batch.
//!
//! `create` and `open` make or find it; changes are added one by one and made durable together by
//! `commit`. Nothing here knows of queues, callbacks or what readers may see. The format is in
//! `sector`, `segment` and `record`; docs/decisions/0007-a-raft-log-of-our-own.md says why it is so.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;

use super::error::Damage;
use super::folder::{Folder, SegmentFile};
use super::memory::{Memory, Slot};
use super::open::{Fault, open};
use super::read::Files;
use super::record::{
    Change, Head, Opening, SMALL_FRAME_MAX, encode_change, encode_opening, framed_len,
};
use super::sector::{
    BatchNumber, Chain, PAYLOAD, SECTOR, Salt, file_offset, page_from, seal, sectors_for,
};
use super::segment::{FIRST_SECTOR, Header, Owner, SegmentNumber, make};
use super::supply::Supply;

/// Payload of one batch at most, unless one entry is larger: what one sync waits for.
const BATCH_BYTES_MAX: usize = 2 << 20;

/// A segment that holds batches.
#[derive(Clone, Copy, Debug)]
pub(super) struct Extent {
    pub(super) segment: SegmentNumber,
    /// The highest index among its entries, truncated ones included.
    pub(super) last_index: Option<u64>,
}

/// The writing end of a log.
pub(super) struct Journal {
    owner: Owner,
    files: Arc<Files>,
    supply: Arc<Supply>,
    /// Oldest first; the last one is being written.
    extents: VecDeque<Extent>,
    active: Active,
    next_batch: BatchNumber,
    chain: Chain,
    batch_bytes_max: usize,
    /// As it is on disk.
    durable: Head,
    /// With what was added since.
    head: Head,
    /// Records added since the last commit.
    payload: Vec<u8>,
    /// Of them the entries: index, offset in `payload`, bytes.
    marks: Vec<(u64, usize, usize)>,
    /// Entries made durable, for whoever asks by `take_placed`.
    placed: Vec<(u64, Slot)>,
    /// Kept to be filled again.
    sealed: Vec<u8>,
    opening: Vec<u8>,
}

struct Active {
    number: SegmentNumber,
    file: Arc<dyn SegmentFile>,
    salt: Salt,
    next_sector: u32,
    sectors: u32,
}

/// The largest record that a segment of this size takes.
pub(super) fn record_bytes_max(segment_bytes: u32) -> usize {
    let sectors = segment_bytes as usize / SECTOR - FIRST_SECTOR as usize;
    sectors * PAYLOAD - SMALL_FRAME_MAX
}

/// Makes the first segment of a log that never was.
pub(super) fn create(folder: &dyn Folder, owner: Owner, segment_bytes: u32) -> io::Result<()> {
    let header = Header { owner, number: SegmentNumber::FIRST, bytes: segment_bytes };
    let (mut opening, mut sealed) = (Vec::new(), Vec::new());
    encode_opening(&Opening { head: Head::default(), chain: Chain::default() }, &mut opening);
    seal(
        header.salt(),
        FIRST_SECTOR,
        BatchNumber::FIRST,
        [&opening, &[]],
        Chain::default(),
        &mut sealed,
    );
    make(folder, header, &sealed).map(drop)
}

impl Journal {
    /// Opens a log that is there and checks all of it; `memory` takes over what it holds.
    pub(super) fn open(
        folder: Arc<dyn Folder>,
        owner: Owner,
        segment_bytes: u32,
        memory: &mut Memory,
    ) -> Result<Self, Fault> {
        let found = open(&*folder, owner, memory)?;
        let last = found.files.last_key_value();
        let (number, file) = last
            .map(|(number, file)| (*number, file.clone()))
            .ok_or(Fault::Damage(Damage::NoSegment))?;
        let after = found.ready.back().map_or(number, |(number, _)| *number).next();
        let supply = Supply::start(folder, owner, segment_bytes, found.ready, after)?;
        let active = Active {
            number,
            file,
            salt: Salt::of(&owner, number),
            next_sector: found.next_sector,
            sectors: found.sectors,
        };
        let head = memory.head();
        Ok(Self {
            owner,
            files: Arc::new(Files::new(owner, found.files)),
            supply: Arc::new(supply),
            extents: found.extents,
            active,
            next_batch: found.next_batch,
            chain: found.chain,
            batch_bytes_max: BATCH_BYTES_MAX.min(record_bytes_max(segment_bytes)),
            durable: head,
            head,
            payload: Vec::new(),
            marks: Vec::new(),
            placed: Vec::new(),
            sealed: Vec::new(),
            opening: Vec::new(),
        })
    }

    pub(super) fn files(&self) -> Arc<Files> {
        self.files.clone()
    }

    pub(super) fn supply(&self) -> Arc<Supply> {
        self.supply.clone()
    }

    /// The state on disk.
    pub(super) fn durable(&self) -> Head {
        self.durable
    }

    /// Adds a change to the next batch; commits the ones before it first if they would not fit
    /// together. After an error, nothing more may be written.
    pub(super) fn add(&mut self, change: &Change) -> io::Result<()> {
        let expected = match change {
            Change::Append(entry) => framed_len(entry),
            _ => SMALL_FRAME_MAX,
        };
        if !self.payload.is_empty() && self.payload.len() + expected > self.batch_bytes_max {
            self.commit()?;
        }
        let start = self.payload.len();
        encode_change(change, &mut self.payload);
        if let Change::Append(entry) = change {
            self.marks.push((entry.log_id.index, start, self.payload.len() - start));
        }
        self.head.apply(change);
        Ok(())
    }

    /// Makes everything added durable: when this returns, it survives a power loss. Waits while
    /// there is no room. After an error, nothing more may be written.
    pub(super) fn commit(&mut self) -> io::Result<()> {
        if self.payload.is_empty() {
            return Ok(());
        }
        self.opening.clear();
        if self.active.next_sector as usize + sectors_for(self.payload.len())
            > self.active.sectors as usize
        {
            self.roll()?;
        }
        let active = &mut self.active;
        let first = active.next_sector;
        let parts = [&self.opening[..], &self.payload[..]];
        self.chain = seal(active.salt, first, self.next_batch, parts, self.chain, &mut self.sealed);
        active.file.write_at(u64::from(first) * SECTOR as u64, &self.sealed)?;
        active.file.sync()?;

        active.next_sector = page_from(first + (self.sealed.len() / SECTOR) as u32);
        self.next_batch = self.next_batch.next();
        self.durable = self.head;
        let extent = self.extents.back_mut();
        let highest = self.marks.iter().map(|(index, ..)| *index).max();
        if let Some(extent) = extent {
            extent.last_index = extent.last_index.max(highest);
        }
        for (index, start, bytes) in self.marks.drain(..) {
            let offset = file_offset(first, self.opening.len() + start) as u32;
            let slot = Slot { segment: active.number, offset, bytes: bytes as u32 };
            self.placed.push((index, slot));
        }
        self.payload.clear();
        self.shrink();
        self.drop_waste();
        Ok(())
    }

    /// Where the entries lie that were made durable since this was last asked.
    pub(super) fn take_placed(&mut self) -> std::vec::Drain<'_, (u64, Slot)> {
        self.placed.drain(..)
    }

    /// Goes on in the next segment, which is to begin with the state so far.
    fn roll(&mut self) -> io::Result<()> {
        let (number, file) = self.supply.take()?;
        let sectors = (file.len()? / SECTOR as u64) as u32;
        let salt = Salt::of(&self.owner, number);
        self.files.insert(number, file.clone());
        self.extents.push_back(Extent { segment: number, last_index: None });
        self.active = Active { number, file, salt, next_sector: FIRST_SECTOR, sectors };
        let opening = Opening { head: self.durable, chain: self.chain };
        encode_opening(&opening, &mut self.opening);
        Ok(())
    }

    /// Lets go of the oldest segments whose entries are all purged, durably so. What else they say,
    /// later segments repeat.
    fn drop_waste(&mut self) {
        let Some(purged) = self.durable.bounds.purged else { return };
        while self.extents.len() > 1
            && let Some(oldest) = self.extents.front()
            && oldest.last_index.is_none_or(|last| last <= purged.index)
        {
            self.files.remove(oldest.segment);
            self.supply.discard(oldest.segment);
            self.extents.pop_front();
        }
    }

    /// One large batch does not keep its memory for ever.
    fn shrink(&mut self) {
        const KEEP_BYTES: usize = 256 << 10;
        self.payload.shrink_to(KEEP_BYTES);
        self.sealed.shrink_to(KEEP_BYTES);
    }
}
