//! Members come and go, and the public record changes in Raft's own entry.
#![allow(clippy::unwrap_used, reason = "a test fails where it stands")]

mod common;

use std::collections::BTreeMap;
use std::time::Duration;

use common::{Cluster, all_steps, eventually, sealed, soon};
use conclave_proto::store::MemberChange;
use conclave_replica::{MembersError, PeerNode};
use conclave_store::{GuardDigest, Kind, RecordId, View, Write, member_change};

fn members_record() -> RecordId {
    RecordId::singleton(Kind::Members)
}

fn change(text: &str) -> MemberChange {
    member_change(&[Write::put(members_record(), text.as_bytes().to_vec())], sealed(0)).unwrap()
}

fn record_of(cluster: &Cluster, id: u64) -> Option<String> {
    let view = cluster.node(id).view();
    let blob = view.blob(&members_record()).unwrap()?;
    Some(String::from_utf8(blob.to_vec()).unwrap())
}

async fn add_learners(cluster: &mut Cluster, via: u64, ids: &[u64]) {
    for id in ids {
        if !cluster.nodes.contains_key(id) {
            cluster.start(*id).await;
        }
        cluster.node(via).add_learner(*id, cluster.peer(*id), soon()).await.unwrap();
    }
}

async fn change_voters(cluster: &Cluster, via: u64, voters: &[u64], text: &str) -> u64 {
    eventually("the voters change", async || {
        match cluster.node(via).change_members(voters, change(text), &BTreeMap::new(), soon()).await
        {
            Ok(index) => Some(index),
            Err(MembersError::Refused(why)) => {
                tracing::info!(%why, "refused");
                None
            }
            Err(error) => panic!("{error}"),
        }
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_to_three_to_five_to_three() {
    let mut cluster = Cluster::founded(1, |config| config.snapshot_every = 40).await;
    for number in 0..120 {
        cluster.commit(1, number).await;
    }
    add_learners(&mut cluster, 1, &[2, 3]).await;
    // 1 to 3 in one change.
    change_voters(&cluster, 1, &[1, 2, 3], "three").await;
    cluster.converge().await;
    assert_eq!(cluster.node(3).status().voters, [1, 2, 3]);
    assert_eq!(record_of(&cluster, 3).as_deref(), Some("three"));

    // Asked of a follower, for 5.
    add_learners(&mut cluster, 2, &[4, 5]).await;
    cluster.commit(5, 200).await;
    let index = change_voters(&cluster, 3, &[1, 2, 3, 4, 5], "five").await;
    cluster.converge().await;
    assert_eq!(cluster.node(5).status().voters, [1, 2, 3, 4, 5]);
    assert_eq!(record_of(&cluster, 5).as_deref(), Some("five"));
    // An admission counts from the final entry: nothing of the change comes after it.
    assert_eq!(cluster.node(5).status().nodes.len(), 5);
    let last_step = all_steps(cluster.node(4)).pop().unwrap();
    assert_eq!((last_step.log_index, last_step.writer), (index, 0));

    // The leader goes, after handing over, and another with it.
    let old = cluster.leader().await;
    let new = (old % 5) + 1;
    cluster.node(old).transfer_leader(new).await.unwrap();
    assert_eq!(cluster.node(old).status().leader, Some(new));
    let other = (new % 5) + 1;
    let stay: Vec<u64> = (1..=5).filter(|id| ![old, other].contains(id)).collect();
    let index = change_voters(&cluster, new, &stay, "three again").await;
    cluster.stop(old).await;
    cluster.stop(other).await;
    cluster.converge().await;
    let status = cluster.node(new).status();
    assert_eq!(status.voters, stay);
    assert_eq!(status.nodes.keys().copied().collect::<Vec<_>>(), stay);
    // A removal counts from the joint entry, so another entry follows.
    assert!(status.applied_index > index);
    assert_eq!(record_of(&cluster, new).as_deref(), Some("three again"));
    for number in 300..310 {
        cluster.commit(stay[(number % 3) as usize], number).await;
    }
    cluster.converge().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_not_planned_on_this_state_is_refused() {
    let mut cluster = Cluster::founded(1, |_| {}).await;
    add_learners(&mut cluster, 1, &[2]).await;
    let node = cluster.node(1);
    let asked = async |voters: &[u64], planned_on: Option<GuardDigest>| {
        let epoch = RecordId::singleton(Kind::ShareEpoch);
        let guards = BTreeMap::from([(epoch, planned_on)]);
        node.change_members(voters, change("x"), &guards, soon()).await
    };
    let refused = async |voters: &[u64], planned_on| {
        let answer = asked(voters, planned_on).await;
        let Err(MembersError::Refused(why)) = answer else { panic!("{answer:?}") };
        why
    };
    let overtaken = asked(&[1, 2], Some(GuardDigest([1; 16]))).await;
    assert!(matches!(overtaken, Err(MembersError::Overtaken)), "{overtaken:?}");
    assert!(refused(&[1, 3], None).await.contains("no learner"));
    assert!(refused(&[1], None).await.contains("already"));
    assert_eq!(node.status().voters, [1]);
    assert!(record_of(&cluster, 1).is_none());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_half_done_admission_is_taken_back() {
    let mut cluster = Cluster::founded(1, |_| {}).await;
    cluster.commit(1, 1).await;
    add_learners(&mut cluster, 1, &[2, 3]).await;
    // The new voters vanish just when they would be needed: the joint entry cannot commit.
    for id in [2, 3] {
        cluster.links.isolate(id, true);
    }
    let deadline = std::time::Instant::now() + Duration::from_millis(800);
    let answer = cluster
        .node(1)
        .change_members(&[1, 2, 3], change("three"), &BTreeMap::new(), deadline)
        .await;
    assert!(matches!(answer, Err(MembersError::OutcomeUnknown(_))), "{answer:?}");
    assert!(cluster.node(1).status().is_joint);
    cluster.stop(1).await;
    for id in [2, 3] {
        cluster.links.isolate(id, false);
    }
    cluster.start(1).await;
    eventually("the joint configuration is ended", async || {
        let status = cluster.node(1).status();
        (!status.is_joint && status.voters == [1]).then_some(())
    })
    .await;
    assert!(record_of(&cluster, 1).is_none());
    change_voters(&cluster, 1, &[1, 2, 3], "three").await;
    cluster.converge().await;
    assert_eq!(record_of(&cluster, 2).as_deref(), Some("three"));
}

/// Neither entries nor heartbeats nor anything else, whether it still runs or is gone.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_was_removed_is_sent_nothing_more() {
    let mut cluster = Cluster::founded(5, |_| {}).await;
    let stays = cluster.leader().await;
    let mut left: Vec<u64> = (1..=5).filter(|id| *id != stays).collect();
    left.insert(0, stays);
    let heartbeat = Duration::from_millis(cluster.config(1, &cluster.data_dir(1)).heartbeat_ms);
    let (mut number, mut removed) = (0, Vec::new());
    for is_gone in [false, true, true, false] {
        let gone = left.pop().unwrap();
        // A quorum is left: three of five, and later two of three.
        if is_gone {
            cluster.stop(gone).await;
        }
        change_voters(&cluster, stays, &left, &format!("without {gone}")).await;
        removed.push(gone);
        let sent = |cluster: &Cluster| -> Vec<u64> {
            let links = left.iter().flat_map(|from| removed.iter().map(move |to| (*from, *to)));
            links.map(|(from, to)| cluster.links.sent(from, to)).collect()
        };
        eventually("nothing more to be sent", async || {
            let before = sent(&cluster);
            for _ in 0..20 {
                number += 1;
                cluster.commit(stays, number).await;
                tokio::time::sleep(heartbeat).await;
            }
            (sent(&cluster) == before).then_some(())
        })
        .await;
    }
    assert_eq!(cluster.node(stays).status().voters, [stays]);
}

/// A node that came in, emptied its data folder and comes in again is there once: nobody answers under its
/// Raft id from before.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_learner_that_begins_anew_takes_the_place_of_its_former_self() {
    let mut cluster = Cluster::founded(1, |_| {}).await;
    add_learners(&mut cluster, 1, &[2, 3]).await;
    cluster.stop(2).await;
    cluster.start(4).await;
    let again = PeerNode { name: cluster.peer(2).name, ..cluster.peer(4) };
    cluster.node(1).add_learner(4, again, soon()).await.unwrap();
    let nodes = |cluster: &Cluster| -> Vec<u64> {
        cluster.node(1).status().nodes.keys().copied().collect()
    };
    assert_eq!(nodes(&cluster), [1, 3, 4]);
    // Whoever goes on with the admission from before does not bring it back.
    let late = cluster.node(1).add_learner(2, cluster.peer(2), soon()).await;
    assert!(matches!(late, Err(MembersError::Refused(_))), "{late:?}");
    change_voters(&cluster, 1, &[1, 3, 4], "three").await;
    cluster.converge().await;
    assert_eq!(nodes(&cluster), [1, 3, 4]);
}
