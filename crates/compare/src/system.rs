//! What each system's client does, behind one face.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use clap::ValueEnum;
use conclave_client::{Client, ClientConfig, Endpoint};
use conclave_pki::{Kind, TlsFiles, TlsMaterial, api_client_config};
use conclave_proto::v1;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::ClientConfig as TlsConfig;
use tokio_rustls::rustls::pki_types::ServerName;

use crate::{Failure, etcd, openbao};

/// Bytes of plaintext, and of etcd's values.
pub(crate) const PAYLOAD_BYTES: usize = 1024;
/// One attempt under load, connecting included: nobody is cut short for being slow.
pub(crate) const ATTEMPT_OF_LOAD: Duration = Duration::from_secs(10);
/// One attempt after a kill. As long as our own client library gives a node that hangs.
pub(crate) const ATTEMPT_AFTER_KILL: Duration = Duration::from_secs(1);

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum System {
    Conclave,
    Openbao,
    Etcd,
}

/// What a client does over and over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Op {
    /// Encrypt 1 KiB under one key. Not for etcd.
    Encrypt,
    /// A write that the quorum makes durable: a new key; for etcd a value of 1 KiB under a new name.
    Write,
}

/// How the system is reached.
pub(crate) struct Reach {
    system: System,
    endpoints: Vec<String>,
    material: TlsMaterial,
    tls: Arc<TlsConfig>,
    token: String,
    attempt: Duration,
    /// Conclave's key to encrypt with, once made.
    key: tokio::sync::OnceCell<String>,
    /// So that no two writes of a run have one name.
    names: AtomicU64,
}

impl Reach {
    pub(crate) fn new(
        system: System,
        endpoints: Vec<String>,
        folder: &Path,
        token: String,
        attempt: Duration,
    ) -> Result<Self, Failure> {
        let files = TlsFiles {
            ca: folder.join("ca.pem"),
            cert: folder.join("client.pem"),
            key: folder.join("client.key"),
        };
        let material = TlsMaterial::load(&files, &[Kind::Client], SystemTime::now())?;
        let mut tls = TlsConfig::clone(&*api_client_config(&material)?);
        tls.alpn_protocols = match system {
            System::Openbao => vec![b"http/1.1".to_vec()],
            System::Conclave | System::Etcd => vec![b"h2".to_vec()],
        };
        let (tls, key) = (Arc::new(tls), tokio::sync::OnceCell::new());
        // Runs follow one another on one cluster.
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?;
        let names = AtomicU64::new(u64::try_from(since.as_micros())? << 8);
        Ok(Self { system, endpoints, material, tls, token, attempt, key, names })
    }

    pub(crate) fn name(&self) -> String {
        format!("{:020x}", self.names.fetch_add(1, Ordering::Relaxed))
    }

    pub(crate) fn attempt(&self) -> Duration {
        self.attempt
    }

    pub(crate) fn token(&self) -> &str {
        &self.token
    }

    /// TCP and TLS to the endpoint that `attempt` comes to.
    pub(crate) async fn connect(&self, attempt: usize) -> Result<TlsStream<TcpStream>, Failure> {
        let (address, host) = self.address(attempt)?;
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        let name = ServerName::try_from(host.to_owned())?;
        Ok(TlsConnector::from(Arc::clone(&self.tls)).connect(name, stream).await?)
    }

    fn address(&self, attempt: usize) -> Result<(&str, &str), Failure> {
        let address = &self.endpoints[attempt % self.endpoints.len()];
        let (host, _) = address.rsplit_once(':').ok_or("an endpoint is host:port")?;
        Ok((address, host))
    }

    /// The `number`-th client, which begins at another node than its neighbours.
    pub(crate) async fn client(self: &Arc<Self>, number: usize) -> Result<AnyClient, Failure> {
        Ok(match self.system {
            System::Conclave => {
                let mut endpoints = self
                    .endpoints
                    .iter()
                    .map(|e| e.parse())
                    .collect::<Result<Vec<Endpoint>, _>>()?;
                let shift = number % endpoints.len();
                endpoints.rotate_left(shift);
                let (tls, timeout) = (self.material.clone(), Duration::from_secs(30));
                let client = Client::new(ClientConfig { endpoints, tls, timeout })?;
                let make = || async {
                    let made = client.create_key(v1::CreateKeyRequest::default()).await?;
                    Ok::<_, Failure>(made.value.key_metadata.unwrap_or_default().key_id)
                };
                let key = self.key.get_or_try_init(make).await?.clone();
                AnyClient::Conclave(client, key)
            }
            System::Openbao => AnyClient::Openbao(openbao::Client::new(Arc::clone(self), number)),
            System::Etcd => AnyClient::Etcd(etcd::Client::new(Arc::clone(self), number)),
        })
    }
}

pub(crate) enum AnyClient {
    Conclave(Client, String),
    Openbao(openbao::Client),
    Etcd(etcd::Client),
}

impl AnyClient {
    /// One operation, answered or failed.
    pub(crate) async fn once(&mut self, op: Op) -> Result<(), Failure> {
        match self {
            Self::Conclave(client, key) => match op {
                Op::Encrypt => {
                    let plaintext = vec![b'x'; PAYLOAD_BYTES];
                    let request =
                        v1::EncryptRequest { key_id: key.clone(), plaintext, ..Default::default() };
                    client.encrypt(request).await?;
                }
                Op::Write => {
                    client.create_key(v1::CreateKeyRequest::default()).await?;
                }
            },
            Self::Openbao(client) => client.once(op).await?,
            Self::Etcd(client) => client.once(op).await?,
        }
        Ok(())
    }
}
