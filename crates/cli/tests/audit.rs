//! Exporting and verifying a real chain that a scripted node serves.

#![allow(clippy::unwrap_used, reason = "a test fails where this does")]

mod common;

use std::fs;

use common::{Answer, Call, World};
use conclave_audit::{Checkpoint, Head, Origin, StepData, VerifierKey, commitment, encode_entry};
use conclave_crypto::{Key, SigningKey};
use conclave_proto::{
    audit::{Entry, Outcome},
    v1::{self, ExportAuditResponse, export_audit_response::Item},
};

const DOMAIN: [u8; 16] = [7; 16];
const ENTRIES: u64 = 5;

/// A log of five entries as a node exports it.
struct Log {
    key: VerifierKey,
    items: Vec<ExportAuditResponse>,
    /// The chain's hash at each size.
    hashes: Vec<[u8; 32]>,
    root: String,
}

impl Log {
    fn new() -> Self {
        let signing = SigningKey::from_seed(&Key::from_slice(&[3; 32]).unwrap());
        let origin = Origin::new("test", "eu").unwrap();
        let key = VerifierKey::new(origin.as_str(), signing.verifying_key()).unwrap();
        let header = v1::ExportHeader {
            origin: origin.as_str().to_owned(),
            domain_id: DOMAIN.to_vec(),
            audit_verifier_key: key.to_string(),
        };
        let mut items = vec![Item::Header(header)];
        let mut head = Head::genesis(&DOMAIN);
        let mut hashes = vec![head.hash];
        for index in 0..ENTRIES {
            items.push(Item::Step(step(&mut head, index)));
            hashes.push(head.hash);
        }
        items.push(Item::Checkpoint(Checkpoint::of(origin, &head, 9_000).sign(&signing)));
        let items =
            items.into_iter().map(|item| ExportAuditResponse { item: Some(item) }).collect();
        Self { key, items, hashes, root: hex::encode(head.root()) }
    }

    fn key(&self) -> String {
        self.key.to_string()
    }
}

fn step(head: &mut Head, index: u64) -> v1::ExportedStep {
    let entry = encode_entry(&Entry {
        time_ms: 1_000 + index,
        request_id: format!("request-{index}"),
        principal: "ops".to_owned(),
        action: "Encrypt".to_owned(),
        outcome: Outcome::Success.into(),
        ..Entry::default()
    });
    let salt = [9; 32];
    let data = StepData {
        time_ms: 1_000 + index,
        writer: 1,
        sequence: index,
        log_index: 10 + index,
        position: 0,
        key: 1,
        commitment: commitment(&salt, &entry),
        sealed_sha256: [4; 32],
    };
    let hash = head.append(&data).to_vec();
    v1::ExportedStep {
        index,
        time_ms: data.time_ms,
        writer: data.writer,
        sequence: data.sequence,
        log_index: data.log_index,
        position: data.position,
        key: data.key,
        salt: salt.to_vec(),
        entry,
        sealed_sha256: data.sealed_sha256.to_vec(),
        hash,
    }
}

/// A cluster of one reachable voter that is at `size`, with the hash of `hash_of`, and of voters
/// that are down.
fn world(size: u64, hash_of: usize, down: usize) -> (World, Log) {
    let log = Log::new();
    let (items, hash) = (log.items.clone(), log.hashes[hash_of]);
    let world = World::with_node_at(|address| {
        move |call: &Call| match call.path.as_str() {
            "/conclave.v1.Audit/Export" => Answer::stream(&items),
            "/conclave.v1.Audit/Head" => Answer::of(&v1::AuditHeadResponse {
                node: "n1".to_owned(),
                size,
                hash: hash.to_vec(),
                audit_verifier_key: String::new(),
            }),
            _ => {
                let voter = |id: String, api: &str| v1::NodeStatus {
                    id,
                    api: api.to_owned(),
                    role: "voter".to_owned(),
                    ..v1::NodeStatus::default()
                };
                let mut nodes = vec![voter("n1".to_owned(), &address)];
                nodes.extend((0..down).map(|n| voter(format!("down{n}"), "127.0.0.1:1")));
                Answer::of(&v1::StatusResponse { nodes, ..v1::StatusResponse::default() })
            }
        }
    });
    (world, log)
}

#[test]
fn an_export_verifies_offline_and_an_altered_one_does_not() {
    let (world, log) = world(ENTRIES, 5, 0);
    let expect = format!("{ENTRIES}:{}", log.root);
    let exported = world.json(&["audit", "export", "--out", "log.jsonl"]);
    assert_eq!((&exported["size"], &exported["expect"]), (&ENTRIES.into(), &expect.clone().into()));

    let key = log.key();
    let verify = ["audit", "verify", "--in", "log.jsonl", "--audit-key", key.as_str()];
    let verified = world.json(&[&verify[..], &["--expect", &expect]].concat());
    assert_eq!((&verified["verified"], &verified["expect"]), (&true.into(), &expect.into()));

    let earlier = format!("2:{}", hex::encode(log.hashes[3]));
    world.fails(5, &[&verify[..], &["--expect", &earlier]].concat());

    let text = fs::read_to_string(world.path("log.jsonl")).unwrap();
    fs::write(world.path("log.jsonl"), text.replace("request-3", "request-x")).unwrap();
    let error = world.fails(5, &verify);
    assert!(error.contains("entry 3"), "{error}");
}

#[test]
fn online_the_nodes_bear_witness() {
    let (behind, log) = world(3, 3, 0);
    let verified = behind.json(&["audit", "verify", "--audit-key", &log.key()]);
    assert_eq!((&verified["verified"], &verified["agreed_size"]), (&true.into(), &3.into()));
    assert_eq!(verified["nodes"][0]["agrees"], true);

    let (other, log) = world(3, 4, 0);
    let done = other.run(&["audit", "verify", "--audit-key", &log.key()]);
    assert_eq!(done.status.code(), Some(5));
    assert!(String::from_utf8(done.stdout).unwrap().contains("DISAGREES"));

    let (alone, log) = world(5, 5, 2);
    let done = alone.run(&["audit", "verify", "--audit-key", &log.key()]);
    assert_eq!(done.status.code(), Some(3));
    assert!(String::from_utf8(done.stderr).unwrap().contains("1 of 3 voters"));
}
