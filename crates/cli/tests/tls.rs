//! P9, nobody uninvited: who gets through to a running node, and what its roles let them do.

#![allow(clippy::unwrap_used, unreachable_pub, reason = "a test fails where this does")]

mod harness;

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use conclave_pki::{
    ExpectedPeer, Kind, TlsFiles, TlsMaterial, api_client_config, peer_client_config,
};
use harness::tls::{
    Ca, Certificate, HTTP_1, HTTP_2, Metrics, attempt, channel, get, http_1, refused, shake_hands,
};
use harness::{Cluster, json, run, run_with_input};
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::rustls::client::Resumption;
use tokio_rustls::rustls::{
    AlertDescription, ClientConfig, Error, HandshakeKind, NamedGroup, ProtocolVersion,
};

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
    let (day, now) = (Duration::from_secs(86_400), SystemTime::now());
    let dated = |kind: &'static str| {
        let uri = format!("spiffe://dev/{kind}/n1");
        [
            ("expired", Some(ca.issue_for(&uri, now - 2 * day, now - day))),
            ("not yet valid", Some(ca.issue_for(&uri, now + day, now + 2 * day))),
        ]
    };
    let before = Metrics::read(&node.api, &invited, &ca).await;
    let mut at_api = Vec::from(uninvited("client"));
    at_api.extend(uninvited("node").into_iter().skip(1));
    at_api.extend(dated("client"));
    for (who, certificate) in &at_api {
        refused(&node.api, certificate.as_ref(), &ca, who, HTTP_1).await;
    }
    let mut at_peer = Vec::from(uninvited("node"));
    at_peer.extend(dated("node"));
    at_peer.push(("a client's", Some(invited.clone())));
    at_peer.push(("an issued node's name, as a client", Some(ca.issue("spiffe://dev/client/n1"))));
    for (who, certificate) in &at_peer {
        refused(&node.peer, certificate.as_ref(), &ca, who, HTTP_2).await;
    }
    let after = Metrics::read(&node.api, &invited, &ca).await;

    // Each was tried twice, failed in the handshake, and not one request was read.
    let more = |name: &str| after.value(name) - before.value(name);
    let [at_api, at_peer] = [at_api.len(), at_peer.len()].map(|tried| 2 * tried as u64);
    assert_eq!(more("conclave_api_handshake_failures_total"), at_api);
    assert_eq!(more("conclave_peer_handshake_failures_total"), at_peer);
    let api_requests = "conclave_api_requests_read_total";
    assert_eq!(more(api_requests), 1, "only the second look at the metrics");
    assert_eq!(more("conclave_peer_requests_read_total"), 0);

    // The very same attempts with the right certificates are answered, and counted.
    for path in ["/healthz", "/readyz", "/metrics"] {
        let answer = get(&node.api, Some(&invited), &ca, path).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 200"), "{path}: {answer}");
        refused(&node.api, None, &ca, "no certificate", &http_1(path)).await;
    }
    assert!(attempt(&node.peer, Some(&n1), &ca, HTTP_2).await.unwrap().starts_with(b"\0\0"));
    let last = Metrics::read(&node.api, &invited, &ca).await;
    assert_eq!(last.value(api_requests) - after.value(api_requests), 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn tls_1_3_alone_post_quantum_and_every_session_from_the_start() {
    let cluster = Cluster::start(1);
    let node = cluster.nodes[0].clone();
    let folder = node.config.parent().unwrap();
    let load = |cert: &std::path::Path, kind| {
        let files = TlsFiles {
            ca: folder.join("ca.pem"),
            cert: cert.with_extension("pem"),
            key: cert.with_extension("key"),
        };
        TlsMaterial::load(&files, &[kind], SystemTime::now()).unwrap()
    };
    let client = load(&cluster.pki().join("dev"), Kind::Client);
    let n1 = load(&folder.join("node"), Kind::Node);
    let named = ExpectedPeer::Named("n1".parse().unwrap());
    let cluster_name = n1.identity().cluster().clone();

    // Our own clients, as they are, and changed to resume and to send early data if they may.
    for (address, config) in [
        (&node.api, api_client_config(&client).unwrap()),
        (&node.peer, peer_client_config(&n1, &cluster_name, named).unwrap()),
    ] {
        let mut eager = ClientConfig::clone(&config);
        eager.resumption = Resumption::in_memory_sessions(8);
        eager.enable_early_data = true;
        let eager = Arc::new(eager);
        for config in [&config, &eager, &eager, &eager] {
            let stream = TcpStream::connect(address).await.unwrap();
            let mut stream = shake_hands(stream, Arc::clone(config)).await.unwrap();
            stream.write_all(HTTP_2).await.unwrap();
            assert!(stream.read(&mut [0; 1024]).await.unwrap() > 0, "its SETTINGS");
            let session = stream.get_ref().1;
            assert_eq!(session.protocol_version(), Some(ProtocolVersion::TLSv1_3));
            let group = session.negotiated_key_exchange_group().unwrap().name();
            assert_eq!(group, NamedGroup::X25519MLKEM768);
            assert_eq!(session.handshake_kind(), Some(HandshakeKind::Full), "nothing is resumed");
            assert_eq!(session.tls13_tickets_received(), 0, "nor could it be");
            assert!(!session.is_early_data_accepted());
        }

        // Without 1.3 there is no renegotiation either: it is a message of 1.2.
        let old = ClientConfig::builder_with_provider(
            tokio_rustls::rustls::crypto::aws_lc_rs::default_provider().into(),
        )
        .with_protocol_versions(&[&tokio_rustls::rustls::version::TLS12])
        .unwrap()
        .with_root_certificates(tokio_rustls::rustls::RootCertStore::empty())
        .with_no_client_auth();
        let stream = TcpStream::connect(address).await.unwrap();
        let error = shake_hands(stream, Arc::new(old)).await.map(drop).unwrap_err();
        let alert = error.get_ref().and_then(|inner| inner.downcast_ref::<Error>());
        let version = Error::AlertReceived(AlertDescription::ProtocolVersion);
        assert_eq!(alert, Some(&version), "{error:?}");
    }
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
            key_id: key.to_owned(),
            plaintext: vec![1],
            ..Default::default()
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
