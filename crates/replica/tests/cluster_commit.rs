//! Txns commit, through whichever node, and every replica ends up the same.
#![allow(clippy::unwrap_used, reason = "a test fails where it stands")]

mod common;

use std::collections::BTreeSet;

use common::{Cluster, all_steps, body, commit, number_of, record, soon, try_commit};
use conclave_replica::{Decided, WallClock as _};
use conclave_store::{Family, Guarded, Kind, RecordId, View};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_single_node_commits() {
    let cluster = Cluster::founded(1, |_| {}).await;
    let node = cluster.node(1);
    let first = cluster.commit(1, 7).await;
    let siblings = Family::new(RecordId::numbered(Kind::Alias, 1), Kind::Key);
    node.wait_applied(first.log_index.0, soon()).await.unwrap();
    {
        let view = node.view();
        assert_eq!(view.blob(&record(7)).unwrap().unwrap()[..8], 7u64.to_be_bytes());
        assert!(view.blob(&record(8)).unwrap().is_none());
        assert_eq!(view.family(&siblings, None, 9), [record(7)]);
        assert_eq!((view.count(&siblings), view.scan_guard(&siblings).is_some()), (1, true));
        assert_eq!(view.last_use(&record(7)).map(|last| last.operation), Some(7));
    }
    // A guard that does not hold is a conflict, and leaves no step.
    let mut stale = body(7, node.now_ms().unwrap());
    stale.guards.insert(record(7), None);
    let decided = node.propose(stale, soon()).await.unwrap();
    assert!(
        matches!(decided, Decided::Conflict { on: Some(Guarded::Record(at)), .. } if at == record(7))
    );
    let mut stale = body(7, node.now_ms().unwrap());
    stale.scans.insert(siblings, None);
    let decided = node.propose(stale, soon()).await.unwrap();
    assert!(
        matches!(decided, Decided::Conflict { on: Some(Guarded::Scan(at)), .. } if at == siblings)
    );
    // A token that was taken answers as the first time.
    let mut first = body(9, node.now_ms().unwrap());
    (first.token, first.answer) = (Some([1; 32]), b"sealed".to_vec());
    let again = first.clone();
    let Decided::Committed(at) = node.propose(first, soon()).await.unwrap() else { panic!() };
    let known = node.propose(again, soon()).await.unwrap();
    assert_eq!(known, Decided::Known { revision: at, answer: b"sealed".to_vec() });

    assert_eq!(all_steps(node).iter().map(number_of).collect::<Vec<_>>(), [7, 9]);
    assert!(node.read_index(soon()).await.unwrap() >= at.log_index.0);
    common::eventually("a checkpoint was noted", async || node.checkpoints().pop()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_nodes_commit_from_every_node_at_once() {
    let cluster = Cluster::founded(3, |_| {}).await;
    let each = 200;
    let mut tasks = Vec::new();
    for id in 1..=3 {
        for lane in 0..10 {
            let node = cluster.node(id).clone();
            tasks.push(tokio::spawn(async move {
                for n in 0..each / 10 {
                    commit(&node, id * 10_000 + lane * 1_000 + n).await;
                }
            }));
        }
    }
    for task in tasks {
        task.await.unwrap();
    }
    let (size, _) = cluster.converge().await;
    assert_eq!(size, 3 * each);
    let steps = all_steps(cluster.node(1));
    assert_eq!(steps.iter().map(number_of).collect::<BTreeSet<_>>().len() as u64, 3 * each);
    assert_eq!(all_steps(cluster.node(2)), steps);
    assert_eq!(all_steps(cluster.node(3)), steps);
    let entries = cluster.node(1).status().applied_index;
    assert!(entries < 2 * each, "{entries} entries: nothing was gathered into batches");
    for id in 1..=3 {
        let node = cluster.node(id);
        let read = node.read_index(soon()).await.unwrap();
        node.wait_applied(read, soon()).await.unwrap();
        let last = node.checkpoints().into_iter().map(|note| note.index).max();
        assert!(last.is_some());
    }
    // Each has noted the same at the same checkpoint.
    let notes: Vec<_> = (1..=3).map(|id| cluster.node(id).checkpoints()).collect();
    assert!(notes.windows(2).all(|two| two[0] == two[1]), "{notes:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_for_another_raft_id_or_domain_is_refused() {
    use conclave_proto::peer::{ReadIndexRequest, replication_client::ReplicationClient};
    let cluster = Cluster::founded(1, |_| {}).await;
    let channel = cluster.links.dialer(9).dial("node-1", &cluster.peer(1).peer);
    let mut client = ReplicationClient::new(channel);
    for (domain, id, ok) in [("d0", "1", true), ("d1", "1", false), ("d0", "2", false)] {
        let mut request = tonic::Request::new(ReadIndexRequest {});
        let metadata = request.metadata_mut();
        metadata.insert("conclave-cluster", "test".parse().unwrap());
        metadata.insert("conclave-domain", domain.repeat(16).parse().unwrap());
        metadata.insert("conclave-raft-id", id.parse().unwrap());
        let answer = client.read_index(request).await;
        match ok {
            true => drop(answer.unwrap()),
            false => {
                let status = answer.unwrap_err();
                assert_eq!(status.code(), tonic::Code::FailedPrecondition);
                assert!(status.message().starts_with("this node is not "), "{status}");
            }
        }
    }
    assert_eq!(
        client.read_index(ReadIndexRequest {}).await.unwrap_err().code(),
        tonic::Code::FailedPrecondition
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_majority_nothing_is_acknowledged() {
    let cluster = Cluster::founded(3, |_| {}).await;
    let leader = cluster.leader().await;
    cluster.commit(leader, 1).await;
    cluster.links.isolate(leader, true);
    let node = cluster.node(leader);
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(4);
    let now_ms = node.now_ms().unwrap();
    let lost = node.propose(body(2, now_ms), deadline).await;
    assert!(lost.is_err(), "{lost:?}");
    // The others elect a leader and go on; the old one learns of it when it is back.
    let other = common::eventually("another leads", async || {
        let others = cluster.nodes.iter().filter(|(id, _)| **id != leader);
        others.filter_map(|(_, node)| node.replica.status().leader).find(|id| *id != leader)
    })
    .await;
    commit(cluster.node(other), 3).await;
    cluster.links.isolate(leader, false);
    assert!(matches!(
        try_commit(node, 4).await,
        Ok(Decided::Committed(_) | Decided::Conflict { .. })
    ));
    cluster.converge().await;
    let numbers: Vec<u64> = all_steps(node).iter().map(number_of).collect();
    assert!(numbers.starts_with(&[1]) && numbers.contains(&3), "{numbers:?}");
    assert!(numbers.iter().filter(|n| **n == 2).count() <= 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_clock_two_years_ahead_moves_nothing() {
    struct Ahead;
    impl conclave_replica::WallClock for Ahead {
        fn now_ms(&self) -> u64 {
            conclave_replica::SystemClock.now_ms() + 2 * 365 * 86_400_000
        }
    }
    let cluster = Cluster::founded(3, |config| {
        if config.raft_id == 2 {
            config.wall_clock = std::sync::Arc::new(Ahead);
        }
    })
    .await;
    let now_ms = || conclave_replica::SystemClock.now_ms();
    // As a follower, and as the leader.
    for leader in [1, 2] {
        let old = cluster.leader().await;
        if old != leader {
            cluster.node(old).transfer_leader(leader).await.unwrap();
        }
        let begun = now_ms();
        for id in 1..=3 {
            cluster.commit(id, leader * 10 + id).await;
        }
        let time_ms = cluster.node(leader).status().time_ms;
        assert!(time_ms.abs_diff(begun) < 60_000, "cluster time {time_ms}, not about {begun}");
    }
}
