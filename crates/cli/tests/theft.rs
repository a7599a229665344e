//! What somebody has who stole nodes with their disks and tokens, or was a member once: below the
//! threshold nothing, and nothing of what came after.

#![allow(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "a test fails where this does, and says what it saw"
)]

mod harness;

use std::time::{Duration, Instant};

use harness::{Cluster, LONG, json, run, run_with_input, wait_for};

/// For so long thieves are watched getting nowhere: many rounds of asking for shares.
const WATCHED: Duration = Duration::from_secs(12);

fn key_and_ciphertext(cluster: &Cluster) -> (String, Vec<u8>) {
    let created = json(cluster.cli().args(["--output", "json", "key", "create"])).unwrap();
    let key = created["key_id"].as_str().unwrap().to_owned();
    let encrypted = run_with_input(cluster.cli().args(["encrypt", "--key", &key]), b"secret");
    (key, encrypted.stdout)
}

/// The node gets no further than its own share.
fn never_opens(cluster: &Cluster, id: &str, ciphertext: &[u8]) {
    cluster.wait_state(id, "share-ready");
    let began = Instant::now();
    while began.elapsed() < WATCHED {
        let status = cluster.own_status(id).unwrap();
        assert_eq!(status["state"], "share-ready", "{status}");
        std::thread::sleep(Duration::from_millis(200));
    }
    let mut decrypt = cluster.cli_at(id);
    let opened = run_with_input(decrypt.args(["--timeout", "2", "decrypt"]), ciphertext);
    assert!(!opened.status.success() && opened.stdout.is_empty());
}

/// Whole data folders, tokens and TLS keys, off the network of the others: one of three opens nothing,
/// two of three open. A thief's copies are what is started here: everyone else is gone.
#[test]
fn one_stolen_node_of_three_opens_nothing_and_two_do() {
    let mut cluster = Cluster::start_with_tokens(3);
    let (_, ciphertext) = key_and_ciphertext(&cluster);
    for id in ["n1", "n2", "n3"] {
        cluster.kill(id);
    }
    cluster.launch("n1", &[]);
    never_opens(&cluster, "n1", &ciphertext);
    cluster.launch("n2", &[]);
    for id in ["n1", "n2"] {
        cluster.wait_state(id, "open");
        let opened = run_with_input(cluster.cli_at(id).args(["decrypt"]), &ciphertext);
        assert_eq!(opened.stdout, b"secret");
    }
}

/// A member that was cut off before a removal does not know of it. It releases nothing to the removed
/// node all the same, for it cannot commit that.
#[test]
fn a_member_cut_off_before_a_removal_releases_nothing_to_the_removed_node() {
    let mut cluster = Cluster::start_with_tokens(5);
    let (_, ciphertext) = key_and_ciphertext(&cluster);
    cluster.stop_process("n5");
    cluster.know(&["n1", "n2", "n3"]);
    cluster.kill("n4");
    run(cluster.cli().args(["--timeout", "60", "node", "remove", "n4"]));
    for id in ["n1", "n2", "n3"] {
        cluster.kill(id);
    }
    cluster.continue_process("n5");
    cluster.launch("n4", &[]);
    never_opens(&cluster, "n4", &ciphertext);

    // With the others back, n4 is refused and n5 goes on with them.
    for id in ["n1", "n2", "n3"] {
        cluster.launch(id, &[]);
    }
    for id in ["n1", "n2", "n3", "n5"] {
        cluster.wait_state(id, "open");
    }
    wait_for("n4 to hear that it was removed", LONG, || {
        let status = cluster.own_status("n4")?;
        assert_ne!(status["state"], "open");
        status["detail"].as_str()?.contains("removed").then_some(())
    });
}

/// A lone node's share is the root key. Once it has company, a new domain key is put to use unasked,
/// everything is sealed again under it, and the old one goes.
#[test]
fn what_a_lone_node_knew_opens_nothing_once_it_has_company() {
    let mut cluster = Cluster::start_with_tokens(1);
    let (key, ciphertext) = key_and_ciphertext(&cluster);
    for id in ["n2", "n3"] {
        cluster.add_spare_node_with_token(id);
    }
    let mut add = cluster.cli();
    add.args(["--timeout", "60", "node", "add"]);
    run(add.args(["n2", "n3"].map(|id| format!("{id}={}", cluster.node(id).peer))));
    cluster.know(&["n1", "n2", "n3"]);
    wait_for("the old domain key to be gone", 2 * LONG, || {
        let status = cluster.status()?;
        let older = status["older_domain_keys"].as_array()?;
        (status["domain_key"] == 2 && older.is_empty()).then_some(())
    });
    for id in ["n1", "n2", "n3"] {
        cluster.wait_state(id, "open");
        let opened = run_with_input(cluster.cli_at(id).args(["decrypt"]), &ciphertext);
        assert_eq!(opened.stdout, b"secret");
    }
    run(cluster.cli().args(["key", "describe", &key]));
}
