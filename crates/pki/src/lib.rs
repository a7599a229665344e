//! Certificates, the identities in them, and the TLS configurations built from them.
//!
//! A certificate names exactly one client or node of one cluster, in its URI SAN:
//! `spiffe://<cluster>/client/<name>` or `spiffe://<cluster>/node/<name>`. [`Authority`] issues
//! them, [`Identity`] reads them, [`TlsMaterial`] loads them, and the four configurations
//! ([`api_server_config`], [`peer_server_config`], [`api_client_config`], [`peer_client_config`])
//! refuse the wrong kind or the wrong cluster inside the handshake, so that nobody uninvited
//! reaches a line of our own code.
//!
//! What it does not do: it opens no sockets, knows no members (a removed node still has a valid
//! certificate, the peer listener refuses it by name) and checks no revocation lists. The clock is
//! an argument wherever certificates are made or loaded; only the handshake itself reads the
//! system's.

mod bundle;
mod config;
mod dates;
mod files;
mod identity;
mod inspect;
mod issue;
mod material;
mod name;
mod provider;
mod verify;

pub use bundle::{BundleError, bundle_authorities};
pub use config::{
    ConfigError, api_client_config, api_server_config, peer_client_config, peer_server_config,
    peer_server_name,
};
pub use files::{FileError, write_private, write_public};
pub use identity::{Identity, IdentityError, Kind, peer_identity};
pub use inspect::{CertificateSummary, InspectError, inspect};
pub use issue::{Authority, DAYS_MAX, HOSTS_MAX, IssueError, Issued, PrivateKeyPem, new_authority};
pub use material::{MaterialError, Part, TlsFiles, TlsMaterial, TlsPem};
pub use name::{ClusterName, NameError, NodeName, PrincipalName};
pub use verify::{ExpectedPeer, Refusal, explain};
