//! A node that was away, and what it takes to bring it back.

#![allow(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "a test fails where this does, and says what it saw"
)]

mod harness;

use std::time::{Duration, Instant};

use harness::traffic::encrypt_often;
use harness::{Cluster, json, run, wait_for};

/// What a node misses.
const ENTRIES: u64 = 10_000;
/// A debug build on a busy machine.
const PATIENCE: Duration = Duration::from_secs(120);

/// Has a follower miss that much, starts it again, and waits until it has everything.
fn miss_and_return(cluster: &mut Cluster, at_once: usize) -> String {
    let created = json(cluster.cli().args(["--output", "json", "key", "create"])).unwrap();
    let key = created["key_id"].as_str().unwrap().to_owned();
    let away = cluster.follower();
    let up: Vec<String> =
        cluster.nodes.iter().map(|node| node.id.clone()).filter(|id| *id != away).collect();
    let up: Vec<&str> = up.iter().map(String::as_str).collect();
    cluster.kill(&away);
    let began = Instant::now();
    encrypt_often(cluster, &key, &up, ENTRIES, at_once);
    eprintln!("{ENTRIES} entries in {:?}", began.elapsed());

    let began = Instant::now();
    cluster.restart(&away);
    let wanted = cluster.own_status(up[0]).unwrap()["audit_size"].as_u64().unwrap();
    assert!(wanted > ENTRIES);
    // Sealed, it catches up all the same.
    wait_for("the node to have caught up", PATIENCE, || {
        let own = cluster.own_status(&away)?;
        assert_eq!(own["state"], "sealed");
        (own["audit_size"].as_u64()? >= wanted).then_some(())
    });
    eprintln!("caught up in {:?}", began.elapsed());
    cluster.unseal(&away);
    cluster.wait_same_head(&["n1", "n2", "n3"]);
    let verified = json(cluster.cli().args(["--output", "json", "audit", "verify"])).unwrap();
    assert_eq!(verified["verified"], true, "{verified}");
    assert_eq!(verified["voters_agreeing"], 3, "{verified}");
    away
}

#[test]
fn a_node_that_was_away_catches_up_by_log() {
    let mut cluster = Cluster::start(3);
    let away = miss_and_return(&mut cluster, 64);
    assert!(!cluster.log_of(&away).contains("a snapshot was installed"));
}

#[test]
fn a_node_that_was_away_catches_up_by_snapshot() {
    let mut cluster = Cluster::start_with(3, &["--snapshot-entries", "100"]);
    let away = miss_and_return(&mut cluster, 16);
    assert!(cluster.log_of(&away).contains("a snapshot was installed"));

    // It has the audit history from the beginning on, and can show and prove it by itself.
    let out = cluster.dir.path().join("log.jsonl");
    run(cluster.cli_at(&away).args(["--timeout", "120", "audit", "export", "--out"]).arg(&out));
    let mut verify = cluster.cli_at(&away);
    verify.args(["--output", "json", "audit", "verify", "--in"]).arg(&out);
    let verified = json(&mut verify).unwrap();
    assert!(verified["size"].as_u64().unwrap() > ENTRIES, "{verified}");
}
