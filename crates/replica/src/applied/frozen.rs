//! The applied state as it was at one moment, while apply goes on: what a snapshot is written from.
//!
//! The state itself is copied; blobs are read from the index, which has no reading of the past. So
//! as long as a frozen state lives, apply keeps the blob that it is about to replace, once for each
//! record. The store checks each blob against its digest, so a mistake here cannot pass.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use conclave_store::{ReadError, RecordId, State};

use super::{Applied, Content, IndexError, UNPOISONED};
use crate::types::{LogId, StoredMembership};

/// Blobs that were replaced or deleted since.
pub(super) type PreImages = BTreeMap<RecordId, Arc<[u8]>>;

/// The state at one moment. There is one at a time; its holder sees to that.
pub(crate) struct Frozen<'a> {
    pub(crate) state: State,
    pub(crate) last_applied: Option<LogId>,
    pub(crate) membership: StoredMembership,
    applied: &'a Applied,
}

impl Applied {
    /// Freezes the state as it is now.
    pub(crate) fn freeze(&self) -> Frozen<'_> {
        let mut content = self.content.write().expect(UNPOISONED);
        content.pre_images = Some(PreImages::new());
        self.unsnapshotted_bytes.store(0, Ordering::Relaxed);
        Frozen {
            state: content.state.clone(),
            last_applied: content.last_applied,
            membership: content.membership.clone(),
            applied: self,
        }
    }
}

impl Frozen<'_> {
    /// The blob of a record as it was.
    pub(crate) fn blob(&self, record: &RecordId) -> Result<Vec<u8>, ReadError> {
        let content = self.applied.content.read().expect(UNPOISONED);
        if let Some(blob) = content.pre_images.as_ref().and_then(|images| images.get(record)) {
            return Ok(blob.to_vec());
        }
        let missing = ReadError::Missing { record: *record };
        let digest = self.state.digest(record).ok_or(missing)?;
        content.index.blob(record, digest).map(|blob| blob.to_vec())
    }
}

impl Drop for Frozen<'_> {
    fn drop(&mut self) {
        // If apply panicked, nothing is read any more.
        if let Ok(mut content) = self.applied.content.write() {
            content.pre_images = None;
        }
    }
}

impl Content {
    /// Keeps what the index holds of a record that is about to change.
    pub(super) fn keep_pre_image(&mut self, record: &RecordId) -> Result<(), IndexError> {
        let Some(images) = &mut self.pre_images else { return Ok(()) };
        if !images.contains_key(record)
            && let Some(blob) = self.index.unchecked_blob(record)?
        {
            images.insert(*record, blob);
        }
        Ok(())
    }
}
