//! openraft's own storage suite over the real log, with a state machine in memory beside it.
#![allow(clippy::unwrap_used, reason = "a test")]

mod log_support;

use std::io;

use conclave_replica::log::LogStore;
use conclave_replica::types::{ApplyReply, LogId, SnapshotMeta, StoredMembership, Types};
use futures::{Stream, StreamExt};
use log_support::disk::SimFolder;
use log_support::open_small;
use openraft::storage::{EntryResponder, RaftStateMachine, Snapshot};
use openraft::testing::log::{StoreBuilder, Suite};
use openraft::{OptionalSend, RaftSnapshotBuilder, StorageError};

type Kept = Snapshot<conclave_replica::types::Leader, u64, conclave_replica::types::PeerNode, ()>;

#[derive(Clone, Default)]
struct Machine {
    applied: Option<LogId>,
    membership: StoredMembership,
    snapshot: std::sync::Arc<std::sync::Mutex<Option<SnapshotMeta>>>,
}

impl RaftSnapshotBuilder<Types> for Machine {
    type SnapshotData = ();

    async fn build_snapshot(&mut self) -> io::Result<Kept> {
        let meta =
            SnapshotMeta { last_log_id: self.applied, last_membership: self.membership.clone() };
        *self.snapshot.lock().unwrap() = Some(meta.clone());
        Ok(Snapshot { meta, snapshot: () })
    }
}

impl RaftStateMachine<Types> for Machine {
    type SnapshotData = ();
    type SnapshotBuilder = Self;

    async fn applied_state(&mut self) -> io::Result<(Option<LogId>, StoredMembership)> {
        Ok((self.applied, self.membership.clone()))
    }

    async fn apply<S>(&mut self, mut entries: S) -> io::Result<()>
    where
        S: Stream<Item = io::Result<EntryResponder<Types>>> + Unpin + OptionalSend,
    {
        while let Some(item) = entries.next().await {
            let (entry, responder) = item?;
            self.applied = Some(entry.log_id);
            if let Some(membership) = entry.payload.membership {
                self.membership = StoredMembership::new(Some(entry.log_id), membership);
            }
            if let Some(responder) = responder {
                responder.send(ApplyReply::default());
            }
        }
        Ok(())
    }

    async fn get_snapshot_builder(&mut self) -> Self {
        self.clone()
    }

    async fn install_snapshot(&mut self, meta: &SnapshotMeta, (): ()) -> io::Result<()> {
        self.applied = meta.last_log_id;
        self.membership = meta.last_membership.clone();
        *self.snapshot.lock().unwrap() = Some(meta.clone());
        Ok(())
    }

    async fn get_current_snapshot(&mut self) -> io::Result<Option<Kept>> {
        Ok(self.snapshot.lock().unwrap().clone().map(|meta| Snapshot { meta, snapshot: () }))
    }
}

struct Stores;

impl StoreBuilder<Types, LogStore, Machine> for Stores {
    async fn build(&self) -> Result<((), LogStore, Machine), StorageError<Types>> {
        let log = open_small(&SimFolder::new(0)).unwrap();
        Ok(((), log, Machine::default()))
    }
}

// The suite checks positions, votes, streams and the state that openraft starts from.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn openraft_storage_suite() {
    Suite::test_all(Stores).await.unwrap();
}
