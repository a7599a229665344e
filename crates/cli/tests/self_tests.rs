//! A node whose self-tests fail stays sealed, says which one did, and votes all the same.

#![allow(clippy::unwrap_used, unreachable_pub, reason = "a test fails where this does")]

mod harness;

use std::fs::File;
use std::sync::Mutex;

use conclave_crypto::self_test::{Algorithm, KnownAnswer, known_answers};
use harness::{Cluster, LONG, json, wait_for};

/// The node that this process runs itself, for a node's process takes no other self-tests than its
/// own.
const BROKEN: &str = "n3";

#[test]
fn a_node_whose_self_test_fails_stays_sealed_and_says_which() {
    let mut cluster = Cluster::start(3);
    let key = json(cluster.cli().args(["--output", "json", "key", "create"])).unwrap();
    let key = key["key_id"].as_str().unwrap();
    cluster.kill(BROKEN);

    let log = cluster.dir.path().join("log-of-the-broken-node");
    let writer = Mutex::new(File::create(&log).unwrap());
    tracing_subscriber::fmt().with_ansi(false).with_writer(writer).init();
    let config = cluster.node(BROKEN).config.clone();
    let answers: Vec<KnownAnswer> = known_answers().into_iter().map(spoil_one).collect();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        runtime.block_on(conclave_server::run_tested(&config, &answers)).unwrap();
    });

    let status = wait_for("the node to have caught up", LONG, || {
        let status = cluster.own_status(BROKEN)?;
        (status["applied_index"].as_u64()? > 0).then_some(status)
    });
    assert_eq!(status["state"], "sealed");
    let refused = cluster.enter_shares(BROKEN, &[1, 2, 3]);
    let error = String::from_utf8(refused.stderr).unwrap();
    assert_eq!(refused.status.code(), Some(1), "{error}");
    let why = "self-test failed: Ed25519;";
    assert!(error.contains(why), "{error}");
    let detail = wait_for("the status to say why", LONG, || {
        let status = cluster.own_status(BROKEN)?;
        assert_eq!(status["state"], "sealed");
        let detail = status["detail"].as_str()?.to_owned();
        detail.contains(why).then_some(detail)
    });
    assert!(!detail.contains("HPKE"), "{detail}");
    let log = std::fs::read_to_string(log).unwrap();
    assert!(log.contains(why) && log.contains("stays sealed"), "{log}");

    // With another node gone, what commits does so by its vote.
    let other = ["n1", "n2"].into_iter().find(|id| *id != cluster.leader()).unwrap();
    cluster.stop_process(other);
    let open = ["n1", "n2"].into_iter().find(|id| *id != other).unwrap();
    wait_for("a commit by its vote", LONG, || {
        let mut command = cluster.cli_at(open);
        command.args(["--timeout", "10", "encrypt", "--key", key, "--in", "/proc/version"]);
        command.output().unwrap().status.success().then_some(())
    });
    cluster.continue_process(other);
}

fn spoil_one(answer: KnownAnswer) -> KnownAnswer {
    match answer.algorithm {
        Algorithm::Ed25519 => answer.spoilt(),
        _ => answer,
    }
}
