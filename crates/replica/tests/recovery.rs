//! A group of one made from what one replica's folder holds, which is only read.
#![allow(clippy::unwrap_used, reason = "a test fails where it stands")]

mod common;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use common::{Cluster, DOMAIN, Tweak, all_steps, number_of, record};
use conclave_replica::recovery::{FAR, RecoveryError, Source, read, rebuild};
use conclave_replica::{PeerNode, Standing};
use conclave_store::View;

const SNAPSHOTS: Tweak = |config| config.snapshot_every = 40;
const NONE: Tweak = |_| {};

fn content(dir: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(content(&path));
        } else {
            found.insert(path.clone(), fs::read(&path).unwrap());
        }
    }
    found
}

fn source(cluster: &Cluster, raft_id: u64) -> Source {
    Source::Disk { dir: cluster.data_dir(raft_id), domain_id: DOMAIN, raft_id }
}

fn lone() -> PeerNode {
    PeerNode { name: "lone".to_owned(), peer: "127.0.0.1:1".to_owned() }
}

/// Three replicas that have committed `count` numbers, and are stopped.
async fn stopped(tweak: Tweak, count: u64) -> Cluster {
    let mut cluster = Cluster::founded(3, tweak).await;
    for number in 0..count {
        cluster.commit(number % 3 + 1, number).await;
    }
    cluster.converge().await;
    for id in 1..=3 {
        cluster.stop(id).await;
    }
    cluster
}

async fn goes_on_alone(tweak: Tweak, count: u64, has_snapshot: bool) {
    let mut cluster = stopped(tweak, count).await;
    let source = source(&cluster, 2);
    let as_it_was = content(&cluster.data_dir(2));
    let holding = read(&source).await.unwrap();
    assert_eq!(holding.snapshot_index.is_some(), has_snapshot);
    assert_eq!((holding.audit_size, holding.records as u64), (count, count));

    let made = cluster.data_dir(1 << 50);
    let raft_id = rebuild(&source, &holding, &made, lone()).await.unwrap();
    assert!(raft_id > holding.last.index + FAR && raft_id < holding.last.index + 2 * FAR);
    assert!(content(&cluster.data_dir(2)) == as_it_was, "the source was changed");
    // Another one from the same disk is another group.
    let twin = cluster.data_dir(1 << 51);
    assert_ne!(rebuild(&source, &holding, &twin, lone()).await.unwrap(), raft_id);

    fs::rename(&made, cluster.data_dir(raft_id)).unwrap();
    cluster.start(raft_id).await;
    // Serving means that it has proven itself, as any other.
    let revision = cluster.commit(raft_id, count).await;
    assert!(revision.log_index.0 > raft_id);
    let node = cluster.node(raft_id);
    assert_eq!(node.standing(), Standing::Proven);
    assert_eq!(node.status().voters, [raft_id]);
    let numbers: Vec<u64> = all_steps(node).iter().map(number_of).collect();
    assert_eq!(numbers, (0..=count).collect::<Vec<_>>());
    for number in 0..=count {
        let blob = node.view().blob(&record(number)).unwrap().unwrap();
        assert_eq!(blob[..8], number.to_be_bytes());
    }
    // And its disk is good for another start.
    cluster.stop(raft_id).await;
    cluster.start(raft_id).await;
    cluster.commit(raft_id, count + 1).await;
    assert_eq!(all_steps(cluster.node(raft_id)).len() as u64, count + 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_group_of_one_goes_on_from_snapshot_and_log() {
    goes_on_alone(SNAPSHOTS, 150, true).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_group_of_one_goes_on_from_a_log_alone() {
    goes_on_alone(NONE, 20, false).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn damage_is_refused_and_what_is_left_can_be_used_by_itself() {
    let cluster = stopped(SNAPSHOTS, 150).await;
    let dir = cluster.data_dir(3);
    let files = content(&dir);
    let one = |folder: &str| {
        let within = dir.join(folder);
        files.keys().rfind(|path| path.starts_with(&within)).unwrap().clone()
    };
    let holding = read(&source(&cluster, 3)).await.unwrap();

    // A bit in the middle of the log's written part.
    let log = files.keys().find(|path| path.starts_with(dir.join("raft"))).unwrap();
    let mut bytes = files[log].clone();
    bytes[4096 + 40] ^= 1;
    fs::write(log, &bytes).unwrap();
    assert!(matches!(read(&source(&cluster, 3)).await, Err(RecoveryError::Log(_))));

    // The snapshot and the history that it names, without the log.
    let snapshot = Source::Snapshot { file: one("snapshot"), audit: dir.join("audit") };
    let older = read(&snapshot).await.unwrap();
    assert_eq!(Some(older.last.index), holding.snapshot_index);
    assert!(older.last.index <= holding.last.index);
    rebuild(&snapshot, &older, &cluster.data_dir(1 << 50), lone()).await.unwrap();

    let mut bytes = files[&one("audit")].clone();
    bytes[200] ^= 1;
    fs::write(one("audit"), &bytes).unwrap();
    let refused = rebuild(&snapshot, &older, &cluster.data_dir(1 << 51), lone()).await;
    assert!(matches!(refused, Err(RecoveryError::Apply(_))), "{refused:?}");
    fs::remove_dir_all(dir.join("audit")).unwrap();
    let refused = rebuild(&snapshot, &older, &cluster.data_dir(1 << 52), lone()).await;
    assert!(matches!(refused, Err(RecoveryError::NoAudit { .. })), "{refused:?}");

    let mut bytes = files[&one("snapshot")].clone();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(one("snapshot"), &bytes).unwrap();
    assert!(matches!(read(&snapshot).await, Err(RecoveryError::Snapshot(_))));
}
