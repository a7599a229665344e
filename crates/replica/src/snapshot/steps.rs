//! Audit steps fetched for a snapshot that is being received, kept in a file until it is installed.
//!
//! Each is checked against the chain as it comes in. The file is a segment's frames without a
//! header; it never outlives a start.

use std::fs::File;
use std::io::{BufReader, BufWriter, Read, Write};
use std::path::PathBuf;

use conclave_audit::check_step;
use conclave_audit::segment::{FRAME_OVERHEAD, MAX_PAYLOAD, Reader, encode_frame};
use conclave_proto::audit::Step;

use super::{STAGED_STEPS, SnapshotError, SnapshotStore};
use crate::disk::OnFile;
use crate::segments::ChainEnd;

/// Takes in steps, from where this node's history ends to where the snapshot's does.
pub(crate) struct StepStager {
    path: PathBuf,
    file: BufWriter<File>,
    first: u64,
    at: ChainEnd,
    target: ChainEnd,
}

/// Steps that lead to a snapshot.
pub(crate) struct StagedSteps {
    path: PathBuf,
    first: u64,
    end: u64,
}

impl StepStager {
    pub(crate) fn create(
        store: &SnapshotStore,
        from: ChainEnd,
        target: ChainEnd,
    ) -> Result<Self, SnapshotError> {
        let path = store.dir.join(STAGED_STEPS);
        let file = BufWriter::new(File::create(&path).on(&path)?);
        Ok(Self { path, file, first: from.size, at: from, target })
    }

    /// The steps still missing: the first, and the one after the last.
    pub(crate) fn missing(&self) -> (u64, u64) {
        (self.at.size, self.target.size)
    }

    /// Takes the next step. One that is not on the chain is refused, and nothing is lost: it may be
    /// had from another member.
    pub(crate) fn take(&mut self, step: &Step) -> Result<(), SnapshotError> {
        let hash =
            check_step(&self.at.hash, self.at.size, step).map_err(|_| SnapshotError::Steps)?;
        let next = ChainEnd { size: self.at.size + 1, hash };
        if next.size > self.target.size || (next.size == self.target.size && next != self.target) {
            return Err(SnapshotError::Steps);
        }
        self.file.write_all(&encode_frame(step)).on(&self.path)?;
        self.at = next;
        Ok(())
    }

    /// All steps, if they end in the snapshot's head.
    pub(crate) fn finish(mut self) -> Result<StagedSteps, SnapshotError> {
        if self.at != self.target {
            return Err(SnapshotError::Steps);
        }
        self.file.flush().on(&self.path)?;
        Ok(StagedSteps { path: self.path, first: self.first, end: self.at.size })
    }
}

impl StagedSteps {
    /// Gives each step from `from` on to `take`, in order.
    pub(super) fn each(
        &self,
        from: u64,
        mut take: impl FnMut(Step) -> Result<(), SnapshotError>,
    ) -> Result<(), SnapshotError> {
        if from < self.first {
            return Err(SnapshotError::Steps);
        }
        let mut file = BufReader::new(File::open(&self.path).on(&self.path)?);
        let mut offset = 0;
        for index in self.first..self.end {
            let mut frame = vec![0; FRAME_OVERHEAD];
            file.read_exact(&mut frame).on(&self.path)?;
            let length = frame[..4].iter().fold(0, |n, byte| n << 8 | usize::from(*byte));
            frame.resize(FRAME_OVERHEAD + length.min(MAX_PAYLOAD), 0);
            file.read_exact(&mut frame[FRAME_OVERHEAD..]).on(&self.path)?;
            let read = Reader::resume(&frame, offset, index).next_frame();
            let read = read.ok().flatten().ok_or(SnapshotError::Steps)?;
            offset = read.end;
            if index >= from {
                take(read.step)?;
            }
        }
        Ok(())
    }
}
