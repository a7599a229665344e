//! Reading a log when it is opened: all of it, every sector, and what it adds up to.
//!
//! Three things can be told apart without guessing, because a batch is written only after the one
//! before it was synced, and each sector only once. What was *never written* is zeros. An *unfinished
//! batch* is the last thing in the log, and what it lacks is zeros: it was never acknowledged and is
//! made zeros again. Everything else that is not sound is *damage*, and nothing is changed.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::sync::Arc;

use bytes::Bytes;

use super::error::Damage;
use super::folder::{Folder, SegmentFile};
use super::journal::Extent;
use super::memory::{Memory, Slot};
use super::record::{Change, Opening, Record, RecordFault, decode};
use super::sector::{
    BatchNumber, Chain, SECTOR, Salt, Sector, Written, file_offset, judge, page_from,
};
use super::segment::{
    FIRST_SECTOR, Header, HeaderFault, Owner, SEGMENT_BYTES_MIN, SegmentNumber, UNFINISHED,
};
use super::supply::Ready;

/// Why a log cannot be opened.
pub(super) enum Fault {
    Io(io::Error),
    Damage(Damage),
    Format(u32),
}

impl From<io::Error> for Fault {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl From<Damage> for Fault {
    fn from(damage: Damage) -> Self {
        Self::Damage(damage)
    }
}

/// A log as found.
pub(super) struct Found {
    pub(super) files: BTreeMap<SegmentNumber, Arc<dyn SegmentFile>>,
    /// The segments that hold batches, oldest first; never empty.
    pub(super) extents: VecDeque<Extent>,
    /// Those after them, still blank.
    pub(super) ready: VecDeque<Ready>,
    /// The first sector of the last segment with batches that the next batch may take.
    pub(super) next_sector: u32,
    /// Sectors of that segment.
    pub(super) sectors: u32,
    pub(super) next_batch: BatchNumber,
    pub(super) chain: Chain,
}

/// The numbers of the segments that are there.
pub(super) fn numbers(folder: &dyn Folder) -> io::Result<Vec<SegmentNumber>> {
    let names = folder.names()?;
    let mut numbers: Vec<_> =
        names.iter().filter_map(|name| SegmentNumber::from_file_name(name)).collect();
    numbers.sort_unstable();
    Ok(numbers)
}

/// Reads and checks everything; what it adds up to is in `memory` then.
pub(super) fn open(folder: &dyn Folder, owner: Owner, memory: &mut Memory) -> Result<Found, Fault> {
    // A killed process may have named segments and not synced their names.
    folder.sync()?;
    let numbers = numbers(folder)?;
    let (Some(first), Some(last)) = (numbers.first(), numbers.last()) else {
        return Err(Damage::NoSegment.into());
    };
    for (number, found) in (first.0..=last.0).zip(&numbers) {
        if number != found.0 {
            return Err(Damage::NoFile { segment: number }.into());
        }
    }
    let mut replay = Replay {
        memory,
        files: BTreeMap::new(),
        extents: VecDeque::new(),
        ready: VecDeque::new(),
        end: None,
        torn: None,
    };
    let mut bytes = Vec::new();
    for &number in &numbers {
        let file = folder.open(&number.file_name())?;
        // What an earlier process wrote and did not sync may be in memory only, and what it failed
        // to sync may differ there from the disk. From here on only the disk counts.
        file.sync()?;
        file.forget()?;
        let header = read(&*file, owner, number, &mut bytes)?;
        replay.segment(header, file, &bytes)?;
    }
    let Some(End { batch, chain, next_sector, sectors }) = replay.end else {
        return Err(Damage::Break { segment: first.0 }.into());
    };
    if let Some(index) = replay.memory.missing() {
        return Err(Damage::Missing { index }.into());
    }
    if let Some(torn) = replay.torn {
        torn.blank()?;
    }
    // Only now, when nothing speaks against this log, is anything else changed.
    match folder.remove(UNFINISHED) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error.into()),
        _ => {}
    }
    Ok(Found {
        files: replay.files,
        extents: replay.extents,
        ready: replay.ready,
        next_sector,
        sectors,
        next_batch: batch.next(),
        chain,
    })
}

/// Reads a whole file and checks its header and its size.
fn read(
    file: &dyn SegmentFile,
    owner: Owner,
    number: SegmentNumber,
    bytes: &mut Vec<u8>,
) -> Result<Header, Fault> {
    let segment = number.0;
    let mut sector = [0; SECTOR];
    let found = file.len()?;
    if found < SECTOR as u64 {
        return Err(Damage::Header { segment }.into());
    }
    file.read_at(0, &mut sector)?;
    let header = Header::decode(&sector).map_err(|fault| match fault {
        HeaderFault::Format(format) => Fault::Format(format),
        HeaderFault::Damaged => Damage::Header { segment }.into(),
    })?;
    if header.owner != owner || header.number != number {
        let Header { owner: Owner { domain, raft_id }, number, .. } = header;
        let domain = u128::from_be_bytes(domain);
        let number = number.0;
        let found = format!("segment {number:08x} of Raft id {raft_id} in domain {domain:032x}");
        return Err(Damage::Foreign { segment, found }.into());
    }
    let expected = u64::from(header.bytes);
    if found != expected || header.bytes < SEGMENT_BYTES_MIN || !expected.is_multiple_of(4096) {
        return Err(Damage::Size { segment, found, expected }.into());
    }
    bytes.resize(header.bytes as usize, 0);
    file.read_at(0, bytes)?;
    Ok(header)
}

struct Replay<'a> {
    memory: &'a mut Memory,
    files: BTreeMap<SegmentNumber, Arc<dyn SegmentFile>>,
    extents: VecDeque<Extent>,
    ready: VecDeque<Ready>,
    /// Where the last sound batch ends.
    end: Option<End>,
    torn: Option<Torn>,
}

#[derive(Clone, Copy)]
struct End {
    batch: BatchNumber,
    chain: Chain,
    next_sector: u32,
    sectors: u32,
}

/// An unfinished batch.
struct Torn {
    file: Arc<dyn SegmentFile>,
    first: u32,
    end: u32,
}

impl Torn {
    /// Makes it zeros, durably, before anything else is written. The power may go meanwhile: less
    /// of it is then found at the next start.
    fn blank(&self) -> io::Result<()> {
        let zeros = vec![0; (self.end - self.first) as usize * SECTOR];
        self.file.write_at(u64::from(self.first) * SECTOR as u64, &zeros)?;
        self.file.sync()
    }
}

impl Replay<'_> {
    fn segment(
        &mut self,
        header: Header,
        file: Arc<dyn SegmentFile>,
        bytes: &[u8],
    ) -> Result<(), Fault> {
        let segment = Segment { number: header.number, salt: header.salt(), bytes };
        segment.expect_blank(1, FIRST_SECTOR)?;
        let mut at = FIRST_SECTOR;
        let mut extent = None;
        while let Some(batch) = segment.next_batch(at, self.end.map(|end| end.batch))? {
            if self.torn.is_some() || !self.ready.is_empty() {
                return Err(segment.misfit(batch.first, self.end.map(|end| end.batch)).into());
            }
            at = page_from(batch.end);
            segment.expect_blank(batch.end, at)?;
            if !batch.is_whole {
                segment.expect_blank(at, segment.sectors())?;
                self.torn = Some(Torn { file: file.clone(), first: batch.first, end: batch.end });
                break;
            }
            let extent = extent.get_or_insert(Extent { segment: header.number, last_index: None });
            let before = self.batch(&segment, &batch, &mut extent.last_index)?;
            let chain = batch.sums.iter().fold(before, |chain, sum| chain.with(*sum));
            let sectors = segment.sectors();
            self.end = Some(End { batch: batch.number, chain, next_sector: at, sectors });
        }
        match extent {
            Some(extent) => {
                self.extents.push_back(extent);
                self.files.insert(header.number, file);
            }
            None => self.ready.push_back((header.number, file)),
        }
        Ok(())
    }

    fn batch(
        &mut self,
        segment: &Segment<'_>,
        batch: &Batch,
        last_index: &mut Option<u64>,
    ) -> Result<Chain, Fault> {
        let number = segment.number.0;
        let mut chain = self.end.map_or(Chain::default(), |end| end.chain);
        let mut offset = 0;
        loop {
            let decoded = decode(&batch.payload.slice(offset..));
            let record = decoded.map_err(|fault| segment.fault(batch, fault))?;
            let begins = batch.first == FIRST_SECTOR && offset == 0;
            let at = file_offset(batch.first, offset);
            offset += record.as_ref().map_or(0, |(_, bytes)| *bytes);
            match record {
                Some((Record::Opening(opening), _)) if begins => {
                    chain = self.opening(number, opening)?;
                }
                _ if begins => return Err(Damage::Break { segment: number }.into()),
                None => return Ok(chain),
                Some((Record::Opening(_), _)) => {
                    return Err(segment.fault(batch, RecordFault::Content).into());
                }
                Some((Record::Change(change), bytes)) => {
                    if let Change::Append(entry) = &change {
                        let (found, bounds) = (entry.log_id, self.memory.bounds());
                        if !bounds.continues_with(found) {
                            return Err(Damage::Order { found, last: bounds.last }.into());
                        }
                        *last_index = (*last_index).max(Some(found.index));
                    }
                    let slot =
                        Slot { segment: segment.number, offset: at as u32, bytes: bytes as u32 };
                    self.memory.replay(change, slot);
                }
            }
        }
    }

    /// What a segment says of those before it must be what they add up to, if they are there.
    /// Answers the chain over them.
    fn opening(&mut self, segment: u32, opening: Opening) -> Result<Chain, Damage> {
        match self.end {
            None => self.memory.begin(opening.head),
            Some(end) => {
                if opening != (Opening { head: self.memory.head(), chain: end.chain }) {
                    return Err(Damage::Break { segment });
                }
            }
        }
        Ok(opening.chain)
    }
}

/// One segment's bytes.
struct Segment<'a> {
    number: SegmentNumber,
    salt: Salt,
    bytes: &'a [u8],
}

struct Batch {
    number: BatchNumber,
    first: u32,
    end: u32,
    payload: Bytes,
    /// Of the sectors that are there.
    sums: Vec<u32>,
    /// All of them are there.
    is_whole: bool,
}

impl Segment<'_> {
    fn sectors(&self) -> u32 {
        (self.bytes.len() / SECTOR) as u32
    }

    fn sector(&self, number: u32) -> Result<Option<Written<'_>>, Damage> {
        let start = number as usize * SECTOR;
        match judge(self.salt, number, &self.bytes[start..start + SECTOR]) {
            Sector::Blank => Ok(None),
            Sector::Written(written) => Ok(Some(written)),
            Sector::Damaged => Err(Damage::Sector { segment: self.number.0, sector: number }),
        }
    }

    fn expect_blank(&self, from: u32, end: u32) -> Result<(), Damage> {
        for number in from..end.min(self.sectors()) {
            if self.sector(number)?.is_some() {
                return Err(self.misfit(number, None));
            }
        }
        Ok(())
    }

    /// The batch at sector `at` that follows `after`. None: everything from there on is blank.
    fn next_batch(&self, at: u32, after: Option<BatchNumber>) -> Result<Option<Batch>, Damage> {
        let mut found = None;
        for number in at..self.sectors() {
            if let Some(written) = self.sector(number)? {
                found = Some((number, written));
                break;
            }
        }
        let Some((number, known)) = found else { return Ok(None) };
        let misfit = || self.misfit(number, after);
        let expected = match after {
            Some(after) => after.next(),
            None if self.number == SegmentNumber::FIRST => BatchNumber::FIRST,
            None => known.batch,
        };
        let end = at + known.count;
        if known.batch != expected || number - at != known.position || end > self.sectors() {
            return Err(misfit());
        }
        let mut payload = Vec::with_capacity(known.count as usize * SECTOR);
        let mut sums = Vec::with_capacity(known.count as usize);
        let mut is_whole = true;
        for number in at..end {
            let Some(written) = self.sector(number)? else {
                is_whole = false;
                continue;
            };
            let place = (written.batch, written.position, written.count);
            if place != (known.batch, number - at, known.count) {
                return Err(self.misfit(number, after));
            }
            payload.extend_from_slice(written.payload);
            sums.push(written.sum);
        }
        Ok(Some(Batch {
            number: known.batch,
            first: at,
            end,
            payload: payload.into(),
            sums,
            is_whole,
        }))
    }

    fn misfit(&self, sector: u32, after: Option<BatchNumber>) -> Damage {
        let after = after.map_or(0, |after| after.0);
        Damage::Misfit { segment: self.number.0, sector, after }
    }

    fn fault(&self, batch: &Batch, fault: RecordFault) -> Damage {
        let (segment, batch) = (self.number.0, batch.number.0);
        match fault {
            RecordFault::Kind(kind) => Damage::Kind { batch, kind },
            RecordFault::Entry(source) => Damage::EntryRecord { segment, batch, source },
            RecordFault::Checksum | RecordFault::Content => Damage::Record { segment, batch },
        }
    }
}
