//! P5 and P6: what a sealed node does and does not do, and what it takes to open one.

#![allow(clippy::unwrap_used, unreachable_pub, reason = "a test fails where this does")]

mod harness;

use std::fs;
use std::process::Output;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use conclave_proto::seal::OperatorShare;
use harness::{Cluster, LONG, json, run, wait_for};
use prost::Message;
use serde_json::Value;

/// How many operator shares unwrap a node's own share.
const OPERATORS: usize = 3;

#[test]
fn a_sealed_node_votes_and_keeps_the_same_audit_log() {
    let cluster = Cluster::start(3);
    let key = create_key(&cluster, "n1");
    let leader = cluster.leader();
    let [sealed, other] = others(&cluster, &leader);
    run(cluster.cli_at(&sealed).args(["operator", "seal"]));
    cluster.wait_state(&sealed, "sealed");

    // Leader and sealed node are two of three: what commits now commits by the sealed node's vote.
    cluster.stop_process(&other);
    let before = cluster.own_status(&sealed).unwrap()["audit_size"].as_u64().unwrap();
    encrypt(&cluster, &leader, &key).unwrap();
    let size = cluster.wait_same_audit(&sealed, &leader);
    assert!(size > before, "{size} entries, {before} before the commit");

    refuses_use(&cluster, &sealed, &key);

    // Without it there is no quorum: it was its vote indeed.
    cluster.stop_process(&sealed);
    let alone = cluster
        .cli_at(&leader)
        .args(["--timeout", "2", "encrypt", "--key", &key, "--in", "/proc/version"])
        .output()
        .unwrap();
    assert!(matches!(alone.status.code(), Some(3 | 4)), "a leader alone committed: {alone:?}");
    cluster.continue_process(&sealed);

    // An election needs its vote too.
    cluster.stop_process(&leader);
    cluster.continue_process(&other);
    let elected = wait_for("another leader", LONG, || {
        let status = cluster.status_at(&other)?;
        status["leader"].as_str().filter(|name| *name != leader).map(str::to_owned)
    });
    wait_for("a commit without the old leader", LONG, || encrypt(&cluster, &other, &key).ok());
    cluster.wait_same_audit(&sealed, &other);
    cluster.continue_process(&leader);
    assert_eq!(cluster.own_status(&sealed).unwrap()["state"], "sealed", "{elected} leads");

    let entries = json(cluster.cli_at(&other).args([
        "--output",
        "json",
        "audit",
        "list",
        "--action",
        "SealNode",
        "--resource",
        &sealed,
    ]))
    .unwrap();
    let entries = entries["entries"].as_array().unwrap();
    assert_eq!(entries.len(), 1, "the order to seal is audited: {entries:?}");
    assert_eq!(
        (&entries[0]["principal"], &entries[0]["outcome"]),
        (&"dev".into(), &"success".into())
    );
}

#[test]
fn exactly_k_operator_shares_make_a_node_share_ready() {
    let foreign = Cluster::start(1);
    let mut cluster = Cluster::start(3);
    let key = create_key(&cluster, "n1");
    for id in ["n1", "n2", "n3"] {
        cluster.kill(id);
    }
    for id in ["n1", "n2", "n3"] {
        cluster.restart(id);
        assert_eq!(cluster.own_status(id).unwrap()["state"], "sealed");
    }
    cluster.leader();
    wait_for("the domain's records", LONG, || {
        (cluster.own_status("n1")?["detail"] == "waiting for operator shares").then_some(())
    });

    entered(&cluster.enter_shares("n1", &[1]), "sealed", 1);
    entered(&cluster.enter_shares("n1", &[1, 1]), "sealed", 1);
    entered(&cluster.enter_shares("n1", &[2, 1]), "sealed", 2);

    // What is no share of this domain is refused by what stands in it, and changes nothing.
    refused(&cluster, "n1", &fs::read_to_string(foreign.share_file(3)).unwrap(), "another domain");
    let share = fs::read_to_string(cluster.share_file(3)).unwrap().trim().to_owned();
    let (body, checksum) = share.rsplit_once(':').unwrap();
    refused(&cluster, "n1", &format!("{}:{checksum}", flip_last(body)), "mistyped");
    refused(&cluster, "n1", &share[..share.len() - 3], "mistyped");
    refused(&cluster, "n1", "a word", "no operator share");
    let of_another_split = altered(body, |share| share.threshold = 2);
    refused(&cluster, "n1", &of_another_split, "another dealing");
    assert_eq!(cluster.own_status("n1").unwrap()["unseal_progress"], 2);

    // A share that only combining shows to be wrong opens nothing, and the round begins anew.
    let wrong = altered(body, |share| share.share[0] ^= 1);
    refused(&cluster, "n1", &wrong, "do not fit");
    let status = cluster.own_status("n1").unwrap();
    assert_eq!((&status["state"], &status["unseal_progress"]), (&"sealed".into(), &0.into()));
    refuses_use(&cluster, "n1", &key);

    entered(&cluster.enter_shares("n1", &[2, 5]), "sealed", 2);
    entered(&cluster.enter_shares("n1", &[4]), "share-ready", 0);

    // One node share of the two that it takes: it has asked both others, and they gave nothing.
    let detail = wait_for("n1 to have asked the others", LONG, || {
        let status = cluster.own_status("n1")?;
        assert_eq!(status["state"], "share-ready");
        let detail = status["detail"].as_str()?.to_owned();
        (detail.contains("n2: ") && detail.contains("n3: ")).then_some(detail)
    });
    assert!(detail.contains("has 1 of 2 shares"), "{detail}");
    refuses_use(&cluster, "n1", &key);

    entered_any(&cluster.enter_shares("n2", &[1, 2, 3]), &["share-ready", "open"]);
    cluster.wait_state("n1", "open");
    cluster.wait_state("n2", "open");
    encrypt(&cluster, "n1", &key).unwrap();

    // The third has applied everything, and still opens only by its own share.
    cluster.wait_same_audit("n3", "n1");
    let status = cluster.own_status("n3").unwrap();
    assert_eq!(status["state"], "sealed");
    assert_eq!(status["detail"], "waiting for operator shares");
    refuses_use(&cluster, "n3", &key);
    cluster.unseal("n3");
    encrypt(&cluster, "n3", &key).unwrap();
}

#[test]
fn a_restarted_node_opens_only_after_its_own_share_is_unsealed() {
    let mut cluster = Cluster::start(3);
    let key = create_key(&cluster, "n1");
    let leader = cluster.leader();
    let [restarted, other] = others(&cluster, &leader);
    let released = released_to(&cluster, &leader, &restarted);
    assert!(released > 0, "it opened at the founding by others' shares");
    cluster.kill(&restarted);
    encrypt(&cluster, &leader, &key).unwrap();
    cluster.restart(&restarted);

    // Both others are open and would give it their shares; it does not ask.
    cluster.wait_same_audit(&restarted, &leader);
    entered(&cluster.enter_shares(&restarted, &[1, 2]), "sealed", OPERATORS - 1);
    encrypt(&cluster, &other, &key).unwrap();
    cluster.wait_same_audit(&restarted, &leader);
    let status = cluster.own_status(&restarted).unwrap();
    assert_eq!(status["state"], "sealed");
    assert_eq!(status["detail"], "waiting for operator shares");
    refuses_use(&cluster, &restarted, &key);
    assert_eq!(released_to(&cluster, &leader, &restarted), released, "a share was released to it");

    entered_any(&cluster.enter_shares(&restarted, &[5]), &["share-ready", "open"]);
    cluster.wait_state(&restarted, "open");
    encrypt(&cluster, &restarted, &key).unwrap();
    assert!(released_to(&cluster, &leader, &restarted) > released);
}

/// How many releases of a share to that node are audited.
fn released_to(cluster: &Cluster, at: &str, to: &str) -> usize {
    let found = json(cluster.cli_at(at).args([
        "--output",
        "json",
        "audit",
        "list",
        "--action",
        "ReleaseShare",
        "--resource",
        to,
    ]))
    .unwrap();
    let to_it = |entry: &&Value| entry["resources"][1] == to && entry["outcome"] == "success";
    found["entries"].as_array().unwrap().iter().filter(to_it).count()
}

fn others(cluster: &Cluster, leader: &str) -> [String; 2] {
    let others: Vec<String> =
        cluster.nodes.iter().map(|node| node.id.clone()).filter(|id| id != leader).collect();
    others.try_into().unwrap()
}

fn create_key(cluster: &Cluster, at: &str) -> String {
    let key = json(cluster.cli_at(at).args(["--output", "json", "key", "create"])).unwrap();
    key["key_id"].as_str().unwrap().to_owned()
}

fn encrypt(cluster: &Cluster, at: &str, key: &str) -> Result<Value, String> {
    json(cluster.cli_at(at).args([
        "--output",
        "json",
        "--timeout",
        "10",
        "encrypt",
        "--key",
        key,
        "--in",
        "/proc/version",
    ]))
}

/// A node that is not open says so, says what to do, and does nothing.
fn refuses_use(cluster: &Cluster, at: &str, key: &str) {
    let output = cluster
        .cli_at(at)
        .args(["--timeout", "5", "encrypt", "--key", key, "--in", "/proc/version"])
        .output()
        .unwrap();
    let error = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(3), "{at}: {error}");
    assert!(error.contains("sealed") && error.contains("operator unseal"), "{error}");
    assert!(output.stdout.is_empty());
}

fn entered(output: &Output, state: &str, progress: usize) {
    let answer = entered_any(output, &[state]);
    assert_eq!((&answer["progress"], &answer["threshold"]), (&progress.into(), &OPERATORS.into()));
}

fn entered_any(output: &Output, states: &[&str]) -> Value {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let answer: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert!(states.contains(&answer["state"].as_str().unwrap()), "{answer}");
    answer
}

fn refused(cluster: &Cluster, at: &str, share: &str, why: &str) {
    let file = cluster.dir.path().join("given-share");
    fs::write(&file, share).unwrap();
    let output = cluster
        .cli_at(at)
        .args(["operator", "unseal", "--share-file"])
        .arg(&file)
        .output()
        .unwrap();
    let error = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{error}");
    assert!(error.contains(why), "{error}");
    assert!(!error.contains(share), "the error repeats the share");
}

fn flip_last(text: &str) -> String {
    let (start, last) = text.split_at(text.len() - 1);
    format!("{start}{}", if last == "A" { "B" } else { "A" })
}

/// A share with something else in it, and a checksum that fits.
fn altered(body: &str, alter: impl FnOnce(&mut OperatorShare)) -> String {
    let (prefix, encoded) = body.split_once(':').unwrap();
    let decoded = URL_SAFE_NO_PAD.decode(encoded).unwrap();
    let mut share = OperatorShare::decode(decoded.as_slice()).unwrap();
    alter(&mut share);
    let body = format!("{prefix}:{}", URL_SAFE_NO_PAD.encode(share.encode_to_vec()));
    let checksum = hex::encode(&conclave_crypto::sha256(&[body.as_bytes()])[..4]);
    format!("{body}:{checksum}")
}
