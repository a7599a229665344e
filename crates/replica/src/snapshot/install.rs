//! Receiving a snapshot into a file, checking it, and putting it in place of what is applied.

use std::fs::{self, File};
use std::io::Write;
use std::path::PathBuf;

use conclave_audit::check_step;
use conclave_audit::segment::FRAME_OVERHEAD;
use conclave_store::{SegmentPosition, State};
use prost::Message;

use super::{
    Current, RECEIVING, Received, Snapshot, SnapshotData, SnapshotError, SnapshotStore, StagedSteps,
};
use crate::applied::{Applied, Restored};
use crate::disk::OnFile;
use crate::segments::ChainEnd;
use crate::types::SnapshotMeta;

/// A snapshot file that is coming in.
pub(crate) struct Receiving {
    path: PathBuf,
    file: File,
    bytes: u64,
}

/// A snapshot that came in whole and makes a state.
pub(crate) struct Arrived {
    current: Current,
    pub(crate) chain_end: ChainEnd,
}

impl Receiving {
    /// How many bytes came so far.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    pub(crate) fn write(&mut self, data: &[u8]) -> Result<(), SnapshotError> {
        self.file.write_all(data).on(&self.path)?;
        self.bytes += data.len() as u64;
        Ok(())
    }
}

impl Arrived {
    pub(crate) fn meta(&self) -> &SnapshotMeta {
        &self.current.meta
    }

    pub(crate) fn sha256(&self) -> [u8; 32] {
        self.current.sha256
    }

    /// Makes it something to install, with the audit steps that lead to it.
    pub(crate) fn with_steps(self, steps: StagedSteps) -> Result<Snapshot, SnapshotError> {
        let Current { meta, path, bytes, sha256 } = self.current;
        let file = File::open(&path).on(&path)?;
        let received = Some(Received { path, steps });
        Ok(Snapshot { meta, snapshot: SnapshotData { file, bytes, sha256, received } })
    }
}

impl SnapshotStore {
    pub(crate) fn receive(&self) -> Result<Receiving, SnapshotError> {
        let path = self.dir.join(RECEIVING);
        let file = File::create(&path).on(&path)?;
        Ok(Receiving { path, file, bytes: 0 })
    }

    /// Makes the file's content durable and reads it through.
    pub(crate) fn arrived(&self, receiving: Receiving) -> Result<Arrived, SnapshotError> {
        receiving.file.sync_all().on(&receiving.path)?;
        let (restored, current) = self.check(&receiving.path)?;
        Ok(Arrived { current, chain_end: restored.chain_end() })
    }

    /// Installs a received snapshot: its steps durable first, then its name, then the state.
    pub(crate) fn install(
        &self,
        applied: &Applied,
        data: SnapshotData,
    ) -> Result<(), SnapshotError> {
        let _alone = self.alone();
        let received = data.received.ok_or(SnapshotError::NotReceived)?;
        let (restored, current) = self.check(&received.path)?;
        append_steps(applied, &restored, &received.steps)?;
        self.adopt(&received.path, current)?;
        let records = self.records()?.map(|record| record.map_err(Into::into));
        applied.replace(restored, records).map_err(|error| SnapshotError::Blob(Box::new(error)))?;
        let steps = self.dir.join(super::STAGED_STEPS);
        Ok(fs::remove_file(&steps).on(&steps)?)
    }
}

fn append_steps(
    applied: &Applied,
    restored: &Restored,
    staged: &StagedSteps,
) -> Result<(), SnapshotError> {
    let (mut at, mut position) = applied.read(|content| end_of(&content.state));
    let mut segments = applied.segments();
    staged.each(at.size, |step| {
        let hash = check_step(&at.hash, at.size, &step).map_err(|_| SnapshotError::Steps)?;
        at = ChainEnd { size: at.size + 1, hash };
        place(&mut position, step.index, (FRAME_OVERHEAD + step.encoded_len()) as u64);
        segments.append(position.number, &step)?;
        if segments.pending_bytes() >= WRITE_BYTES {
            segments.write()?;
        }
        Ok(())
    })?;
    segments.sync()?;
    // What apply counted on the snapshot's maker and what was counted here must agree, or segments
    // would roll at different steps on different nodes.
    if (at, position) != end_of(&restored.state) {
        return Err(SnapshotError::Steps);
    }
    Ok(())
}

/// Fetched steps are handed to the system in pieces of this size.
const WRITE_BYTES: usize = 1 << 20;

fn end_of(state: &State) -> (ChainEnd, SegmentPosition) {
    let head = state.head();
    (ChainEnd { size: head.size, hash: head.hash }, state.segment())
}

/// Where the store's apply put this step. Checked against the snapshot once all are placed.
fn place(position: &mut SegmentPosition, index: u64, frame_bytes: u64) {
    if position.bytes > 0 && position.bytes + frame_bytes > position.bytes_max {
        position.number += 1;
        position.first = index;
        position.bytes = 0;
    }
    position.bytes += frame_bytes;
}
