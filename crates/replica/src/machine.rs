//! openraft's state machine: hands committed entries to [`Applied`] and snapshots to
//! [`SnapshotStore`]. It decides nothing itself.

use std::io;
use std::sync::Arc;

use futures::{Stream, StreamExt};

use openraft::storage::{EntryResponder, RaftStateMachine};

use crate::applied::Applied;
use crate::counters::Counters;
use crate::snapshot::{Builder, Snapshot, SnapshotData, SnapshotStore};
use crate::types::{LogId, SnapshotMeta, StoredMembership, Types};

/// Entries applied in one round at most; a round is one write to the index.
const ROUND_ENTRIES_MAX: usize = 64;
/// A round ends once its commands have this many bytes.
const ROUND_BYTES_MAX: usize = 4 << 20;

/// What openraft drives.
pub(crate) struct Machine {
    pub(crate) applied: Arc<Applied>,
    pub(crate) snapshots: Arc<SnapshotStore>,
    pub(crate) counters: Arc<Counters>,
}

impl Machine {
    fn apply_round(&self, round: &mut Vec<EntryResponder<Types>>) -> Result<(), io::Error> {
        if round.is_empty() {
            return Ok(());
        }
        let (entries, responders): (Vec<_>, Vec<_>) = round.drain(..).unzip();
        let replies = self.applied.apply(&entries).map_err(|error| {
            tracing::error!(%error, "this replica cannot apply the log and stops");
            io::Error::other(error)
        })?;
        for (responder, reply) in responders.into_iter().zip(replies) {
            if let Some(responder) = responder {
                responder.send(reply);
            }
        }
        Ok(())
    }
}

impl RaftStateMachine<Types> for Machine {
    type SnapshotData = SnapshotData;
    type SnapshotBuilder = Builder;

    async fn applied_state(&mut self) -> Result<(Option<LogId>, StoredMembership), io::Error> {
        Ok(self.applied.read(|content| (content.last_applied, content.membership.clone())))
    }

    async fn apply<Strm>(&mut self, mut entries: Strm) -> Result<(), io::Error>
    where
        Strm: Stream<Item = Result<EntryResponder<Types>, io::Error>> + Unpin + Send,
    {
        let (mut round, mut bytes) = (Vec::new(), 0);
        while let Some(entry) = entries.next().await {
            let entry = entry?;
            bytes += entry.0.payload.command.as_ref().map_or(0, |command| command.0.len());
            round.push(entry);
            if round.len() >= ROUND_ENTRIES_MAX || bytes >= ROUND_BYTES_MAX {
                self.apply_round(&mut round)?;
                bytes = 0;
            }
        }
        self.apply_round(&mut round)
    }

    async fn get_snapshot_builder(&mut self) -> Builder {
        Builder {
            store: self.snapshots.clone(),
            applied: self.applied.clone(),
            counters: self.counters.clone(),
        }
    }

    async fn install_snapshot(
        &mut self,
        meta: &SnapshotMeta,
        snapshot: SnapshotData,
    ) -> Result<(), io::Error> {
        let (store, applied) = (self.snapshots.clone(), self.applied.clone());
        let install = tokio::task::spawn_blocking(move || store.install(&applied, snapshot));
        install.await.map_err(io::Error::other)?.inspect_err(|error| {
            tracing::error!(%error, "a snapshot cannot be installed and this replica stops");
        })?;
        self.counters.snapshots_installed.one();
        tracing::info!(last_log_id = ?meta.last_log_id, "a snapshot was installed");
        Ok(())
    }

    async fn get_current_snapshot(&mut self) -> Result<Option<Snapshot>, io::Error> {
        Ok(self.snapshots.get()?)
    }
}
