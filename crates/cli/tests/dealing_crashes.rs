//! A node is killed at every durable step of a dealing: whatever step that was, the domain opens
//! afterwards, with one share epoch once nothing is pending, and nothing is lost.
//!
//! The nodes have tokens, so that they open by themselves. `CONCLAVE_DEALING_CRASHES` says how many
//! steps of those listed are taken (all: 26).

#![allow(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "a test fails where this does, and says what it saw"
)]

mod harness;

use harness::faults::trace::Tampering;
use harness::faults::{count, ready};
use harness::traffic::encrypt_often;
use harness::{Cluster, LONG, json, run, run_with_input, wait_for};

const ALL: [&str; 3] = ["n1", "n2", "n3"];

/// Calls by which something becomes durable, and up to which of them is tried: the log's fdatasync,
/// the fsync and rename of share files and the token's objects, and their removal.
const STEPS: [(&str, u64); 4] = [("fdatasync", 4), ("fsync", 5), ("rename", 2), ("unlink", 2)];
/// Of these, this many in a short run.
const SHORT: u64 = 7;

/// Whom it hits.
#[derive(Debug, Clone, Copy)]
enum Victim {
    /// The node that deals.
    Dealer,
    /// Another one.
    Member,
}

#[test]
fn a_dealing_that_a_crash_breaks_off_at_any_durable_step_loses_nothing() {
    if !ready() {
        return;
    }
    let mut cluster = Cluster::start_with_tokens(3);
    let created = json(cluster.cli().args(["--output", "json", "key", "create"])).unwrap();
    let key = created["key_id"].as_str().unwrap().to_owned();
    let mut encrypt = cluster.cli();
    let encrypted = run_with_input(encrypt.args(["encrypt", "--key", &key]), b"kept");
    assert!(encrypted.status.success());

    let mut steps: Vec<(Victim, &str, u64)> = Vec::new();
    for victim in [Victim::Dealer, Victim::Member] {
        for (calls, last) in STEPS {
            steps.extend((1..=last).map(|nth| (victim, calls, nth)));
        }
    }
    let taken = count("CONCLAVE_DEALING_CRASHES", SHORT).min(steps.len() as u64);
    let every = steps.len().div_ceil(usize::try_from(taken).unwrap());
    let (mut acted, mut tried) = (0, 0);
    for (victim, calls, nth) in steps.into_iter().step_by(every) {
        tried += 1;
        let (dealer, member) = ("n1", "n2");
        let hit = match victim {
            Victim::Dealer => dealer,
            Victim::Member => member,
        };
        let before = cluster.status_at("n3").unwrap()["share_epoch"].as_u64().unwrap();
        let tampering = Tampering::killing(&cluster, hit, calls, nth);
        let mut rotate = cluster.cli_at(dealer);
        let said = rotate.args(["--timeout", "30", "operator", "rotate-root"]).output().unwrap();
        // What a dealing does in the background may be what is hit.
        let killed = (0..20).any(|_| {
            std::thread::sleep(std::time::Duration::from_millis(100));
            cluster.has_ended(hit)
        });
        drop(tampering);
        eprintln!(
            "{victim:?} at {calls} {nth}: {}, dealing {}",
            if killed { "killed" } else { "not reached" },
            if said.status.success() { "committed" } else { "broken off" },
        );
        acted += usize::from(killed);
        if killed {
            cluster.launch(hit, &[]);
        }
        settled(&cluster, before);
        let opened = run_with_input(cluster.cli_at(hit).args(["decrypt"]), &encrypted.stdout);
        assert_eq!(opened.stdout, b"kept");
    }
    eprintln!("{acted} of {tried} steps were reached");
    assert!(acted * 3 >= tried * 2, "{acted} of {tried}");
    if taken > SHORT {
        assert!(acted >= 20, "{acted} steps were hit, 20 are promised");
    }
    encrypt_often(&cluster, &key, &ALL, 30, 3);
    run(cluster.cli().args(["operator", "rotate-root"]));
    let verified = json(cluster.cli().args(["--output", "json", "audit", "verify"])).unwrap();
    assert_eq!(verified["verified"], true, "{verified}");
}

/// All nodes are open, nothing is pending, and no share of an older epoch is left.
fn settled(cluster: &Cluster, before: u64) {
    for id in ALL {
        cluster.wait_state(id, "open");
    }
    for id in ALL {
        wait_for(&format!("nothing to be pending at {id}"), LONG, || {
            let status = cluster.status_at(id)?;
            let epoch = status["share_epoch"].as_u64()?;
            assert!(epoch >= before);
            let kept = cluster.shares_of(id);
            // Shares of plans that were given up come after it and open nothing.
            (status["pending_epoch"].is_null() && kept.first() == Some(&epoch)).then_some(())
        });
    }
}
