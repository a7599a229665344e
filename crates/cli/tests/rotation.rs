//! The domain key is rotated under load: no request fails, records are sealed again in the background
//! at little cost, whoever leads, and then the old key is gone and everything still decrypts.
//! `CONCLAVE_ROTATION_KEYS` says how many keys, `CONCLAVE_ROTATIONS` how often.

#![allow(clippy::unwrap_used, clippy::print_stderr, reason = "a test fails where this does")]

mod harness;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use conclave_client::Client;
use conclave_proto::v1;
use futures::stream::{self, StreamExt};
use harness::{Cluster, LONG, count_from, figures_count, json, load, wait_for};
use serde_json::Value;
use tokio::runtime::Runtime;
use tokio::task::JoinSet;

/// Unless `CONCLAVE_ROTATION_KEYS` says otherwise.
const KEYS: usize = 1_200;
/// Unless `CONCLAVE_ROTATIONS` says otherwise.
const ROTATIONS: usize = 1;
/// Requests at once, while keys are made and under load.
const CLIENTS: usize = 16;
/// One in so many requests makes a key; the others encrypt and decrypt.
const CREATES_ONE_IN: u64 = 64;
/// What is kept of the throughput, at least, while records are sealed again.
const SHARE_MIN: f64 = 0.8;
/// In which requests are counted.
const WINDOW: Duration = Duration::from_secs(1);
/// Windows before a rotation, and after the last.
const WINDOWS: usize = 6;
/// How long one request may take, all its attempts together.
const REQUEST_LIMIT: Duration = Duration::from_secs(25);
/// Until everything is sealed again. Only ends a wait that would never end.
const SEALED_AGAIN_MAX: Duration = Duration::from_secs(900);

#[test]
fn a_rotation_under_load_fails_no_request_and_ends_with_the_old_key_gone() {
    let cluster = Cluster::start(3);
    let runtime = Runtime::new().unwrap();
    let _inside = runtime.enter();
    let count = count_from("CONCLAVE_ROTATION_KEYS", KEYS);
    let keys: Arc<[Key]> = runtime.block_on(make_keys(&cluster, count)).into();
    let (mut load, mut rates) = (Load::start(&runtime, &cluster, &keys), Rates::default());
    load.window();
    let rotations = count_from("CONCLAVE_ROTATIONS", ROTATIONS) as u64;
    for epoch in 2..2 + rotations {
        (0..WINDOWS).for_each(|_| rates.quiet.push(load.window()));
        let began = Instant::now();
        rotate(&cluster, epoch);
        // One that begins and ends with records left to do tells of nothing else.
        let is_busy = || left(&runtime, &cluster, epoch) != Some(0);
        while is_busy() {
            let rate = load.window();
            if is_busy() {
                rates.busy.push(rate);
            }
            assert!(began.elapsed() < SEALED_AGAIN_MAX, "{:?}", cluster.status());
        }
        eprintln!("domain key {epoch}: everything sealed again after {:?}", began.elapsed());
    }
    (0..WINDOWS).for_each(|_| rates.quiet.push(load.window()));
    wait_retired(&cluster, 1 + rotations);
    let done = load.stop(&runtime);
    eprintln!("{done} requests, none failed");
    rates.tell();

    let sealed: u64 = audited(&cluster, "ReSealRecords").iter().map(count_of).sum();
    assert!(sealed >= rotations * count as u64, "{sealed} records sealed again");
    assert!(!audited(&cluster, "RetireDomainKey").is_empty());
    assert_eq!(audited(&cluster, "RotateDomainKey").len() as u64, rotations);
    runtime.block_on(assert_decrypts(&cluster, &keys));
    cluster.assert_whole();
}

#[test]
fn a_leader_killed_in_the_middle_leaves_the_rest_to_the_next() {
    let mut cluster = Cluster::start(3);
    let runtime = Runtime::new().unwrap();
    let _inside = runtime.enter();
    let count = count_from("CONCLAVE_ROTATION_KEYS", KEYS).min(5_000);
    let keys: Arc<[Key]> = runtime.block_on(make_keys(&cluster, count)).into();
    let load = Load::start(&runtime, &cluster, &keys);
    rotate(&cluster, 2);
    let leader = cluster.leader();
    let all = wait_for("the records to be counted", LONG, || {
        left(&runtime, &cluster, 2).filter(|&left| left > 0)
    });
    let some = wait_for("some to be sealed again", LONG, || {
        left(&runtime, &cluster, 2).filter(|&left| left * 4 < all * 3)
    });
    cluster.kill(&leader);
    eprintln!("killed {leader} when {some} of {all} records were left");
    assert!(some > 0, "all were sealed before it could be killed: it shows nothing");
    cluster.restart(&leader);
    cluster.unseal(&leader);
    wait_retired(&cluster, 2);
    eprintln!("{} requests, none failed", load.stop(&runtime));

    let entries = audited(&cluster, "ReSealRecords");
    let by: BTreeSet<&str> = entries.iter().map(|it| it["node"].as_str().unwrap()).collect();
    assert!(by.len() >= 2, "one node did it all: {by:?}");
    runtime.block_on(assert_decrypts(&cluster, &keys));
    cluster.assert_whole();
}

#[test]
fn a_retried_rotation_is_one_and_whoever_is_no_operator_makes_none() {
    let cluster = Cluster::start(1);
    let rotate = |id: &str| {
        let mut cli = cluster.cli();
        json(cli.args(["--output", "json", "--request-id", id, "operator", "rotate-domain-key"]))
    };
    let first = rotate("one").unwrap();
    let again = rotate("one").unwrap();
    assert_eq!((&first["domain_key"], &again["domain_key"]), (&2.into(), &2.into()));
    assert_eq!(first["revision"], again["revision"]);
    assert_eq!(rotate("two").unwrap()["domain_key"], 3);

    for role in ["key-user", "key-administrator", "auditor"] {
        let refused = cluster.cli_as(role).args(["operator", "rotate-domain-key"]).output();
        let said = String::from_utf8_lossy(&refused.unwrap().stderr).into_owned();
        assert!(said.contains("AccessDenied"), "{role}: {said}");
    }
    let status = cluster.status().unwrap();
    assert_eq!(status["domain_key"], 3);
    let made = audited(&cluster, "RotateDomainKey");
    let done = made.iter().filter(|it| it["outcome"] == "success").map(|it| &it["resources"][0]);
    assert_eq!(done.collect::<Vec<_>>(), ["domain-key/2", "domain-key/3"]);
}

/// A key, and what was encrypted under it before anything was rotated.
#[derive(Clone)]
struct Key {
    id: String,
    ciphertext: Vec<u8>,
}

async fn make_keys(cluster: &Cluster, count: usize) -> Vec<Key> {
    let began = Instant::now();
    let clients: Vec<Client> =
        (0..CLIENTS).map(|number| load::client(cluster, number, REQUEST_LIMIT)).collect();
    let one = |number: usize| {
        let client = clients[number % CLIENTS].clone();
        async move {
            let made = client.create_key(v1::CreateKeyRequest::default()).await.unwrap();
            let id = made.value.key_metadata.unwrap().key_id;
            let ciphertext = encrypt(&client, &id).await.unwrap();
            Key { id, ciphertext }
        }
    };
    let keys = stream::iter(0..count).map(one).buffer_unordered(CLIENTS).collect().await;
    eprintln!("{count} keys made in {:?}", began.elapsed());
    keys
}

async fn encrypt(client: &Client, key: &str) -> Result<Vec<u8>, String> {
    let request =
        v1::EncryptRequest { key_id: key.to_owned(), plaintext: key.into(), ..Default::default() };
    client.encrypt(request).await.map(|it| it.value.ciphertext_blob).map_err(|it| it.to_string())
}

async fn decrypt(client: &Client, key: &Key) -> Result<(), String> {
    let request = v1::DecryptRequest {
        ciphertext_blob: key.ciphertext.clone(),
        ..v1::DecryptRequest::default()
    };
    match client.decrypt(request).await {
        Ok(reply) if reply.value.plaintext == key.id.as_bytes() => Ok(()),
        Ok(_) => Err(format!("{} decrypts to something else", key.id)),
        Err(error) => Err(error.to_string()),
    }
}

/// Every key still opens what it sealed before, at whichever node.
async fn assert_decrypts(cluster: &Cluster, keys: &[Key]) {
    let clients: Vec<Client> = (0..CLIENTS)
        .map(|number| load::client(cluster, number, REQUEST_LIMIT))
        .map(|client| client.at_first())
        .collect();
    stream::iter(keys.iter().enumerate())
        .for_each_concurrent(CLIENTS, |(number, key)| {
            let client = &clients[number % CLIENTS];
            async move { decrypt(client, key).await.unwrap() }
        })
        .await;
}

/// Clients that encrypt, decrypt what was encrypted long ago, and make a key now and then.
struct Load {
    stop: Arc<AtomicBool>,
    done: Arc<AtomicU64>,
    clients: JoinSet<Result<(), String>>,
}

impl Load {
    fn start(runtime: &Runtime, cluster: &Cluster, keys: &Arc<[Key]>) -> Self {
        let (stop, done) = (Arc::<AtomicBool>::default(), Arc::<AtomicU64>::default());
        let mut clients = JoinSet::new();
        for number in 0..CLIENTS {
            let client = load::client(cluster, number, REQUEST_LIMIT);
            let (keys, stop, done) = (keys.clone(), stop.clone(), done.clone());
            let one = async move {
                let mut turn = number as u64 * 7_919;
                while !stop.load(Ordering::Relaxed) {
                    turn += 1;
                    // Scattered, so that it meets keys before and after they are sealed again.
                    let at = turn.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
                    let key = &keys[at as usize % keys.len()];
                    match turn % CREATES_ONE_IN {
                        0 => {
                            let made = client.create_key(v1::CreateKeyRequest::default()).await;
                            made.map(drop).map_err(|error| error.to_string())?;
                        }
                        even if even % 2 == 0 => decrypt(&client, key).await?,
                        _ => drop(encrypt(&client, &key.id).await?),
                    }
                    done.fetch_add(1, Ordering::Relaxed);
                }
                Ok(())
            };
            clients.spawn_on(one, runtime.handle());
        }
        Self { stop, done, clients }
    }

    /// Requests a second in the window that begins now.
    fn window(&mut self) -> f64 {
        let (began, before) = (Instant::now(), self.done.load(Ordering::Relaxed));
        std::thread::sleep(WINDOW);
        if let Some(ended) = self.clients.try_join_next() {
            panic!("a client stopped: {ended:?}");
        }
        (self.done.load(Ordering::Relaxed) - before) as f64 / began.elapsed().as_secs_f64()
    }

    /// How many requests there were, if none failed.
    fn stop(self, runtime: &Runtime) -> u64 {
        self.stop.store(true, Ordering::Relaxed);
        for ended in runtime.block_on(self.clients.join_all()) {
            ended.unwrap();
        }
        self.done.load(Ordering::Relaxed)
    }
}

/// Requests a second with and without records being sealed again, in turns.
#[derive(Default)]
struct Rates {
    quiet: Vec<f64>,
    busy: Vec<f64>,
}

impl Rates {
    fn tell(&self) {
        let mean = |rates: &[f64]| rates.iter().sum::<f64>() / rates.len() as f64;
        let (quiet, busy) = (mean(&self.quiet), mean(&self.busy));
        let share = busy / quiet;
        let windows = (self.quiet.len(), self.busy.len());
        eprintln!(
            "{quiet:.0} requests/s over {} windows; while records are sealed again {busy:.0} over {}: {:.0} %",
            windows.0,
            windows.1,
            100.0 * share
        );
        if figures_count() {
            assert!(windows.1 >= WINDOWS, "too few windows to tell: take more keys");
            assert!(share >= SHARE_MIN, "{share:.2} of the throughput is left");
        }
    }
}

fn rotate(cluster: &Cluster, epoch: u64) {
    let mut cli = cluster.cli();
    let rotated = json(cli.args(["--output", "json", "operator", "rotate-domain-key"])).unwrap();
    assert_eq!(rotated["domain_key"], epoch);
}

/// The records to be sealed again under that domain key, as the leader counts them; not through a
/// process of its own, which would be felt.
fn left(runtime: &Runtime, cluster: &Cluster, epoch: u64) -> Option<u64> {
    let client = load::client(cluster, 0, REQUEST_LIMIT);
    let asked = client.status(v1::StatusRequest { local_only: false });
    let status = runtime.block_on(asked).unwrap().value;
    status.records_to_reseal.filter(|_| u64::from(status.domain_key) == epoch)
}

/// Waits until `epoch` is the only domain key, and no node has the others in snapshot or log.
fn wait_retired(cluster: &Cluster, epoch: u64) {
    wait_for("the old domain keys to be retired", SEALED_AGAIN_MAX, || {
        let status = cluster.status()?;
        assert_eq!(status["domain_key"], epoch);
        status["older_domain_keys"].as_array()?.is_empty().then_some(())
    });
    for node in &cluster.nodes {
        wait_for("the snapshot without the old domain keys", SEALED_AGAIN_MAX, || {
            let log = cluster.log_of(&node.id);
            log.contains("neither snapshot nor log").then_some(())
        });
    }
}

fn audited(cluster: &Cluster, action: &str) -> Vec<Value> {
    let mut list = cluster.cli_as("auditor");
    list.args(["--output", "json", "audit", "list", "--limit", "100000", "--action", action]);
    json(&mut list).unwrap()["entries"].as_array().unwrap().clone()
}

fn count_of(entry: &Value) -> u64 {
    let count = entry["parameters"].as_array().unwrap().iter().find(|it| it["name"] == "count");
    count.unwrap()["value"].as_str().unwrap().parse().unwrap()
}
