//! Why a node does not start, or ends.

use crate::config::ConfigError;
use crate::folder::FolderError;

/// Why a node did not start, or ended.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The configuration.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The certificate, key or authority.
    #[error(transparent)]
    Material(#[from] conclave_pki::MaterialError),
    /// They do not make a TLS configuration.
    #[error(transparent)]
    Tls(#[from] conclave_pki::ConfigError),
    /// The data folder.
    #[error(transparent)]
    Folder(#[from] FolderError),
    /// The log, the snapshot, the audit segments or the index.
    #[error(transparent)]
    Replica(#[from] conclave_replica::StartError),
    /// A wrapped share.
    #[error("a wrapped share in the data folder is damaged: {0}")]
    Share(#[from] conclave_seal::wrapped::WrappedShareError),
    /// A port.
    #[error("cannot listen on {address}: {source}")]
    Bind {
        /// Which one.
        address: std::net::SocketAddr,
        /// What the system said.
        source: std::io::Error,
    },
    /// The replica stopped by itself.
    #[error("the replica stopped: {reason}")]
    Stopped {
        /// What it said.
        reason: String,
    },
    /// The system refused signals.
    #[error("cannot wait for signals: {0}")]
    Signals(#[source] std::io::Error),
}
