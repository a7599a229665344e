//! Speaking TLS to a node with certificates that the command line would not take, and reading what
//! the node counts.

#![allow(dead_code, clippy::missing_panics_doc, reason = "each test uses its part")]

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use conclave_pki::{Authority, new_authority};
use rcgen::{CertificateParams, ExtendedKeyUsagePurpose, Issuer, KeyPair, SanType};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::crypto::aws_lc_rs::default_provider;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio_rustls::rustls::version::TLS13;
use tokio_rustls::rustls::{AlertDescription, ClientConfig, Error, RootCertStore};

/// Ends a wait that would never end.
pub const LONG: Duration = Duration::from_secs(20);

const DAY: Duration = Duration::from_secs(86_400);

/// A certificate chain and its key, of whatever authority.
#[derive(Clone)]
pub struct Certificate {
    pub cert_pem: String,
    pub key_pem: String,
}

impl Certificate {
    pub fn load(folder: &Path, name: &str) -> Self {
        Self {
            cert_pem: fs::read_to_string(folder.join(format!("{name}.pem"))).unwrap(),
            key_pem: fs::read_to_string(folder.join(format!("{name}.key"))).unwrap(),
        }
    }
}

/// An authority that signs anything, unlike `conclave pki`.
pub struct Ca {
    pub cert_pem: String,
    pub key_pem: String,
}

impl Ca {
    pub fn of(pki: &Path) -> Self {
        let Certificate { cert_pem, key_pem } = Certificate::load(pki, "ca");
        Authority::load(&cert_pem, &key_pem).unwrap();
        Self { cert_pem, key_pem }
    }

    /// Another authority, of the same name.
    pub fn new(cluster: &str) -> Self {
        let now = std::time::SystemTime::now();
        let issued = new_authority(&cluster.parse().unwrap(), 30, now).unwrap();
        Self {
            cert_pem: issued.certificate_pem.clone(),
            key_pem: issued.key_pem.expose().to_owned(),
        }
    }

    /// For both sides of TLS, so that it is the name that is looked at.
    pub fn issue(&self, uri: &str) -> Certificate {
        let now = SystemTime::now();
        self.issue_for(uri, now - DAY, now + DAY)
    }

    /// The same, valid from one time to another.
    pub fn issue_for(&self, uri: &str, from: SystemTime, to: SystemTime) -> Certificate {
        let ca_key = KeyPair::from_pem(&self.key_pem).unwrap();
        let issuer = Issuer::from_ca_cert_pem(&self.cert_pem, ca_key).unwrap();
        let mut params = CertificateParams::new(["127.0.0.1".to_owned()]).unwrap();
        params.subject_alt_names.push(SanType::URI(uri.try_into().unwrap()));
        params.not_before = from.into();
        params.not_after = to.into();
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &issuer).unwrap();
        Certificate { cert_pem: certificate.pem(), key_pem: key.serialize_pem() }
    }
}

pub const HTTP_1: &[u8] = b"GET /healthz HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";
/// The connection preface and an empty SETTINGS frame: a server answers with its own.
pub const HTTP_2: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";

pub fn http_1(path: &str) -> Vec<u8> {
    format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").into_bytes()
}

pub fn tls(certificate: Option<&Certificate>, ca: &Ca, protocol: &[u8]) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    for authority in CertificateDer::pem_slice_iter(ca.cert_pem.as_bytes()) {
        roots.add(authority.unwrap()).unwrap();
    }
    let config = ClientConfig::builder_with_provider(Arc::new(default_provider()))
        .with_protocol_versions(&[&TLS13])
        .unwrap()
        .with_root_certificates(roots);
    let mut config = match certificate {
        None => config.with_no_client_auth(),
        Some(Certificate { cert_pem, key_pem }) => config
            .with_client_auth_cert(
                vec![CertificateDer::from_pem_slice(cert_pem.as_bytes()).unwrap()],
                PrivateKeyDer::from_pem_slice(key_pem.as_bytes()).unwrap(),
            )
            .unwrap(),
    };
    config.alpn_protocols = vec![protocol.to_vec()];
    Arc::new(config)
}

pub async fn connect(
    address: &str,
    certificate: Option<&Certificate>,
    ca: &Ca,
    request: &[u8],
) -> std::io::Result<TlsStream<TcpStream>> {
    let protocol: &[u8] = if request.starts_with(b"PRI") { b"h2" } else { b"http/1.1" };
    let stream = TcpStream::connect(address).await.unwrap();
    shake_hands(stream, tls(certificate, ca, protocol)).await
}

pub async fn shake_hands(
    stream: TcpStream,
    config: Arc<ClientConfig>,
) -> std::io::Result<TlsStream<TcpStream>> {
    let name = ServerName::try_from("127.0.0.1").unwrap();
    let shaking = TlsConnector::from(config).connect(name, stream);
    timeout(LONG, shaking).await.expect("a handshake that ends")
}

/// A connection from another of this machine's own addresses, 127.0.0.N.
pub async fn tcp_from(host: u8, address: &str) -> std::io::Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    socket.bind(SocketAddr::from(([127, 0, 0, host], 0)))?;
    socket.connect(address.parse().unwrap()).await
}

/// Shakes hands, asks, and gives the first bytes of the answer.
pub async fn attempt(
    address: &str,
    certificate: Option<&Certificate>,
    ca: &Ca,
    request: &[u8],
) -> std::io::Result<Vec<u8>> {
    let mut stream = connect(address, certificate, ca, request).await?;
    stream.write_all(request).await?;
    stream.flush().await?;
    let mut answer = vec![0; 64 * 1024];
    let bytes = timeout(LONG, stream.read(&mut answer)).await.expect("an answer or an end")?;
    answer.truncate(bytes);
    Ok(answer)
}

/// Is told so by a TLS alert if it waits, and gets no byte of an answer if it does not.
pub async fn refused(
    address: &str,
    certificate: Option<&Certificate>,
    ca: &Ca,
    who: &str,
    request: &[u8],
) {
    let mut told = connect(address, certificate, ca, request).await;
    if let Ok(stream) = &mut told {
        // The handshake of TLS 1.3 is over for a client before its certificate has been looked at.
        let read = timeout(LONG, stream.read(&mut [0; 1024])).await;
        let read = read.unwrap_or_else(|_| panic!("{who}: let in at {address}"));
        match read {
            Ok(bytes) => panic!("{who}: {bytes} bytes from {address}"),
            Err(error) => told = Err(error),
        }
    }
    let error = told.map(drop).unwrap_err();
    let alert = error.get_ref().and_then(|inner| inner.downcast_ref::<Error>());
    let expected = [
        AlertDescription::CertificateRequired,
        AlertDescription::UnknownCA,
        AlertDescription::AccessDenied,
        AlertDescription::BadCertificate,
        AlertDescription::CertificateUnknown,
        AlertDescription::DecryptError,
        AlertDescription::CertificateExpired,
    ];
    assert!(
        matches!(alert, Some(Error::AlertReceived(alert)) if expected.contains(alert)),
        "{who} at {address}: {error:?}"
    );

    match attempt(address, certificate, ca, request).await {
        Err(_) => {}
        Ok(answer) => assert!(answer.is_empty(), "{who} got an answer: {answer:?}"),
    }
}

pub async fn get(
    address: &str,
    certificate: Option<&Certificate>,
    ca: &Ca,
    path: &str,
) -> std::io::Result<String> {
    let request = http_1(path);
    let mut stream = connect(address, certificate, ca, &request).await?;
    stream.write_all(&request).await?;
    let mut answer = Vec::new();
    timeout(LONG, stream.read_to_end(&mut answer)).await.expect("an answer that ends")?;
    Ok(String::from_utf8(answer).unwrap())
}

/// gRPC with a certificate that the command line would not take.
pub fn channel(address: &str, certificate: &Certificate, ca: &Ca) -> tonic::transport::Channel {
    let connector = TlsConnector::from(tls(Some(certificate), ca, b"h2"));
    let address = address.to_owned();
    tonic::transport::Endpoint::from_shared(format!("http://{address}"))
        .unwrap()
        .connect_with_connector_lazy(tower::service_fn(move |_: http::Uri| {
            let (address, connector) = (address.clone(), connector.clone());
            async move {
                let stream = TcpStream::connect(&address).await?;
                stream.set_nodelay(true)?;
                let name = ServerName::try_from("127.0.0.1").unwrap();
                connector.connect(name, stream).await.map(hyper_util::rt::TokioIo::new)
            }
        }))
}

/// What the node counts, by the name that Prometheus sees.
pub struct Metrics(String);

impl Metrics {
    pub async fn read(address: &str, certificate: &Certificate, ca: &Ca) -> Self {
        Self(get(address, Some(certificate), ca, "/metrics").await.unwrap())
    }

    pub fn value(&self, name: &str) -> u64 {
        let line = self.0.lines().find_map(|line| line.strip_prefix(&format!("{name} ")));
        line.unwrap_or_else(|| panic!("no {name} in {}", self.0)).trim().parse().unwrap()
    }
}
