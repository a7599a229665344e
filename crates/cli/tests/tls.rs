//! P9, nobody uninvited: who gets through to a running node, and what its roles let them do.

#![allow(clippy::unwrap_used, unreachable_pub, reason = "a test fails where this does")]

mod harness;

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use conclave_pki::{Authority, new_authority};
use harness::{Cluster, json, run, run_with_input};
use rcgen::{CertificateParams, ExtendedKeyUsagePurpose, Issuer, KeyPair, SanType};
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::crypto::aws_lc_rs::default_provider;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio_rustls::rustls::version::TLS13;
use tokio_rustls::rustls::{AlertDescription, ClientConfig, Error, RootCertStore};

/// Ends a wait that would never end.
const LONG: Duration = Duration::from_secs(20);

#[tokio::test(flavor = "multi_thread")]
async fn nobody_uninvited_reaches_a_request() {
    // Alone, so that no other node calls its peer listener.
    let cluster = Cluster::start(1);
    let node = cluster.nodes[0].clone();
    let invited = Certificate::load(&cluster.pki(), "auditor");
    let n1 = Certificate::load(node.config.parent().unwrap(), "node");
    let ca = Ca::of(&cluster.pki());
    let elsewhere = Ca::new("dev");

    let uninvited = |kind: &'static str| {
        [
            ("no certificate", None),
            ("another authority's", Some(elsewhere.issue(&format!("spiffe://dev/{kind}/n1")))),
            ("of another cluster", Some(ca.issue(&format!("spiffe://other/{kind}/n1")))),
            ("without a name of ours", Some(ca.issue("https://dev.example/n1"))),
        ]
    };
    let before = Metrics::read(&node.api, &invited, &ca).await;
    let mut at_api = Vec::from(uninvited("client"));
    at_api.extend(uninvited("node").into_iter().skip(1));
    for (who, certificate) in &at_api {
        refused(&node.api, certificate.as_ref(), &ca, who, HTTP_1).await;
    }
    let mut at_peer = Vec::from(uninvited("node"));
    at_peer.push(("a client's", Some(invited.clone())));
    at_peer.push(("an issued node's name, as a client", Some(ca.issue("spiffe://dev/client/n1"))));
    for (who, certificate) in &at_peer {
        refused(&node.peer, certificate.as_ref(), &ca, who, HTTP_2).await;
    }
    let after = Metrics::read(&node.api, &invited, &ca).await;

    // Each was tried twice, failed in the handshake, and not one request was read.
    assert_eq!(after.api_failures - before.api_failures, 2 * at_api.len() as u64);
    assert_eq!(after.peer_failures - before.peer_failures, 2 * at_peer.len() as u64);
    assert_eq!(after.api_requests - before.api_requests, 1, "only the second look at the metrics");
    assert_eq!(after.peer_requests, before.peer_requests);

    // The very same attempts with the right certificates are answered, and counted.
    for path in ["/healthz", "/readyz", "/metrics"] {
        let answer = get(&node.api, Some(&invited), &ca, path).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 200"), "{path}: {answer}");
        refused(&node.api, None, &ca, "no certificate", &http_1(path)).await;
    }
    assert!(attempt(&node.peer, Some(&n1), &ca, HTTP_2).await.unwrap().starts_with(b"\0\0"));
    let last = Metrics::read(&node.api, &invited, &ca).await;
    assert_eq!(last.api_requests - after.api_requests, 4);
}

#[test]
fn a_nodes_certificate_is_no_principals() {
    let cluster = Cluster::start(1);
    let key = json(cluster.cli().args(["--output", "json", "key", "create"])).unwrap();
    let key = key["key_id"].as_str().unwrap();
    // A node that has the name of a principal with every role.
    let folder = cluster.dir.path().join("as-node");
    run(cluster
        .cli()
        .args(["pki", "issue", "node", "dev", "--host", "127.0.0.1", "--days", "2", "--dir"])
        .arg(cluster.pki())
        .arg("--out")
        .arg(&folder));
    let certificate = Certificate::load(&folder, "dev");
    let endpoint = cluster.nodes[0].api.clone();
    let ca = Ca::of(&cluster.pki());
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let (before, after) = runtime.block_on(async {
        let encrypt = conclave_proto::v1::EncryptRequest {
            key: key.to_owned(),
            plaintext: vec![1],
            context: Vec::new(),
        };
        let audit = conclave_proto::v1::ListAuditRequest::default();
        let channel = |certificate: &Certificate| channel(&endpoint, certificate, &ca);
        let dev = Certificate::load(&cluster.pki(), "dev");
        let mut good = conclave_proto::v1::kms_client::KmsClient::new(channel(&dev));
        good.encrypt(encrypt.clone()).await.unwrap();
        let mut kms = conclave_proto::v1::kms_client::KmsClient::new(channel(&certificate));
        let kms = kms.encrypt(encrypt).await.map(|_| ()).unwrap_err();
        let mut log = conclave_proto::v1::audit_client::AuditClient::new(channel(&certificate));
        let log = log.list(audit).await.map(|_| ()).unwrap_err();
        (kms, log)
    });
    for status in [before, after] {
        assert_eq!(status.code(), tonic::Code::PermissionDenied, "{status:?}");
        assert!(status.message().contains("node"), "{status:?}");
    }
}

#[test]
fn an_operator_or_administrator_decrypts_nothing() {
    let cluster = Cluster::start(3);
    let key = json(cluster.cli().args(["--output", "json", "key", "create"])).unwrap();
    let (key, arn) = (key["key_id"].as_str().unwrap(), key["arn"].as_str().unwrap());
    let ciphertext = cluster.dir.path().join("ciphertext");
    let plaintext = b"for users of keys alone";
    let mut encrypt = cluster.cli_as("key-user");
    encrypt.args(["encrypt", "--key", key, "--out"]).arg(&ciphertext);
    assert!(run_with_input(&mut encrypt, plaintext).status.success());
    let ciphertext = ciphertext.to_str().unwrap();

    let uses: [(&str, &[&str]); 6] = [
        ("Decrypt", &["decrypt", "--in", ciphertext]),
        ("Encrypt", &["encrypt", "--key", key, "--in", ciphertext]),
        ("ReEncrypt", &["re-encrypt", "--to", key, "--in", ciphertext]),
        ("GenerateDataKey", &["data-key", "--key", key]),
        ("GenerateDataKeyWithoutPlaintext", &["data-key", "--key", key, "--without-plaintext"]),
        ("GenerateRandom", &["random", "--bytes", "32"]),
    ];
    for role in ["operator", "key-administrator"] {
        for node in &cluster.nodes {
            for (action, command) in uses {
                let request = format!("{role}.{}.{action}", node.id);
                let output = cluster
                    .cli_as(role)
                    .env("CONCLAVE_ENDPOINTS", format!("https://{}", node.api))
                    .args(["--output", "json", "--request-id", &request])
                    .args(command)
                    .output()
                    .unwrap();
                denied(&output, &request);
            }
        }
        // Every one of them stands in the log, with who was denied what, on what, and where.
        let entries = entries(&cluster, &["--principal", role, "--outcome", "denied"]);
        for node in &cluster.nodes {
            for (action, _) in uses {
                let request = format!("{role}.{}.{action}", node.id);
                let found: Vec<&Value> =
                    entries.iter().filter(|entry| entry["request_id"] == *request).collect();
                let [entry] = found[..] else { panic!("{request}: {found:?}") };
                assert_eq!(
                    (&entry["action"], &entry["node"]),
                    (&action.into(), &node.id.clone().into())
                );
                assert_eq!(entry["outcome"], "denied");
                if action.starts_with("Encrypt") {
                    assert_eq!(entry["resources"][0], arn);
                }
            }
        }
    }

    // Nor does anybody give themself the role: it is refused, and the roles stay as they were.
    let roles = principals(&cluster);
    let own = ["principal", "create", "operator", "--role", "key-user", "--role", "operator"];
    refused_with(cluster.cli_as("operator").args(own), "AlreadyExistsException");
    let removed = ["principal", "remove", "operator"];
    refused_with(cluster.cli_as("operator").args(removed), "AccessDeniedException");
    for role in ["key-administrator", "key-user", "auditor"] {
        let create = ["principal", "create", role, "--role", "operator"];
        refused_with(cluster.cli_as(role).args(create), "AccessDeniedException");
        refused_with(
            cluster.cli_as(role).args(["principal", "remove", role]),
            "AccessDeniedException",
        );
    }
    assert_eq!(principals(&cluster), roles);

    let mut decrypt = cluster.cli_as("key-user");
    assert_eq!(run(decrypt.args(["decrypt", "--in", ciphertext])), plaintext);
}

fn denied(output: &std::process::Output, what: &str) {
    let error = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{what}: {error}");
    assert!(output.stdout.is_empty(), "{what}");
    let error: Value = serde_json::from_str(&error).unwrap();
    assert_eq!(error["error"]["name"], "AccessDeniedException", "{what}: {error}");
}

fn refused_with(command: &mut std::process::Command, name: &str) {
    let output = command.args(["--output", "json"]).output().unwrap();
    let error = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{command:?}: {error}");
    let error: Value = serde_json::from_str(&error).unwrap();
    assert_eq!(error["error"]["name"], name, "{command:?}: {error}");
}

fn principals(cluster: &Cluster) -> Value {
    let listed = json(cluster.cli_as("operator").args(["--output", "json", "principal", "list"]));
    listed.unwrap()["principals"].clone()
}

fn entries(cluster: &Cluster, filter: &[&str]) -> Vec<Value> {
    let mut command = cluster.cli_as("auditor");
    command.args(["--output", "json", "audit", "list"]).args(filter);
    json(&mut command).unwrap()["entries"].as_array().unwrap().clone()
}

/// A certificate chain and its key, of whatever authority.
#[derive(Clone)]
struct Certificate {
    cert_pem: String,
    key_pem: String,
}

impl Certificate {
    fn load(folder: &Path, name: &str) -> Self {
        Self {
            cert_pem: fs::read_to_string(folder.join(format!("{name}.pem"))).unwrap(),
            key_pem: fs::read_to_string(folder.join(format!("{name}.key"))).unwrap(),
        }
    }
}

/// An authority that signs anything, unlike `conclave pki`.
struct Ca {
    cert_pem: String,
    key_pem: String,
}

impl Ca {
    fn of(pki: &Path) -> Self {
        let Certificate { cert_pem, key_pem } = Certificate::load(pki, "ca");
        Authority::load(&cert_pem, &key_pem).unwrap();
        Self { cert_pem, key_pem }
    }

    /// Another authority, of the same name.
    fn new(cluster: &str) -> Self {
        let now = std::time::SystemTime::now();
        let issued = new_authority(&cluster.parse().unwrap(), 30, now).unwrap();
        Self {
            cert_pem: issued.certificate_pem.clone(),
            key_pem: issued.key_pem.expose().to_owned(),
        }
    }

    /// For both sides of TLS, so that it is the name that is looked at.
    fn issue(&self, uri: &str) -> Certificate {
        let ca_key = KeyPair::from_pem(&self.key_pem).unwrap();
        let issuer = Issuer::from_ca_cert_pem(&self.cert_pem, ca_key).unwrap();
        let mut params = CertificateParams::new(["127.0.0.1".to_owned()]).unwrap();
        params.subject_alt_names.push(SanType::URI(uri.try_into().unwrap()));
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &issuer).unwrap();
        Certificate { cert_pem: certificate.pem(), key_pem: key.serialize_pem() }
    }
}

const HTTP_1: &[u8] = b"GET /healthz HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";
/// The connection preface and an empty SETTINGS frame: a server answers with its own.
const HTTP_2: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";

fn http_1(path: &str) -> Vec<u8> {
    format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").into_bytes()
}

fn tls(certificate: Option<&Certificate>, ca: &Ca, protocol: &[u8]) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(ca.cert_pem.as_bytes()).unwrap()).unwrap();
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

async fn connect(
    address: &str,
    certificate: Option<&Certificate>,
    ca: &Ca,
    request: &[u8],
) -> std::io::Result<TlsStream<TcpStream>> {
    let protocol: &[u8] = if request.starts_with(b"PRI") { b"h2" } else { b"http/1.1" };
    let stream = TcpStream::connect(address).await.unwrap();
    let name = ServerName::try_from("127.0.0.1").unwrap();
    let connector = TlsConnector::from(tls(certificate, ca, protocol));
    timeout(LONG, connector.connect(name, stream)).await.expect("a handshake that ends")
}

/// Shakes hands, asks, and gives the first bytes of the answer.
async fn attempt(
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
async fn refused(
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

async fn get(
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
fn channel(address: &str, certificate: &Certificate, ca: &Ca) -> tonic::transport::Channel {
    let connector = TlsConnector::from(tls(Some(certificate), ca, b"h2"));
    let address = address.to_owned();
    tonic::transport::Endpoint::from_shared(format!("http://{address}"))
        .unwrap()
        .connect_with_connector_lazy(tower::service_fn(move |_: http::Uri| {
            let (address, connector) = (address.clone(), connector.clone());
            async move {
                let stream = TcpStream::connect(&address).await?;
                let name = ServerName::try_from("127.0.0.1").unwrap();
                connector.connect(name, stream).await.map(hyper_util::rt::TokioIo::new)
            }
        }))
}

/// What the node counts.
struct Metrics {
    api_requests: u64,
    api_failures: u64,
    peer_requests: u64,
    peer_failures: u64,
}

impl Metrics {
    async fn read(address: &str, certificate: &Certificate, ca: &Ca) -> Self {
        let text = get(address, Some(certificate), ca, "/metrics").await.unwrap();
        let value = |name: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(&format!("{name} ")));
            line.unwrap_or_else(|| panic!("no {name} in {text}")).trim().parse().unwrap()
        };
        Self {
            api_requests: value("conclave_api_requests_read_total"),
            api_failures: value("conclave_api_handshake_failures_total"),
            peer_requests: value("conclave_peer_requests_read_total"),
            peer_failures: value("conclave_peer_handshake_failures_total"),
        }
    }
}
