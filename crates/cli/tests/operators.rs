//! New operator shares, and the way back with operator shares alone.

#![allow(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "a test fails where this does, and says what it saw"
)]

mod harness;

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use harness::{Cluster, LONG, json, run, run_with_input, wait_for};
use serde_json::Value;

const ALL: [&str; 3] = ["n1", "n2", "n3"];

fn with_shares<'a>(command: &'a mut Command, files: &[PathBuf]) -> &'a mut Command {
    for file in files {
        command.arg("--share-file").arg(file);
    }
    command
}

/// The shares that the cluster was founded with.
fn founding_shares(cluster: &Cluster, numbers: &[usize]) -> Vec<PathBuf> {
    numbers.iter().map(|number| cluster.share_file(*number)).collect()
}

fn new_shares(folder: &Path, numbers: &[usize]) -> Vec<PathBuf> {
    numbers.iter().map(|number| folder.join(format!("operator-share-{number}"))).collect()
}

fn deal(cluster: &Cluster, shares: &[PathBuf], split: &str, out: &Path) -> Output {
    let mut command = cluster.cli_at("n1");
    command.args(["--output", "json", "operator", "deal", "--shares", split, "--shares-out"]);
    with_shares(command.arg(out), shares).output().unwrap()
}

fn unseal(cluster: &Cluster, id: &str, shares: &[PathBuf]) -> Output {
    let mut command = cluster.cli_at(id);
    with_shares(command.args(["operator", "unseal"]), shares).output().unwrap()
}

fn recover(cluster: &Cluster, id: &str, shares: &[PathBuf]) -> Output {
    let mut command = cluster.cli_at(id);
    with_shares(command.args(["operator", "recover"]), shares).output().unwrap()
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Restarts a node and waits until it has caught up with the share epochs.
fn restart(cluster: &mut Cluster, id: &str) {
    cluster.kill(id);
    cluster.restart(id);
    wait_for("the node to know its share epoch", LONG, || {
        let status = cluster.own_status(id)?;
        status["detail"].as_str()?.contains("operator shares").then_some(())
    });
}

/// It takes k of the present shares; the new ones count then, and the old ones open nothing more.
#[test]
fn new_operator_shares_take_the_place_of_the_old_ones() {
    let mut cluster = Cluster::start(3);
    let out = tempfile::tempdir().unwrap();
    let (first, second) = (out.path().join("first"), out.path().join("second"));
    let old = founding_shares(&cluster, &[1, 2, 3, 4, 5]);

    let too_few = deal(&cluster, &old[..2], "2-of-3", &first);
    assert!(said(&too_few).contains("2 distinct"), "{}", said(&too_few));
    let twice = [old[0].clone(), old[1].clone(), old[0].clone()];
    let twice = deal(&cluster, &twice, "2-of-3", &first);
    assert!(said(&twice).contains("2 distinct"), "{}", said(&twice));
    let status = cluster.status().unwrap();
    assert_eq!((&status["operator_generation"], &status["share_epoch"]), (&1.into(), &1.into()));

    let dealt = deal(&cluster, &old[1..4], "2-of-3", &first);
    assert!(dealt.status.success(), "{}", said(&dealt));
    let status = cluster.status().unwrap();
    assert_eq!(status["operator_generation"], 2);
    assert_eq!((&status["operator_threshold"], &status["operator_shares"]), (&2.into(), &3.into()));
    for id in ALL {
        wait_for("only the new share to be left", LONG, || {
            (cluster.shares_of(id) == [2].into()).then_some(())
        });
    }

    restart(&mut cluster, "n2");
    let refused = unseal(&cluster, "n2", &old[..3]);
    assert!(said(&refused).contains("generation"), "{}", said(&refused));
    let new = new_shares(&first, &[1, 2, 3]);
    unseal(&cluster, "n2", &new[..1]);
    assert_eq!(cluster.own_status("n2").unwrap()["state"], "sealed");
    assert!(unseal(&cluster, "n2", &new[2..]).status.success());
    cluster.wait_state("n2", "open");

    // Shares of an older dealing are no authority for a newer one.
    let refused = deal(&cluster, &old[..3], "3-of-5", &second);
    assert!(said(&refused).contains("generation"), "{}", said(&refused));
    assert!(deal(&cluster, &new[..2], "3-of-5", &out.path().join("third")).status.success());
    assert_eq!(cluster.status().unwrap()["operator_generation"], 3);
}

/// A domain key is rotated while the operators' new shares are being dealt: the dealing rests on the
/// domain keys, so it begins anew, and both take effect.
#[test]
fn a_new_domain_key_in_the_middle_of_a_dealing_does_not_end_it() {
    let mut cluster = Cluster::start(3);
    let out = tempfile::tempdir().unwrap();
    let folder = out.path().join("new");
    // Nobody gets on with the dealing until this node has answered, or the dealer's patience ends.
    cluster.stop_process("n3");
    let steps = |step: &str, outcome: &str| {
        let mut list = cluster.cli_at("n2");
        list.args(["--output", "json", "audit", "list", "--action", "DealOperatorShares"]);
        let listed = json(list.args(["--outcome", outcome])).ok()?;
        let is_such = |entry: &&Value| {
            let parameters = entry["parameters"].as_array().unwrap();
            parameters.iter().any(|it| it["name"] == "step" && it["value"] == step)
        };
        Some(listed["entries"].as_array()?.iter().filter(is_such).count())
    };
    let dealing = std::thread::scope(|scope| {
        let dealing = scope.spawn(|| {
            let mut command = cluster.cli_at("n1");
            command.args(["--timeout", "120", "operator", "deal", "--shares", "2-of-3"]);
            command.arg("--shares-out").arg(&folder);
            with_shares(&mut command, &founding_shares(&cluster, &[1, 2, 3])).output().unwrap()
        });
        wait_for("the dealing to have begun", LONG, || {
            (steps("deal", "success")? == 1).then_some(())
        });
        run(cluster.cli_at("n2").args(["operator", "rotate-domain-key"]));
        cluster.continue_process("n3");
        dealing.join().unwrap()
    });
    assert!(dealing.status.success(), "{}", said(&dealing));
    assert_eq!(steps("deal", "success"), Some(2), "it did not begin anew: {}", said(&dealing));
    assert_eq!(steps("commit", "success"), Some(1));
    wait_for("the dealing to be complete, under the new domain key", LONG, || {
        let status = cluster.status()?;
        let is_new = status["operator_generation"] == 2 && status["domain_key"] == 2;
        (is_new && status["pending_epoch"].is_null()).then_some(())
    });
    for id in ALL {
        restart(&mut cluster, id);
        assert!(unseal(&cluster, id, &new_shares(&folder, &[1, 3])).status.success());
        cluster.wait_state(id, "open");
    }
}

/// While one node has yet to store its new share, the old shares unseal it and the new ones the others.
#[test]
fn a_node_that_was_away_is_unsealed_with_the_shares_it_knows() {
    let mut cluster = Cluster::start(3);
    let out = tempfile::tempdir().unwrap();
    let folder = out.path().join("new");
    cluster.kill("n3");
    let old = founding_shares(&cluster, &[1, 2, 3]);
    let dealt = deal(&cluster, &old, "2-of-2", &folder);
    assert!(dealt.status.success(), "{}", said(&dealt));
    let again = deal(&cluster, &old, "2-of-2", &out.path().join("again"));
    assert!(!again.status.success());
    cluster.restart("n3");
    wait_for("n3 to take the old shares", LONG, || {
        unseal(&cluster, "n3", &old).status.success().then_some(())
    });
    cluster.wait_state("n3", "open");
    wait_for("the new dealing to be complete", LONG, || {
        let status = cluster.status()?;
        (status["share_epoch"] == 2 && status["pending_epoch"].is_null()).then_some(())
    });
    for id in ALL {
        restart(&mut cluster, id);
        assert!(!unseal(&cluster, id, &old).status.success());
        assert!(unseal(&cluster, id, &new_shares(&folder, &[1, 2])).status.success());
        cluster.wait_state(id, "open");
    }
}

/// Each share is for one operator's eyes, even where the files are made.
#[test]
fn new_shares_can_be_encrypted_to_each_operator_by_age() {
    let mut cluster = Cluster::start(1);
    let out = tempfile::tempdir().unwrap();
    let folder = out.path().join("new");
    let people: Vec<age::x25519::Identity> =
        (0..2).map(|_| age::x25519::Identity::generate()).collect();
    let old = founding_shares(&cluster, &[1, 2, 3]);
    let command = |people: &[age::x25519::Identity]| {
        let mut command = cluster.cli_at("n1");
        command.args(["operator", "deal", "--shares", "2-of-2", "--shares-out"]).arg(&folder);
        for person in people {
            command.args(["--recipient", &person.to_public().to_string()]);
        }
        with_shares(&mut command, &old).output().unwrap()
    };
    let refused = command(&people[..1]);
    assert!(said(&refused).contains("one for each"), "{}", said(&refused));
    let dealt = command(&people);
    assert!(dealt.status.success(), "{}", said(&dealt));

    let shares: Vec<PathBuf> = [1, 2]
        .map(|number| {
            let file = folder.join(format!("operator-share-{number}.age"));
            let encrypted = std::fs::read(&file).unwrap();
            assert!(age::decrypt(&people[number % 2], &encrypted).is_err());
            let share = age::decrypt(&people[number - 1], &encrypted).unwrap();
            let plain = out.path().join(number.to_string());
            std::fs::write(&plain, share).unwrap();
            plain
        })
        .to_vec();
    restart(&mut cluster, "n1");
    assert!(unseal(&cluster, "n1", &shares).status.success());
    cluster.wait_state("n1", "open");
}

/// All HSMs are gone. The nodes get the operators' seal, k operator shares open one of them, and a new
/// dealing gives every node a share again.
#[test]
fn when_all_hsms_are_lost_k_operator_shares_open_the_domain_and_deal_anew() {
    let mut cluster = Cluster::start_with_tokens(3);
    let created = json(cluster.cli().args(["--output", "json", "key", "create"])).unwrap();
    let key = created["key_id"].as_str().unwrap().to_owned();
    let encrypted = run_with_input(cluster.cli().args(["encrypt", "--key", &key]), b"kept");
    for id in ALL {
        cluster.kill(id);
        cluster.tokens(id).take_out();
        cluster.set_seal(id, "pkcs11", "operator");
    }
    for id in ALL {
        cluster.launch(id, &[]);
    }
    for id in ALL {
        wait_for(&format!("{id} to miss its HSM"), LONG, || {
            let status = cluster.own_status(id)?;
            let missed = status["detail"].as_str()?.contains("HSM");
            (status["state"] == "sealed" && missed).then_some(())
        });
    }
    wait_for("a leader", LONG, || cluster.status_at("n1")?["leader"].as_str().map(drop));
    let shares = founding_shares(&cluster, &[2, 4, 5]);
    let refused = unseal(&cluster, "n1", &shares);
    assert!(said(&refused).contains("HSM"), "{}", said(&refused));
    let refused = recover(&cluster, "n1", &shares[..2]);
    assert!(said(&refused).contains("2 distinct"), "{}", said(&refused));
    assert_eq!(cluster.own_status("n1").unwrap()["state"], "sealed");

    let recovered = recover(&cluster, "n1", &shares);
    assert!(recovered.status.success(), "{}", said(&recovered));
    cluster.wait_state("n1", "open");
    run(cluster.cli_at("n1").args(["operator", "rotate-root"]));
    for id in ["n2", "n3"] {
        assert!(unseal(&cluster, id, &shares).status.success());
    }
    for id in ALL {
        cluster.wait_state(id, "open");
        let opened = run_with_input(cluster.cli_at(id).args(["decrypt"]), &encrypted.stdout);
        assert_eq!(opened.stdout, b"kept");
    }
    for action in ["Recover", "RotateRoot"] {
        let listed = cluster.cli().args(["audit", "list", "--action", action]).output().unwrap();
        assert!(String::from_utf8_lossy(&listed.stdout).contains(action), "{listed:?}");
    }
}
