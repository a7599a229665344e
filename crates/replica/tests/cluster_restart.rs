//! What was acknowledged survives the loss of a leader, restarts, and a kill at any moment.
#![allow(clippy::unwrap_used, reason = "a test fails where it stands")]

mod common;

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use common::{Cluster, all_steps, number_of, soon, try_commit};
use conclave_proto::audit::Step;
use conclave_replica::{Decided, Replica, ReplicaConfig};
use conclave_store::Revision;

type Acknowledged = Arc<Mutex<BTreeMap<u64, Revision>>>;

/// Commits numbers from `first` on, one after another, until told to stop, and notes what was
/// acknowledged. A number whose outcome is unknown is not tried again.
async fn load(node: Replica, first: u64, acknowledged: Acknowledged, stop: Arc<AtomicBool>) {
    let mut number = first;
    while !stop.load(Ordering::Relaxed) {
        if let Ok(Decided::Committed(revision)) = try_commit(&node, number).await {
            acknowledged.lock().unwrap().insert(number, revision);
        } else {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        number += 1;
    }
}

/// Each acknowledged number stands in exactly one step, at its revision; no txn id stands twice.
fn check_exactly_once(steps: &[Step], acknowledged: &BTreeMap<u64, Revision>) {
    let mut by_number = BTreeMap::<u64, Vec<&Step>>::new();
    for step in steps {
        by_number.entry(number_of(step)).or_default().push(step);
    }
    for (number, revision) in acknowledged {
        let found = by_number.get(number).map(Vec::as_slice).unwrap_or_default();
        assert_eq!(found.len(), 1, "number {number} stands in {} steps", found.len());
        assert_eq!(
            (found[0].log_index, found[0].position),
            (revision.log_index.0, revision.position)
        );
    }
    let mut ids: Vec<_> = steps.iter().map(|step| (step.writer, step.sequence)).collect();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), steps.len(), "a txn took effect twice");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_lost_under_load_loses_nothing_acknowledged() {
    let mut cluster = Cluster::founded(3, |config| config.segment_bytes = 20_000).await;
    let acknowledged = Acknowledged::default();
    let stop = Arc::new(AtomicBool::new(false));
    let mut tasks = Vec::new();
    for (id, node) in &cluster.nodes {
        for lane in 0..10 {
            let (node, first) = (node.replica.clone(), (id * 10 + lane) * 1_000_000);
            tasks.push(tokio::spawn(load(node, first, acknowledged.clone(), stop.clone())));
        }
    }
    let many = async |cluster: &Cluster, more: usize| {
        let before = acknowledged.lock().unwrap().len();
        common::eventually("txns are acknowledged", async || {
            let now = acknowledged.lock().unwrap().len();
            (now >= before + more && !cluster.nodes.is_empty()).then_some(())
        })
        .await;
    };
    for _ in 0..2 {
        many(&cluster, 200).await;
        let leader = cluster.leader().await;
        cluster.stop(leader).await;
        many(&cluster, 200).await;
        cluster.start(leader).await;
    }
    many(&cluster, 50).await;
    stop.store(true, Ordering::Relaxed);
    for task in tasks {
        task.await.unwrap();
    }
    cluster.converge().await;
    let acknowledged = acknowledged.lock().unwrap();
    for id in 1..=3 {
        check_exactly_once(&all_steps(cluster.node(id)), &acknowledged);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_nodes_restart() {
    let mut cluster = Cluster::founded(3, |config| {
        config.segment_bytes = 5_000;
        config.snapshot_every = 30;
    })
    .await;
    for number in 0..100 {
        cluster.commit(number % 3 + 1, number).await;
    }
    let before = cluster.converge().await;
    let digest = cluster.node(1).state_digest();
    for id in 1..=3 {
        cluster.stop(id).await;
    }
    for id in 1..=3 {
        cluster.start(id).await;
    }
    cluster.leader().await;
    assert_eq!(cluster.converge().await, before);
    assert_eq!(cluster.node(2).state_digest(), digest);
    for number in 100..110 {
        cluster.commit(number % 3 + 1, number).await;
    }
    cluster.converge().await;
    let numbers: Vec<u64> = all_steps(cluster.node(3)).iter().map(number_of).collect();
    assert_eq!(numbers, (0..110).collect::<Vec<_>>());
}

const CHILD: &str = "CONCLAVE_TEST_CHILD_DIR";

fn small(config: &mut ReplicaConfig) {
    config.snapshot_every = 20;
    config.segment_bytes = 3_000;
}

/// A node alone in this process, with its Raft group.
async fn alone(dir: &std::path::Path) -> Replica {
    let cluster = Cluster::empty(small);
    let config = cluster.config(1, dir);
    let node = Replica::start(config, cluster.links.dialer(1)).await.unwrap();
    let peer = conclave_replica::PeerNode { name: "node-1".into(), peer: "127.0.0.1:1".into() };
    // Refused once the group exists.
    let _ = node.initialize(BTreeMap::from([(1, peer)])).await;
    node
}

/// Not a test of its own: what [`a_node_killed_at_any_moment_opens_again`] kills.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn child() {
    let Some(dir) = std::env::var_os(CHILD) else { return };
    let node = alone(dir.as_ref()).await;
    let base = node.own_clock_ms() * 1_000;
    let mut lanes = Vec::new();
    for lane in 0..4 {
        let node = node.clone();
        lanes.push(tokio::spawn(async move {
            for n in 0.. {
                let number = base + lane * 100_000 + n;
                if let Ok(Decided::Committed(at)) = try_commit(&node, number).await {
                    let line =
                        format!("acknowledged {number} {} {}\n", at.log_index.0, at.position);
                    std::io::stderr().write_all(line.as_bytes()).unwrap();
                }
            }
        }));
    }
    for lane in lanes {
        lane.await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_killed_at_any_moment_opens_again() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path().join("node");
    let mut acknowledged = BTreeMap::new();
    for round in 0..6 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "child", "--nocapture"])
            .env(CHILD, &dir)
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let begun = Instant::now();
        let mut count = 0;
        for line in lines {
            let line = line.unwrap();
            let Some(line) = line.strip_prefix("acknowledged ") else { continue };
            let numbers: Vec<u64> = line.split(' ').map(|n| n.parse().unwrap()).collect();
            let revision = Revision {
                log_index: conclave_store::LogIndex(numbers[1]),
                position: numbers[2] as u32,
            };
            acknowledged.insert(numbers[0], revision);
            count += 1;
            // After a different number of txns in each round.
            if count == 37 + round * 29 {
                child.kill().unwrap();
            }
            assert!(begun.elapsed() < common::PATIENCE);
        }
        child.wait().unwrap();
        assert!(count > 0, "the child did nothing in round {round}");
        // What the system had not written may be lost, or be anything.
        let newest =
            std::fs::read_dir(dir.join("audit")).unwrap().map(|e| e.unwrap().path()).max().unwrap();
        let mut file = std::fs::OpenOptions::new().append(true).open(newest).unwrap();
        file.write_all(&[0; 100]).unwrap();
    }
    let node = alone(&dir).await;
    let read = node.read_index(soon()).await.unwrap();
    node.wait_applied(read, soon()).await.unwrap();
    check_exactly_once(&all_steps(&node), &acknowledged);
    node.shutdown().await;
}
