//! One principal over its rate, and what the node says without TLS to whoever asks.

#![allow(clippy::unwrap_used, unreachable_pub, reason = "a test fails where this does")]

mod harness;

use std::fmt::Write;
use std::time::Duration;

use conclave_proto::v1::cluster_client::ClusterClient;
use conclave_proto::v1::kms_client::KmsClient;
use conclave_proto::v1::{EncryptRequest, UnsealRequest};
use futures::future::join_all;
use harness::tls::{Ca, Certificate, Metrics, channel};
use harness::{Cluster, json, wait_for};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tonic::{Code, Status};

const AT_ONCE: usize = 400;
const BURST: u64 = 60;
/// A summary comes once a minute.
const SUMMARY_LIMIT: Duration = Duration::from_secs(150);

#[test]
fn a_principal_over_its_rate_is_throttled_counted_and_summed_up() {
    let mut cluster = Cluster::start(1);
    let key = json(cluster.cli().args(["--output", "json", "key", "create"])).unwrap();
    let key = key["key_id"].as_str().unwrap().to_owned();
    let probe = harness::address();
    configure(
        &cluster,
        &format!(
            "\n[limits]\nrequests_per_second = 20\nburst = {BURST}\n\n[probe]\nlisten = \"{probe}\"\n"
        ),
    );
    cluster.kill("n1");
    cluster.restart("n1");
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let ask = |request: &str| runtime.block_on(plain(&probe, request));
    assert!(ask("GET /health HTTP/1.1\r\nhost: x\r\n\r\n").starts_with("HTTP/1.1 200"));
    let sealed = ask("GET /ready HTTP/1.1\r\nhost: x\r\n\r\n");
    assert!(sealed.starts_with("HTTP/1.1 503") && sealed.ends_with("\r\n\r\nnot ready\n"));

    wait_for("the node to know its place", harness::LONG, || {
        let own = cluster.own_status("n1")?;
        (!own["detail"].as_str()?.contains("majority of voters")).then_some(())
    });
    // Each refused attempt to unseal is an audit entry, so there are only so many.
    let statuses = runtime.block_on(bad_shares(&cluster, 80));
    let throttled = statuses.iter().filter(|status| is_throttled(status)).count();
    assert!((1..40).contains(&throttled), "{throttled} of 80: {:?}", statuses.last());
    let odd = statuses.iter().find(|it| !is_throttled(it) && it.code() != Code::InvalidArgument);
    assert!(odd.is_none(), "{odd:?}");

    cluster.unseal("n1");
    wait_for("the probe to say so", harness::LONG, || {
        ask("GET /ready HTTP/1.1\r\nhost: x\r\n\r\n").starts_with("HTTP/1.1 200").then_some(())
    });
    for (request, answer) in [
        ("GET /metrics HTTP/1.1\r\nhost: x\r\n\r\n", "HTTP/1.1 404"),
        ("GET /conclave.v1.Kms/Encrypt HTTP/1.1\r\nhost: x\r\n\r\n", "HTTP/1.1 404"),
        ("POST /health HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\n\r\n", "HTTP/1.1 405"),
        ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", ""),
    ] {
        let got = ask(request);
        assert!(got.starts_with(answer) && !got.contains("200 OK"), "{request:?}: {got:?}");
    }

    let results = runtime.block_on(encrypt_at_once(&cluster, "key-user", &key));
    let done = results.iter().filter(|result| result.is_ok()).count() as u64;
    let refused: Vec<&Status> = results.iter().filter_map(|it| it.as_ref().err()).collect();
    assert!(done >= BURST && !refused.is_empty(), "{done} done");
    for status in &refused {
        assert!(is_throttled(status), "{status:?}");
        let wait: u64 = status
            .metadata()
            .get("grpc-retry-pushback-ms")
            .unwrap()
            .to_str()
            .unwrap()
            .parse()
            .unwrap();
        assert!((1..60_000).contains(&wait), "{status:?}");
    }
    // Others go on.
    json(cluster.cli().args(["--output", "json", "key", "describe", &key])).unwrap();
    let metrics = runtime.block_on(async {
        let auditor = Certificate::load(&cluster.pki(), "auditor");
        Metrics::read(&cluster.node("n1").api, &auditor, &Ca::of(&cluster.pki())).await
    });
    let counted = metrics.value("conclave_operations_throttled_total");
    assert!(counted >= refused.len() as u64, "{counted}");

    // Not one entry for each: one in all, which has the number, beside those of what was done.
    let entries = wait_for("the summary", SUMMARY_LIMIT, || {
        std::thread::sleep(Duration::from_secs(1));
        let found = entries(&cluster, "key-user", "Throttle");
        (!found.is_empty()).then_some(found)
    });
    let [entry] = &entries[..] else { panic!("{entries:?}") };
    assert_eq!(entry["outcome"], "refused", "{entry}");
    let text = entry.to_string();
    assert!(text.contains(&refused.len().to_string()), "{text}");
    assert_eq!(entries_count(&cluster, "key-user", "Encrypt"), done);
    let unseals = self::entries(&cluster, "dev", "Unseal");
    let refused_unseals = unseals.iter().filter(|entry| entry["outcome"] == "refused").count();
    assert_eq!(refused_unseals, 80 - throttled);
}

fn configure(cluster: &Cluster, more: &str) {
    let path = &cluster.node("n1").config;
    let mut text = std::fs::read_to_string(path).unwrap();
    text.write_str(more).unwrap();
    std::fs::write(path, text).unwrap();
}

fn is_throttled(status: &Status) -> bool {
    let name = status.metadata().get("conclave-error").and_then(|name| name.to_str().ok());
    status.code() == Code::ResourceExhausted && name == Some("ThrottlingException")
}

async fn bad_shares(cluster: &Cluster, times: usize) -> Vec<Status> {
    let channel = dial(cluster, "dev");
    let mut client = ClusterClient::new(channel);
    let mut statuses = Vec::new();
    for _ in 0..times {
        let request = UnsealRequest { operator_shares: vec!["no share".to_owned()] };
        statuses.push(client.unseal(request).await.unwrap_err());
    }
    statuses
}

async fn encrypt_at_once(cluster: &Cluster, role: &str, key: &str) -> Vec<Result<(), Status>> {
    let client = KmsClient::new(dial(cluster, role));
    let calls = (0..AT_ONCE).map(|_| {
        let mut client = client.clone();
        let request =
            EncryptRequest { key_id: key.to_owned(), plaintext: vec![1], ..Default::default() };
        async move { client.encrypt(request).await.map(drop) }
    });
    join_all(calls).await
}

fn dial(cluster: &Cluster, role: &str) -> tonic::transport::Channel {
    let own = Certificate::load(&cluster.pki(), role);
    channel(&cluster.node("n1").api, &own, &Ca::of(&cluster.pki()))
}

fn entries(cluster: &Cluster, principal: &str, action: &str) -> Vec<serde_json::Value> {
    let mut command = cluster.cli_as("auditor");
    command.args(["--output", "json", "audit", "list"]);
    command.args(["--principal", principal, "--action", action]);
    // Throttled itself, perhaps: asked again.
    json(&mut command).map_or(Vec::new(), |it| it["entries"].as_array().unwrap().clone())
}

fn entries_count(cluster: &Cluster, principal: &str, action: &str) -> u64 {
    entries(cluster, principal, action).len() as u64
}

/// One request without TLS, and all that comes back.
async fn plain(address: &str, request: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer).await;
    String::from_utf8_lossy(&answer).into_owned()
}
