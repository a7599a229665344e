//! Nodes come and go while clients work.

#![allow(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "a test fails where this does, and says what it saw"
)]

mod harness;

use std::process::Command;

use conclave_hsm_faults::control::Faults;
use harness::traffic::{REQUEST_LIMIT, Traffic, encrypt_often};
use harness::{Cluster, LONG, json, run, wait_for};
use serde_json::Value;

/// What must hold after a change, as each member sees it.
fn check(cluster: &Cluster, voters: &[&str], threshold: u64, epoch_before: u64) -> u64 {
    let mut epoch = 0;
    for id in voters {
        epoch = wait_for(&format!("{voters:?} to be voters and open at {id}"), LONG, || {
            let status = cluster.status_at(id)?;
            let nodes = status["nodes"].as_array()?;
            let named: Vec<&str> = nodes.iter().filter_map(|node| node["id"].as_str()).collect();
            let serving = |node: &Value| node["role"] == "voter" && node["state"] == "open";
            let epoch = status["share_epoch"].as_u64()?;
            let same = named.len() == voters.len() && voters.iter().all(|id| named.contains(id));
            (same
                && nodes.iter().all(serving)
                && status["share_threshold"] == threshold
                && epoch > epoch_before)
                .then_some(epoch)
        });
    }
    epoch
}

/// Every voter has the same audit log, as far as it has it.
fn logs_agree(cluster: &Cluster, voters: u64) {
    let verified = json(cluster.cli().args(["--output", "json", "audit", "verify"])).unwrap();
    assert_eq!(verified["verified"], true, "{verified}");
    assert_eq!(verified["voters_agreeing"], voters, "{verified}");
}

fn add(cluster: &Cluster, ids: &[&str]) -> Command {
    let mut command = cluster.cli();
    command.args(["--timeout", "120", "node", "add"]);
    command.args(ids.iter().map(|id| format!("{id}={}", cluster.node(id).peer)));
    command
}

fn remove(cluster: &Cluster, id: &str) -> Command {
    let mut command = cluster.cli();
    command.args(["--timeout", "120", "node", "remove", id]);
    command
}

fn new_key(cluster: &Cluster) -> String {
    let created = json(cluster.cli().args(["--output", "json", "key", "create"])).unwrap();
    created["key_id"].as_str().unwrap().to_owned()
}

/// The leader, as that member knows it.
fn leader_at(cluster: &Cluster, id: &str) -> String {
    wait_for("a leader", LONG, || {
        cluster.status_at(id)?["leader"].as_str().filter(|id| !id.is_empty()).map(str::to_owned)
    })
}

#[test]
fn one_to_three_to_five_to_three_under_load() {
    let mut cluster = Cluster::start(1);
    let key = new_key(&cluster);
    let epoch = check(&cluster, &["n1"], 1, 0);
    let load = Traffic::start(&cluster, &key, &["n1"], 4);
    load.wait_for_more(20);

    for id in ["n2", "n3"] {
        cluster.add_spare_node(id);
    }
    run(&mut add(&cluster, &["n2", "n3"]));
    load.also_at(&cluster, &["n2", "n3"]);
    cluster.unseal("n2");
    cluster.unseal("n3");
    cluster.know(&["n1", "n2", "n3"]);
    let epoch = check(&cluster, &["n1", "n2", "n3"], 2, epoch);
    logs_agree(&cluster, 3);
    load.wait_for_more(50);

    for id in ["n4", "n5"] {
        cluster.add_spare_node(id);
    }
    run(&mut add(&cluster, &["n4", "n5"]));
    load.also_at(&cluster, &["n4", "n5"]);
    cluster.unseal("n4");
    cluster.unseal("n5");
    cluster.know(&["n1", "n2", "n3", "n4", "n5"]);
    let epoch = check(&cluster, &["n1", "n2", "n3", "n4", "n5"], 3, epoch);
    logs_agree(&cluster, 5);
    load.wait_for_more(50);

    // The leader, asked to remove itself, and then whoever leads, asked by another.
    let all = ["n1", "n2", "n3", "n4", "n5"];
    let first = cluster.leader();
    let four: Vec<&str> = all.into_iter().filter(|id| *id != first).collect();
    cluster.know(&all);
    run(&mut remove(&cluster, &first));
    cluster.know(&four);
    let epoch = check(&cluster, &four, 3, epoch);
    logs_agree(&cluster, 4);
    load.wait_for_more(50);
    let second = leader_at(&cluster, four[0]);
    assert_ne!(second, first);
    run(&mut remove(&cluster, &second));
    let three: Vec<&str> = four.into_iter().filter(|id| *id != second).collect();
    cluster.know(&three);
    check(&cluster, &three, 2, epoch);
    load.wait_for_more(100);

    for gone in [&first, &second] {
        refused(&cluster, gone, &three, &key);
    }

    let tally = load.stop();
    assert!(tally.failures.is_empty(), "{:#?}", tally.failures);
    assert!(tally.slowest <= REQUEST_LIMIT, "{:?}", tally.slowest);
    eprintln!("{} requests, the slowest took {:?}", tally.done, tally.slowest);
    let (size, _) = cluster.wait_same_head(&three);
    assert!(size > tally.done);
    logs_agree(&cluster, 3);
}

/// A removed node has no keys, is not listed, is not listened to, and does nothing for anybody.
fn refused(cluster: &Cluster, gone: &str, members: &[&str], key: &str) {
    let own = wait_for(&format!("{gone} to have wiped its keys"), LONG, || {
        cluster.own_status(gone).filter(|own| own["state"] != "open")
    });
    assert_eq!(own["state"], "sealed", "{own}");
    for id in members {
        let nodes = cluster.nodes_at(id).unwrap();
        assert!(nodes.iter().all(|node| node["id"] != *gone), "{id} lists {gone}: {nodes:?}");
    }
    let output = cluster
        .cli_at(gone)
        .args(["--timeout", "3", "encrypt", "--key", key, "--in"])
        .arg(&cluster.node(gone).config)
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(3), "{}", String::from_utf8_lossy(&output.stderr));

    // It asks the members how they are, as a peer: none answers it.
    let shown = cluster.nodes_at(gone).unwrap();
    for other in shown.iter().filter(|node| members.iter().any(|id| node["id"] == *id)) {
        assert_eq!(other["state"], "unreachable", "{gone} is answered by {other}");
    }
    // With k operator shares it gets no further than its own share.
    let output = cluster.enter_shares(gone, &[1, 2, 3]);
    assert!(
        !output.status.success() || !String::from_utf8_lossy(&output.stdout).contains("\"open\"")
    );
    assert_ne!(cluster.own_status(gone).unwrap()["state"], "open");
}

/// A sealed voter stores its new share, wrapped for its operators, like any other.
#[test]
fn a_node_is_added_while_a_voter_is_sealed() {
    let mut cluster = Cluster::start(3);
    let sealed = cluster.follower();
    run(cluster.cli_at(&sealed).args(["operator", "seal"]));
    cluster.wait_state(&sealed, "sealed");
    cluster.add_spare_node("n4");

    // Who may not add nodes is told so, and nothing else.
    let mut denied = cluster.cli_as("key-user");
    denied.args(["node", "add", &format!("n4={}", cluster.node("n4").peer)]);
    let said = String::from_utf8(denied.output().unwrap().stderr).unwrap();
    assert!(said.contains("AccessDenied"), "{said}");
    assert_eq!(cluster.status().unwrap()["nodes"].as_array().unwrap().len(), 3);

    run(&mut add(&cluster, &["n4"]));
    let status = cluster.status().unwrap();
    assert_eq!((&status["share_epoch"], &status["pending_epoch"]), (&2.into(), &Value::Null));
    assert_eq!(cluster.own_status(&sealed).unwrap()["state"], "sealed");
    cluster.unseal(&sealed);
    cluster.unseal("n4");
    check(&cluster, &["n1", "n2", "n3", "n4"], 3, 1);
}

/// Nobody sends it the entry that says so, so it has to hear of it when it is back.
#[test]
fn a_node_removed_while_it_was_away_wipes_its_keys_and_can_join_anew() {
    let mut cluster = Cluster::start_with(3, &["--snapshot-entries", "50"]);
    let key = new_key(&cluster);
    let gone = cluster.follower();
    let rest: Vec<String> =
        cluster.nodes.iter().map(|node| node.id.clone()).filter(|id| *id != gone).collect();
    let rest: Vec<&str> = rest.iter().map(String::as_str).collect();
    cluster.know(&rest);
    cluster.stop_process(&gone);
    run(&mut remove(&cluster, &gone));
    check(&cluster, &rest, 2, 1);
    cluster.continue_process(&gone);
    refused(&cluster, &gone, &rest, &key);

    // It still takes itself for a member: only an empty folder joins anew.
    let output = add(&cluster, &[&gone]).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("empty its data folder"), "{said}");
    cluster.kill(&gone);
    std::fs::remove_dir_all(&cluster.node(&gone).data_dir).unwrap();
    // Enough log entries that it needs a snapshot, and fetches the audit history from the members.
    for _ in 0..120 {
        encrypt_often(&cluster, &key, &rest[..1], 1, 1);
    }
    cluster.restart(&gone);
    run(&mut add(&cluster, &[&gone]));
    cluster.unseal(&gone);
    check(&cluster, &[rest[0], rest[1], &gone], 2, 2);
    assert!(cluster.log_of(&gone).contains("a snapshot was installed"));
    cluster.wait_same_head(&[rest[0], rest[1], &gone]);
}

#[test]
fn a_node_that_lost_its_disk_comes_back_under_a_new_raft_id_with_one_command() {
    let mut cluster = Cluster::start(3);
    let key = new_key(&cluster);
    let lost = cluster.leader();
    let other = cluster.follower();
    let replace = |cluster: &Cluster| {
        let mut command = cluster.cli_at(&other);
        command.args(["--timeout", "120", "node", "replace"]);
        command.arg(format!("{lost}={}", cluster.node(&lost).peer));
        command
    };
    let raft_id = |cluster: &Cluster| cluster.own_status(&lost).unwrap()["raft_id"].as_u64();
    let before = raft_id(&cluster).unwrap();

    // While it has its disk, nothing happens.
    let output = replace(&cluster).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("so it has its disk"), "{said}");
    check(&cluster, &["n1", "n2", "n3"], 2, 0);

    cluster.kill(&lost);
    std::fs::remove_dir_all(&cluster.node(&lost).data_dir).unwrap();
    let load = Traffic::start(&cluster, &key, &[&other], 4);
    cluster.restart(&lost);
    run(&mut replace(&cluster));
    cluster.unseal(&lost);
    check(&cluster, &["n1", "n2", "n3"], 2, 2);
    load.wait_for_more(50);
    let tally = load.stop();
    assert!(tally.failures.is_empty(), "{:#?}", tally.failures);
    assert!(raft_id(&cluster).unwrap() > before);
    cluster.wait_same_head(&["n1", "n2", "n3"]);
    logs_agree(&cluster, 3);
}

/// An admission that broke off goes on where it stands, also that of a node that was a member before: it
/// keeps its Raft id and what it has fetched, however often whoever adds it has to begin again.
#[test]
fn an_admission_that_broke_off_is_gone_on_with() {
    let mut cluster = Cluster::start_with_tokens(1);
    cluster.add_spare_node_with_token("n2");
    run(&mut add(&cluster, &["n2"]));
    let epoch = check(&cluster, &["n1", "n2"], 2, 1);
    run(&mut remove(&cluster, "n2"));
    let epoch = check(&cluster, &["n1"], 1, epoch);
    cluster.kill("n2");
    std::fs::remove_dir_all(&cluster.node("n2").data_dir).unwrap();
    let control = cluster.make_hsm_faulty("n2");
    cluster.restart("n2");
    let begins = cluster.log_of("n2").len();

    // With such an HSM it has no share yet when who adds it is gone.
    control.set(&Faults { delay_ms: 2_000, ..Faults::default() });
    let mut breaking_off = add(&cluster, &["n2"]).spawn().unwrap();
    wait_for("the node to have caught up", LONG, || {
        let times = cluster.log_of("n1").matches("caught up name=\"n2\"").count();
        (times == 2).then_some(())
    });
    cluster.kill("n1");
    breaking_off.kill().unwrap();
    breaking_off.wait().unwrap();
    control.set(&Faults::default());
    cluster.restart("n1");
    cluster.wait_state("n1", "open");
    run(&mut add(&cluster, &["n2"]));
    check(&cluster, &["n1", "n2"], 2, epoch);
    let log = cluster.log_of("n2").split_off(begins);
    assert_eq!(log.matches("hosting a domain").count(), 1, "{log}");
}
