//! A batch as it lies in sectors: each carries its own checksum and says which batch it is part of
//! and how many sectors that batch has.
//!
//! Every sector is written once, from all zeros to its final content. So one sector alone tells
//! whether it was ever written, and any sector of a batch tells where the batch begins and ends.
//! What a payload means is `record`'s business.

use super::segment::{Owner, SegmentNumber};

/// What a disk writes whole or not at all; 512 bytes is the least that any promises.
pub(super) const SECTOR: usize = 512;
/// Checksum [4], batch [8], position [2], count [2].
const HEAD: usize = 16;
/// What a sector has room for.
pub(super) const PAYLOAD: usize = SECTOR - HEAD;
/// Each batch begins on a page of its own. The kernel writes whole pages, so otherwise each batch
/// would write the sectors of the one before it again, and those were acknowledged.
pub(super) const PAGE_SECTORS: u32 = 8;

/// Numbers the batches of a log, from 1, without gaps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct BatchNumber(pub(super) u64);

impl BatchNumber {
    pub(super) const FIRST: Self = Self(1);

    pub(super) fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

/// What enters each checksum of one segment beside the sector: whose log it is, and which segment.
/// A sector copied from elsewhere does not fit.
#[derive(Clone, Copy)]
pub(super) struct Salt(u32);

impl Salt {
    pub(super) fn of(owner: &Owner, segment: SegmentNumber) -> Self {
        let sum = crc32c::crc32c(&owner.domain);
        let sum = crc32c::crc32c_append(sum, &owner.raft_id.to_be_bytes());
        Self(crc32c::crc32c_append(sum, &segment.0.to_be_bytes()))
    }

    /// The checksum of a sector's bytes after their first four.
    pub(super) fn sum(self, sector: u32, rest: &[u8]) -> u32 {
        crc32c::crc32c_append(crc32c::crc32c_append(self.0, &sector.to_be_bytes()), rest)
    }
}

/// A checksum over the checksums of all sectors of all batches so far: two histories that differ
/// anywhere differ in it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Chain(pub(super) u32);

impl Chain {
    pub(super) fn with(self, sum: u32) -> Self {
        Self(crc32c::crc32c_append(self.0, &sum.to_be_bytes()))
    }
}

/// How many sectors a payload takes.
pub(super) fn sectors_for(payload: usize) -> usize {
    payload.div_ceil(PAYLOAD)
}

/// The first sector of the page at or after `sector`.
pub(super) fn page_from(sector: u32) -> u32 {
    sector.next_multiple_of(PAGE_SECTORS)
}

/// Where a byte of a batch's payload lies in the file.
pub(super) fn file_offset(first_sector: u32, payload_offset: usize) -> u64 {
    let sector = u64::from(first_sector) + (payload_offset / PAYLOAD) as u64;
    sector * SECTOR as u64 + (HEAD + payload_offset % PAYLOAD) as u64
}

/// Spreads the parts of a payload over sectors, padded with zeros. Answers the chain after them.
pub(super) fn seal(
    salt: Salt,
    first_sector: u32,
    batch: BatchNumber,
    parts: [&[u8]; 2],
    chain: Chain,
    out: &mut Vec<u8>,
) -> Chain {
    let [mut part, mut next] = parts;
    let count = sectors_for(part.len() + next.len());
    out.clear();
    out.reserve(count * SECTOR);
    let mut chain = chain;
    for position in 0..count {
        let start = position * SECTOR;
        out.extend_from_slice(&[0; 4]);
        out.extend_from_slice(&batch.0.to_be_bytes());
        out.extend_from_slice(&(position as u16).to_be_bytes());
        out.extend_from_slice(&(count as u16).to_be_bytes());
        let end = start + SECTOR;
        while out.len() < end && !(part.is_empty() && next.is_empty()) {
            if part.is_empty() {
                part = std::mem::take(&mut next);
            }
            let (taken, rest) = part.split_at(part.len().min(end - out.len()));
            out.extend_from_slice(taken);
            part = rest;
        }
        out.resize(end, 0);
        let sum = salt.sum(first_sector + position as u32, &out[start + 4..]);
        out[start..start + 4].copy_from_slice(&sum.to_be_bytes());
        chain = chain.with(sum);
    }
    chain
}

/// What one sector turns out to be.
pub(super) enum Sector<'a> {
    /// All zeros: never written.
    Blank,
    /// Sound.
    Written(Written<'a>),
    /// Neither.
    Damaged,
}

/// A sound sector.
pub(super) struct Written<'a> {
    pub(super) batch: BatchNumber,
    /// Which of the batch's sectors it is, from 0.
    pub(super) position: u32,
    /// How many sectors the batch has.
    pub(super) count: u32,
    pub(super) sum: u32,
    pub(super) payload: &'a [u8],
}

/// Judges the sector with this number in its segment.
pub(super) fn judge(salt: Salt, number: u32, sector: &[u8]) -> Sector<'_> {
    if sector == [0; SECTOR] {
        return Sector::Blank;
    }
    written(salt, number, sector).map_or(Sector::Damaged, Sector::Written)
}

fn written(salt: Salt, number: u32, sector: &[u8]) -> Option<Written<'_>> {
    let (sum, rest) = sector.split_first_chunk::<4>()?;
    let sum = u32::from_be_bytes(*sum);
    if sum != salt.sum(number, rest) {
        return None;
    }
    let (batch, rest) = rest.split_first_chunk::<8>()?;
    let (position, rest) = rest.split_first_chunk::<2>()?;
    let (count, payload) = rest.split_first_chunk::<2>()?;
    let position = u32::from(u16::from_be_bytes(*position));
    let count = u32::from(u16::from_be_bytes(*count));
    let batch = BatchNumber(u64::from_be_bytes(*batch));
    (position < count).then_some(Written { batch, position, count, sum, payload })
}

/// Takes `len` bytes of payload that begin at `offset` in the file out of the sectors in `bytes`,
/// which begin with sector `first`. None: they are not all there, or not sound.
pub(super) fn unseal(
    salt: Salt,
    bytes: &[u8],
    first: u32,
    offset: u64,
    len: usize,
) -> Option<Vec<u8>> {
    let mut number = u32::try_from(offset / SECTOR as u64).ok()?;
    let mut within = (offset % SECTOR as u64).checked_sub(HEAD as u64)? as usize;
    let mut payload = Vec::with_capacity(len);
    while payload.len() < len {
        let at = number.checked_sub(first)? as usize * SECTOR;
        let written = written(salt, number, bytes.get(at..at + SECTOR)?)?;
        let rest = &written.payload[within..];
        payload.extend_from_slice(&rest[..rest.len().min(len - payload.len())]);
        (number, within) = (number + 1, 0);
    }
    Some(payload)
}

/// The sectors of a segment that `len` bytes of payload from `offset` on lie in: first, and the one
/// after the last.
pub(super) fn span(offset: u64, len: usize) -> (u32, u32) {
    let first = offset / SECTOR as u64;
    let within = ((offset % SECTOR as u64) as usize).saturating_sub(HEAD);
    (first as u32, (first + (within + len).div_ceil(PAYLOAD).max(1) as u64) as u32)
}
