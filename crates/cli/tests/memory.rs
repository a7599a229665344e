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
use std::path::PathBuf;

use conclave_crypto::secret::KEY_LEN;
use harness::{Cluster, LONG, json, run, wait_for};
use image::{Searched, search};
use offline::{every_secret, every_secret_now};
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

    cluster.kill(READABLE);
    let secrets = every_secret(&cluster, READABLE);
    assert_eq!(secrets.iter().filter(|secret| secret.what == "backing key").count(), 2 * KEYS);
    let planted = launch_readable(&mut cluster);
    cluster.unseal(READABLE);
    use_everywhere(&cluster, &keys);
    cluster.wait_same_head(&NODES);

    let secrets = Secrets::new(secrets, planted);
    let held = ["root key", "domain key", "backing key", "node share", "audit key"];
    secrets.assert_kept_while_open(&cluster, &held);
    secrets.assert_wiped_when_sealed(&cluster);
}

/// Shares that lie in a token when the node is sealed, new shares for the operators, a new root key and
/// a new domain key: neither what those ceremonies made nor what they replaced is left.
#[test]
fn what_ceremonies_make_and_replace_is_wiped_too_on_nodes_with_tokens() {
    let mut cluster = Cluster::start_with_tokens(NODES.len());
    cluster.kill(READABLE);
    let planted = launch_readable(&mut cluster);
    cluster.wait_state(READABLE, "open");
    let keys: Vec<String> = (0..KEYS).map(|_| create_key(&cluster)).collect();
    use_everywhere(&cluster, &keys);

    let founding: Vec<PathBuf> = (1..=5).map(|number| cluster.share_file(number)).collect();
    let mut secrets = every_secret_now(&cluster, READABLE, &founding);
    let out = tempfile::tempdir().unwrap();
    let mut shares = founding;
    // Dealt by a node whose memory cannot be read, and then by the one whose memory can.
    for (number, dealer) in [(2, "n1"), (3, READABLE)] {
        let folder = out.path().join(number.to_string());
        let mut deal = cluster.cli_at(dealer);
        deal.args(["--timeout", "120", "operator", "deal", "--shares", "3-of-5", "--shares-out"]);
        deal.arg(&folder);
        for share in &shares[..3] {
            deal.arg("--share-file").arg(share);
        }
        run(&mut deal);
        let name = |number| folder.join(format!("operator-share-{number}"));
        shares = (1..=5).map(name).collect();
        wait_for("the dealing to be complete", LONG, || {
            let status = cluster.status()?;
            (status["share_epoch"] == number && status["pending_epoch"].is_null()).then_some(())
        });
        use_everywhere(&cluster, &keys);
        secrets.extend(every_secret_now(&cluster, READABLE, &shares));
    }
    run(cluster.cli_at(READABLE).args(["operator", "rotate-domain-key"]));
    wait_for("everything to be sealed again", LONG, || {
        let status = cluster.status()?;
        (status["domain_key"] == 2 && status["older_domain_keys"].as_array()?.is_empty())
            .then_some(())
    });
    use_everywhere(&cluster, &keys);
    secrets.extend(every_secret_now(&cluster, READABLE, &shares));
    cluster.wait_same_head(&NODES);
    for (what, count) in [("root key", 3), ("domain key", 2), ("operator key", 3)] {
        let found: BTreeSet<&[u8]> = secrets
            .iter()
            .filter(|secret| secret.what == what)
            .map(|secret| secret.bytes.as_slice())
            .collect();
        assert_eq!(found.len(), count, "{what}");
    }

    let secrets = Secrets::new(secrets, planted);
    secrets.assert_kept_while_open(&cluster, &["root key", "domain key", "backing key"]);
    secrets.assert_wiped_when_sealed(&cluster);
}

/// Starts that node, which does not run, with pages that root can read; gives what was put into its
/// memory for the search to find.
fn launch_readable(cluster: &mut Cluster) -> Marker {
    let planted = Uuid::new_v4().simple().to_string();
    let config = cluster.node(READABLE).config.clone();
    let mut config = OpenOptions::new().append(true).open(config).unwrap();
    config.write_all(b"\n[memory]\nsecret_pages = \"mlock\"\n").unwrap();
    cluster.launch(READABLE, &[("PLANTED".to_owned(), planted.clone())]);
    wait_for("the node to answer", LONG, || cluster.own_status(READABLE));
    Marker { what: "planted", bytes: planted.into_bytes() }
}

/// What is looked for.
struct Secrets {
    scanner: Scanner,
    planted: Scanner,
}

impl Secrets {
    fn new(mut secrets: Vec<Marker>, planted: Marker) -> Self {
        secrets.sort_by(|a, b| a.bytes.cmp(&b.bytes));
        secrets.dedup_by(|a, b| a.bytes == b.bytes);
        // Half a key is as much of a leak: a key schedule or a register spilt to the stack is one.
        let halves = |marker: &Marker| {
            let of = |bytes: &[u8]| Marker { what: marker.what, bytes: bytes.to_vec() };
            let (first, second) = marker.bytes.split_at(marker.bytes.len() / 2);
            [of(first), of(second)]
        };
        let keys_alone = secrets.iter().filter(|secret| secret.bytes.len() == KEY_LEN);
        let halves: Vec<Marker> = keys_alone.flat_map(halves).collect();
        secrets.extend(halves);
        Self { scanner: Scanner::new(&secrets), planted: Scanner::new(&[planted]) }
    }

    /// Open: what was planted is found, and of the keys none but on pages that are kept, where the
    /// readable node has those of each of these kinds.
    fn assert_kept_while_open(&self, cluster: &Cluster, held: &[&str]) {
        let planted = search(cluster.pid(READABLE), &self.planted);
        assert_ne!(planted.found.len(), 0, "the search finds nothing");
        for node in NODES {
            let searched = search(cluster.pid(node), &self.scanner);
            assert!(searched.bytes > 10 << 20, "{node}: only {} bytes read", searched.bytes);
            let exposed: Vec<_> =
                searched.found.iter().filter(|found| !found.in_mapping.is_kept()).collect();
            assert!(exposed.is_empty(), "{node}, open: {} of {exposed:#?}", exposed.len());
            if node == READABLE {
                assert_eq!(searched.secret_bytes, 0);
                let found: BTreeSet<&str> = searched.found.iter().map(|found| found.what).collect();
                assert!(held.iter().all(|what| found.contains(what)), "found only {found:?}");
            } else {
                assert!(searched.secret_bytes > 0, "{node} has no secret pages");
                assert!(searched.found.is_empty(), "{node}, open: {:#?}", searched.found);
            }
        }
    }

    /// Sealed: none anywhere.
    fn assert_wiped_when_sealed(&self, cluster: &Cluster) {
        for node in NODES {
            run(cluster.cli_at(node).args(["operator", "seal"]));
            cluster.wait_state(node, "sealed");
        }
        for node in NODES {
            let Searched { found, .. } = search(cluster.pid(node), &self.scanner);
            assert!(found.is_empty(), "{node}, sealed: {} of {found:#?}", found.len());
        }
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
