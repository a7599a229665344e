//! Checking the files that a start took on trust: every frame, and the chain from the very first
//! step to the one at which the start took over.

use std::path::PathBuf;

use conclave_audit::segment::Header;
use conclave_audit::{DomainId, Head};

use super::{ChainEnd, Marks, Segments, SegmentsError, path_of, scan};

/// What is to be checked.
pub(crate) struct Scrub {
    dir: PathBuf,
    domain: DomainId,
    /// (number, first, end), oldest first.
    files: Vec<(u64, u64, u64)>,
    /// The file whose first step must follow.
    next: Option<(u64, u64)>,
}

/// One file was checked: where its steps are.
pub(crate) struct Checked {
    number: u64,
    marks: Marks,
}

impl Segments {
    /// What is to be checked after a start.
    pub(crate) fn scrub(&self) -> Scrub {
        let is_unread = |segment: &&super::Segment| segment.marks.is_empty();
        let unread = self.segments.iter().take_while(is_unread);
        let files: Vec<_> = unread.map(|s| (s.number, s.first, s.end)).collect();
        let next = self.segments.get(files.len()).filter(|_| !files.is_empty());
        let next = next.map(|segment| (segment.number, segment.first));
        Scrub { dir: self.dir.clone(), domain: self.domain, files, next }
    }

    /// Takes over where the steps of a checked file are.
    pub(crate) fn checked(&mut self, checked: Checked) {
        if let Some(segment) = self.segments.iter_mut().find(|s| s.number == checked.number) {
            segment.marks = checked.marks;
        }
    }
}

impl Scrub {
    /// Files to read.
    pub(crate) fn files(&self) -> usize {
        self.files.len()
    }

    /// Reads file after file, and tells of each; goes on as long as the answer is yes.
    pub(crate) fn run(self, mut tell: impl FnMut(Checked) -> bool) -> Result<(), SegmentsError> {
        let mut at = ChainEnd { size: 0, hash: Head::genesis(&self.domain).hash };
        let header = |number, first_index| Header { number, first_index, domain: self.domain };
        for (number, first, named) in self.files {
            let path = path_of(&self.dir, number);
            let (segment, end) = scan::scan(&path, header(number, first), Some(at.hash), u64::MAX)?;
            at = end.unwrap_or(at);
            if at.size != named {
                return Err(SegmentsError::Differs { dir: path, found: at.size, named });
            }
            if !tell(Checked { number, marks: segment.marks }) {
                return Ok(());
            }
        }
        if let Some((number, first)) = self.next {
            let path = path_of(&self.dir, number);
            scan::scan(&path, header(number, first), Some(at.hash), first + 1)?;
        }
        Ok(())
    }
}
