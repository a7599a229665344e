//! A thousand idle and a hundred slow connections: the others notice nothing, and each of them that
//! makes the node wait is cut within its limit.

#![allow(clippy::unwrap_used, unreachable_pub, reason = "a test fails where this does")]

mod harness;

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use conclave_proto::v1::EncryptRequest;
use conclave_proto::v1::kms_client::KmsClient;
use futures::future::join_all;
use harness::tls::{Ca, Certificate, HTTP_2, Metrics, channel, shake_hands, tcp_from, tls};
use harness::{Cluster, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;
use tokio_rustls::client::TlsStream;

/// The limits of the node, as `listener.rs` has them.
const HANDSHAKE: Duration = Duration::from_secs(10);
const HEAD: Duration = Duration::from_secs(10);
const BODY: Duration = Duration::from_secs(10);
const PINGS: Duration = Duration::from_secs(20);
const STALL: Duration = Duration::from_secs(30);
/// Handshakes at once from one address.
const SHAKING_MAX: usize = 128;

/// Handshakes of the crowd that are under way at once.
static SHAKING: Semaphore = Semaphore::const_new(SHAKING_MAX / 2);

/// What a busy machine may add to a limit before a cut counts as late.
const SLACK: Duration = Duration::from_secs(25);
/// Requests of a measurement.
const MEASURED: usize = 100;
/// How many times slower the middle request may be in the crowd.
const SLOWER_MAX: u32 = 6;

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_idle_and_a_hundred_slow_do_not_hurt_the_others() {
    let cluster = Cluster::start(1);
    let key = json(cluster.cli().args(["--output", "json", "key", "create"])).unwrap();
    let normal = Normal {
        api: cluster.nodes[0].api.clone(),
        ca: Arc::new(Ca::of(&cluster.pki())),
        own: Certificate::load(&cluster.pki(), "dev"),
        auditor: Certificate::load(&cluster.pki(), "auditor"),
        key: key["key_id"].as_str().unwrap().to_owned(),
    };
    normal.middle_requests().await;
    let alone = normal.middle_requests().await;

    // Those that live answer pings and ask for nothing; they stay.
    let mut living = Vec::new();
    for host in [2, 3, 4] {
        let opened: Vec<JoinHandle<_>> = (0..200).map(|_| normal.spawn_living(host)).collect();
        living.extend(join_all(opened).await.into_iter().map(Result::unwrap));
    }
    // Those that do not: silent before the handshake, or after it.
    let mut cut = Vec::new();
    for host in [5, 6] {
        for _ in 0..100 {
            cut.push(normal.spawn("silent", HANDSHAKE, host, silent));
        }
    }
    for host in [7, 8] {
        for _ in 0..100 {
            cut.push(normal.spawn("half open", PINGS, host, half_open));
        }
    }
    for _ in 0..20 {
        cut.push(normal.spawn("slow greeting", HEAD, 9, slow_greeting));
        cut.push(normal.spawn("slow head, HTTP/1", HEAD, 9, slow_head_1));
        cut.push(normal.spawn("slow head, HTTP/2", PINGS, 10, slow_head_2));
        cut.push(normal.spawn("slow body", BODY, 10, slow_body));
        cut.push(normal.spawn("takes no answer, HTTP/2", STALL, 11, no_window));
        cut.push(normal.spawn("reads nothing, HTTP/1", STALL, 11, reads_nothing));
    }

    // They are all there, but for the silent, who have not been let in and never will be.
    let (began, mut open) = (Instant::now(), 0);
    while open < 900 {
        assert!(began.elapsed() < harness::LONG, "{open} at once");
        tokio::time::sleep(Duration::from_millis(200)).await;
        open = normal.metrics().await.value("conclave_api_open_connections");
    }
    let crowded = normal.middle_requests().await;

    // A host without a certificate gets no more than its share of handshakes, and nobody else less.
    let flood: Vec<_> = (0..4 * SHAKING_MAX).map(|_| tcp_from(12, &normal.api)).collect();
    let flood: Vec<TcpStream> = join_all(flood).await.into_iter().filter_map(Result::ok).collect();
    let flooded = normal.middle_requests().await;
    let turned_away = normal.metrics().await.value("conclave_api_connections_turned_away_total");
    assert!(turned_away as usize >= 2 * SHAKING_MAX, "{turned_away} turned away");
    drop(flood);

    let mut slowest = std::collections::BTreeMap::new();
    for waiting in cut {
        let (what, limit, took) = waiting.await.unwrap();
        assert!(took <= limit + SLACK, "{what}: cut after {took:?}, its limit is {limit:?}");
        let slowest = slowest.entry(what).or_insert(took);
        *slowest = took.max(*slowest);
    }
    println!(
        "middle request, on a lasting and on a new connection: alone {alone:?}, crowded {crowded:?}, flooded {flooded:?}"
    );
    println!("cut after, at most: {slowest:?}");
    for (when, took) in [("crowded", crowded), ("flooded", flooded)] {
        let is_hurt = (0..2).any(|kind| took[kind] > alone[kind] * SLOWER_MAX);
        assert!(!is_hurt, "alone {alone:?}, {when} {took:?}");
    }
    let metrics = normal.metrics().await;
    let counted = metrics.value("conclave_api_connections_cut_total");
    assert!(counted >= 80, "{counted} cut by a deadline of ours");

    // Those who answered all along are still there, and are still answered.
    assert_eq!(living.iter().filter(|one| one.is_closed()).count(), 0);
    let open = metrics.value("conclave_api_open_connections");
    assert!((600..800).contains(&open), "{open} left");
}

/// A client like any other, and the certificate that the slow ones have too.
struct Normal {
    api: String,
    ca: Arc<Ca>,
    own: Certificate,
    auditor: Certificate,
    key: String,
}

impl Normal {
    /// The middle one of many requests' times: of those on one connection, and of those on
    /// connections of their own.
    async fn middle_requests(&self) -> [Duration; 2] {
        let lasting = channel(&self.api, &self.own, &self.ca);
        let mut times = [Vec::new(), Vec::new()];
        for number in 0..MEASURED {
            let channel = match number % 2 {
                0 => lasting.clone(),
                _ => channel(&self.api, &self.own, &self.ca),
            };
            let request = EncryptRequest {
                key_id: self.key.clone(),
                plaintext: vec![1; 64],
                ..Default::default()
            };
            let began = Instant::now();
            KmsClient::new(channel).encrypt(request).await.unwrap();
            times[number % 2].push(began.elapsed());
        }
        times.map(|mut times| {
            times.sort();
            times[times.len() / 2]
        })
    }

    async fn metrics(&self) -> Metrics {
        Metrics::read(&self.api, &self.auditor, &self.ca).await
    }

    fn peer(&self) -> Peer {
        Peer { api: self.api.clone(), ca: self.ca.clone(), own: self.auditor.clone() }
    }

    /// An HTTP/2 connection that asks for nothing.
    fn spawn_living(&self, host: u8) -> JoinHandle<Living> {
        let peer = self.peer();
        tokio::spawn(async move {
            let stream = peer.connect(host, b"h2").await;
            let (send, connection) = h2::client::handshake(stream).await.unwrap();
            Living {
                _send: send,
                connection: tokio::spawn(async move { connection.await.is_ok() }),
            }
        })
    }

    /// Gives how long the node let it go on.
    fn spawn<F>(
        &self,
        what: &'static str,
        limit: Duration,
        host: u8,
        act: fn(Peer, u8) -> F,
    ) -> JoinHandle<(&'static str, Duration, Duration)>
    where
        F: Future<Output = Duration> + Send + 'static,
    {
        let acting = act(self.peer(), host);
        tokio::spawn(async move {
            let took = tokio::time::timeout(limit + 2 * SLACK, acting).await;
            (what, limit, took.unwrap_or_else(|_| panic!("{what}: never cut")))
        })
    }
}

struct Living {
    _send: h2::client::SendRequest<Bytes>,
    connection: JoinHandle<bool>,
}

impl Living {
    fn is_closed(&self) -> bool {
        self.connection.is_finished()
    }
}

/// Whom the crowd speaks to, and as whom.
struct Peer {
    api: String,
    ca: Arc<Ca>,
    own: Certificate,
}

impl Peer {
    /// Tries again where too many shake hands at once, as any client does: the crowd is to be let in.
    async fn connect(&self, host: u8, protocol: &[u8]) -> TlsStream<TcpStream> {
        self.connect_by(protocol, || tcp_from(host, &self.api)).await
    }

    async fn connect_by<F>(&self, protocol: &[u8], dial: impl Fn() -> F) -> TlsStream<TcpStream>
    where
        F: Future<Output = std::io::Result<TcpStream>>,
    {
        let began = Instant::now();
        loop {
            let shaking = SHAKING.acquire().await.unwrap();
            let connected = match dial().await {
                Ok(stream) => shake_hands(stream, tls(Some(&self.own), &self.ca, protocol)).await,
                Err(error) => Err(error),
            };
            drop(shaking);
            match connected {
                Ok(stream) => return stream,
                Err(error) => assert!(began.elapsed() < harness::LONG, "not let in: {error}"),
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
}

/// Reads until the other end closes, and gives the time since `began`.
async fn until_closed(mut stream: impl AsyncReadExt + Unpin, began: Instant) -> Duration {
    let mut buffer = [0; 4096];
    while matches!(stream.read(&mut buffer).await, Ok(read) if read > 0) {}
    began.elapsed()
}

/// Sends the bytes one by one, a second apart, until the connection is closed; reads what comes.
async fn trickle(stream: TlsStream<TcpStream>, bytes: &'static [u8]) -> Duration {
    let began = Instant::now();
    let (read, mut write) = tokio::io::split(stream);
    let writing = async move {
        for byte in bytes.iter().cycle() {
            if write.write_all(&[*byte]).await.is_err() || write.flush().await.is_err() {
                break;
            }
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        std::future::pending::<Duration>().await
    };
    tokio::select! {
        took = until_closed(read, began) => took,
        took = writing => took,
    }
}

async fn silent(peer: Peer, host: u8) -> Duration {
    let stream = tcp_from(host, &peer.api).await.unwrap();
    until_closed(stream, Instant::now()).await
}

/// Greets and then is as if its cable were cut, but for the kernel's acknowledgements: reads only
/// at the end.
async fn half_open(peer: Peer, host: u8) -> Duration {
    let mut stream = peer.connect(host, b"h2").await;
    stream.write_all(HTTP_2).await.unwrap();
    until_closed(stream, Instant::now()).await
}

async fn slow_greeting(peer: Peer, host: u8) -> Duration {
    trickle(peer.connect(host, b"h2").await, HTTP_2).await
}

async fn slow_head_1(peer: Peer, host: u8) -> Duration {
    trickle(peer.connect(host, b"http/1.1").await, b"GET /healthz HTTP/1.1\r\nx: yyyy").await
}

/// Begins a HEADERS frame of 16 KiB, and sends it byte by byte.
async fn slow_head_2(peer: Peer, host: u8) -> Duration {
    let mut stream = peer.connect(host, b"h2").await;
    stream.write_all(HTTP_2).await.unwrap();
    stream.write_all(&[0, 0x3f, 0xff, 1, 4, 0, 0, 0, 1]).await.unwrap();
    trickle(stream, b"\x82").await
}

/// A request that is well begun: its head is whole, its body comes byte by byte. Pings are answered.
async fn slow_body(peer: Peer, host: u8) -> Duration {
    let stream = peer.connect(host, b"h2").await;
    let (mut send, connection) = h2::client::handshake(stream).await.unwrap();
    let began = Instant::now();
    let mut connection = tokio::spawn(connection);
    let (_answer, mut body) = send.send_request(encrypt(&peer.api), false).unwrap();
    // The head of a message of 1,000 bytes.
    body.send_data(Bytes::from_static(&[0, 0, 0, 3, 0xe8]), false).unwrap();
    loop {
        tokio::select! {
            _ = &mut connection => return began.elapsed(),
            () = tokio::time::sleep(Duration::from_secs(1)) => {}
        }
        let _ = body.send_data(Bytes::from_static(b"a"), false);
    }
}

/// Asks, answers pings, and never has room for an answer.
async fn no_window(peer: Peer, host: u8) -> Duration {
    let stream = peer.connect(host, b"h2").await;
    let mut builder = h2::client::Builder::new();
    let (mut send, connection) =
        builder.initial_window_size(0).handshake::<_, Bytes>(stream).await.unwrap();
    let began = Instant::now();
    let connection = tokio::spawn(connection);
    let get = http::Request::get(format!("https://{}/metrics", peer.api)).body(()).unwrap();
    let (_answer, _) = send.send_request(get, true).unwrap();
    let _ = connection.await;
    began.elapsed()
}

/// Asks again and again, and reads no answer.
async fn reads_nothing(peer: Peer, host: u8) -> Duration {
    let dial = || async {
        let socket = TcpSocket::new_v4()?;
        socket.set_recv_buffer_size(4_096)?;
        socket.bind(std::net::SocketAddr::from(([127, 0, 0, host], 0)))?;
        socket.connect(peer.api.parse().unwrap()).await
    };
    let mut stream = peer.connect_by(b"http/1.1", dial).await;
    let began = Instant::now();
    while stream.write_all(b"GET /metrics HTTP/1.1\r\nhost: x\r\n\r\n").await.is_ok()
        && stream.flush().await.is_ok()
    {}
    began.elapsed()
}

fn encrypt(api: &str) -> http::Request<()> {
    http::Request::post(format!("https://{api}/conclave.v1.Kms/Encrypt"))
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .body(())
        .unwrap()
}
