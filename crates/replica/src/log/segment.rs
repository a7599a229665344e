//! One file of the log: its name, its header, and how it comes into being.
//!
//! A segment is made ahead of need: written full of zeros, synced, and only then given its name.
//! Filling it later changes neither its size nor which blocks it has, so making a batch durable
//! costs no journal commit of the file system, and cannot fail for want of room.

use std::io;

use super::folder::{Folder, SegmentFile};
use super::sector::{PAGE_SECTORS, SECTOR, Salt};
use std::sync::Arc;

/// Bytes of a segment.
pub(super) const SEGMENT_BYTES: u32 = 16 << 20;
/// The least that a test may ask for: room for a header, a batch that begins it, and one more.
pub(super) const SEGMENT_BYTES_MIN: u32 = 16 << 10;
/// Zeros written between two syncs, so that no batch waits long behind them.
const FILL_BYTES: usize = 1 << 20;

const MAGIC: [u8; 8] = *b"ccl-raft";
/// The format this version writes and reads.
pub(super) const FORMAT: u32 = 1;
/// The first sector that a batch may take; the header has a page of its own.
pub(super) const FIRST_SECTOR: u32 = PAGE_SECTORS;

/// Where a segment is written before it has its name.
pub(super) const UNFINISHED: &str = "next.tmp";
const SUFFIX: &str = ".seg";

/// Whose log this is. Files of another one are refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Owner {
    /// The domain.
    pub domain: [u8; 16],
    /// The member of it.
    pub raft_id: u64,
}

/// Numbers the segments of a log, from 1, without gaps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct SegmentNumber(pub(super) u32);

impl SegmentNumber {
    pub(super) const FIRST: Self = Self(1);

    pub(super) fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }

    pub(super) fn file_name(self) -> String {
        format!("{:08x}{SUFFIX}", self.0)
    }

    pub(super) fn from_file_name(name: &str) -> Option<Self> {
        let stem = name.strip_suffix(SUFFIX)?;
        let number = Self(u32::from_str_radix(stem, 16).ok()?);
        (number.file_name() == name).then_some(number)
    }
}

/// The first sector of every segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) owner: Owner,
    pub(super) number: SegmentNumber,
    pub(super) bytes: u32,
}

/// What is wrong with a header.
pub(super) enum HeaderFault {
    /// It is no header of this format, or not intact.
    Damaged,
    /// It is of another format.
    Format(u32),
}

impl Header {
    pub(super) fn salt(&self) -> Salt {
        Salt::of(&self.owner, self.number)
    }

    pub(super) fn encode(&self) -> [u8; SECTOR] {
        let mut sector = [0; SECTOR];
        sector[..8].copy_from_slice(&MAGIC);
        sector[8..12].copy_from_slice(&FORMAT.to_be_bytes());
        sector[12..28].copy_from_slice(&self.owner.domain);
        sector[28..36].copy_from_slice(&self.owner.raft_id.to_be_bytes());
        sector[36..40].copy_from_slice(&self.number.0.to_be_bytes());
        sector[40..44].copy_from_slice(&self.bytes.to_be_bytes());
        let sum = crc32c::crc32c(&sector[..SECTOR - 4]);
        sector[SECTOR - 4..].copy_from_slice(&sum.to_be_bytes());
        sector
    }

    /// Reads a header back. A later format need only keep the magic, the format and the checksum.
    pub(super) fn decode(sector: &[u8]) -> Result<Self, HeaderFault> {
        let fields = Fields::of(sector).ok_or(HeaderFault::Damaged)?;
        if fields.format != FORMAT {
            return Err(HeaderFault::Format(fields.format));
        }
        if fields.header.encode() != sector {
            return Err(HeaderFault::Damaged);
        }
        Ok(fields.header)
    }
}

struct Fields {
    format: u32,
    header: Header,
}

impl Fields {
    fn of(sector: &[u8]) -> Option<Self> {
        let (body, sum) = sector.split_last_chunk::<4>()?;
        let sound = sector.len() == SECTOR && crc32c::crc32c(body).to_be_bytes() == *sum;
        let body = body.strip_prefix(&MAGIC).filter(|_| sound)?;
        let (format, body) = body.split_first_chunk()?;
        let (domain, body) = body.split_first_chunk()?;
        let (raft_id, body) = body.split_first_chunk()?;
        let (number, body) = body.split_first_chunk()?;
        let (bytes, _) = body.split_first_chunk()?;
        let owner = Owner { domain: *domain, raft_id: u64::from_be_bytes(*raft_id) };
        let number = SegmentNumber(u32::from_be_bytes(*number));
        let header = Header { owner, number, bytes: u32::from_be_bytes(*bytes) };
        Some(Self { format: u32::from_be_bytes(*format), header })
    }
}

/// Makes a segment: header, `begin` as its first batch, zeros to its end; durable under its name
/// when this returns. After an error nothing of it is left, if the disk allows.
pub(super) fn make(
    folder: &dyn Folder,
    header: Header,
    begin: &[u8],
) -> io::Result<Arc<dyn SegmentFile>> {
    let made = fill(folder, header, begin).and_then(|file| {
        folder.rename(UNFINISHED, &header.number.file_name())?;
        folder.sync()?;
        Ok(file)
    });
    if made.is_err() {
        // Its blocks may be what others need now. What cannot be removed is overwritten next time.
        let _ = folder.remove(UNFINISHED);
    }
    made
}

fn fill(folder: &dyn Folder, header: Header, begin: &[u8]) -> io::Result<Arc<dyn SegmentFile>> {
    let file = folder.create(UNFINISHED)?;
    let zeros = vec![0; FILL_BYTES.min(header.bytes as usize)];
    let mut at = 0;
    while at < header.bytes as usize {
        let part = zeros.len().min(header.bytes as usize - at);
        file.write_at(at as u64, &zeros[..part])?;
        file.sync()?;
        at += part;
    }
    file.write_at(0, &header.encode())?;
    if !begin.is_empty() {
        file.write_at(u64::from(FIRST_SECTOR) * SECTOR as u64, begin)?;
    }
    file.sync()?;
    Ok(file)
}
