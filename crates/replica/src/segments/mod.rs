//! The audit history on this node's disk: append-only segment files.
//!
//! Apply appends each round's steps with plain writes; a segment is fsynced when it rolls and
//! before a snapshot names it. So after an unclean stop only what the last durable snapshot names
//! counts: `scan` cuts the files back to there, and replay writes the rest again. A start reads only
//! the file that is cut; `scrub` checks the older ones after it, so that a long history delays
//! nothing. How a step looks in a file is `conclave_audit::segment`'s business, and where segments
//! roll is the store's.

mod read;
mod scan;
mod scrub;

use std::collections::VecDeque;
use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};

use conclave_audit::segment::{self, Header};
use conclave_audit::{DomainId, Hash};
use conclave_proto::audit::Step;

use crate::disk::{FileError, OnFile, create_dir, is_full, sync_dir};

pub use read::STEPS_PER_READ_MAX;

/// The offset of every so many steps is kept in memory.
const MARK_EVERY: u64 = 64;

/// The segment files of one domain on one node.
#[derive(Debug)]
pub(crate) struct Segments {
    dir: PathBuf,
    domain: DomainId,
    /// Oldest first; the last one is being written.
    segments: Vec<Segment>,
    tail: Option<Tail>,
    /// Appended but not yet written, in order.
    pending: VecDeque<Pending>,
    /// Index after the last step that was handed to the system.
    written: u64,
}

/// The last file there is.
#[derive(Debug)]
struct Tail {
    number: u64,
    file: File,
}

/// Bytes for the end of one file, which begins with them if it is not there yet.
#[derive(Debug)]
struct Pending {
    number: u64,
    bytes: Vec<u8>,
}

/// One file, and where in it some of its steps are.
#[derive(Clone, Debug)]
struct Segment {
    number: u64,
    /// Index of its first step.
    first: u64,
    /// Index after its last step.
    end: u64,
    /// Bytes of the file, pending ones included.
    bytes: u64,
    /// (index, offset) of every [`MARK_EVERY`]th step, the first included; none of a file that was
    /// not read since the start.
    marks: Marks,
}

type Marks = Vec<(u64, u64)>;

impl Segment {
    fn new(number: u64, first: u64) -> Self {
        let bytes = segment::HEADER_LEN as u64;
        Self { number, first, end: first, bytes, marks: Vec::new() }
    }

    /// Counts the step at `self.end`, whose frame ends at `end_offset`.
    fn count(&mut self, end_offset: u64) {
        if (self.end - self.first).is_multiple_of(MARK_EVERY) {
            self.marks.push((self.end, self.bytes));
        }
        self.end += 1;
        self.bytes = end_offset;
    }
}

/// Where a chain of steps ends: how many there are, and the hash after the last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ChainEnd {
    pub(crate) size: u64,
    pub(crate) hash: Hash,
}

impl Segments {
    /// Opens the files, cut back to `keep`, which the last durable snapshot names. The last file is
    /// read and checked against the chain; those before it are for [`Segments::scrub`].
    pub(crate) fn open(
        dir: &Path,
        domain: DomainId,
        keep: ChainEnd,
    ) -> Result<Self, SegmentsError> {
        create_dir(dir).on(dir)?;
        let segments = scan::cut_back(dir, domain, keep)?;
        let mut tail = None;
        if let Some(last) = segments.last() {
            let path = path_of(dir, last.number);
            let file = OpenOptions::new().append(true).open(&path).on(&path)?;
            tail = Some(Tail { number: last.number, file });
        }
        let pending = VecDeque::new();
        let mut opened = Self { dir: dir.to_owned(), domain, segments, tail, pending, written: 0 };
        opened.written = opened.end();
        Ok(opened)
    }

    /// Index of the step that comes next.
    pub(crate) fn end(&self) -> u64 {
        self.segments.last().map_or(0, |segment| segment.end)
    }

    /// Appends the next step, which belongs into segment `number`. Nothing is written before
    /// [`Segments::write`].
    pub(crate) fn append(&mut self, number: u64, step: &Step) -> Result<(), SegmentsError> {
        let (current, end) = (self.segments.last().map_or(0, |last| last.number), self.end());
        if step.index != end || number < current || number > current + 1 {
            return Err(SegmentsError::OutOfOrder { index: step.index, number, end, current });
        }
        if number != current {
            let header = Header { number, first_index: end, domain: self.domain };
            self.segments.push(Segment::new(number, end));
            self.pend(number, &segment::encode_header(&header));
        }
        let frame = segment::encode_frame(step);
        self.pend(number, &frame);
        if let Some(last) = self.segments.last_mut() {
            last.count(last.bytes + frame.len() as u64);
        }
        Ok(())
    }

    fn pend(&mut self, number: u64, bytes: &[u8]) {
        match self.pending.back_mut() {
            Some(last) if last.number == number => last.bytes.extend_from_slice(bytes),
            _ => self.pending.push_back(Pending { number, bytes: bytes.to_vec() }),
        }
    }

    /// Hands what was appended to the system; readable from then on. On a full disk the rest waits
    /// in memory for the next time: replay would write it again after any stop, and a log that
    /// finds no room soon ends the supply.
    pub(crate) fn write(&mut self) -> Result<(), SegmentsError> {
        while let Some(next) = self.pending.front_mut() {
            let path = path_of(&self.dir, next.number);
            let tail = match self.tail.take() {
                Some(tail) if tail.number == next.number => tail,
                before => match roll(before.as_ref(), next.number, &self.dir)? {
                    Some(tail) => tail,
                    None => {
                        self.tail = before;
                        return Ok(());
                    }
                },
            };
            let written = write_some(&tail.file, &next.bytes).on(&path)?;
            self.tail = Some(tail);
            next.bytes.drain(..written);
            if !next.bytes.is_empty() {
                return Ok(());
            }
            self.pending.pop_front();
        }
        self.written = self.end();
        Ok(())
    }

    /// Bytes appended and not yet handed to the system.
    pub(crate) fn pending_bytes(&self) -> usize {
        self.pending.iter().map(|pending| pending.bytes.len()).sum()
    }

    /// Makes everything appended durable.
    pub(crate) fn sync(&mut self) -> Result<(), SegmentsError> {
        Ok(self.unsynced()?.map_or(Ok(()), |unsynced| unsynced.sync())?)
    }

    /// Hands over what is not durable yet, to be made so without keeping others from appending.
    pub(crate) fn unsynced(&mut self) -> Result<Option<Unsynced>, SegmentsError> {
        self.write()?;
        if !self.pending.is_empty() {
            return Err(io::Error::from(ErrorKind::StorageFull)).on(&self.dir)?;
        }
        let Some(tail) = &self.tail else { return Ok(None) };
        let path = path_of(&self.dir, tail.number);
        let file = tail.file.try_clone().on(&path)?;
        Ok(Some(Unsynced { file, path }))
    }
}

/// Makes the file before durable and begins the next one, empty; `None` on a full disk.
fn roll(before: Option<&Tail>, number: u64, dir: &Path) -> Result<Option<Tail>, SegmentsError> {
    if let Some(Tail { number, file }) = before {
        file.sync_all().on(&path_of(dir, *number))?;
    }
    let path = path_of(dir, number);
    // It may be there, begun when the disk was full; a start removes what else might be in it.
    let file = match OpenOptions::new().append(true).create(true).open(&path) {
        Err(error) if is_full(&error) => return Ok(None),
        file => file.on(&path)?,
    };
    if file.metadata().on(&path)?.len() != 0 {
        return Err(SegmentsError::Misplaced { file: path });
    }
    match sync_dir(dir) {
        Err(error) if is_full(&error) => return Ok(None),
        synced => synced.on(dir)?,
    }
    Ok(Some(Tail { number, file }))
}

/// Writes as much as there is room for.
fn write_some(mut file: &File, bytes: &[u8]) -> io::Result<usize> {
    let mut written = 0;
    while written < bytes.len() {
        match file.write(&bytes[written..]) {
            Ok(0) => break,
            Ok(more) => written += more,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) if is_full(&error) => break,
            Err(error) => return Err(error),
        }
    }
    Ok(written)
}

/// The segment being written; those before it are durable.
pub(crate) struct Unsynced {
    file: File,
    path: PathBuf,
}

impl Unsynced {
    pub(crate) fn sync(self) -> Result<(), FileError> {
        self.file.sync_all().on(&self.path)
    }
}

fn path_of(dir: &Path, number: u64) -> PathBuf {
    dir.join(format!("{number:016x}.seg"))
}

/// What is wrong with the audit history on this disk. All but `File` and `OutOfOrder` mean damage:
/// the node must be rebuilt under a new Raft id.
#[derive(Debug, thiserror::Error)]
pub enum SegmentsError {
    /// The disk refused.
    #[error("audit history: {0}")]
    File(#[from] FileError),
    /// A file's header cannot be read.
    #[error("audit history: {}: {source}; rebuild this node", file.display())]
    Header {
        /// Which file.
        file: PathBuf,
        /// What is wrong with it.
        source: segment::HeaderFault,
    },
    /// A file's header names another segment or domain, or another first step.
    #[error("audit history: {} is not the segment that belongs here; rebuild this node", file.display())]
    Misplaced {
        /// Which file.
        file: PathBuf,
    },
    /// A frame cannot be read. The message names the offset.
    #[error("audit history: {}: {source}; rebuild this node", file.display())]
    Frame {
        /// Which file.
        file: PathBuf,
        /// Where and what.
        source: segment::Fault,
    },
    /// A step is not what the chain says.
    #[error("audit history: {} at byte {offset}: {source}; rebuild this node", file.display())]
    Chain {
        /// Which file.
        file: PathBuf,
        /// Where its frame begins.
        offset: u64,
        /// What the chain says.
        source: conclave_audit::StepError,
    },
    /// Less, or other, than the last durable snapshot names.
    #[error(
        "audit history: {} holds {found} steps, but the last snapshot names {named} and their hash; \
         rebuild this node", dir.display()
    )]
    Differs {
        /// The folder.
        dir: PathBuf,
        /// Steps found.
        found: u64,
        /// Steps the snapshot names.
        named: u64,
    },
    /// A step that does not come next. An error of ours.
    #[error(
        "audit step {index} of segment {number} does not follow step {end} in segment {current}"
    )]
    OutOfOrder {
        /// The step given.
        index: u64,
        /// Its segment.
        number: u64,
        /// The step that comes next.
        end: u64,
        /// The segment being written.
        current: u64,
    },
    /// Steps were asked for that are not here.
    #[error("audit steps {first} to {end} were asked for, this node has {have}")]
    Absent {
        /// First one asked for.
        first: u64,
        /// The one after the last asked for.
        end: u64,
        /// How many there are.
        have: u64,
    },
}

impl SegmentsError {
    /// Whether the files are not what was written.
    pub(crate) fn is_damage(&self) -> bool {
        match self {
            Self::Header { .. } | Self::Misplaced { .. } | Self::Frame { .. } => true,
            Self::Chain { .. } | Self::Differs { .. } => true,
            Self::File(_) | Self::OutOfOrder { .. } | Self::Absent { .. } => false,
        }
    }
}

#[cfg(test)]
mod tests;
