//! Writing a snapshot of what is applied.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use openraft::RaftSnapshotBuilder;

use super::file::SnapshotWriter;
use super::{BUILDING, Current, Snapshot, SnapshotData, SnapshotError, SnapshotStore};
use crate::applied::{Applied, Frozen};
use crate::codec;
use crate::counters::Counters;
use crate::disk::OnFile;
use crate::types::{SnapshotMeta, Types};

/// Between two tries on a full disk.
const AGAIN_WHEN_FULL: Duration = Duration::from_secs(1);

/// Builds one snapshot.
pub(crate) struct Builder {
    pub(crate) store: Arc<SnapshotStore>,
    pub(crate) applied: Arc<Applied>,
    pub(crate) counters: Arc<Counters>,
}

impl RaftSnapshotBuilder<Types> for Builder {
    type SnapshotData = SnapshotData;

    async fn build_snapshot(&mut self) -> Result<Snapshot, std::io::Error> {
        loop {
            let (store, applied) = (self.store.clone(), self.applied.clone());
            let build = tokio::task::spawn_blocking(move || store.build(&applied));
            match build.await.map_err(std::io::Error::other)? {
                Ok(snapshot) => {
                    self.counters.snapshots_built.one();
                    return Ok(snapshot);
                }
                Err(error) if error.is_full() => {
                    tracing::warn!(%error, "no room for a snapshot; trying again");
                    tokio::time::sleep(AGAIN_WHEN_FULL).await;
                }
                Err(error) => return Err(error.into()),
            }
        }
    }
}

impl SnapshotStore {
    /// Writes a snapshot of what is applied, durably.
    pub(crate) fn build(&self, applied: &Applied) -> Result<Snapshot, SnapshotError> {
        let _alone = self.alone();
        let unnamed = self.dir.join(BUILDING);
        self.build_at(&unnamed, applied).inspect_err(|_| {
            // It takes room that others need, and the next try begins anew.
            let _ = std::fs::remove_file(&unnamed);
        })
    }

    fn build_at(&self, unnamed: &Path, applied: &Applied) -> Result<Snapshot, SnapshotError> {
        let mut writer = SnapshotWriter::create(unnamed)?;
        let meta = write_items(&applied.freeze(), &mut writer)?;
        let unsynced = applied.segments().unsynced()?;
        unsynced.map_or(Ok(()), |unsynced| unsynced.sync())?;
        let (_, bytes, sha256) = writer.finish()?;
        let file = std::fs::File::open(unnamed).on(unnamed)?;
        let current = Current { meta: meta.clone(), path: unnamed.to_owned(), bytes, sha256 };
        self.adopt(unnamed, current)?;
        Ok(Snapshot { meta, snapshot: SnapshotData { file, bytes, sha256, received: None } })
    }
}

fn write_items(
    frozen: &Frozen<'_>,
    writer: &mut SnapshotWriter,
) -> Result<SnapshotMeta, SnapshotError> {
    let meta = SnapshotMeta {
        last_log_id: Some(frozen.last_applied.ok_or(SnapshotError::Nothing)?),
        last_membership: frozen.membership.clone(),
    };
    let raft = codec::encode_snapshot_meta(&meta);
    for item in frozen.state.snapshot_items(raft, |id| frozen.blob(id)) {
        writer.write(&item.map_err(|error| SnapshotError::Blob(Box::new(error)))?)?;
    }
    Ok(meta)
}
