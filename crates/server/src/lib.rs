//! The node: listeners, identity, codecs, ceremonies. A thin shell around the pure crates.
//!
//! Read [`staircase`] for the way of a request, [`hosted`] for what a node holds, [`ceremony`]
//! for founding, unsealing, sharing and changing members, [`keeper`] for what a node does unasked.

mod api;
mod audited;
mod ceremony;
mod config;
mod counters;
mod dialer;
mod drain;
mod echo;
mod error;
mod folder;
mod hosted;
mod keeper;
mod listener;
mod meta;
mod node;
mod peer;
mod pending;
mod refusals;
mod staircase;
mod status;
mod web;

use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use conclave_pki::{Kind, TlsMaterial, api_server_config, peer_server_config};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{mpsc, watch};
use tracing::info;

pub use config::{Config, ConfigError, LogFormat};
pub use echo::echo;
pub use error::StartError;
pub use folder::FolderError;

use crate::node::{ApiApp, Attachments, Node, PeerApp};

/// Runs a node until it is told to stop (SIGTERM, SIGINT). It drains first; told again, it stops at
/// once.
///
/// # Errors
/// If the configuration, the certificates, the data folder or a port cannot be used. Nothing is
/// bound before all of the configuration holds.
pub async fn run(path: &Path) -> Result<(), StartError> {
    let config = Config::load(path)?;
    start_logging(&config);
    let material = TlsMaterial::load(&config.tls, &[Kind::Node], SystemTime::now())?;
    let cluster = material.identity().cluster().clone();
    let api_tls = api_server_config(&material, &cluster)?;
    let peer_tls = peer_server_config(&material, &cluster)?;
    let api_listener = bind(config.api.listen).await?;
    let peer_listener = bind(config.peer.listen).await?;
    let mut terminate = signal(SignalKind::terminate()).map_err(StartError::Signals)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(StartError::Signals)?;

    let attachments = Attachments { peer_router: peer::router, keeper: keeper::start };
    let (stop, stopped) = watch::channel(false);
    let (failed, mut failure) = mpsc::channel(1);
    let node = Node::start(config, material, attachments, stopped.clone(), failed).await?;
    info!(name = node.name, api = %node.config.api.listen, peer = %node.config.peer.listen, "serving");
    let api = tokio::spawn(listener::serve(
        api_listener,
        api_tls,
        Arc::new(ApiApp(api::router(&node))),
        Arc::clone(&node.api_counters),
        stopped.clone(),
    ));
    let peers = tokio::spawn(listener::serve(
        peer_listener,
        peer_tls,
        Arc::new(PeerApp(Arc::clone(&node))),
        Arc::clone(&node.peer_counters),
        stopped,
    ));
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
    node.shutdown().await;
    let _ = tokio::join!(api, peers);
    ended
}

async fn bind(address: std::net::SocketAddr) -> Result<TcpListener, StartError> {
    TcpListener::bind(address).await.map_err(|source| StartError::Bind { address, source })
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
