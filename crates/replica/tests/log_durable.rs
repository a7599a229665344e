//! What the suite does not ask: content, reopening, bounds on disk, and a disk that fails.
#![allow(clippy::unwrap_used, reason = "a test")]

mod log_support;

use std::sync::Arc;

use conclave_replica::log::{LogStore, OpenError, READ_BYTES_MAX};
use conclave_replica::types::{Command, Entry, Payload};
use futures::StreamExt;
use log_support::disk::SimFolder;
use log_support::{
    OWNER, all, append, begin_append, entry, id, member_entry, open, open_small, vote,
};
use openraft::RaftLogReader;
use openraft::storage::RaftLogStorage;

// Commands, memberships, both in one entry, blanks and empty commands come back as they were.
#[tokio::test]
async fn everything_comes_back_after_reopening() {
    let folder = tempfile::tempdir().unwrap();
    let blank = Entry { log_id: id(4), payload: Payload::default() };
    let empty = Entry {
        log_id: id(5),
        payload: Payload { command: Some(Command(Default::default())), membership: None },
    };
    let written = vec![entry(1), entry(2), member_entry(3), blank, empty];

    let mut log = open(folder.path());
    append(&mut log, written.clone()).await.unwrap();
    log.save_vote(&vote(7)).await.unwrap();
    log.save_committed(Some(id(3))).await.unwrap();
    assert_eq!(all(&mut log).await, written);
    let bytes = log.bytes_since_purge();
    drop(log);

    let mut log = open(folder.path());
    assert_eq!(all(&mut log).await, written);
    assert_eq!(log.read_vote().await.unwrap(), Some(vote(7)));
    assert_eq!(log.read_committed().await.unwrap(), Some(id(3)));
    assert_eq!(log.log_state().unwrap().last_log_id, Some(id(5)));
    assert_eq!(log.bytes_since_purge(), bytes);
    append(&mut log, vec![entry(6)]).await.unwrap();
}

#[tokio::test]
async fn what_was_committed_is_not_truncated() {
    let folder = tempfile::tempdir().unwrap();
    let mut log = open(folder.path());
    append(&mut log, (1..=10).map(entry).collect()).await.unwrap();
    log.save_committed(Some(id(7))).await.unwrap();
    assert!(log.truncate_after(Some(id(6))).await.is_err());
    assert!(log.truncate_after(None).await.is_err());
    assert_eq!(all(&mut log).await.len(), 10);
    log.truncate_after(Some(id(7))).await.unwrap();
    assert_eq!(all(&mut log).await.len(), 7);
}

#[tokio::test]
async fn truncation_and_purge_survive_reopening() {
    let folder = tempfile::tempdir().unwrap();
    let mut log = open(folder.path());
    append(&mut log, (1..=2000).map(entry).collect()).await.unwrap();
    log.truncate_after(Some(id(1900))).await.unwrap();
    log.purge(id(1500)).await.unwrap();
    drop(log);

    let mut log = open(folder.path());
    let state = log.log_state().unwrap();
    assert_eq!(state.last_purged_log_id, Some(id(1500)));
    assert_eq!(state.last_log_id, Some(id(1900)));
    assert_eq!(all(&mut log).await, (1501..=1900).map(entry).collect::<Vec<_>>());
    // Nobody is given later entries in the place of purged ones.
    assert!(log.limited_get_log_entries(1500, 1600).await.unwrap().is_empty());
    assert!(log.entries_stream(1500..1600).await.next().await.unwrap().is_err());

    // A snapshot from far ahead leaves nothing but its position, and the log goes on after it.
    log.purge(id(5000)).await.unwrap();
    assert!(append(&mut log, vec![entry(1901)]).await.is_err(), "a hole");
    append(&mut log, vec![entry(5001)]).await.unwrap();
    drop(log);

    let mut log = open(folder.path());
    assert_eq!(all(&mut log).await, vec![entry(5001)]);
    log.truncate_after(Some(id(5000))).await.unwrap();
    drop(log);

    let mut log = open(folder.path());
    let state = log.log_state().unwrap();
    assert_eq!((state.last_purged_log_id, state.last_log_id), (Some(id(5000)), Some(id(5000))));
    append(&mut log, vec![entry(5001)]).await.unwrap();
}

#[tokio::test]
async fn what_leaves_a_hole_or_exceeds_a_bound_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let mut log = open(folder.path());
    append(&mut log, vec![entry(1), entry(2)]).await.unwrap();
    for bad in [vec![entry(4)], vec![entry(2)], vec![entry(3), entry(5)]] {
        assert!(append(&mut log, bad).await.is_err());
    }
    let mut large = entry(3);
    large.payload.command = Some(Command(vec![0; 5 << 20].into()));
    assert!(append(&mut log, vec![large]).await.is_err());
    assert!(matches!(
        LogStore::open(&folder.path().join("raft"), OWNER),
        Err(OpenError::InUse { .. })
    ));
    append(&mut log, vec![entry(3)]).await.unwrap();
}

// 24 MB of log against 8 MB of memory: old entries come from disk, and reads are bounded.
#[tokio::test]
async fn reads_join_disk_and_memory_within_bounds() {
    let folder = tempfile::tempdir().unwrap();
    let mut log = open(folder.path());
    let wide = |index: u64| {
        let mut entry = entry(index);
        entry.payload.command = Some(Command(vec![index as u8; 300_000].into()));
        entry
    };
    for index in 1..=80 {
        append(&mut log, vec![wide(index)]).await.unwrap();
    }
    let expected = (1..=80).map(wide).collect::<Vec<_>>();
    assert_eq!(all(&mut log).await, expected);
    for start in [1, 40, 52, 53, 54, 55, 78] {
        let some = log.limited_get_log_entries(start, 81).await.unwrap();
        assert_eq!(some.len(), 3.min(81 - start as usize), "{READ_BYTES_MAX} bytes hold three");
        assert_eq!(some[..], expected[start as usize - 1..][..some.len()]);
    }
    assert!(log.limited_get_log_entries(5, 5).await.unwrap().is_empty());
    let streamed: Vec<_> = log.entries_stream(2..79).await.map(Result::unwrap).collect().await;
    assert_eq!(streamed[..], expected[1..78]);
}

// After one failed fsync nothing is acknowledged ever again, though the disk works again.
#[tokio::test]
async fn a_failed_fsync_is_the_end() {
    for syncs in 0..6 {
        let disk = SimFolder::new(syncs);
        let mut log = LogStore::open_on(Arc::new(disk.clone()), OWNER, 1 << 20).unwrap();
        append(&mut log, vec![entry(1)]).await.unwrap();
        // The next segment is being made meanwhile, with syncs of its own.
        while !disk.files().contains_key("00000002.seg") {
            tokio::task::yield_now().await;
        }
        disk.fail_sync_after(syncs);

        let mut index = 2;
        let failed = loop {
            match append(&mut log, vec![entry(index)]).await {
                Ok(()) => assert!(!disk.has_failed(), "acknowledged after it"),
                Err(error) => break error,
            }
            index += 1;
        };
        assert_eq!(index, 2 + syncs, "each append is one sync");
        assert!(failed.to_string().contains("os error 5"), "{failed}");

        assert!(begin_append(&mut log, vec![entry(index + 1)]).await.is_err());
        assert!(log.save_vote(&vote(3)).await.is_err());
        assert!(log.save_committed(Some(id(1))).await.is_err());
        assert!(log.truncate_after(Some(id(1))).await.is_err());
        assert!(log.purge(id(1)).await.is_err());
        assert!(log.try_get_log_entries(0..).await.is_err());
        assert!(log.read_vote().await.is_err());
        assert!(log.get_log_state().await.is_err());
    }
}

// The kernel keeps what it could not write, and calls it clean: the next start must not believe it.
#[tokio::test]
async fn what_a_failed_fsync_left_in_the_cache_is_not_durable() {
    let disk = SimFolder::new(0);
    let mut log = open_small(&disk).unwrap();
    append(&mut log, vec![entry(1)]).await.unwrap();
    while !disk.files().contains_key("00000002.seg") {
        tokio::task::yield_now().await;
    }
    disk.fail_sync_after(0);
    append(&mut log, vec![entry(2)]).await.unwrap_err();
    drop(log);
    let mut log = open_small(&disk).unwrap();
    assert_eq!(all(&mut log).await, vec![entry(1)]);
    append(&mut log, vec![entry(2)]).await.unwrap();
}

// A killed process may have written a batch and not synced it. Whoever finds it after the kill may
// acknowledge it, so it must survive a power loss from then on.
#[tokio::test]
async fn what_a_start_finds_is_durable() {
    for steps in 1..60 {
        let disk = SimFolder::new(steps);
        let mut log = open_small(&disk).unwrap();
        disk.lose_power_after(steps);
        for index in 1.. {
            let Ok(()) = append(&mut log, vec![entry(index)]).await else { break };
        }
        drop(log);
        disk.only_killed();
        let mut log = open_small(&disk).unwrap();
        let found = all(&mut log).await;
        let image = disk.after_power_loss();
        let mut lost = open_small(&SimFolder::with(0, &image)).unwrap();
        assert_eq!(all(&mut lost).await, found, "killed at step {steps}");

        // Nor may what is written next rest on a name that was not synced.
        let next = found.len() as u64 + 1;
        for index in next..next + 9 {
            append(&mut log, vec![entry(index)]).await.unwrap();
            let image = disk.after_power_loss();
            let mut lost = open_small(&SimFolder::with(0, &image)).unwrap();
            let expected = (1..=index).map(entry).collect::<Vec<_>>();
            assert_eq!(all(&mut lost).await, expected, "killed at step {steps}");
        }
    }
}

#[tokio::test]
async fn what_gathers_goes_in_one_sync() {
    let disk = SimFolder::new(0);
    let mut log = LogStore::open_on(Arc::new(disk.clone()), OWNER, 1 << 20).unwrap();
    while !disk.files().contains_key("00000002.seg") {
        tokio::task::yield_now().await;
    }
    let before = disk.syncs();
    let stopped = disk.hold();
    let mut waiting = Vec::new();
    for index in 1..=200 {
        waiting.push(begin_append(&mut log, vec![entry(index)]).await.unwrap());
    }
    drop(stopped);
    for flushed in waiting {
        flushed.await.unwrap();
    }
    let syncs = disk.syncs() - before;
    assert!(syncs <= 2, "the first batch, and all that gathered behind it: {syncs}");
}
