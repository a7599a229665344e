//! Leadership and service leave a node that had better not have them: by order, and when a leader
//! is sealed.

#![allow(clippy::unwrap_used, reason = "a test fails where this does")]

mod harness;

use std::time::Duration;

use conclave_client::ClientError;
use conclave_proto::v1::EncryptRequest;
use harness::{Cluster, LONG, json, load, run, wait_for};
use serde_json::Value;

#[test]
fn a_drained_leader_hands_over_and_sends_clients_on_until_it_is_undrained() {
    let cluster = Cluster::start(3);
    let key = make_key(&cluster);
    let drained = cluster.leader();
    let term = own(&cluster, &drained, "term");

    run(cluster.cli().args(["node", "drain", &drained]));
    let leader = cluster.leader();
    assert_ne!(leader, drained);
    let ids = cluster.nodes.iter().map(|node| node.id.clone());
    let follower = ids.into_iter().find(|id| *id != leader && *id != drained).unwrap();
    assert_eq!(own(&cluster, &drained, "drained"), true);
    assert_eq!(own(&cluster, &drained, "state"), "open", "it votes and holds its keys");
    assert_eq!(
        own(&cluster, &drained, "term").as_u64().unwrap(),
        term.as_u64().unwrap() + 1,
        "handed over, not lost: one election"
    );

    // It says that clients should move on, and those that know another node do.
    let (only, all) = (at(&cluster, &drained, &key), encrypt_anywhere(&cluster, &key));
    assert!(matches!(only, Err(ClientError::Unreachable { .. })), "{only:?}");
    assert!(only.unwrap_err().to_string().contains("drained"));
    assert!(all.is_ok());

    // Nobody drains the last that serve; nobody but an operator drains at all.
    run(cluster.cli().args(["node", "drain", &follower]));
    let serving = cluster.leader();
    let last = cluster.cli().args(["node", "drain", &serving]).output().unwrap();
    assert!(String::from_utf8_lossy(&last.stderr).contains("nobody could serve"), "{last:?}");
    let denied = cluster.cli_as("key-user").args(["node", "undrain", &drained]).output().unwrap();
    assert!(String::from_utf8_lossy(&denied.stderr).contains("AccessDenied"), "{denied:?}");

    run(cluster.cli_at(&serving).args(["node", "undrain", &drained]));
    assert!(at(&cluster, &drained, &key).is_ok());
    assert_eq!(own(&cluster, &drained, "drained"), false);

    let audited = |action: &str| {
        let mut list = cluster.cli_as("auditor");
        let list = list.args(["--output", "json", "audit", "list", "--action", action]);
        String::from_utf8(run(list)).unwrap()
    };
    let (drains, undrains) = (audited("DrainNode"), audited("UndrainNode"));
    assert!(drains.contains(&drained) && drains.contains(&follower), "{drains}");
    assert!(undrains.contains("AccessDenied"), "the denial stands there too: {undrains}");
}

#[test]
fn a_restart_ends_a_drain() {
    let mut cluster = Cluster::start(3);
    let key = make_key(&cluster);
    let id = cluster.follower();
    run(cluster.cli().args(["node", "drain", &id]));
    cluster.terminate(&id);
    cluster.restart(&id);
    cluster.unseal(&id);
    assert_eq!(own(&cluster, &id, "drained"), false);
    assert!(at(&cluster, &id, &key).is_ok());
}

#[test]
fn a_sealed_leader_hands_leadership_to_an_open_voter() {
    let cluster = Cluster::start(3);
    let sealed = cluster.leader();
    run(cluster.cli_at(&sealed).args(["operator", "seal"]));
    wait_for("an open node to lead", LONG, || {
        let status = cluster.status()?;
        let leader = status["leader"].as_str()?.to_owned();
        let nodes = status["nodes"].as_array()?;
        let state = &nodes.iter().find(|node| node["id"] == leader.as_str())?["state"];
        (leader != sealed && state == "open").then_some(())
    });
    assert_eq!(own(&cluster, &sealed, "state"), "sealed");
}

fn make_key(cluster: &Cluster) -> String {
    let made = json(cluster.cli().args(["--output", "json", "key", "create"])).unwrap();
    made["key_id"].as_str().or(made["arn"].as_str()).unwrap().to_owned()
}

fn own(cluster: &Cluster, id: &str, field: &str) -> Value {
    wait_for("its status", LONG, || Some(cluster.own_status(id)?[field].clone()))
}

/// One attempt at that node.
fn at(cluster: &Cluster, id: &str, key: &str) -> Result<(), ClientError> {
    let position = cluster.nodes.iter().position(|node| node.id == id).unwrap();
    encrypt(cluster, position, key, true)
}

fn encrypt_anywhere(cluster: &Cluster, key: &str) -> Result<(), ClientError> {
    encrypt(cluster, 0, key, false)
}

fn encrypt(cluster: &Cluster, first: usize, key: &str, once: bool) -> Result<(), ClientError> {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let client = load::client(cluster, first, Duration::from_secs(30));
        let client = if once { client.at_first() } else { client };
        let request = EncryptRequest {
            key_id: key.to_owned(),
            plaintext: b"drained".to_vec(),
            ..EncryptRequest::default()
        };
        client.encrypt(request).await.map(drop)
    })
}
