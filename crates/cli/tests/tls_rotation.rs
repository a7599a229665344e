//! Certificates, keys and authorities replaced on disk while everything runs and clients keep
//! calling: what is good is taken without a failed request, what is not is refused.

#![allow(clippy::unwrap_used, unreachable_pub, reason = "a test fails where this does")]

mod harness;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime};

use conclave_client::{Client, ClientConfig};
use conclave_pki::{Identity, Kind, TlsFiles, TlsMaterial};
use conclave_proto::v1::{CreateKeyRequest, DecryptRequest, EncryptRequest};
use harness::tls::{Ca, Certificate, HTTP_1, HTTP_2, Metrics, connect, refused};
use harness::{Cluster, LONG, NodeInfo, conclave, json, run};
use serde_json::Value;

/// Clients that call without a pause.
const CLIENTS: usize = 4;
/// Round trips on one connection before a client connects anew.
const ROUNDS_PER_CONNECTION: usize = 20;

#[tokio::test(flavor = "multi_thread")]
async fn certificates_and_authority_are_replaced_under_load_without_a_failed_request() {
    let cluster = Cluster::start(3);
    let first = cluster.pki();
    let load = Load::start(&cluster, TlsPaths::of(&first, "dev"));
    load.wait_for_more(50).await;

    // New certificates and keys, of the same authority.
    for node in &cluster.nodes {
        let before = serial_shown(&node.api, &first).await;
        renew(node, &first, &cluster.dir.path().join("renewed").join(&node.id));
        until(node, &first, "conclave_tls_files_replaced_total", 1).await;
        assert_ne!(serial_shown(&node.api, &first).await, before);
        load.wait_for_more(20).await;
    }

    // A second authority: both are trusted, then it issues everything, then it alone is trusted.
    let second = cluster.dir.path().join("pki-2");
    run(conclave().args(["pki", "init", "--cluster", "dev", "--dir"]).arg(&second));
    let both = cluster.dir.path().join("both.pem");
    bundle(&[&first, &second], &both);
    for node in &cluster.nodes {
        replace(&folder(node).join("ca.pem"), &fs::read(&both).unwrap(), 0o644);
        hang_up(&cluster, node);
        until(node, &first, "conclave_tls_files_replaced_total", 2).await;
    }
    let old = TlsPaths::of(&first, "dev");
    load.use_tls(TlsPaths { ca: both.clone(), ..old }).await;
    load.wait_for_more(50).await;
    assert_eq!(counted(&cluster.nodes[0], &first, "conclave_authorities_certificates").await, 2);

    issue_client(&second, "dev");
    issue_client(&second, "auditor");
    for node in &cluster.nodes {
        renew(node, &second, &cluster.dir.path().join("issued-2").join(&node.id));
        hang_up(&cluster, node);
        until_trusting(node, &both, &second, "conclave_tls_files_replaced_total", 3).await;
        load.wait_for_more(20).await;
    }
    load.use_tls(TlsPaths { ca: both.clone(), ..TlsPaths::of(&second, "dev") }).await;
    load.wait_for_more(50).await;

    let new_ca = fs::read(second.join("ca.pem")).unwrap();
    for node in &cluster.nodes {
        replace(&folder(node).join("ca.pem"), &new_ca, 0o644);
        hang_up(&cluster, node);
        until_trusting(node, &second, &second, "conclave_tls_files_replaced_total", 4).await;
        load.wait_for_more(20).await;
    }
    load.use_tls(TlsPaths::of(&second, "dev")).await;
    load.wait_for_more(200).await;

    // The old authority counts for nothing any more, and nothing of it lives on: connections that
    // were made with its certificates have ended.
    let (old_ca, new_ca) = (Ca::of(&first), Ca::of(&second));
    for node in &cluster.nodes {
        let stale = Certificate::load(&first, "dev");
        refused(&node.api, Some(&stale), &new_ca, "the old authority's", HTTP_1).await;
        let forged = old_ca.issue("spiffe://dev/node/n1");
        refused(&node.peer, Some(&forged), &new_ca, "its node", HTTP_2).await;
        let outlived = counted(node, &second, "conclave_peer_connections_outlived_total").await;
        assert!(outlived > 0, "{}: peers' connections with old certificates ended", node.id);
    }
    let (done, reconnected) = load.stop().await;
    println!("{done} requests, {reconnected} clients connected anew, none failed");

    // And the nodes go on as one: the log is the same everywhere, whoever leads.
    let mut status = cluster.cli();
    status
        .env("CONCLAVE_CA_CERT", second.join("ca.pem"))
        .env("CONCLAVE_CLIENT_CERT", second.join("dev.pem"))
        .env("CONCLAVE_CLIENT_KEY", second.join("dev.key"));
    let status = json(status.args(["--output", "json", "status"])).unwrap();
    let nodes = status["nodes"].as_array().unwrap();
    assert_eq!(nodes.len(), 3);
    for node in nodes {
        assert_eq!(node["state"], "open", "{node}");
        for end in ["certificate_not_after", "authority_not_after"] {
            assert!(node[end].as_str().unwrap().ends_with('Z'), "{node}");
        }
        assert!(node["certificate_not_after"].as_str() < node["authority_not_after"].as_str());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn files_that_do_not_hold_are_refused_and_the_old_ones_stay() {
    let cluster = Cluster::start(1);
    let (node, pki) = (cluster.nodes[0].clone(), cluster.pki());
    let at = folder(&node);
    let good = ["ca.pem", "node.pem", "node.key"].map(|name| fs::read(at.join(name)).unwrap());
    let serial = serial_shown(&node.api, &pki).await;
    let put = |[ca, cert, key]: [&[u8]; 3]| {
        replace(&at.join("ca.pem"), ca, 0o644);
        replace(&at.join("node.pem"), cert, 0o644);
        replace(&at.join("node.key"), key, 0o600);
    };
    let good = || [good[0].as_slice(), &good[1], &good[2]];

    let ca = Ca::of(&pki);
    let day = Duration::from_secs(86_400);
    let now = SystemTime::now();
    let n1 = "spiffe://dev/node/n1";
    let elsewhere = Ca::new("dev");
    let (other, fresh) = (ca.issue("spiffe://dev/node/n2"), ca.issue(n1));
    let client = ca.issue("spiffe://dev/client/n1");
    let (past, future) =
        (ca.issue_for(n1, now - 2 * day, now - day), ca.issue_for(n1, now + day, now + 2 * day));
    let foreign = elsewhere.issue(n1);
    let pem = |certificate: &Certificate| {
        [certificate.cert_pem.clone().into_bytes(), certificate.key_pem.clone().into_bytes()]
    };
    let mut bad: Vec<(&str, [Vec<u8>; 3], &str)> = Vec::new();
    for (what, certificate, words) in [
        ("another node's", &other, "this is"),
        ("a client's", &client, "is a client's"),
        ("expired", &past, "expired on"),
        ("not yet valid", &future, "valid only from"),
        ("another authority's", &foreign, "does not verify"),
    ] {
        let [cert, key] = pem(certificate);
        bad.push((what, [good()[0].to_vec(), cert, key], words));
    }
    let [cert, _] = pem(&fresh);
    bad.push(("another key", [good()[0].to_vec(), cert, good()[2].to_vec()], "is not the cert"));
    let [_, cert, key] = good();
    let new_ca = elsewhere.cert_pem.clone().into_bytes();
    bad.push(("an authority too early", [new_ca, cert.into(), key.into()], "does not verify"));
    bad.push(("half a file", [good()[0].into(), cert[..200].into(), key.into()], "no intact PEM"));

    for (number, (what, set, words)) in bad.iter().enumerate() {
        put([&set[0], &set[1], &set[2]]);
        hang_up(&cluster, &node);
        until(&node, &pki, "conclave_tls_files_refused_total", number as u64 + 1).await;
        assert_eq!(serial_shown(&node.api, &pki).await, serial, "{what}");
        let log = cluster.log_of(&node.id);
        let line = log.lines().rfind(|line| line.contains("TLS files refused")).unwrap();
        assert!(line.contains("WARN") && line.contains(words), "{what}: {line}");
        // One look for each: what is put next is not mixed with it.
        put(good());
    }
    assert_eq!(counted(&node, &pki, "conclave_tls_files_replaced_total").await, 0);
    // Without an order, a bad set is told of once, however long it lies there; and a file that is
    // missing for a moment is no reason to stop.
    fs::remove_file(at.join("node.key")).unwrap();
    until(&node, &pki, "conclave_tls_files_refused_total", bad.len() as u64 + 1).await;
    put(good());
    let [cert, key] = pem(&fresh);
    put([good()[0], &cert, &key]);
    until(&node, &pki, "conclave_tls_files_replaced_total", 1).await;
    assert_ne!(serial_shown(&node.api, &pki).await, serial);
    assert_eq!(
        counted(&node, &pki, "conclave_tls_files_refused_total").await,
        bad.len() as u64 + 1
    );
    let log = cluster.log_of(&node.id);
    assert!(log.contains("expires in less than"), "a certificate of a day is warned of");
}

fn folder(node: &NodeInfo) -> PathBuf {
    node.config.parent().unwrap().to_owned()
}

/// Whole or not at all, as an operator should.
fn replace(path: &Path, bytes: &[u8], mode: u32) {
    let new = path.with_extension("new");
    fs::write(&new, bytes).unwrap();
    fs::set_permissions(&new, fs::Permissions::from_mode(mode)).unwrap();
    fs::rename(new, path).unwrap();
}

/// Issues a node's certificate anew and puts it in place of the old one.
fn renew(node: &NodeInfo, pki: &Path, out: &Path) {
    fs::create_dir_all(out.parent().unwrap()).unwrap();
    run(conclave()
        .args(["pki", "issue", "node", &node.id, "--host", "127.0.0.1", "--days", "20", "--dir"])
        .arg(pki)
        .arg("--out")
        .arg(out));
    for (suffix, mode) in [("pem", 0o644), ("key", 0o600)] {
        let issued = fs::read(out.join(&node.id).with_extension(suffix)).unwrap();
        replace(&folder(node).join("node").with_extension(suffix), &issued, mode);
    }
}

fn issue_client(pki: &Path, name: &str) {
    run(conclave().args(["pki", "issue", "client", name, "--days", "20", "--dir"]).arg(pki));
}

fn bundle(pkis: &[&Path], out: &Path) {
    let mut command = conclave();
    command.args(["--output", "json", "pki", "bundle"]);
    pkis.iter().for_each(|pki| {
        command.arg(pki.join("ca.pem"));
    });
    let made: Value = json(command.arg("--out").arg(out)).unwrap();
    assert_eq!(made["certificates"].as_array().unwrap().len(), pkis.len());
}

/// SIGHUP: look now.
fn hang_up(cluster: &Cluster, node: &NodeInfo) {
    let pid = cluster.node(&node.id).pid;
    assert!(Command::new("kill").args(["-HUP", &pid.to_string()]).status().unwrap().success());
}

/// The serial number of the certificate that a node shows to a new connection.
async fn serial_shown(address: &str, pki: &Path) -> String {
    let auditor = Certificate::load(pki, "auditor");
    let stream = connect(address, Some(&auditor), &Ca::of(pki), HTTP_1).await.unwrap();
    let shown = stream.get_ref().1.peer_certificates().unwrap()[0].clone();
    Identity::from_der(&shown).unwrap().serial().to_owned()
}

async fn counted(node: &NodeInfo, pki: &Path, name: &str) -> u64 {
    let auditor = Certificate::load(pki, "auditor");
    Metrics::read(&node.api, &auditor, &Ca::of(pki)).await.value(name)
}

async fn until(node: &NodeInfo, pki: &Path, name: &str, value: u64) {
    let began = Instant::now();
    while counted(node, pki, name).await < value {
        assert!(began.elapsed() < LONG, "{}: no {name} of {value}", node.id);
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// The same while the node changes from one authority's certificate to the other's: asked with a
/// certificate of `pki`, and trusting whichever of `trusted` (a CA file, or a folder with one) it shows.
async fn until_trusting(node: &NodeInfo, trusted: &Path, pki: &Path, name: &str, value: u64) {
    let trusted = if trusted.is_dir() { trusted.join("ca.pem") } else { trusted.to_owned() };
    let ca = Ca { cert_pem: fs::read_to_string(trusted).unwrap(), key_pem: String::new() };
    let auditor = Certificate::load(pki, "auditor");
    let began = Instant::now();
    while Metrics::read(&node.api, &auditor, &ca).await.value(name) < value {
        assert!(began.elapsed() < LONG, "{}: no {name} of {value}", node.id);
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// Where a client's TLS material lies.
#[derive(Clone)]
struct TlsPaths {
    ca: PathBuf,
    cert: PathBuf,
    key: PathBuf,
}

impl TlsPaths {
    fn of(pki: &Path, name: &str) -> Self {
        Self {
            ca: pki.join("ca.pem"),
            cert: pki.join(format!("{name}.pem")),
            key: pki.join(format!("{name}.key")),
        }
    }

    fn load(&self) -> TlsMaterial {
        let files =
            TlsFiles { ca: self.ca.clone(), cert: self.cert.clone(), key: self.key.clone() };
        TlsMaterial::load(&files, &[Kind::Client], SystemTime::now()).unwrap()
    }
}

/// Clients that encrypt and decrypt until stopped. Any failure, after the client's own retries,
/// ends the test.
struct Load {
    shared: Arc<Shared>,
    workers: Vec<tokio::task::JoinHandle<()>>,
}

struct Shared {
    tls: Mutex<Arc<TlsMaterial>>,
    /// One that is never made anew, as in a service that runs for months.
    lasting: Client,
    stop: AtomicBool,
    done: AtomicU64,
    connected: AtomicU64,
    failures: Mutex<Vec<String>>,
}

impl Load {
    fn start(cluster: &Cluster, paths: TlsPaths) -> Self {
        let endpoints: Vec<String> = cluster.nodes.iter().map(|node| node.api.clone()).collect();
        let tls = paths.load();
        let shared = Arc::new(Shared {
            lasting: client(&endpoints, 0, &tls),
            tls: Mutex::new(Arc::new(tls)),
            stop: AtomicBool::new(false),
            done: AtomicU64::new(0),
            connected: AtomicU64::new(0),
            failures: Mutex::default(),
        });
        let workers = (0..CLIENTS)
            .map(|number| tokio::spawn(call(Arc::clone(&shared), endpoints.clone(), number)))
            .collect();
        Self { shared, workers }
    }

    /// From now on connections are made with these, and no client is left that would use the former.
    async fn use_tls(&self, paths: TlsPaths) {
        let tls = paths.load();
        self.shared.lasting.replace_tls(&tls).unwrap();
        let former = Arc::downgrade(&std::mem::replace(
            &mut *self.shared.tls.lock().unwrap(),
            Arc::new(tls),
        ));
        let began = Instant::now();
        while former.strong_count() > 0 {
            self.assert_none_failed();
            assert!(began.elapsed() < LONG, "a client goes on with what was replaced");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    async fn wait_for_more(&self, more: u64) {
        let (began, target) = (Instant::now(), self.shared.done.load(Ordering::Relaxed) + more);
        while self.shared.done.load(Ordering::Relaxed) < target {
            self.assert_none_failed();
            assert!(began.elapsed() < LONG, "the load stands still");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        self.assert_none_failed();
    }

    fn assert_none_failed(&self) {
        let failures = self.shared.failures.lock().unwrap();
        assert!(failures.is_empty(), "{failures:#?}");
    }

    async fn stop(self) -> (u64, u64) {
        self.shared.stop.store(true, Ordering::Relaxed);
        for worker in self.workers {
            worker.await.unwrap();
        }
        let failures = self.shared.failures.lock().unwrap();
        assert!(failures.is_empty(), "{failures:#?}");
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        (count(&self.shared.done), count(&self.shared.connected))
    }
}

fn client(endpoints: &[String], first: usize, tls: &TlsMaterial) -> Client {
    let mut endpoints: Vec<_> = endpoints.iter().map(|it| it.parse().unwrap()).collect();
    let count = endpoints.len();
    endpoints.rotate_left(first % count);
    Client::new(ClientConfig { endpoints, tls: tls.clone(), timeout: LONG / 2 }).unwrap()
}

async fn call(shared: Arc<Shared>, endpoints: Vec<String>, number: usize) {
    let key = match shared.lasting.create_key(CreateKeyRequest::default()).await {
        Ok(reply) => reply.value.key_metadata.unwrap().key_id,
        Err(error) => return shared.failures.lock().unwrap().push(format!("{error:?}")),
    };
    for connection in number.. {
        // The first worker stays with the client that lasts.
        let (client, _tls) = if number == 0 {
            (shared.lasting.clone(), None)
        } else {
            shared.connected.fetch_add(1, Ordering::Relaxed);
            let tls = Arc::clone(&shared.tls.lock().unwrap());
            (client(&endpoints, connection, &tls), Some(tls))
        };
        for _ in 0..ROUNDS_PER_CONNECTION {
            if shared.stop.load(Ordering::Relaxed) {
                return;
            }
            if let Err(error) = round_trip(&client, &key).await {
                return shared.failures.lock().unwrap().push(error);
            }
            shared.done.fetch_add(2, Ordering::Relaxed);
        }
    }
}

async fn round_trip(client: &Client, key: &str) -> Result<(), String> {
    let request = EncryptRequest {
        key_id: key.to_owned(),
        plaintext: b"load".to_vec(),
        ..Default::default()
    };
    let sealed = client.encrypt(request).await.map_err(|error| format!("{error:?}"))?;
    let request = DecryptRequest {
        ciphertext_blob: sealed.value.ciphertext_blob,
        key_id: String::new(),
        ..Default::default()
    };
    let opened = client.decrypt(request).await.map_err(|error| format!("{error:?}"))?;
    (opened.value.plaintext == b"load").then_some(()).ok_or_else(|| "another plaintext".to_owned())
}
