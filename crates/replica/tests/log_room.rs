//! A disk that is full: nothing is acknowledged that is not durable, nothing fails, and the log goes
//! on by itself when there is room.
#![allow(clippy::unwrap_used, reason = "a test")]

mod log_support;

use std::pin::pin;
use std::time::Duration;

use conclave_replica::log::{LogStore, Room};
use futures::FutureExt;
use log_support::disk::SimFolder;
use log_support::{all, append, begin_append, entry, id, open_small, vote};
use openraft::RaftLogReader;
use openraft::storage::RaftLogStorage;

/// Generous: the machine may be busy with other things.
const PATIENCE: Duration = Duration::from_secs(60);

async fn reach(log: &LogStore, room: Room) {
    let mut watch = log.room();
    let reached = watch.wait_for(|now| *now == room);
    tokio::time::timeout(PATIENCE, reached).await.expect("the room changes").unwrap();
}

/// Appends one by one until the log takes no more; how many were acknowledged.
async fn fill(log: &mut LogStore) -> u64 {
    for index in 1.. {
        let mut flushed = pin!(begin_append(log, vec![entry(index)]).await.unwrap());
        let mut room = log.room();
        let full = room.wait_for(|room| *room == Room::Exhausted).map(drop);
        tokio::select! {
            answer = &mut flushed => answer.unwrap(),
            () = full => return index - 1,
        }
    }
    unreachable!()
}

#[tokio::test]
async fn a_full_disk_only_delays() {
    let disk = SimFolder::new(1);
    let mut log = open_small(&disk).unwrap();
    append(&mut log, vec![entry(0)]).await.unwrap();
    log.purge(id(0)).await.unwrap();
    disk.set_room(Some(3 * 16384));
    let acked = fill(&mut log).await;
    assert!(acked >= 6, "what was there was used: {acked}");

    // Entries wait, a vote waits behind them; reading goes on.
    let next = acked + 2;
    let flushed = begin_append(&mut log, vec![entry(next)]).await.unwrap();
    let mut voting = log.clone();
    let saved = tokio::spawn(async move { voting.save_vote(&vote(7)).await });
    tokio::task::yield_now().await;
    assert!(!saved.is_finished());
    assert_eq!(all(&mut log).await, (1..=next).map(entry).collect::<Vec<_>>());
    assert_eq!(log.read_vote().await.unwrap(), None, "no vote that is not durable");
    assert_eq!(*log.room().borrow(), Room::Exhausted);

    disk.set_room(None);
    flushed.await.unwrap();
    saved.await.unwrap().unwrap();
    reach(&log, Room::Enough).await;
    append(&mut log, vec![entry(next + 1)]).await.unwrap();
    drop(log);
    let mut log = open_small(&disk).unwrap();
    assert_eq!(all(&mut log).await, (1..=next + 1).map(entry).collect::<Vec<_>>());
    assert_eq!(log.read_vote().await.unwrap(), Some(vote(7)));
}

// Said before it hurts: while there is still a segment to write to.
#[tokio::test]
async fn room_is_short_before_it_is_gone() {
    let disk = SimFolder::new(2);
    disk.set_room(Some(2 * 16384));
    let mut log = open_small(&disk).unwrap();
    // The first segment takes two batches after its own, the second one three.
    for index in 1..4 {
        append(&mut log, vec![entry(index)]).await.unwrap();
    }
    reach(&log, Room::Short).await;
    append(&mut log, vec![entry(4)]).await.unwrap();
    // A purge gives back what the first segment holds, and that is room enough.
    log.purge(id(3)).await.unwrap();
    reach(&log, Room::Enough).await;
    for index in 5..8 {
        append(&mut log, vec![entry(index)]).await.unwrap();
    }
}

// Closing does not wait for room: what was not acknowledged is given up.
#[tokio::test]
async fn a_full_log_can_be_closed_and_opened() {
    let disk = SimFolder::new(3);
    let mut log = open_small(&disk).unwrap();
    disk.set_room(Some(0));
    let acked = fill(&mut log).await;
    let flushed = begin_append(&mut log, vec![entry(acked + 2)]).await.unwrap();
    tokio::task::spawn_blocking(move || drop(log)).await.unwrap();
    assert!(flushed.await.is_err());

    let mut log = open_small(&disk).unwrap();
    assert_eq!(all(&mut log).await, (1..=acked).map(entry).collect::<Vec<_>>());
    disk.set_room(None);
    append(&mut log, vec![entry(acked + 1)]).await.unwrap();
}
