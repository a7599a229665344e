//! The node: listeners, identity, codecs, ceremonies. A thin shell around the pure crates.
//!
//! Read [`staircase`] for the way of a request, [`hosted`] for what a node holds, [`ceremony`]
//! for founding, unsealing, sharing and changing members, [`keeper`] for what a node does unasked.

mod api;
mod audited;
mod ceremony;
mod certificates;
mod config;
mod counters;
mod descriptors;
mod dialer;
mod drain;
mod echo;
mod error;
mod folder;
#[doc(hidden)]
pub mod fuzzing;
mod hosted;
mod keeper;
mod listener;
mod memory;
mod meta;
mod node;
mod offload;
mod peer;
mod pending;
mod probe;
pub mod recovery;
mod refusals;
mod resealing;
mod scheduler;
mod staircase;
mod status;
mod throttle;
mod token;
mod web;

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use conclave_crypto::self_test::{self, KnownAnswer, known_answers};
use rustix::process::{Signal, getpid, kill_process};
use tokio::net::{TcpListener, TcpSocket};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{mpsc, watch};
use tracing::{error, info, warn};

pub use config::{Config, ConfigError, LogFormat};
pub use echo::echo;
pub use error::StartError;
pub use folder::FolderError;

use crate::certificates::{Certificates, LoadError};
use crate::listener::{API, Listener, PEER, Quota};
use crate::node::{ApiApp, Attachments, Node, PeerApp};

/// Runs a node until it is told to stop (SIGTERM, SIGINT). It drains first; told again, it stops at
/// once.
///
/// # Errors
/// If the configuration, the certificates, the data folder or a port cannot be used. Nothing is
/// bound before all of the configuration holds.
pub async fn run(path: &Path) -> Result<(), StartError> {
    run_tested(path, &known_answers()).await
}

/// [`run`], with self-tests of the caller's choice: for tests of what a failing one leads to.
///
/// # Errors
/// As [`run`]. A self-test that fails is none: the node runs, sealed.
#[doc(hidden)]
pub async fn run_tested(path: &Path, self_tests: &[KnownAnswer]) -> Result<(), StartError> {
    let config = Config::load(path)?;
    start_logging(&config);
    memory::protect(config.secret_pages);
    let tested = self_test::check(self_tests);
    if let Err(failed) = &tested {
        error!(%failed, "this node stays sealed");
    }
    let certificates = Arc::new(Certificates::load(&config.tls).map_err(|error| match error {
        LoadError::Material(error) => StartError::Material(error),
        LoadError::Config(error) => StartError::Tls(error),
    })?);
    let api_listener = bind(config.api.listen)?;
    let peer_listener = bind(config.peer.listen)?;
    let probe_listener = match config.probe {
        Some(probe) => Some((bind(probe.listen)?, probe.metrics)),
        None => None,
    };
    let mut terminate = signal(SignalKind::terminate()).map_err(StartError::Signals)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(StartError::Signals)?;

    let hangup = signal(SignalKind::hangup()).map_err(StartError::Signals)?;
    let quota = Quota {
        connections: descriptors::connections(config.limits.connections),
        per_source: config.limits.connections_per_address,
    };

    let attachments = Attachments { peer_router: peer::router, keeper: keeper::start };
    let (stop, stopped) = watch::channel(false);
    let (failed, mut failure) = mpsc::channel(1);
    let node = Node::start(
        config,
        Arc::clone(&certificates),
        tested,
        attachments,
        stopped.clone(),
        failed,
    )
    .await?;
    info!(name = node.name, api = %node.config.api.listen, peer = %node.config.peer.listen, "serving");
    tokio::spawn(Arc::clone(&certificates).keep(hangup));
    tokio::spawn(throttle::tell(Arc::downgrade(&node), stopped.clone()));
    tokio::spawn(memory::tell(stopped.clone()));
    if let Some((listener, metrics)) = probe_listener {
        let router = web::probe_router(Arc::clone(&node), metrics);
        tokio::spawn(probe::serve(listener, router, stopped.clone()));
    }
    let api = Listener {
        side: API,
        quota,
        tls: certificates.watch(),
        app: Arc::new(ApiApp(api::router(&node))),
        counters: Arc::clone(&node.api_counters),
    };
    let peers = Listener {
        side: PEER,
        quota,
        tls: certificates.watch(),
        app: Arc::new(PeerApp(Arc::clone(&node))),
        counters: Arc::clone(&node.peer_counters),
    };
    let api = tokio::spawn(listener::serve(api_listener, api, stopped.clone()));
    let peers = tokio::spawn(listener::serve(peer_listener, peers, stopped));
    let ended = tokio::select! {
        _ = terminate.recv() => Ok(()),
        _ = interrupt.recv() => Ok(()),
        Some(reason) = failure.recv() => Err(StartError::Stopped { reason }),
    };
    info!("stopping");
    if ended.is_ok() {
        tokio::select! {
            () = drain::before_stop(&node) => {}
            _ = terminate.recv() => info!("told to stop again: stopping at once"),
            _ = interrupt.recv() => info!("told to stop again: stopping at once"),
        }
    }
    stop.send_replace(true);
    let hsm_let_go = node.shutdown().await;
    let _ = tokio::join!(api, peers);
    if !hsm_let_go {
        end_at_once();
    }
    ended
}

/// Ends this process without tearing down its libraries. One of them is the HSM's module with a
/// call under way: it may hold a lock that its own end waits for. Everything of ours is closed.
fn end_at_once() {
    warn!("the HSM does not answer; ending without it, by SIGKILL");
    let _ = kill_process(getpid(), Signal::KILL);
}

/// Connections that the kernel keeps for us until they are accepted; it may keep fewer
/// (`net.core.somaxconn`). The default, 128, is less than a crowd that comes back after a failure,
/// and what does not fit then is lost without a word.
const BACKLOG: u32 = 4_096;

fn bind(address: SocketAddr) -> Result<TcpListener, StartError> {
    let listen = || {
        let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
        socket.set_reuseaddr(true)?;
        socket.bind(address)?;
        socket.listen(BACKLOG)
    };
    listen().map_err(|source| StartError::Bind { address, source })
}

fn start_logging(config: &Config) {
    use tracing_subscriber::EnvFilter;
    let filter = EnvFilter::try_new(&config.log_level).unwrap_or_else(|_| EnvFilter::new("info"));
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    // A subscriber that is already there (a test's) stays.
    let _ = match config.log_format {
        LogFormat::Text => builder.with_ansi(false).try_init(),
        LogFormat::Json => builder.json().try_init(),
    };
}
