//! What happens to keys at a time: once, though the leader dies in the middle of it, and only when a
//! majority of the nodes' own clocks say so.

#![allow(clippy::unwrap_used, clippy::print_stderr, reason = "a test fails where this does")]

mod harness;

use harness::faults::clock::with_clocks_of_their_own;
use harness::keys::{audited, key};
use harness::{Cluster, LONG, count_from, faults, wait_for};

const DAY: i64 = 86_400;
const TWO_YEARS: i64 = 2 * 365 * DAY;

fn make(cluster: &Cluster) -> String {
    key(cluster, &["create"]).unwrap()["key_id"].as_str().unwrap().to_owned()
}

fn versions(cluster: &Cluster, id: &str) -> u64 {
    key(cluster, &["describe", id]).unwrap()["versions"].as_u64().unwrap()
}

fn is_gone(cluster: &Cluster, id: &str) -> bool {
    key(cluster, &["describe", id]).is_err_and(|error| error.contains("does not exist"))
}

#[test]
fn rotation_and_deletion_happen_once_though_the_leader_dies_in_the_middle() {
    if !faults::ready() {
        return;
    }
    let mut cluster = Cluster::start(3);
    let clocks = with_clocks_of_their_own(&mut cluster);
    let set_all = |seconds| clocks.iter().for_each(|clock| clock.set(seconds));
    let count = count_from("CONCLAVE_DUE_KEYS", 20);
    let rotated: Vec<String> = (0..count).map(|_| make(&cluster)).collect();
    for id in &rotated {
        key(&cluster, &["rotation", "enable", id, "--days", "90"]).unwrap();
    }
    for (round, days) in (1_u64..).zip([91_i64, 182, 273]) {
        let deleted: Vec<String> = (0..count / 2).map(|_| make(&cluster)).collect();
        for id in &deleted {
            key(&cluster, &["schedule-deletion", id, "--days", "7"]).unwrap();
        }
        let leader = cluster.leader();
        set_all(days * DAY);
        // The first of them, or one of the first: then the leader is gone.
        wait_for("the first of them to happen", LONG, || {
            let first = is_gone(&cluster, &deleted[0]) || versions(&cluster, &rotated[0]) > round;
            first.then_some(())
        });
        cluster.kill(&leader);
        let number = leader[1..].parse::<usize>().unwrap() - 1;
        wait_for("all of them to happen", LONG, || {
            let all = deleted.iter().all(|id| is_gone(&cluster, id))
                && rotated.iter().all(|id| versions(&cluster, id) == round + 1);
            all.then_some(())
        });
        cluster.launch(&leader, &clocks[number].env());
        cluster.unseal_all(&[&leader]);
        let done = audited(&cluster, "DestroyKey");
        assert!(deleted.iter().all(|id| done.get(id) == Some(&1)), "{done:?}");
        for id in &deleted {
            let tombstone = key(&cluster, &["tombstone", id]).unwrap();
            assert_eq!(tombstone["domain_key_retired"], false, "{tombstone}");
        }
    }
    let done = audited(&cluster, "RotateKey");
    assert!(rotated.iter().all(|id| done.get(id) == Some(&3)), "{done:?}");
    assert!(rotated.iter().all(|id| versions(&cluster, id) == 4));
}

#[test]
fn one_clock_ahead_destroys_and_rotates_nothing() {
    if !faults::ready() {
        return;
    }
    let mut cluster = Cluster::start(3);
    let clocks = with_clocks_of_their_own(&mut cluster);
    let (rotated, deleted, canary) = (make(&cluster), make(&cluster), make(&cluster));
    key(&cluster, &["rotation", "enable", &rotated, "--days", "90"]).unwrap();
    key(&cluster, &["schedule-deletion", &deleted, "--days", "7"]).unwrap();
    for leads in [false, true] {
        let id = if leads { cluster.leader() } else { cluster.follower() };
        let number = id[1..].parse::<usize>().unwrap() - 1;
        clocks[number].set(TWO_YEARS);
        cluster.wait_clock_off(&id, TWO_YEARS);
        // Many looks of the scheduler: its loop is a second, each of these a commit.
        for _ in 0..100 {
            assert_eq!(versions(&cluster, &canary), 1);
        }
        assert_eq!(versions(&cluster, &rotated), 1);
        assert_eq!(key(&cluster, &["describe", &deleted]).unwrap()["state"], "PendingDeletion");
        clocks[number].set(0);
        cluster.wait_clock_off(&id, 0);
    }
    // Two of three are a majority; the third is hours back, and says nothing against it.
    let others: Vec<usize> =
        (0..3).filter(|n| format!("n{}", n + 1) != cluster.follower()).collect();
    clocks[(0..3).find(|n| !others.contains(n)).unwrap()].set(-2 * 3_600);
    others.iter().for_each(|n| clocks[*n].set(8 * DAY));
    wait_for("the key to be destroyed", LONG, || is_gone(&cluster, &deleted).then_some(()));
    assert_eq!(versions(&cluster, &rotated), 1);
    assert_eq!(audited(&cluster, "DestroyKey").get(&deleted), Some(&1));
    assert_eq!(audited(&cluster, "RotateKey").get(&rotated), None);
}
