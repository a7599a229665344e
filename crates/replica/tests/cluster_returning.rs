//! A node that returns with less, or something else, than it left with is caught before it serves.
#![allow(clippy::unwrap_used, reason = "a test fails where it stands")]

mod common;

use std::fs;
use std::path::Path;
use std::time::Duration;

use common::{Cluster, Tweak, eventually};
use conclave_replica::Standing;

const PLAIN: Tweak = |_| {};
/// For tests in which a witness stays silent.
const HASTY: Tweak = |config| config.witness_wait = Duration::from_millis(300);

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let (from, to) = {
            let entry = entry.unwrap();
            (entry.path(), to.join(entry.file_name()))
        };
        if from.is_dir() {
            copy(&from, &to);
        } else {
            fs::copy(&from, &to).unwrap();
        }
    }
}

/// Puts a node's folder back to an earlier copy.
fn put_back(cluster: &Cluster, id: u64, image: &Path) {
    fs::remove_dir_all(cluster.data_dir(id)).unwrap();
    copy(image, &cluster.data_dir(id));
}

async fn commit_from(cluster: &Cluster, via: u64, numbers: std::ops::Range<u64>) {
    for number in numbers {
        cluster.commit(via, number).await;
    }
}

async fn proven(cluster: &Cluster) {
    for (id, node) in &cluster.nodes {
        eventually("every node is proven", async || {
            let standing = node.replica.standing();
            tracing::debug!(id, ?standing);
            (standing == Standing::Proven).then_some(())
        })
        .await;
    }
}

async fn stops(cluster: &Cluster, id: u64, because: &str) {
    let stopped = tokio::time::timeout(common::PATIENCE, cluster.node(id).stopped());
    let reason = stopped.await.unwrap();
    assert!(reason.contains(because), "{reason}");
    assert!(reason.contains("conclave node replace"), "says what to do: {reason}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_disk_that_went_back_neither_votes_nor_acknowledges() {
    let mut cluster = Cluster::founded(3, PLAIN).await;
    let leader = cluster.leader().await;
    let follower = leader % 3 + 1;
    let third = follower % 3 + 1;
    for back in [follower, leader] {
        let via = third;
        commit_from(&cluster, via, 0..20).await;
        cluster.converge().await;
        let images = tempfile::tempdir().unwrap();
        cluster.stop(back).await;
        let (image, newest) = (images.path().join("old"), images.path().join("new"));
        copy(&cluster.data_dir(back), &image);
        cluster.start(back).await;
        commit_from(&cluster, via, 20..40).await;
        cluster.converge().await;
        cluster.stop(back).await;
        copy(&cluster.data_dir(back), &newest);

        put_back(&cluster, back, &image);
        cluster.start(back).await;
        stops(&cluster, back, "went back").await;
        assert!(cluster.node(back).status().stopped.is_some());
        // The others go on, and what it had is still what it can return with.
        commit_from(&cluster, via, 40..60).await;
        cluster.stop(back).await;
        put_back(&cluster, back, &newest);
        cluster.start(back).await;
        proven(&cluster).await;
        cluster.converge().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_disk_that_went_back_while_all_were_down_is_caught() {
    let mut cluster = Cluster::founded(3, PLAIN).await;
    let via = cluster.leader().await;
    commit_from(&cluster, via, 0..20).await;
    cluster.converge().await;
    let images = tempfile::tempdir().unwrap();
    cluster.stop(3).await;
    copy(&cluster.data_dir(3), images.path());
    cluster.start(3).await;
    let via = if via == 3 { 1 } else { via };
    commit_from(&cluster, via, 20..40).await;
    let (size, _) = cluster.converge().await;
    for id in 1..=3 {
        cluster.stop(id).await;
    }
    put_back(&cluster, 3, images.path());
    for id in [3, 1, 2] {
        cluster.start(id).await;
    }
    stops(&cluster, 3, "went back").await;
    cluster.stop(3).await;
    cluster.commit(1, 100).await;
    eventually("node 1 has applied all of it", async || {
        (cluster.node(1).status().audit_size > size).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_silent_witness_is_heard_when_it_returns() {
    let mut cluster = Cluster::founded(3, HASTY).await;
    let leader = cluster.leader().await;
    let (back, other) = (leader % 3 + 1, (leader + 1) % 3 + 1);
    cluster.converge().await;
    let images = tempfile::tempdir().unwrap();
    cluster.stop(back).await;
    copy(&cluster.data_dir(back), images.path());
    cluster.start(back).await;
    // What only the leader saw of it: nobody else is told.
    cluster.links.cut(back, other, true);
    cluster.links.cut(other, back, true);
    commit_from(&cluster, leader, 0..20).await;
    cluster.converge().await;
    cluster.stop(back).await;
    cluster.links.isolate(leader, true);
    cluster.links.cut(back, other, false);
    cluster.links.cut(other, back, false);
    put_back(&cluster, back, images.path());
    cluster.start(back).await;
    eventually("it takes part", async || {
        (cluster.node(back).standing() != Standing::Returning).then_some(())
    })
    .await;
    cluster.links.isolate(leader, false);
    stops(&cluster, back, "went back").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_serves_only_with_a_majority_of_its_state() {
    let mut cluster = Cluster::founded(3, HASTY).await;
    proven(&cluster).await;
    cluster.commit(1, 1).await;
    cluster.converge().await;
    for id in 1..=3 {
        cluster.stop(id).await;
    }
    cluster.start(1).await;
    eventually("it took part alone", async || {
        matches!(cluster.node(1).standing(), Standing::Unproven { .. }).then_some(())
    })
    .await;
    let soon = std::time::Instant::now() + Duration::from_millis(300);
    let now = cluster.node(1).own_clock_ms();
    let proposed = cluster.node(1).propose(common::body(2, now), soon).await;
    assert_eq!(proposed, Err(conclave_replica::ProposeError::Unavailable));
    cluster.start(2).await;
    proven(&cluster).await;
    cluster.commit(1, 3).await;
}

/// The same members under the same addresses, twice: two histories that Raft, which compares only
/// terms and indexes, cannot tell apart.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_of_another_state_is_stopped_by_the_majority() {
    let mut cluster = Cluster::founded(3, HASTY).await;
    loop {
        commit_from(&cluster, 1, 0..40).await;
        cluster.converge().await;
        let first = cluster.node(1).status();
        let images = tempfile::tempdir().unwrap();
        // Node 3 first: it shall not come to lead a later term.
        for id in [3, 1, 2] {
            cluster.stop(id).await;
        }
        copy(&cluster.data_dir(3), images.path());

        for id in 1..=3 {
            fs::remove_dir_all(cluster.data_dir(id)).unwrap();
            cluster.start(id).await;
        }
        let members = (1..=3).map(|id| (id, cluster.peer(id))).collect();
        cluster.node(1).initialize(members).await.unwrap();
        cluster.leader().await;
        proven(&cluster).await;
        cluster.stop(3).await;
        commit_from(&cluster, 1, 1_000..1_080).await;
        let second = cluster.node(1).status();
        let same = |a: &conclave_replica::ReplicaStatus| (a.term, a.leader);
        if same(&first) != same(&second) || second.last_log_index <= first.last_log_index {
            // Another leader, or term: Raft would see it. Again.
            cluster.start(3).await;
            continue;
        }
        put_back(&cluster, 3, images.path());
        cluster.start(3).await;
        stops(&cluster, 3, "another state").await;
        cluster.commit(2, 2_000).await;
        return;
    }
}
