//! The four TLS configurations: the API's two sides and the peers' two sides.
//!
//! TLS 1.3 alone, aws-lc-rs, the post-quantum hybrid X25519MLKEM768 first, no early data. No
//! session is ever resumed: a resumed one would skip the certificate checks, and so outlive an
//! expiry or a reload.

use std::sync::Arc;

use rustls::{
    ClientConfig, ServerConfig,
    client::{Resumption, VerifierBuilderError, WebPkiServerVerifier},
    server::{NoServerSessionStorage, WebPkiClientVerifier},
    sign::SingleCertAndKey,
    version::TLS13,
};
use rustls_pki_types::{DnsName, ServerName};
use thiserror::Error;

use crate::{
    identity::{Identity, Kind},
    material::TlsMaterial,
    name::ClusterName,
    provider::provider,
    verify::{ClientVerifier, ExpectedPeer, HostCheck, Rule, ServerVerifier, Who},
};

const H2: &[u8] = b"h2";
const HTTP_1_1: &[u8] = b"http/1.1";

/// The API's listener: lets in clients and nodes of `cluster`, over HTTP/2 and HTTP/1.1.
///
/// # Errors
/// If this side's own certificate is not of a node of `cluster`.
pub fn api_server_config(
    material: &TlsMaterial,
    cluster: &ClusterName,
) -> Result<Arc<ServerConfig>, ConfigError> {
    server_config(material, cluster, Who::ClientOrNode, &[H2, HTTP_1_1])
}

/// The peers' listener: lets in nodes of `cluster` alone, over HTTP/2.
///
/// # Errors
/// As [`api_server_config`].
pub fn peer_server_config(
    material: &TlsMaterial,
    cluster: &ClusterName,
) -> Result<Arc<ServerConfig>, ConfigError> {
    server_config(material, cluster, Who::Node(ExpectedPeer::AnyNode), &[H2])
}

/// Dials a peer: the certificate must be of a node of `cluster`, the expected one, whatever the
/// address. Dial with [`peer_server_name`].
///
/// # Errors
/// As [`api_server_config`].
pub fn peer_client_config(
    material: &TlsMaterial,
    cluster: &ClusterName,
    expected: ExpectedPeer,
) -> Result<Arc<ClientConfig>, ConfigError> {
    check_own(material, cluster)?;
    let host = HostCheck::None { roots: material.roots.clone(), provider: provider() };
    let mut config =
        client_config(material, host, Rule { cluster: cluster.clone(), who: Who::Node(expected) })?;
    // The name that is dialled says nothing, so it is not sent either.
    config.enable_sni = false;
    Ok(Arc::new(config))
}

/// Dials the API: the certificate must be for the host dialled, and of a node of the cluster that
/// this side's own certificate is of.
///
/// # Errors
/// If the configuration cannot be built from the authorities of `material`.
pub fn api_client_config(material: &TlsMaterial) -> Result<Arc<ClientConfig>, ConfigError> {
    let cluster = material.identity().cluster().clone();
    let rule = Rule { cluster, who: Who::Node(ExpectedPeer::AnyNode) };
    Ok(Arc::new(client_config(material, HostCheck::Dialled, rule)?))
}

/// What to give to TLS as the server's name when dialling a peer: it is neither sent nor compared.
pub fn peer_server_name() -> ServerName<'static> {
    const NAME: &str = "peer.conclave.invalid";
    ServerName::DnsName(DnsName::try_from(NAME).expect("the constant is a DNS name"))
}

/// Why a configuration cannot be built.
#[derive(Debug, Error)]
pub enum ConfigError {
    /// This side's own certificate is of another cluster.
    #[error(
        "this node's certificate is {own}, but the cluster is configured as {cluster}; \
         correct the cluster's name, or issue a certificate with {cluster}'s authority"
    )]
    Cluster {
        /// Whom it names.
        own: Identity,
        /// The configured cluster.
        cluster: ClusterName,
    },
    /// This side's own certificate is a client's.
    #[error("{own} is no node; issue a certificate with `conclave pki issue node NAME`")]
    NotNode {
        /// Whom it names.
        own: Identity,
    },
    /// rustls refused the authorities.
    #[error("the CA file cannot be used ({0}); give the cluster's CA file")]
    Authorities(#[from] VerifierBuilderError),
    /// rustls refused the protocol version.
    #[error("TLS cannot be set up: {0}; this build lacks an algorithm, use a released one")]
    Tls(#[from] rustls::Error),
}

fn check_own(material: &TlsMaterial, cluster: &ClusterName) -> Result<(), ConfigError> {
    let own = material.identity();
    if own.cluster() != cluster {
        return Err(ConfigError::Cluster { own: own.clone(), cluster: cluster.clone() });
    }
    if own.kind() != Kind::Node {
        return Err(ConfigError::NotNode { own: own.clone() });
    }
    Ok(())
}

fn server_config(
    material: &TlsMaterial,
    cluster: &ClusterName,
    who: Who,
    protocols: &[&[u8]],
) -> Result<Arc<ServerConfig>, ConfigError> {
    check_own(material, cluster)?;
    let chain =
        WebPkiClientVerifier::builder_with_provider(material.roots.clone(), provider()).build()?;
    let verifier = ClientVerifier { chain, rule: Rule { cluster: cluster.clone(), who } };
    let mut config = ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&TLS13])?
        .with_client_cert_verifier(Arc::new(verifier))
        .with_cert_resolver(Arc::new(SingleCertAndKey::from(material.own.clone())));
    config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    config.max_early_data_size = 0;
    Ok(Arc::new(config))
}

fn client_config(
    material: &TlsMaterial,
    host: HostCheck,
    rule: Rule,
) -> Result<ClientConfig, ConfigError> {
    let chain =
        WebPkiServerVerifier::builder_with_provider(material.roots.clone(), provider()).build()?;
    let mut config = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&TLS13])?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(ServerVerifier { chain, host, rule }))
        .with_client_cert_resolver(Arc::new(SingleCertAndKey::from(material.own.clone())));
    config.alpn_protocols = vec![H2.to_vec()];
    config.resumption = Resumption::disabled();
    config.enable_early_data = false;
    Ok(config)
}
