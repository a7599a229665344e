//! A new root key is dealt while members are there, away, or left out; before, during and after it
//! the domain opens, and once nothing is pending only the newest shares are left.

#![allow(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "a test fails where this does, and says what it saw"
)]

mod harness;

use std::collections::BTreeSet;

use harness::traffic::Traffic;
use harness::{Cluster, LONG, json, run, wait_for};
use serde_json::Value;

fn rotate(cluster: &Cluster) -> Value {
    json(cluster.cli().args(["--output", "json", "operator", "rotate-root"])).unwrap()
}

/// Waits until that epoch is complete as each of these nodes sees it, and theirs the only share kept.
fn wait_complete(cluster: &Cluster, ids: &[&str], epoch: u64) {
    for id in ids {
        wait_for(&format!("epoch {epoch} to be complete at {id}"), LONG, || {
            let status = cluster.status_at(id)?;
            (status["share_epoch"] == epoch && status["pending_epoch"].is_null()).then_some(())
        });
        wait_for(&format!("{id} to have destroyed its older shares"), LONG, || {
            (cluster.shares_of(id) == BTreeSet::from([epoch])).then_some(())
        });
    }
}

fn new_key(cluster: &Cluster) -> String {
    let created = json(cluster.cli().args(["--output", "json", "key", "create"])).unwrap();
    created["key_id"].as_str().unwrap().to_owned()
}

#[test]
fn a_new_root_key_under_load_leaves_no_older_share_and_opens_after_a_cold_start() {
    let mut cluster = Cluster::start(3);
    let all = ["n1", "n2", "n3"];
    let key = new_key(&cluster);
    let load = Traffic::start(&cluster, &key, &all, 4);
    load.wait_for_more(20);
    for epoch in 2..=4 {
        let rotated = rotate(&cluster);
        assert_eq!(rotated["share_epoch"], epoch);
        assert_eq!(rotated["missing"].as_array().unwrap().len(), 0, "{rotated}");
        wait_complete(&cluster, &all, epoch);
        load.wait_for_more(20);
    }
    load.stop();
    for id in all {
        cluster.kill(id);
    }
    for id in all {
        cluster.launch(id, &[]);
    }
    for id in all {
        wait_for("the node to answer", LONG, || cluster.own_status(id));
        cluster.enter_shares(id, &[1, 2, 3]);
    }
    for id in all {
        cluster.unseal(id);
    }
    run(cluster.cli().args(["key", "describe", &key]));
}

/// Both dealings open while one is pending: after a cold start that the missing one takes part in,
/// and after one that it does not. When it is back it is given its share, and the old ones go.
#[test]
fn a_member_that_was_away_opens_with_its_old_share_and_is_given_the_new_one() {
    let mut cluster = Cluster::start(3);
    let others = ["n1", "n2"];
    cluster.kill("n3");
    let rotated = rotate(&cluster);
    assert_eq!(rotated["missing"], serde_json::json!(["n3"]));
    let status = cluster.status_at("n1").unwrap();
    assert_eq!((&status["share_epoch"], &status["pending_epoch"]), (&1.into(), &2.into()));
    assert_eq!(status["pending_missing"], serde_json::json!(["n3"]));

    // The two that have both shares open by themselves.
    for id in others {
        cluster.kill(id);
    }
    for id in others {
        cluster.launch(id, &[]);
    }
    for id in others {
        wait_for("the node to answer", LONG, || cluster.own_status(id));
        wait_for("the shares to be taken", LONG, || {
            cluster.enter_shares(id, &[1, 2, 3]).status.success().then_some(())
        });
    }
    for id in others {
        cluster.unseal(id);
        assert_eq!(cluster.shares_of(id), BTreeSet::from([1, 2]));
    }

    cluster.restart("n3");
    cluster.unseal("n3");
    wait_complete(&cluster, &["n1", "n2", "n3"], 2);
    cluster.kill("n3");
    cluster.restart("n3");
    cluster.unseal("n3");
}

/// A member that is left out holds no share: nothing of it opens, and a new dealing takes it in.
#[test]
fn a_member_that_is_left_out_is_sealed_until_it_is_dealt_to_again() {
    let mut cluster = Cluster::start(3);
    cluster.kill("n3");
    assert_eq!(rotate(&cluster)["missing"], serde_json::json!(["n3"]));
    run(cluster.cli().args(["node", "exclude", "n3"]));
    wait_complete(&cluster, &["n1", "n2"], 2);
    let refused = cluster.cli().args(["node", "exclude", "n3"]).output().unwrap();
    assert!(!refused.status.success());

    cluster.restart("n3");
    wait_for("n3 to know that it was left out", LONG, || {
        let status = cluster.own_status("n3")?;
        let detail = status["detail"].as_str()?.to_owned();
        (status["state"] == "sealed" && detail.contains("holds no share")).then_some(())
    });
    assert!(!cluster.enter_shares("n3", &[1, 2, 3]).status.success());
    let rotated = rotate(&cluster);
    assert_eq!(rotated["missing"].as_array().unwrap().len(), 0, "{rotated}");
    cluster.unseal("n3");
    wait_complete(&cluster, &["n1", "n2", "n3"], 3);
}

/// A later dealing takes the place of a pending one, never of the complete one.
#[test]
fn a_pending_dealing_is_superseded_by_the_next() {
    let mut cluster = Cluster::start(3);
    cluster.kill("n3");
    rotate(&cluster);
    let rotated = rotate(&cluster);
    assert_eq!(
        (&rotated["share_epoch"], &rotated["missing"]),
        (&3.into(), &serde_json::json!(["n3"]))
    );
    for id in ["n1", "n2"] {
        wait_for("the superseded share to go", LONG, || {
            (cluster.shares_of(id) == BTreeSet::from([1, 3])).then_some(())
        });
    }
    cluster.restart("n3");
    cluster.unseal("n3");
    wait_complete(&cluster, &["n1", "n2", "n3"], 3);
    let verified = json(cluster.cli().args(["--output", "json", "audit", "verify"])).unwrap();
    assert_eq!(verified["verified"], true, "{verified}");
}
