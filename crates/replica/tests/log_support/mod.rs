//! What the log's tests share: entries whose content follows from their index, and appends that
//! wait until they are durable.
#![allow(dead_code, reason = "each test binary uses a part")]

pub(crate) mod disk;

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use conclave_replica::log::{LogStore, OpenError, Owner};
use conclave_replica::types::{
    Command, Entry, Flushed, Leader, LogId, Membership, Payload, PeerNode, Types, Vote,
};
use openraft::RaftLogReader;
use openraft::storage::RaftLogStorage;
use openraft::type_config::TypeConfigExt;

/// Whose log the tests write.
pub(crate) const OWNER: Owner = Owner { domain: [0xd0; 16], raft_id: 1 };

/// Opens or creates the log in a folder of the system's.
pub(crate) fn open(folder: &Path) -> LogStore {
    LogStore::open(&folder.join("raft"), OWNER).expect("a sound log")
}

/// Segments as small as they can be, so that there are many: each has room for three batches.
pub(crate) const SMALL: u32 = 16 << 10;

/// Opens or creates the log on a simulated disk, in [`SMALL`] segments.
pub(crate) fn open_small(folder: &disk::SimFolder) -> Result<LogStore, OpenError> {
    LogStore::open_on(Arc::new(folder.clone()), OWNER, SMALL)
}

/// The log id of an index, in term 1 under leader 1.
pub(crate) fn id(index: u64) -> LogId {
    LogId::new(Leader { term: 1, node_id: 1 }, index)
}

/// An entry whose command follows from its index: 40 to 440 bytes, none like another.
pub(crate) fn entry(index: u64) -> Entry {
    let seed = index.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let bytes = 40 + (seed >> 32) % 400;
    let command: Bytes = (0..bytes).map(|i| (seed.rotate_left(i as u32 % 64) ^ i) as u8).collect();
    Entry {
        log_id: id(index),
        payload: Payload { command: Some(Command(command)), membership: None },
    }
}

/// An entry that carries a command and a membership at once.
pub(crate) fn member_entry(index: u64) -> Entry {
    let node =
        |n: u64| (n, PeerNode { name: format!("node-{n}"), peer: format!("10.0.0.{n}:7101") });
    let nodes =
        [node(1), node(2), node(3)].into_iter().collect::<std::collections::BTreeMap<_, _>>();
    let configs = vec![[1, 2].into(), [1, 2, 3].into()];
    let mut entry = entry(index);
    entry.payload.membership = Some(Membership::new(configs, nodes).expect("a joint membership"));
    entry
}

pub(crate) fn vote(term: u64) -> Vote {
    Vote { leader_id: Leader { term, node_id: 1 }, committed: term.is_multiple_of(2) }
}

pub(crate) fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime")
}

/// Appends; the future it answers waits until the entries are durable.
pub(crate) async fn begin_append(
    log: &mut LogStore,
    entries: Vec<Entry>,
) -> std::io::Result<impl Future<Output = std::io::Result<()>> + use<>> {
    let (done, answer) = Types::oneshot();
    log.append(entries, Flushed::signal(done)).await?;
    Ok(async { answer.await.expect("an answer") })
}

/// Appends and waits until the entries are durable.
pub(crate) async fn append(log: &mut LogStore, entries: Vec<Entry>) -> std::io::Result<()> {
    begin_append(log, entries).await?.await
}

/// Everything the log holds.
pub(crate) async fn all(log: &mut LogStore) -> Vec<Entry> {
    log.try_get_log_entries(0..).await.expect("a readable log")
}
