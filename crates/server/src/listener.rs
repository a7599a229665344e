//! A TLS listener: accepts, shakes hands, and serves HTTP/1.1 and HTTP/2 on what is left.
//!
//! Nothing is read from a connection before its certificate has been checked; who it names
//! travels with each request as a [`Connection`]. Everything the other end could make this node
//! hold or wait for has a limit: connections and handshakes by [`sources`], the rest by constants
//! here and the deadlines of [`watched`].

mod gathered;
mod sources;
mod watched;

use std::convert::Infallible;
use std::future::poll_fn;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::Poll;
use std::time::{Duration, Instant, SystemTime};

use axum::body::Body;
use conclave_pki::{Identity, Kind, peer_identity};
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::pki_types::CertificateDer;
use tokio_rustls::server::TlsStream;
use tower::ServiceExt;
use tracing::{debug, warn};

use crate::certificates::InForce;
use crate::counters::ListenerCounters;
use gathered::gathered;
pub(crate) use sources::Quota;
use sources::{Place, Sources};
use watched::{Patience, Watched, WatchedAnswer, WatchedStream};

/// A handshake that takes longer is cut.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// The head of a request, and what HTTP/2 begins with, must arrive within this.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
/// The body of a client's request must arrive within this: it has 64 KiB at most.
const BODY_TIMEOUT: Duration = Duration::from_secs(10);
/// An end that takes nothing of what it is sent for this long is cut.
const STALL_TIMEOUT: Duration = Duration::from_secs(30);
/// Largest header list of a request, bytes. The largest of ours is the request id.
const HEADERS_MAX: u32 = 16 * 1024;
/// Streams that the other end has reset and this one has not looked at yet (CVE-2023-44487).
const PENDING_RESETS_MAX: usize = 64;
/// Streams that this end had to reset because the other broke the protocol.
const LOCAL_RESETS_MAX: usize = 256;
/// How long open requests may take to end once the connection or the node is to stop.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(5);
/// HTTP/2 pings find an end that is gone: asked this often, cut after the same without an answer.
const PING_EVERY: Duration = Duration::from_secs(10);
/// Between looks at a connection's deadlines.
const WATCH_EVERY: Duration = Duration::from_secs(1);
/// Between looks at whether a connection's certificate is still good; also after each replacement.
const RECHECK_EVERY: Duration = Duration::from_secs(60);

/// What one side of the node allows its connections.
#[derive(Clone, Copy)]
pub(crate) struct Side {
    tls: fn(&InForce) -> &Arc<ServerConfig>,
    /// Requests at once on one HTTP/2 connection.
    streams_max: u32,
    /// What may be in flight to this node before it is read, bytes: a stream's and all streams'.
    stream_window: u32,
    connection_window: u32,
    /// What may wait for the other end on one stream, bytes.
    send_buffer: usize,
    patience: Patience,
}

/// For clients: many connections, small messages.
pub(crate) const API: Side = Side {
    tls: |in_force| &in_force.api,
    streams_max: 256,
    stream_window: 128 * 1024,
    connection_window: 512 * 1024,
    send_buffer: 128 * 1024,
    patience: Patience { greeting: HEAD_TIMEOUT, body: Some(BODY_TIMEOUT), stall: STALL_TIMEOUT },
};

/// For nodes: few connections, messages of megabytes, requests that are streams.
pub(crate) const PEER: Side = Side {
    tls: |in_force| &in_force.peer,
    streams_max: 1_024,
    stream_window: 1024 * 1024,
    connection_window: 4 * 1024 * 1024,
    send_buffer: 1024 * 1024,
    patience: Patience { greeting: HEAD_TIMEOUT, body: None, stall: STALL_TIMEOUT },
};

/// Who is at the other end, checked by TLS.
#[derive(Clone, Debug)]
pub(crate) struct Connection {
    pub(crate) identity: Arc<Identity>,
    pub(crate) remote: SocketAddr,
}

impl Connection {
    /// Whose request this is; the listener put it there.
    pub(crate) fn of<T>(request: &tonic::Request<T>) -> Result<Self, tonic::Status> {
        request
            .extensions()
            .get::<Self>()
            .cloned()
            .ok_or_else(|| tonic::Status::unauthenticated("no certificate"))
    }

    /// Whose request this is, if it is a client's.
    ///
    /// Principals are who client certificates name. A node's certificate gets past the listener
    /// too, for status and metrics, but a node that is called as a principal is called is not that
    /// principal.
    pub(crate) fn of_client<T>(request: &tonic::Request<T>) -> Result<Self, tonic::Status> {
        let who = Self::of(request)?;
        match who.identity.kind() {
            Kind::Client => Ok(who),
            Kind::Node => {
                Err(tonic::Status::permission_denied("a node's certificate is not a client's"))
            }
        }
    }
}

/// What answers requests: given anew for each, since a node that joins a domain starts to offer more.
pub(crate) trait App: Send + Sync + 'static {
    fn router(&self) -> axum::Router;
}

/// What a listener serves with.
pub(crate) struct Listener {
    pub(crate) side: Side,
    pub(crate) quota: Quota,
    pub(crate) tls: watch::Receiver<Arc<InForce>>,
    pub(crate) app: Arc<dyn App>,
    pub(crate) counters: Arc<ListenerCounters>,
}

/// Serves until `stop` becomes true, then lets open requests end.
pub(crate) async fn serve(listener: TcpListener, with: Listener, mut stop: watch::Receiver<bool>) {
    let sources = Sources::new(with.quota);
    // Held by every connection: once all are back, all have ended.
    let (connected, mut all_ended) = tokio::sync::mpsc::channel::<Infallible>(1);
    loop {
        let (stream, remote) = tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    // Out of descriptors, most likely: wait for some to be given back.
                    warn!(%error, "cannot accept a connection");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                    continue;
                }
            },
            () = told_to(&mut stop) => break,
        };
        let counters = &with.counters;
        counters.accepted.fetch_add(1, Ordering::Relaxed);
        let Some(place) = sources.admit(remote.ip()) else {
            counters.turned_away.fetch_add(1, Ordering::Relaxed);
            debug!(%remote, "turned away: too many connections");
            continue;
        };
        let accepted = Accepted {
            side: with.side,
            remote,
            tls: with.tls.clone(),
            app: Arc::clone(&with.app),
            counters: Arc::clone(counters),
            stop: stop.clone(),
        };
        let (connected, sources) = (connected.clone(), Arc::clone(&sources));
        tokio::spawn(async move {
            accepted.run(stream, place, &sources).await;
            drop(connected);
        });
    }
    drop(connected);
    let _ = tokio::time::timeout(DRAIN_TIMEOUT, all_ended.recv()).await;
}

/// Returns once the node is told to stop. (The channel's own guard must not cross an await.)
pub(crate) async fn told_to(stop: &mut watch::Receiver<bool>) {
    let _ = stop.wait_for(|stop| *stop).await;
}

struct Accepted {
    side: Side,
    remote: SocketAddr,
    tls: watch::Receiver<Arc<InForce>>,
    app: Arc<dyn App>,
    counters: Arc<ListenerCounters>,
    stop: watch::Receiver<bool>,
}

impl Accepted {
    async fn run(mut self, stream: TcpStream, mut place: Place, sources: &Sources) {
        let Some(stream) = self.shake_hands(stream).await else { return };
        let let_in = place.let_in();
        self.counters.open.store(sources.let_in() as u64, Ordering::Relaxed);
        if let_in {
            self.serve(stream).await;
        } else {
            self.counters.turned_away.fetch_add(1, Ordering::Relaxed);
        }
        drop(place);
        self.counters.open.store(sources.let_in() as u64, Ordering::Relaxed);
    }

    async fn shake_hands(&mut self, stream: TcpStream) -> Option<TlsStream<TcpStream>> {
        let _ = stream.set_nodelay(true);
        let config = Arc::clone((self.side.tls)(&self.tls.borrow_and_update()));
        let shaking = TlsAcceptor::from(config).accept(stream);
        let remote = self.remote;
        match tokio::time::timeout(HANDSHAKE_TIMEOUT, shaking).await {
            Ok(Ok(stream)) => return Some(stream),
            Ok(Err(error)) => debug!(%remote, %error, "TLS handshake failed"),
            Err(_) => debug!(%remote, "TLS handshake timed out"),
        }
        self.counters.handshake_failures.fetch_add(1, Ordering::Relaxed);
        None
    }

    async fn serve(&mut self, stream: TlsStream<TcpStream>) {
        let remote = self.remote;
        let session = stream.get_ref().1;
        let is_http_2 = session.alpn_protocol() == Some(b"h2");
        let chain: Vec<CertificateDer<'static>> = session
            .peer_certificates()
            .unwrap_or_default()
            .iter()
            .map(|certificate| certificate.clone().into_owned())
            .collect();
        let identity = match peer_identity(&chain) {
            Ok(identity) => Arc::new(identity),
            // The verifier let it through, so this cannot be: refuse all the same.
            Err(error) => {
                warn!(%remote, %error, "a verified certificate names nobody");
                return;
            }
        };
        let watched = Watched::new(self.side.patience, is_http_2);
        let (stream, sending) = gathered(WatchedStream::new(stream, &watched));
        let stream = TokioIo::new(stream);
        let answering = Answering {
            who: Connection { identity, remote },
            app: Arc::clone(&self.app),
            counters: Arc::clone(&self.counters),
            watched: Arc::clone(&watched),
        };
        let builder = self.builder(is_http_2);
        let connection = builder.serve_connection(stream, answering);
        tokio::pin!(connection);

        let mut look = tokio::time::interval(WATCH_EVERY);
        look.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut checked = Instant::now();
        let mut leaving = None::<Instant>;
        let ended = loop {
            tokio::select! {
                biased;
                ended = poll_fn(|cx| match connection.as_mut().poll(cx) {
                    Poll::Pending => match sending.poll_send(cx) {
                        Poll::Ready(Err(error)) => Poll::Ready(Err(error.into())),
                        _ => Poll::Pending,
                    },
                    ended => ended,
                }) => break ended,
                () = told_to(&mut self.stop), if leaving.is_none() => {
                    connection.as_mut().graceful_shutdown();
                    leaving = Some(Instant::now());
                }
                _ = look.tick() => {
                    if let Some(overdue) = watched.overdue() {
                        self.counters.cut.fetch_add(1, Ordering::Relaxed);
                        debug!(%remote, ?overdue, "connection cut");
                        return;
                    }
                    match leaving {
                        Some(since) if since.elapsed() > DRAIN_TIMEOUT => return,
                        Some(_) => {}
                        None if self.is_to_leave(&chain, &mut checked) => {
                            connection.as_mut().graceful_shutdown();
                            leaving = Some(Instant::now());
                        }
                        None => {}
                    }
                }
            }
        };
        if let Err(error) = ended {
            debug!(%remote, %error, "connection ended");
        }
    }

    /// Whether the certificate that the connection was let in with would not be let in any more: it
    /// has expired, or its authority was replaced.
    fn is_to_leave(&mut self, chain: &[CertificateDer<'static>], checked: &mut Instant) -> bool {
        // A sender that is gone replaces nothing.
        let replaced = self.tls.has_changed().unwrap_or(false);
        if !replaced && checked.elapsed() < RECHECK_EVERY {
            return false;
        }
        *checked = Instant::now();
        let in_force = Arc::clone(&self.tls.borrow_and_update());
        let trusted = in_force.material.check_still_trusted(chain, SystemTime::now());
        if let Err(error) = &trusted {
            self.counters.outlived.fetch_add(1, Ordering::Relaxed);
            debug!(remote = %self.remote, %error, "the certificate is not good any more");
        }
        trusted.is_err()
    }

    fn builder(&self, is_http_2: bool) -> auto::Builder<TokioExecutor> {
        let mut builder = auto::Builder::new(TokioExecutor::new());
        builder
            .http2()
            .timer(TokioTimer::new())
            .max_concurrent_streams(self.side.streams_max)
            .max_header_list_size(HEADERS_MAX)
            .max_pending_accept_reset_streams(PENDING_RESETS_MAX)
            .max_local_error_reset_streams(LOCAL_RESETS_MAX)
            .max_send_buf_size(self.side.send_buffer)
            .adaptive_window(false)
            .initial_connection_window_size(self.side.connection_window)
            .initial_stream_window_size(self.side.stream_window)
            .keep_alive_interval(PING_EVERY)
            .keep_alive_timeout(PING_EVERY);
        builder
            .http1()
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD_TIMEOUT)
            .max_buf_size(HEADERS_MAX as usize);
        if is_http_2 { builder.http2_only() } else { builder.http1_only() }
    }
}

/// Answers the requests of one connection.
struct Answering {
    who: Connection,
    app: Arc<dyn App>,
    counters: Arc<ListenerCounters>,
    watched: Arc<Watched>,
}

impl hyper::service::Service<hyper::Request<Incoming>> for Answering {
    type Response = hyper::Response<WatchedAnswer>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn call(&self, request: hyper::Request<Incoming>) -> Self::Future {
        self.counters.requests_read.fetch_add(1, Ordering::Relaxed);
        let (head, body) = request.into_parts();
        let (body, open) = self.watched.request(body);
        let mut request = hyper::Request::from_parts(head, Body::new(body));
        request.extensions_mut().insert(self.who.clone());
        let router = self.app.router();
        Box::pin(async move {
            let answer = router.oneshot(request).await.unwrap_or_else(|e| match e {});
            Ok(answer.map(|body| open.answer(body)))
        })
    }
}
