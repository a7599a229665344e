//! A cluster grows from one node to five and shrinks again under load, with shares dealt anew at every
//! step, over and over. The nodes have tokens, so that they open by themselves.
//!
//! `CONCLAVE_GROWTH_ROUNDS` says how often (100 are promised).

#![allow(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "a test fails where this does, and says what it saw"
)]

mod harness;

use std::process::Command;
use std::time::Instant;

use harness::traffic::Traffic;
use harness::{Cluster, LONG, json, run, wait_for};

const CLIENTS: usize = 4;

#[test]
fn from_one_node_to_five_to_three_to_one_under_load_again_and_again() {
    let rounds = harness::faults::count("CONCLAVE_GROWTH_ROUNDS", 1);
    let mut cluster = Cluster::start_with_tokens(1);
    let created = json(cluster.cli().args(["--output", "json", "key", "create"])).unwrap();
    let key = created["key_id"].as_str().unwrap().to_owned();
    let load = Traffic::start(&cluster, &key, &["n1"], CLIENTS);
    for id in ["n2", "n3", "n4", "n5"] {
        cluster.add_spare_node_with_token(id);
    }
    load.also_at(&cluster, &["n2", "n3", "n4", "n5"]);
    let mut epoch = 1;
    for round in 1..=rounds {
        grow(&mut cluster, &["n1"], &["n2", "n3"], &mut epoch);
        load.wait_for_more(20);
        grow(&mut cluster, &["n1", "n2", "n3"], &["n4", "n5"], &mut epoch);
        load.wait_for_more(20);
        let mut left = vec!["n1", "n2", "n3", "n4", "n5"];
        for gone in ["n2", "n5", "n3", "n4"] {
            left.retain(|id| *id != gone);
            shrink(&mut cluster, &left, gone, &mut epoch);
            load.wait_for_more(20);
        }
        eprintln!("round {round} of {rounds}: share epoch {epoch}");
    }
    let tally = load.stop();
    eprintln!("{} requests, the slowest took {:?}", tally.done, tally.slowest);
    assert!(tally.failures.is_empty(), "{:#?}", tally.failures);
    let verified = json(cluster.cli().args(["--output", "json", "audit", "verify"])).unwrap();
    assert_eq!(verified["verified"], true, "{verified}");
}

fn grow(cluster: &mut Cluster, members: &[&str], new: &[&str], epoch: &mut u64) {
    cluster.know(members);
    let mut add = patient(cluster);
    add.args(["node", "add"]);
    run(add.args(new.iter().map(|id| format!("{id}={}", cluster.node(id).peer))));
    let all: Vec<&str> = members.iter().chain(new).copied().collect();
    settle(cluster, &all, epoch);
}

/// The one that goes comes back with an empty data folder, as a node to be added.
fn shrink(cluster: &mut Cluster, left: &[&str], gone: &str, epoch: &mut u64) {
    cluster.know(left);
    run(patient(cluster).args(["node", "remove", gone]));
    settle(cluster, left, epoch);
    cluster.kill(gone);
    std::fs::remove_dir_all(&cluster.node(gone).data_dir).unwrap();
    cluster.restart(gone);
}

fn patient(cluster: &Cluster) -> Command {
    let mut command = cluster.cli();
    command.args(["--timeout", "120"]);
    command
}

/// All members are open, with shares of a later epoch and no others.
fn settle(cluster: &Cluster, members: &[&str], epoch: &mut u64) {
    let before = *epoch;
    for id in members {
        let began = Instant::now();
        *epoch = wait_for(&format!("{members:?} to be open, as {id} sees it"), LONG, || {
            let status = cluster.status_at(id)?;
            let nodes = status["nodes"].as_array()?;
            let open = nodes.iter().filter(|node| node["state"] == "open").count();
            let epoch = status["share_epoch"].as_u64()?;
            let settled = nodes.len() == members.len() && open == members.len();
            let complete = status["pending_epoch"].is_null() && epoch > before;
            let shares = cluster.shares_of(id);
            if began.elapsed() > LONG / 2 {
                eprintln!("{id} holds shares {shares:?} and says: {status}");
            }
            (settled && complete && shares == [epoch].into()).then_some(epoch)
        });
    }
}
