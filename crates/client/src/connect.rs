//! Reaching one node: TCP without delay, then mutual TLS, all within one time limit.
//!
//! Whatever fails here failed before a byte of a request was sent, which is why these errors have
//! a type of their own: the retry loop looks for it.

use std::{
    io,
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};

use http::Uri;
use hyper_util::rt::TokioIo;
use thiserror::Error;
use tokio::net::TcpStream;
use tokio_rustls::{
    TlsConnector,
    client::TlsStream,
    rustls::{self, ClientConfig, pki_types::ServerName},
};
use tonic::transport::{Channel, Endpoint as Target};
use tower::service_fn;

use crate::{endpoint::Endpoint, error::ClientError};

/// TCP and TLS together.
pub(crate) const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

/// A connection that says nothing for this long while an answer is due is asked whether it still
/// lives ...
const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(1);

/// ... and is given up after this long without an answer. A node that is merely slow answers this
/// at once; one that hangs does not, and its requests go elsewhere.
const KEEP_ALIVE_TIMEOUT: Duration = Duration::from_secs(2);

/// What new connections are made with. It can be replaced; connections that are open go on.
#[derive(Clone)]
pub(crate) struct Tls(Arc<RwLock<Arc<ClientConfig>>>);

impl Tls {
    pub(crate) fn new(config: Arc<ClientConfig>) -> Self {
        Self(Arc::new(RwLock::new(config)))
    }

    pub(crate) fn replace(&self, config: Arc<ClientConfig>) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = config;
    }

    fn connector(&self) -> TlsConnector {
        TlsConnector::from(Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner)))
    }
}

/// A channel that connects when it is first used, and again after it was cut.
pub(crate) fn channel(endpoint: &Endpoint, tls: &Tls) -> Result<Channel, ClientError> {
    let unusable = || ClientError::Endpoint(endpoint.clone());
    // TLS is ours, so tonic is not told of it; requests name https all the same.
    let dialled = endpoint.uri("http").map_err(|_| unusable())?;
    let origin = endpoint.uri("https").map_err(|_| unusable())?;
    let target = Target::new(dialled)
        .map_err(|_| unusable())?
        .origin(origin)
        .http2_keep_alive_interval(KEEP_ALIVE_INTERVAL)
        .keep_alive_timeout(KEEP_ALIVE_TIMEOUT);
    let server_name = ServerName::try_from(endpoint.host().to_owned()).map_err(|_| unusable())?;
    let tls = tls.clone();
    let endpoint = endpoint.clone();
    Ok(target.connect_with_connector_lazy(service_fn(move |_: Uri| {
        let (endpoint, name, connector) = (endpoint.clone(), server_name.clone(), tls.connector());
        async move { connect(&endpoint, name, &connector).await.map(TokioIo::new) }
    })))
}

/// Why a node could not be reached; no request was sent.
#[derive(Debug, Error)]
pub enum ConnectError {
    /// No TCP connection.
    #[error("cannot connect ({0}); check that the node runs and that its address is right")]
    Tcp(#[source] io::Error),
    /// The two sides do not accept one another.
    #[error("TLS was refused: {0}")]
    Tls(String),
    /// TCP and TLS took too long.
    #[error("no connection within {} s; check the network and that the node runs", CONNECT_TIMEOUT.as_secs())]
    Timeout,
}

async fn connect(
    endpoint: &Endpoint,
    name: ServerName<'static>,
    connector: &TlsConnector,
) -> Result<TlsStream<TcpStream>, ConnectError> {
    let connecting = async {
        let stream = TcpStream::connect((endpoint.host(), endpoint.port()))
            .await
            .map_err(ConnectError::Tcp)?;
        stream.set_nodelay(true).map_err(ConnectError::Tcp)?;
        connector.connect(name, stream).await.map_err(tls_error)
    };
    tokio::time::timeout(CONNECT_TIMEOUT, connecting).await.unwrap_or(Err(ConnectError::Timeout))
}

/// A handshake that breaks off is the network's doing; one that fails is the certificates'.
fn tls_error(error: io::Error) -> ConnectError {
    let refused = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
    match refused {
        Some(refused) => ConnectError::Tls(conclave_pki::explain(refused)),
        None => ConnectError::Tcp(error),
    }
}
