//! HTTP/2 rapid reset (CVE-2023-44487): requests that are taken back in the same breath, as fast as
//! the connection takes them. The node cuts such connections, does little of the work, and serves
//! everybody else.

#![allow(clippy::unwrap_used, unreachable_pub, reason = "a test fails where this does")]

mod harness;

use std::sync::Arc;

use conclave_proto::v1::EncryptRequest;
use conclave_proto::v1::kms_client::KmsClient;
use futures::future::join_all;
use harness::tls::{Ca, Certificate, HTTP_2, Metrics, channel, shake_hands, tcp_from, tls};
use harness::{Cluster, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::task::JoinHandle;

/// What one connection would send if it were let; far beyond any limit.
const RESETS: u32 = 200_000;
/// Requests and resets in one write.
const BURST: u32 = 500;
/// Attackers at once, each from an address of its own, and how often each comes back.
const ATTACKERS: u8 = 8;
const ROUNDS: usize = 20;
/// Requests of a well-behaved client meanwhile.
const SERVED: usize = 100;
/// Of what was sent, the node may have begun one in so many.
const BEGUN_ONE_IN: u64 = 4;

const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const GOAWAY: u8 = 7;
const END_HEADERS: u8 = 4;
const CANCEL: u32 = 8;
const ENHANCE_YOUR_CALM: u32 = 11;

#[tokio::test(flavor = "multi_thread")]
async fn connections_that_reset_rapidly_are_cut_and_others_are_served() {
    let cluster = Cluster::start(1);
    let key = json(cluster.cli().args(["--output", "json", "key", "create"])).unwrap();
    let key = key["key_id"].as_str().unwrap();
    let api = cluster.nodes[0].api.clone();
    let ca = Arc::new(Ca::of(&cluster.pki()));
    let own = Certificate::load(&cluster.pki(), "dev");
    let auditor = Certificate::load(&cluster.pki(), "auditor");
    let before = Metrics::read(&api, &auditor, &ca).await;

    let attacks: Vec<JoinHandle<Vec<Cut>>> = (2..2 + ATTACKERS)
        .map(|host| {
            let (api, ca, certificate) = (api.clone(), ca.clone(), auditor.clone());
            tokio::spawn(async move {
                let mut cuts = Vec::new();
                for _ in 0..ROUNDS {
                    cuts.push(attack(host, &api, &certificate, &ca).await);
                }
                cuts
            })
        })
        .collect();
    let mut client = KmsClient::new(channel(&api, &own, &ca));
    for _ in 0..SERVED {
        let (key_id, plaintext) = (key.to_owned(), vec![1; 64]);
        let request = EncryptRequest { key_id, plaintext, ..Default::default() };
        client.encrypt(request).await.unwrap();
    }
    let cuts: Vec<Cut> = join_all(attacks).await.into_iter().flat_map(Result::unwrap).collect();

    let sent: u64 = cuts.iter().map(|cut| u64::from(cut.sent)).sum();
    let most = cuts.iter().map(|cut| cut.sent).max().unwrap();
    let told = cuts.iter().filter(|cut| cut.told == Some(ENHANCE_YOUR_CALM)).count();
    let after = Metrics::read(&api, &auditor, &ca).await;
    let read = |metrics: &Metrics| metrics.value("conclave_api_requests_read_total");
    let begun = read(&after) - read(&before) - SERVED as u64;
    println!(
        "{} connections, {sent} resets, {most} at most; {told} told; {begun} begun",
        cuts.len()
    );
    assert!(most < RESETS, "one was never cut");
    assert!(told > 0, "nobody was told to calm down: {cuts:?}");
    assert!(begun <= sent / BEGUN_ONE_IN, "{begun} of {sent} requests were begun");
    // Nothing is left of them.
    let own = channel(&api, &own, &ca);
    let request =
        EncryptRequest { key_id: key.to_owned(), plaintext: vec![1], ..Default::default() };
    KmsClient::new(own).encrypt(request).await.unwrap();
}

/// How a connection ended.
#[derive(Debug)]
struct Cut {
    /// Requests that were sent, and taken back, before it did.
    sent: u32,
    /// The reason that the node gave, if it arrived.
    told: Option<u32>,
}

async fn attack(host: u8, api: &str, certificate: &Certificate, ca: &Ca) -> Cut {
    let stream = tcp_from(host, api).await.unwrap();
    let stream = shake_hands(stream, tls(Some(certificate), ca, b"h2")).await.unwrap();
    let (mut read, mut write) = tokio::io::split(stream);
    let reading = tokio::spawn(async move {
        let mut answers = Vec::new();
        let _ = read.read_to_end(&mut answers).await;
        answers
    });
    let head = head(api);
    let mut sent = 0;
    let mut cut = write.write_all(HTTP_2).await.is_err();
    while !cut && sent < RESETS {
        let mut burst = Vec::new();
        for number in sent..sent + BURST {
            let stream = 2 * number + 1;
            burst.extend(frame(HEADERS, END_HEADERS, stream, &head));
            burst.extend(frame(RST_STREAM, 0, stream, &CANCEL.to_be_bytes()));
        }
        cut = write.write_all(&burst).await.is_err() || write.flush().await.is_err();
        cut |= reading.is_finished();
        sent += BURST;
    }
    drop(write);
    let answers = tokio::time::timeout(harness::LONG, reading).await.expect("an end").unwrap();
    Cut { sent, told: goaway(&answers) }
}

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let len = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&len[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// The head of an Encrypt, in HPACK (RFC 7541): from the static table, or literal and not indexed.
fn head(api: &str) -> Vec<u8> {
    let text = |text: &str| [&[u8::try_from(text.len()).unwrap()], text.as_bytes()].concat();
    [
        // POST, https.
        vec![0x83, 0x87],
        [vec![0x04], text("/conclave.v1.Kms/Encrypt")].concat(),
        [vec![0x01], text(api)].concat(),
        [vec![0x0f, 0x10], text("application/grpc")].concat(),
        [vec![0x00], text("te"), text("trailers")].concat(),
    ]
    .concat()
}

/// The reason in the last GOAWAY among these frames.
fn goaway(mut frames: &[u8]) -> Option<u32> {
    let mut told = None;
    while let Some((head, rest)) = frames.split_first_chunk::<9>() {
        let len = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
        let payload = rest.get(..len)?;
        if head[3] == GOAWAY {
            told = Some(u32::from_be_bytes(payload[4..8].try_into().unwrap()));
        }
        frames = &rest[len..];
    }
    told
}
