//! Channels to other nodes: mutual TLS, and the certificate must name the node that was meant.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use conclave_pki::{ClusterName, ExpectedPeer, NodeName, peer_client_config, peer_server_name};
use conclave_replica::PeerDialer;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tonic::transport::{Channel, Endpoint, Uri};

use crate::certificates::Certificates;

/// A connection that takes longer counts as unreachable.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// Pings find a peer that is gone.
const PING_EVERY: Duration = Duration::from_secs(2);

/// Dials the peer listeners of other nodes.
#[derive(Clone)]
pub(crate) struct Dialer {
    certificates: Arc<Certificates>,
    cluster: ClusterName,
}

impl Dialer {
    pub(crate) fn new(certificates: Arc<Certificates>, cluster: ClusterName) -> Self {
        Self { certificates, cluster }
    }

    /// A channel to the node of that name, connected when it is first used. Each of its connections
    /// is made with the certificates in force then.
    pub(crate) fn channel(&self, name: &str, addr: &str) -> io::Result<Channel> {
        let name: NodeName = name.parse().map_err(invalid)?;
        // The scheme is http for tonic, which would otherwise bring TLS of its own.
        let endpoint = Endpoint::from_shared(format!("http://{addr}"))
            .map_err(invalid)?
            .connect_timeout(CONNECT_TIMEOUT)
            .initial_connection_window_size(8 * 1024 * 1024)
            .initial_stream_window_size(4 * 1024 * 1024)
            .http2_keep_alive_interval(PING_EVERY)
            .keep_alive_timeout(PING_EVERY)
            .keep_alive_while_idle(true);
        let (addr, dialer) = (addr.to_owned(), self.clone());
        Ok(endpoint.connect_with_connector_lazy(tower::service_fn(move |_: Uri| {
            let (addr, dialer, name) = (addr.clone(), dialer.clone(), name.clone());
            async move {
                let stream = TcpStream::connect(&addr).await?;
                stream.set_nodelay(true)?;
                let in_force = dialer.certificates.in_force();
                let expected = ExpectedPeer::Named(name);
                let tls = peer_client_config(&in_force.material, &dialer.cluster, expected)
                    .map_err(invalid)?;
                let stream = TlsConnector::from(tls).connect(peer_server_name(), stream).await?;
                Ok::<_, io::Error>(TokioIo::new(stream))
            }
        })))
    }
}

fn invalid(error: impl std::error::Error + Send + Sync + 'static) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, error)
}

impl PeerDialer for Dialer {
    fn dial(&self, name: &str, addr: &str) -> Channel {
        // Names and addresses come from checked records; one that cannot be dialled is a node
        // that cannot be reached.
        self.channel(name, addr).unwrap_or_else(|error| {
            tracing::error!(name, addr, %error, "a member cannot be dialled");
            Endpoint::from_static("http://0.0.0.0:0").connect_lazy()
        })
    }
}
