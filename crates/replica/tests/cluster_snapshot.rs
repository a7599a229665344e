//! A node that was away catches up, by log or by snapshot, with the whole audit history.
#![allow(clippy::unwrap_used, reason = "a test fails where it stands")]

mod common;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use common::{Cluster, Tweak, all_steps, commit, eventually, number_of};
use conclave_replica::Replica;

const SMALL: Tweak = |config| {
    config.snapshot_every = 10;
    config.segment_bytes = 10_000;
};

/// Commits `count` numbers over many lanes through two nodes.
async fn commit_many(cluster: &Cluster, via: [u64; 2], first: u64, count: u64) {
    let lanes = 20;
    let mut tasks = Vec::new();
    for lane in 0..lanes {
        let node = cluster.node(via[(lane % 2) as usize]).clone();
        tasks.push(tokio::spawn(async move {
            for number in (first + lane..first + count).step_by(lanes as usize) {
                commit(&node, number).await;
            }
        }));
    }
    for task in tasks {
        task.await.unwrap();
    }
}

fn segment_files(dir: &Path) -> BTreeMap<String, Vec<u8>> {
    let files = std::fs::read_dir(dir.join("audit")).unwrap().map(|entry| entry.unwrap());
    files
        .map(|file| (file.file_name().into_string().unwrap(), std::fs::read(file.path()).unwrap()))
        .collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_laggard_catches_up_by_snapshot_and_audit_steps() {
    let mut cluster = Cluster::founded(3, SMALL).await;
    let leader = cluster.leader().await;
    let laggard = leader % 3 + 1;
    let other = laggard % 3 + 1;
    cluster.commit(laggard, 0).await;
    cluster.converge().await;
    cluster.links.isolate(laggard, true);
    let had = cluster.node(laggard).status().last_log_index;
    commit_many(&cluster, [leader, other], 1, 2_000).await;
    eventually("the log is purged beyond what the laggard has", async || {
        let leader = cluster.leader().await;
        (cluster.node(leader).status().purged_index > had).then_some(())
    })
    .await;
    cluster.links.isolate(laggard, false);
    let (size, _) = cluster.converge().await;
    assert_eq!(size, 2_001);
    assert!(cluster.node(laggard).counters().snapshots_installed.get() >= 1);
    let steps = all_steps(cluster.node(laggard));
    assert_eq!(steps, all_steps(cluster.node(leader)));
    // The very same files, rolled at the same steps.
    let files = segment_files(&cluster.data_dir(laggard));
    assert!(files.len() > 10);
    assert!(files == segment_files(&cluster.data_dir(leader)));
    // And its disk is good for a start.
    cluster.stop(laggard).await;
    cluster.start(laggard).await;
    cluster.commit(laggard, 5_000).await;
    cluster.converge().await;
    assert_eq!(all_steps(cluster.node(laggard)).last().map(number_of), Some(5_000));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_laggard_catches_up_by_log() {
    let cluster = Cluster::founded(3, |_| {}).await;
    let leader = cluster.leader().await;
    let laggard = leader % 3 + 1;
    cluster.links.isolate(laggard, true);
    commit_many(&cluster, [leader, laggard % 3 + 1], 0, 300).await;
    cluster.links.isolate(laggard, false);
    cluster.converge().await;
    assert_eq!(cluster.node(laggard).counters().snapshots_installed.get(), 0);
    assert_eq!(all_steps(cluster.node(laggard)).len(), 300);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_damaged_history_or_snapshot_stops_the_node() {
    let mut cluster = Cluster::founded(1, SMALL).await;
    commit_many(&cluster, [1, 1], 0, 600).await;
    eventually("a snapshot is there", async || cluster.node(1).status().snapshot_index).await;
    cluster.stop(1).await;
    let dir = cluster.data_dir(1);
    // Looked for when it is its turn: as the node stopped, it may have been taking another.
    let segment: fn(&Path) -> PathBuf = |dir| dir.join("audit/0000000000000001.seg");
    for find in [segment, |dir| newest_snapshot(&dir.join("snapshot"))] {
        let file = find(&dir);
        let bytes = std::fs::read(&file).unwrap();
        let mut flipped = bytes.clone();
        flipped[bytes.len() / 2] ^= 0x40;
        std::fs::write(&file, &flipped).unwrap();
        let message = eventually("the log is closed", async || {
            let mut config = cluster.config(1, &dir);
            config.snapshot_every = 1_000_000;
            let message = match Replica::start(config, cluster.links.dialer(1)).await {
                Err(error) => error.to_string(),
                Ok(replica) => {
                    let stopped = replica.stopped().await;
                    replica.shutdown().await;
                    stopped
                }
            };
            message.contains(file.file_name().unwrap().to_str().unwrap()).then_some(message)
        })
        .await;
        assert!(message.contains("damaged"), "{message}");
        std::fs::write(&file, &bytes).unwrap();
    }
    cluster.start(1).await;
    cluster.leader().await;
    cluster.commit(1, 1_000).await;
}

/// The snapshot that counts. A stop may leave an older or an unfinished one beside it.
fn newest_snapshot(dir: &Path) -> std::path::PathBuf {
    let files = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    files.filter(|path| path.extension().is_some_and(|kind| kind == "snap")).max().unwrap()
}
