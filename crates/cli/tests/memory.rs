//! What a node's memory holds, read by root: before it is sealed no key where it could be swapped
//! out or dumped, and after it none at all.

#![allow(clippy::unwrap_used, unreachable_pub, reason = "a test fails where this does")]

mod harness;
mod image;
mod offline;
mod scanner;

use std::collections::BTreeSet;
use std::fs::OpenOptions;
use std::io::Write;

use conclave_crypto::secret::KEY_LEN;
use harness::{Cluster, LONG, json, run, wait_for};
use image::{Searched, search};
use offline::every_secret;
use scanner::{Marker, Scanner};
use uuid::Uuid;

/// Keys of two versions each, used at every node, so that all of them are cached everywhere.
const KEYS: usize = 4;
const NODES: [&str; 3] = ["n1", "n2", "n3"];
/// It is told to use pages that root can read, which shows both that the search finds what is there
/// and that sealing wipes it.
const READABLE: &str = "n3";

#[test]
fn keys_lie_on_secret_pages_and_sealing_wipes_them() {
    let mut cluster = Cluster::start(NODES.len());
    let keys: Vec<String> = (0..KEYS).map(|_| create_key(&cluster)).collect();
    use_everywhere(&cluster, &keys);
    cluster.wait_same_head(&NODES);

    let planted = Uuid::new_v4().simple().to_string();
    cluster.kill(READABLE);
    let mut secrets = every_secret(&cluster, READABLE);
    assert_eq!(secrets.iter().filter(|secret| secret.what == "backing key").count(), 2 * KEYS);
    // Half a key is as much of a leak: a key schedule or a register spilt to the stack is one.
    let halves = |marker: &Marker| {
        let of = |bytes: &[u8]| Marker { what: marker.what, bytes: bytes.to_vec() };
        let (first, second) = marker.bytes.split_at(marker.bytes.len() / 2);
        [of(first), of(second)]
    };
    let keys_alone = secrets.iter().filter(|secret| secret.bytes.len() == KEY_LEN);
    let halves: Vec<Marker> = keys_alone.flat_map(halves).collect();
    secrets.extend(halves);
    let config = cluster.node(READABLE).config.clone();
    let mut config = OpenOptions::new().append(true).open(config).unwrap();
    config.write_all(b"\n[memory]\nsecret_pages = \"mlock\"\n").unwrap();
    cluster.launch(READABLE, &[("PLANTED".to_owned(), planted.clone())]);
    wait_for("the node to answer", LONG, || cluster.own_status(READABLE));
    cluster.unseal(READABLE);
    use_everywhere(&cluster, &keys);
    cluster.wait_same_head(&NODES);

    // Open: what was planted is found, and of the keys none but on pages that are kept.
    let kinds: BTreeSet<&str> = secrets.iter().map(|secret| secret.what).collect();
    let scanner = Scanner::new(&secrets);
    let plant = Scanner::new(&[Marker { what: "planted", bytes: planted.into_bytes() }]);
    assert_ne!(search(cluster.pid(READABLE), &plant).found.len(), 0, "the search finds nothing");
    for node in NODES {
        let searched = search(cluster.pid(node), &scanner);
        assert!(searched.bytes > 10 << 20, "{node}: only {} bytes read", searched.bytes);
        let exposed: Vec<_> =
            searched.found.iter().filter(|found| !found.in_mapping.is_kept()).collect();
        assert!(exposed.is_empty(), "{node}, open: {} of {exposed:#?}", exposed.len());
        if node == READABLE {
            assert_eq!(searched.secret_bytes, 0);
            let found: BTreeSet<&str> = searched.found.iter().map(|found| found.what).collect();
            let held = ["root key", "domain key", "backing key", "node share", "audit key"];
            assert!(held.iter().all(|what| found.contains(what)), "found only {found:?}");
        } else {
            assert!(searched.secret_bytes > 0, "{node} has no secret pages");
            assert!(searched.found.is_empty(), "{node}, open: {:#?}", searched.found);
        }
    }

    // Sealed: none anywhere.
    for node in NODES {
        run(cluster.cli_at(node).args(["operator", "seal"]));
        cluster.wait_state(node, "sealed");
    }
    for node in NODES {
        let Searched { found, .. } = search(cluster.pid(node), &scanner);
        assert!(found.is_empty(), "{node}, sealed: {} of {found:#?}, {kinds:?}", found.len());
    }
}

fn create_key(cluster: &Cluster) -> String {
    let key = json(cluster.cli().args(["--output", "json", "key", "create"])).unwrap();
    let key = key["key_id"].as_str().unwrap().to_owned();
    run(cluster.cli().args(["key", "rotate", &key]));
    key
}

/// Encrypts, decrypts and makes a data key under each key at each node.
fn use_everywhere(cluster: &Cluster, keys: &[String]) {
    let ciphertext = cluster.dir.path().join("ciphertext");
    for node in NODES {
        for key in keys {
            run(cluster
                .cli_at(node)
                .args(["encrypt", "--key", key, "--in", "/proc/version", "--out"])
                .arg(&ciphertext));
            run(cluster.cli_at(node).args(["decrypt", "--in"]).arg(&ciphertext));
            run(cluster.cli_at(node).args(["data-key", "--key", key]));
        }
    }
}
