//! Nodes that keep their shares under an HSM (SoftHSM): they open without a person, wait for a token
//! that is missing, and neither hang nor fall over when it misbehaves.

#![allow(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "a test fails where this does, and says what it saw"
)]

mod harness;

use std::time::{Duration, Instant};

use conclave_hsm_faults::control::Faults;
use harness::traffic::{Traffic, encrypt_often};
use harness::{Cluster, LONG, json, run, wait_for};

const ALL: [&str; 3] = ["n1", "n2", "n3"];
/// From the start of all processes until all nodes are open, without a person.
const OPEN_AFTER_START_MAX: Duration = Duration::from_secs(10);
/// `CKR_DEVICE_ERROR`.
const DEVICE_ERROR: u64 = 0x30;

fn new_key(cluster: &Cluster) -> String {
    let created = json(cluster.cli().args(["--output", "json", "key", "create"])).unwrap();
    created["key_id"].as_str().unwrap().to_owned()
}

/// Waits until the node says something like it, and stays sealed.
fn wait_detail(cluster: &Cluster, id: &str, part: &str) {
    wait_for(&format!("{id} to say {part:?}"), LONG, || {
        let status = cluster.own_status(id)?;
        assert_ne!(status["state"], "open");
        let said = format!("{} {}", status["detail"].as_str()?, status["token"].as_str()?);
        said.contains(part).then_some(())
    });
}

#[test]
fn a_cluster_with_tokens_opens_within_ten_seconds_of_a_cold_start_and_without_a_person() {
    let mut cluster = Cluster::start_with_tokens(3);
    let key = new_key(&cluster);
    for id in ALL {
        assert_eq!(cluster.own_status(id).unwrap()["seal"], "pkcs11");
        cluster.kill(id);
    }
    let started = Instant::now();
    for id in ALL {
        cluster.launch(id, &[]);
    }
    for id in ALL {
        cluster.wait_state(id, "open");
    }
    let took = started.elapsed();
    eprintln!("open {} ms after a cold start", took.as_millis());
    assert!(took <= OPEN_AFTER_START_MAX, "{took:?}");
    encrypt_often(&cluster, &key, &ALL, 10, 2);

    // A token that is missing: two open, the third says why and opens when the token is back.
    for id in ALL {
        cluster.kill(id);
    }
    cluster.tokens("n3").take_out();
    for id in ALL {
        cluster.launch(id, &[]);
    }
    for id in ["n1", "n2"] {
        cluster.wait_state(id, "open");
    }
    wait_detail(&cluster, "n3", "token");
    encrypt_often(&cluster, &key, &["n1", "n2"], 10, 2);
    cluster.tokens("n3").put_back();
    cluster.wait_state("n3", "open");

    // New root keys: every node wraps its new share itself, and the token keeps no older key.
    let rotated =
        json(cluster.cli().args(["--output", "json", "operator", "rotate-root"])).unwrap();
    assert_eq!(rotated["missing"].as_array().unwrap().len(), 0, "{rotated}");
    for id in ALL {
        wait_for("the older key to be destroyed", LONG, || {
            cluster.log_of(id).contains("were destroyed in the token").then_some(())
        });
        cluster.kill(id);
        cluster.launch(id, &[]);
        cluster.wait_state(id, "open");
    }
    encrypt_often(&cluster, &key, &ALL, 10, 2);
}

/// Sealed by order it stays sealed, though its token would open it, until the operators say so.
#[test]
fn a_node_with_a_token_that_is_sealed_by_order_stays_sealed_until_the_operators_end_it() {
    let cluster = Cluster::start_with_tokens(3);
    let id = cluster.follower();
    run(cluster.cli_at(&id).args(["operator", "seal"]));
    wait_detail(&cluster, &id, "sealed by order");
    // It has time to do otherwise: ten of its rounds.
    std::thread::sleep(Duration::from_secs(5));
    assert_eq!(cluster.own_status(&id).unwrap()["state"], "sealed");
    assert!(!cluster.enter_shares(&id, &[1, 2]).stdout.is_empty());
    assert_eq!(cluster.own_status(&id).unwrap()["state"], "sealed");
    cluster.unseal(&id);
}

/// An HSM that answers slowly, errors once, errors always, hangs, or goes away in the middle: the node
/// serves what it can, says what is wrong, and opens when that is over.
#[test]
fn an_hsm_that_misbehaves_neither_hangs_nor_ends_its_node() {
    let mut cluster = Cluster::start_with_tokens(3);
    let key = new_key(&cluster);
    let id = cluster.follower();
    let others: Vec<&str> = ALL.into_iter().filter(|other| *other != id).collect();
    let control = cluster.make_hsm_faulty(&id);
    let decrypt = || vec!["C_Decrypt".to_owned()];

    let faults = [
        ("slow", Faults { delay_ms: 2_000, ..Faults::default() }, ""),
        (
            "an error once",
            Faults { functions: decrypt(), fail_once: Some(DEVICE_ERROR), ..Faults::default() },
            "",
        ),
        (
            "errors always",
            Faults { functions: decrypt(), fail_always: Some(DEVICE_ERROR), ..Faults::default() },
            "HSM",
        ),
        ("hanging", Faults { functions: decrypt(), hang: true, ..Faults::default() }, "answer"),
    ];
    for (what, fault, said) in faults {
        eprintln!("{what}");
        cluster.kill(&id);
        control.set(&fault);
        cluster.launch(&id, &[]);
        if !said.is_empty() {
            wait_detail(&cluster, &id, said);
            encrypt_often(&cluster, &key, &others, 10, 2);
            control.set(&Faults::default());
        }
        cluster.wait_state(&id, "open");
        control.set(&Faults::default());
    }

    cluster.kill(&id);
    control.set(&Faults { delay_ms: 500, ..Faults::default() });
    cluster.launch(&id, &[]);
    wait_for("the node to answer", LONG, || cluster.own_status(&id));
    cluster.tokens(&id).go_away();
    encrypt_often(&cluster, &key, &others, 10, 2);
    cluster.tokens(&id).come_back();
    control.set(&Faults::default());
    cluster.wait_state(&id, "open");
    // It lives: the same process as was launched last.
    encrypt_often(&cluster, &key, &[&id], 10, 2);
}

/// An HSM that takes 2 s for each call wraps a new share in about half a minute, longer than the dealer
/// waits for it. Its node gets there all the same, and the epoch is complete.
#[test]
fn a_node_with_a_slow_hsm_is_dealt_to_all_the_same() {
    let mut cluster = Cluster::start_with_tokens(3);
    let id = cluster.follower();
    let control = cluster.make_hsm_faulty(&id);
    cluster.kill(&id);
    cluster.launch(&id, &[]);
    cluster.wait_state(&id, "open");
    control.set(&Faults { delay_ms: 2_000, ..Faults::default() });
    let mut rotate = cluster.cli();
    rotate.args(["--timeout", "120", "--output", "json", "operator", "rotate-root"]);
    eprintln!("{}", json(&mut rotate).unwrap());
    wait_for("the new epoch to be complete", 3 * LONG, || {
        let status = cluster.status()?;
        (status["share_epoch"] == 2 && status["pending_epoch"].is_null()).then_some(())
    });
    control.set(&Faults::default());
    cluster.kill(&id);
    cluster.launch(&id, &[]);
    cluster.wait_state(&id, "open");
}

/// The only open node is busy with its HSM for long: who was away gets its new share from it meanwhile.
#[test]
fn a_node_with_a_slow_hsm_gives_others_their_shares_meanwhile() {
    let mut cluster = Cluster::start(3);
    cluster.kill("n2");
    let rotated =
        json(cluster.cli().args(["--output", "json", "operator", "rotate-root"])).unwrap();
    assert_eq!(rotated["missing"], serde_json::json!(["n2"]), "{rotated}");
    // Its share is still under the operators' seal; it brings it under its token, call by call.
    cluster.terminate("n1");
    cluster.give_token("n1");
    let control = cluster.make_hsm_faulty("n1");
    control.set(&Faults { delay_ms: 2_000, ..Faults::default() });
    cluster.restart("n1");
    // Without n2 it takes a while until it has a leader, and can be unsealed.
    wait_for("n1 to take the shares", LONG, || {
        cluster.enter_shares("n1", &[1, 2, 3]).status.success().then_some(())
    });
    cluster.wait_state("n1", "open");
    cluster.kill("n3");
    cluster.launch("n2", &[]);
    wait_for("n2 to have its share", LONG, || cluster.shares_of("n2").contains(&2).then_some(()));
    let log = cluster.log_of("n1");
    let is_busy = ["under another seal now", "not under the configured seal"]
        .iter()
        .all(|ended| !log.contains(ended));
    assert!(is_busy, "its HSM was ready sooner, so this shows nothing: {log}");

    control.set(&Faults::default());
    wait_for("n1 to keep its share under its token", LONG, || {
        cluster.log_of("n1").contains("under another seal now").then_some(())
    });
    wait_for("the new epoch to be complete", LONG, || {
        let status = cluster.status()?;
        (status["share_epoch"] == 2 && status["pending_epoch"].is_null()).then_some(())
    });
}

/// Told to stop while a call to its HSM does not return, a node closes what is its own, and ends.
#[test]
fn a_node_stops_though_its_hsm_hangs() {
    let mut cluster = Cluster::start_with_tokens(1);
    let control = cluster.make_hsm_faulty("n1");
    cluster.kill("n1");
    let functions = vec!["C_Decrypt".to_owned()];
    control.set(&Faults { functions, hang: true, ..Faults::default() });
    cluster.launch("n1", &[]);
    wait_detail(&cluster, "n1", "answer");
    cluster.terminate("n1");
    let log = cluster.log_of("n1");
    assert!(log.contains("stopped") && log.contains("ending without it"), "{log}");
    // Nothing is lost by it, and nothing has to be repaired.
    control.set(&Faults::default());
    cluster.launch("n1", &[]);
    cluster.wait_state("n1", "open");
}

/// One node after the other changes its seal, there and back, while clients work.
#[test]
fn nodes_move_from_the_operators_to_tokens_and_back_one_at_a_time() {
    let mut cluster = Cluster::start(3);
    let key = new_key(&cluster);
    let load = Traffic::start(&cluster, &key, &ALL, 2);
    load.wait_for_more(10);
    for id in ALL {
        cluster.terminate(id);
        cluster.give_token(id);
        cluster.restart(id);
        // Its share is still under the operators' seal, so it takes them once more.
        cluster.unseal(id);
        wait_for(&format!("{id} to keep its share under its token"), LONG, || {
            cluster.log_of(id).contains("seal=\"pkcs11\"").then_some(())
        });
        cluster.kill(id);
        cluster.launch(id, &[]);
        cluster.wait_state(id, "open");
        load.wait_for_more(10);
    }
    for id in ALL {
        cluster.set_seal(id, "pkcs11", "operator");
        cluster.terminate(id);
        cluster.launch(id, &[]);
        // The token unwraps it the last time.
        cluster.wait_state(id, "open");
        wait_for(&format!("{id} to keep its share under the operators"), LONG, || {
            cluster.log_of(id).contains("seal=\"operator\"").then_some(())
        });
        cluster.kill(id);
        cluster.restart(id);
        wait_detail(&cluster, id, "operator shares");
        cluster.unseal(id);
        load.wait_for_more(10);
    }
    load.stop();
}
