//! The power goes at a random fsync: of what was written since the fsync before, any sectors may
//! have reached the disk and any may not. What was acknowledged is there, the log opens, and a
//! repaired log goes on.
#![allow(clippy::unwrap_used, reason = "a test")]

mod log_support;

use std::io;
use std::sync::{Arc, Mutex};

use conclave_replica::log::LogStore;
use log_support::{all, append, begin_append, entry, id, vote};
use openraft::RaftLogReader;
use openraft::storage::RaftLogStorage;
use redb::StorageBackend;

const SECTOR: usize = 512;
const SEEDS: u64 = 150;

#[derive(Debug, Default)]
struct Disk {
    /// What the process reads back.
    seen: Vec<u8>,
    /// What survives for certain.
    kept: Vec<u8>,
    /// Written since the last fsync, sector by sector.
    pending: Vec<(usize, Vec<u8>)>,
    syncs_left: u64,
    chance: u64,
}

#[derive(Clone, Debug)]
struct PoweredDisk(Arc<Mutex<Disk>>);

impl Disk {
    fn chance(&mut self) -> u64 {
        self.chance = self.chance.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.chance ^ (self.chance >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        (z ^ (z >> 27)) >> 7
    }

    /// The image after the power came back.
    fn after_power_loss(&mut self) -> Vec<u8> {
        let mut image = self.kept.clone();
        if self.chance().is_multiple_of(2) {
            image.resize(self.seen.len(), 0);
        }
        let all = self.chance().is_multiple_of(4);
        for (offset, sector) in std::mem::take(&mut self.pending) {
            let end = offset + sector.len();
            if end <= image.len() && (all || self.chance().is_multiple_of(2)) {
                image[offset..end].copy_from_slice(&sector);
            }
        }
        image
    }
}

impl StorageBackend for PoweredDisk {
    fn len(&self) -> io::Result<u64> {
        Ok(self.0.lock().unwrap().seen.len() as u64)
    }
    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let disk = self.0.lock().unwrap();
        out.copy_from_slice(&disk.seen[offset as usize..][..out.len()]);
        Ok(())
    }
    fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.lock().unwrap().seen.resize(len as usize, 0);
        Ok(())
    }
    fn sync_data(&self) -> io::Result<()> {
        let mut disk = self.0.lock().unwrap();
        disk.syncs_left =
            disk.syncs_left.checked_sub(1).ok_or_else(|| io::Error::other("no power"))?;
        disk.pending.clear();
        disk.kept = disk.seen.clone();
        Ok(())
    }
    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let mut disk = self.0.lock().unwrap();
        let mut offset = offset as usize;
        disk.seen[offset..][..data.len()].copy_from_slice(data);
        let mut data = data;
        while !data.is_empty() {
            let (sector, rest) = data.split_at(data.len().min(SECTOR - offset % SECTOR));
            disk.pending.push((offset, sector.to_vec()));
            (offset, data) = (offset + sector.len(), rest);
        }
        Ok(())
    }
}

struct Told {
    acked: u64,
    appended: u64,
    voted: u64,
    purged: u64,
}

#[tokio::test]
async fn acknowledged_entries_survive_a_power_loss() {
    let (mut rolled_on, mut acked) = (0, 0);
    for seed in 0..SEEDS {
        let disk = PoweredDisk(Arc::new(Mutex::new(Disk {
            syncs_left: 40 + seed % 90,
            chance: seed,
            ..Disk::default()
        })));
        let log = LogStore::open_on(disk.clone()).unwrap();
        let told = write_until_power_fails(log).await;
        acked += told.acked;

        let image = disk.0.lock().unwrap().after_power_loss();
        let disk =
            Disk { seen: image.clone(), kept: image, syncs_left: u64::MAX, ..Disk::default() };
        let mut log = LogStore::open_on(PoweredDisk(Arc::new(Mutex::new(disk)))).unwrap();
        let state = log.log_state().unwrap();
        let last = state.last_log_id.map_or(0, |last| last.index);
        let purged = state.last_purged_log_id.map_or(0, |purged| purged.index);
        assert!(last >= told.acked && last <= told.appended, "seed {seed}: {} lost", told.acked);
        assert!(purged >= told.purged, "seed {seed}");
        assert_eq!(all(&mut log).await, (purged + 1..=last).map(entry).collect::<Vec<_>>());
        let term = log.read_vote().await.unwrap().map_or(0, |vote| vote.leader_id.term);
        assert!(term >= told.voted, "seed {seed}: vote {} lost", told.voted);
        rolled_on += u64::from(last > told.acked);
        append(&mut log, vec![entry(last + 1)]).await.unwrap();
    }
    println!("{acked} acknowledged; {rolled_on} of {SEEDS} kept entries beyond");
    assert!(acked > 10 * SEEDS);
}

async fn write_until_power_fails(mut log: LogStore) -> Told {
    let mut told = Told { acked: 0, appended: 0, voted: 0, purged: 0 };
    loop {
        let mut waiting = Vec::new();
        for size in 1..4 {
            let entries = (told.appended + 1..=told.appended + size).map(entry).collect();
            let Ok(flushed) = begin_append(&mut log, entries).await else { return told };
            told.appended += size;
            waiting.push((told.appended, flushed));
        }
        for (index, flushed) in waiting {
            let Ok(()) = flushed.await else { return told };
            told.acked = index;
        }
        let Ok(()) = log.save_vote(&vote(told.voted + 1)).await else { return told };
        told.voted += 1;
        if told.appended > 40 {
            let upto = told.appended - 30;
            let Ok(()) = log.purge(id(upto)).await else { return told };
            told.purged = upto;
        }
    }
}
