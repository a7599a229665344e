//! Reading steps by index, while others are appended.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use conclave_audit::segment::{HEADER_LEN, Reader};
use conclave_proto::audit::Step;

use super::{Segments, SegmentsError, path_of};
use crate::disk::OnFile;

/// Steps given by one reading at most: about 2 MiB as they usually are, 64 MiB at the very worst.
pub const STEPS_PER_READ_MAX: u64 = 1024;

/// One reading, planned while the segments were locked and carried out after.
pub(crate) struct Reading {
    parts: Vec<Part>,
    first: u64,
    end: u64,
}

/// A stretch of one file that begins with the frame of step `index`.
struct Part {
    path: PathBuf,
    index: u64,
    offset: u64,
    bytes: u64,
}

impl Segments {
    /// Plans to read the steps from `first` up to but not including `end`, cut to
    /// [`STEPS_PER_READ_MAX`]. What a full disk keeps back is not there yet. What is planned stays
    /// readable, as nothing written ever changes.
    pub(crate) fn plan(&self, first: u64, end: u64) -> Result<Reading, SegmentsError> {
        let have = self.written;
        if first > end || end > have {
            return Err(SegmentsError::Absent { first, end, have });
        }
        let end = end.min(first.saturating_add(STEPS_PER_READ_MAX));
        let mut parts = Vec::new();
        for segment in &self.segments {
            if segment.first >= end || segment.end <= first {
                continue;
            }
            let from = segment.marks.partition_point(|(index, _)| *index <= first);
            let whole = (segment.first, HEADER_LEN as u64);
            let mark = from.checked_sub(1).and_then(|mark| segment.marks.get(mark));
            let (index, offset) = mark.copied().unwrap_or(whole);
            let until = segment.marks.iter().find(|(index, _)| *index >= end);
            let bytes = until.map_or(segment.bytes, |(_, offset)| *offset) - offset;
            let path = path_of(&self.dir, segment.number);
            parts.push(Part { path, index, offset, bytes });
        }
        Ok(Reading { parts, first, end })
    }
}

impl Reading {
    /// Reads the steps; each frame's checksum is checked.
    pub(crate) fn run(self) -> Result<Vec<Step>, SegmentsError> {
        let mut steps = Vec::new();
        for part in &self.parts {
            let bytes = part.read()?;
            let mut reader = Reader::resume(&bytes, part.offset, part.index);
            loop {
                let frame = reader.next_frame().map_err(|source| part.fault(source))?;
                let Some(frame) = frame.filter(|frame| frame.step.index < self.end) else { break };
                if frame.step.index >= self.first {
                    steps.push(frame.step);
                }
            }
        }
        if steps.len() as u64 != self.end - self.first {
            let have = self.first + steps.len() as u64;
            return Err(SegmentsError::Absent { first: self.first, end: self.end, have });
        }
        Ok(steps)
    }
}

impl Part {
    fn read(&self) -> Result<Vec<u8>, SegmentsError> {
        let path: &Path = &self.path;
        let mut file = File::open(path).on(path)?;
        file.seek(SeekFrom::Start(self.offset)).on(path)?;
        let mut bytes = Vec::new();
        file.take(self.bytes).read_to_end(&mut bytes).on(path)?;
        Ok(bytes)
    }

    fn fault(&self, source: conclave_audit::segment::Fault) -> SegmentsError {
        SegmentsError::Frame { file: self.path.clone(), source }
    }
}
