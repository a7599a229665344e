//! A TLS listener: accepts, shakes hands, and serves HTTP/1.1 and HTTP/2 on what is left.
//!
//! Nothing is read from a connection before its certificate has been checked; who it names
//! travels with each request as a [`Connection`].

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use axum::body::Body;
use conclave_pki::{Identity, Kind, peer_identity};
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tower::ServiceExt;
use tracing::{debug, warn};

use crate::counters::ListenerCounters;

/// Connections at once on one listener; more wait in the kernel's backlog.
const CONNECTIONS_MAX: usize = 4_096;
/// A handshake that takes longer is cut.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// Requests at once on one HTTP/2 connection.
const STREAMS_MAX: u32 = 1_024;
/// Largest header list of a request, bytes.
const HEADERS_MAX: u32 = 16 * 1024;
/// How long open requests may take to end once the node stops.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(5);
/// HTTP/2 pings find a peer that is gone.
const PING_EVERY: Duration = Duration::from_secs(10);

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

/// Serves until `stop` becomes true, then lets open requests end.
pub(crate) async fn serve(
    listener: TcpListener,
    tls: Arc<ServerConfig>,
    app: Arc<dyn App>,
    counters: Arc<ListenerCounters>,
    mut stop: watch::Receiver<bool>,
) {
    let acceptor = TlsAcceptor::from(tls);
    let slots = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        let slot = tokio::select! {
            slot = Arc::clone(&slots).acquire_owned() => slot.expect("the semaphore is never closed"),
            () = told_to(&mut stop) => break,
        };
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
        counters.accepted.fetch_add(1, Ordering::Relaxed);
        let connection = Accepted {
            stream,
            remote,
            acceptor: acceptor.clone(),
            app: Arc::clone(&app),
            counters: Arc::clone(&counters),
            stop: stop.clone(),
        };
        tokio::spawn(async move {
            connection.run().await;
            drop(slot);
        });
    }
    // Every connection holds a slot: all of them back means that all have ended.
    let all = u32::try_from(CONNECTIONS_MAX).expect("a small constant");
    let _ = tokio::time::timeout(DRAIN_TIMEOUT, slots.acquire_many(all)).await;
}

/// Returns once the node is told to stop. (The channel's own guard must not cross an await.)
pub(crate) async fn told_to(stop: &mut watch::Receiver<bool>) {
    let _ = stop.wait_for(|stop| *stop).await;
}

struct Accepted {
    stream: TcpStream,
    remote: SocketAddr,
    acceptor: TlsAcceptor,
    app: Arc<dyn App>,
    counters: Arc<ListenerCounters>,
    stop: watch::Receiver<bool>,
}

impl Accepted {
    async fn run(self) {
        let Self { stream, remote, acceptor, app, counters, mut stop } = self;
        let _ = stream.set_nodelay(true);
        let stream = match tokio::time::timeout(HANDSHAKE_TIMEOUT, acceptor.accept(stream)).await {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => {
                counters.handshake_failures.fetch_add(1, Ordering::Relaxed);
                debug!(%remote, %error, "TLS handshake failed");
                return;
            }
            Err(_) => {
                counters.handshake_failures.fetch_add(1, Ordering::Relaxed);
                debug!(%remote, "TLS handshake timed out");
                return;
            }
        };
        let identity = match peer_identity(stream.get_ref().1.peer_certificates().unwrap_or(&[])) {
            Ok(identity) => Arc::new(identity),
            // The verifier let it through, so this cannot be: refuse all the same.
            Err(error) => {
                warn!(%remote, %error, "a verified certificate names nobody");
                return;
            }
        };
        let who = Connection { identity, remote };
        let service = hyper::service::service_fn(move |request: hyper::Request<Incoming>| {
            counters.requests_read.fetch_add(1, Ordering::Relaxed);
            let mut request = request.map(Body::new);
            request.extensions_mut().insert(who.clone());
            let router = app.router();
            async move {
                Ok::<_, Infallible>(router.oneshot(request).await.unwrap_or_else(|e| match e {}))
            }
        });
        let mut builder = auto::Builder::new(TokioExecutor::new());
        builder
            .http2()
            .timer(TokioTimer::new())
            .max_concurrent_streams(STREAMS_MAX)
            .max_header_list_size(HEADERS_MAX)
            .adaptive_window(false)
            .initial_connection_window_size(4 * 1024 * 1024)
            .initial_stream_window_size(1024 * 1024)
            .keep_alive_interval(PING_EVERY)
            .keep_alive_timeout(PING_EVERY);
        builder.http1().timer(TokioTimer::new()).header_read_timeout(HANDSHAKE_TIMEOUT);
        let connection = builder.serve_connection(TokioIo::new(stream), service);
        tokio::pin!(connection);
        let ended = tokio::select! {
            ended = connection.as_mut() => ended,
            () = told_to(&mut stop) => {
                connection.as_mut().graceful_shutdown();
                connection.as_mut().await
            }
        };
        if let Err(error) = ended {
            debug!(%remote, %error, "connection ended");
        }
    }
}
