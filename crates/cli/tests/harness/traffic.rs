//! Steady traffic from several clients that try every endpoint; nothing may fail.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime};

use conclave_client::{Client, ClientConfig, ClientError};
use conclave_pki::{Kind, TlsFiles, TlsMaterial};
use conclave_proto::v1::{DecryptRequest, EncryptRequest};
use futures::future::join_all;

use super::{Cluster, LONG, wait_for};

/// How long one request may take, all its attempts together.
pub const REQUEST_LIMIT: Duration = Duration::from_secs(10);
/// Round trips of one client before it connects anew, at another endpoint first.
const ROUNDS_PER_CLIENT: usize = 10;

fn tls(cluster: &Cluster) -> TlsMaterial {
    let file = |name: &str| cluster.env()[name].clone().into();
    let files = TlsFiles {
        ca: file("CONCLAVE_CA_CERT"),
        cert: file("CONCLAVE_CLIENT_CERT"),
        key: file("CONCLAVE_CLIENT_KEY"),
    };
    TlsMaterial::load(&files, &[Kind::Client], SystemTime::now()).unwrap()
}

fn client(tls: &TlsMaterial, endpoints: &[String], timeout: Duration) -> Client {
    let endpoints = endpoints.iter().map(|endpoint| endpoint.parse().unwrap()).collect();
    Client::new(ClientConfig { endpoints, tls: tls.clone(), timeout }).unwrap()
}

/// Encrypts this often at these nodes, so much of it at once. Panics if one fails.
pub fn encrypt_often(cluster: &Cluster, key: &str, ids: &[&str], times: u64, at_once: usize) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let left = AtomicU64::new(times);
    let tls = tls(cluster);
    let one_more = || left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |n| n.checked_sub(1));
    runtime.block_on(async {
        let clients: Vec<Client> = ids
            .iter()
            .map(|id| client(&tls, &[format!("https://{}", cluster.node(id).api)], LONG))
            .collect();
        join_all((0..at_once).map(|worker| {
            let client = clients[worker % clients.len()].clone();
            async move {
                while one_more().is_ok() {
                    client.encrypt(encrypt_request(key)).await.unwrap();
                }
            }
        }))
        .await;
    });
}

fn encrypt_request(key: &str) -> EncryptRequest {
    EncryptRequest {
        key_id: key.to_owned(),
        plaintext: b"load".to_vec(),
        ..EncryptRequest::default()
    }
}

/// How it went.
#[derive(Debug, Default)]
pub struct Tally {
    /// Requests that succeeded.
    pub done: u64,
    /// The longest time that one took.
    pub slowest: Duration,
    pub failures: Vec<String>,
}

/// Clients that encrypt and decrypt until they are stopped.
pub struct Traffic {
    stop: Arc<AtomicBool>,
    endpoints: Arc<Mutex<Vec<String>>>,
    tally: Arc<Mutex<Tally>>,
    thread: Option<JoinHandle<()>>,
}

impl Traffic {
    pub fn start(cluster: &Cluster, key: &str, ids: &[&str], clients: usize) -> Self {
        let mut traffic = Self {
            stop: Arc::default(),
            endpoints: Arc::default(),
            tally: Arc::default(),
            thread: None,
        };
        traffic.also_at(cluster, ids);
        let (stop, endpoints) = (traffic.stop.clone(), traffic.endpoints.clone());
        let (tally, tls, key) = (traffic.tally.clone(), tls(cluster), key.to_owned());
        traffic.thread = Some(std::thread::spawn(move || {
            let runtime =
                tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(join_all((0..clients).map(|number| {
                let one = One { stop: &stop, endpoints: &endpoints, tally: &tally, tls: &tls };
                let key = &key;
                async move { one.run(number, key).await }
            })));
        }));
        traffic
    }

    /// From now on these are tried too, for as long as it runs.
    pub fn also_at(&self, cluster: &Cluster, ids: &[&str]) {
        let new = ids.iter().map(|id| format!("https://{}", cluster.node(id).api));
        self.endpoints.lock().unwrap().extend(new);
    }

    /// Requests that succeeded so far. Panics if one has failed.
    pub fn done(&self) -> u64 {
        let tally = self.tally.lock().unwrap();
        assert!(tally.failures.is_empty(), "{:#?}", tally.failures);
        tally.done
    }

    /// Waits until this many more requests have succeeded.
    pub fn wait_for_more(&self, more: u64) {
        let target = self.done() + more;
        wait_for("more requests to succeed", LONG, || (self.done() >= target).then_some(()));
    }

    pub fn stop(mut self) -> Tally {
        self.end();
        std::mem::take(&mut *self.tally.lock().unwrap())
    }

    fn end(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let ended = thread.join();
            assert!(ended.is_ok() || std::thread::panicking());
        }
    }
}

impl Drop for Traffic {
    fn drop(&mut self) {
        self.end();
    }
}

struct One<'a> {
    stop: &'a AtomicBool,
    endpoints: &'a Mutex<Vec<String>>,
    tally: &'a Mutex<Tally>,
    tls: &'a TlsMaterial,
}

impl One<'_> {
    async fn run(&self, number: usize, key: &str) {
        let mut turn = number;
        loop {
            let mut order = self.endpoints.lock().unwrap().clone();
            let first = turn % order.len();
            order.rotate_left(first);
            turn += 1;
            let client = client(self.tls, &order, REQUEST_LIMIT);
            for _ in 0..ROUNDS_PER_CLIENT {
                if self.stop.load(Ordering::Relaxed) {
                    return;
                }
                self.round(&client, key).await;
            }
        }
    }

    /// What was encrypted decrypts to itself, whoever does which.
    async fn round(&self, client: &Client, key: &str) {
        let encrypted = self.timed(client.encrypt(encrypt_request(key))).await;
        let Some(encrypted) = encrypted else { return };
        let ciphertext = encrypted.value.ciphertext_blob;
        let request = DecryptRequest { ciphertext_blob: ciphertext, ..DecryptRequest::default() };
        let decrypted = self.timed(client.decrypt(request)).await;
        if decrypted.is_some_and(|decrypted| decrypted.value.plaintext != b"load") {
            self.tally.lock().unwrap().failures.push("decrypted to something else".to_owned());
        }
    }

    async fn timed<T>(&self, call: impl Future<Output = Result<T, ClientError>>) -> Option<T> {
        let began = Instant::now();
        let result = call.await;
        let took = began.elapsed();
        let mut tally = self.tally.lock().unwrap();
        tally.slowest = tally.slowest.max(took);
        match result {
            Ok(value) => {
                tally.done += 1;
                Some(value)
            }
            Err(error) => {
                tally.failures.push(format!("after {took:?}: {error}"));
                None
            }
        }
    }
}
