//! The power goes at every single step of the disk: of what was written since the sync before, any
//! sectors may have reached the disk and any may not, and so may names. What was acknowledged is
//! there, the log opens, goes on, and opens again.
#![allow(clippy::unwrap_used, reason = "a test")]

mod log_support;

use conclave_replica::log::LogStore;
use log_support::disk::SimFolder;
use log_support::{all, append, begin_append, entry, id, open_small, vote};
use openraft::RaftLogReader;
use openraft::storage::RaftLogStorage;

struct Told {
    acked: u64,
    appended: u64,
    voted: u64,
    purged: u64,
}

/// Steps of the disk, one after another, at which the power goes.
const STEPS: u64 = 120;
/// Each with so many outcomes for what was not synced.
const SEEDS: u64 = 6;

#[tokio::test]
async fn acknowledged_entries_survive_a_power_loss_at_every_step() {
    let (mut rolled_on, mut acked, mut cut) = (0, 0, 0);
    for run in 0..STEPS * SEEDS {
        let disk = SimFolder::new(run);
        disk.lose_power_after(1 + run / SEEDS);
        let mut told = Told { acked: 0, appended: 0, voted: 0, purged: 0 };
        if let Ok(log) = open_small(&disk) {
            write_until_power_fails(log, &mut told).await;
        }
        assert!(!disk.has_power());
        // The power goes again while the log is opened, and again.
        let mut files = disk.after_power_loss();
        for steps in 1..4 {
            let disk = SimFolder::with(run + steps, &files);
            disk.lose_power_after(steps * 2);
            drop(open_small(&disk));
            files = disk.after_power_loss();
        }
        let disk = SimFolder::with(run, &files);
        let mut log = open_small(&disk).unwrap_or_else(|error| panic!("run {run}: {error}"));
        let state = log.log_state().unwrap();
        let last = state.last_log_id.map_or(0, |last| last.index);
        let purged = state.last_purged_log_id.map_or(0, |purged| purged.index);
        let Told { acked: told_acked, appended, .. } = told;
        assert!(last >= told_acked && last <= appended, "run {run}: {last} of {told_acked}");
        assert!(purged >= told.purged, "run {run}");
        assert_eq!(all(&mut log).await, (purged + 1..=last).map(entry).collect::<Vec<_>>());
        let term = log.read_vote().await.unwrap().map_or(0, |vote| vote.leader_id.term);
        assert!(term >= told.voted, "run {run}: vote {} lost", told.voted);
        acked += told_acked;
        rolled_on += u64::from(last > told_acked);
        cut += u64::from(last < appended);
        for index in last + 1..last + 9 {
            append(&mut log, vec![entry(index)]).await.unwrap();
        }
        drop(log);
        let mut log = open_small(&disk).unwrap();
        assert_eq!(all(&mut log).await, (purged + 1..last + 9).map(entry).collect::<Vec<_>>());
    }
    println!("{acked} acknowledged; {rolled_on} runs kept entries beyond, {cut} lost some of them");
    assert!(acked > STEPS * SEEDS && rolled_on > SEEDS && cut > SEEDS);
}

async fn write_until_power_fails(mut log: LogStore, told: &mut Told) {
    loop {
        let mut waiting = Vec::new();
        for size in 1..4 {
            let entries = (told.appended + 1..=told.appended + size).map(entry).collect();
            let Ok(flushed) = begin_append(&mut log, entries).await else { return };
            told.appended += size;
            waiting.push((told.appended, flushed));
        }
        for (index, flushed) in waiting {
            let Ok(()) = flushed.await else { return };
            told.acked = index;
        }
        let Ok(()) = log.save_vote(&vote(told.voted + 1)).await else { return };
        told.voted += 1;
        if told.appended > 20 {
            let upto = told.appended - 15;
            let Ok(()) = log.purge(id(upto)).await else { return };
            told.purged = upto;
        }
    }
}
