//! The limits of one call, and every command of a key's life against a running cluster.

#![allow(clippy::unwrap_used, unreachable_pub, reason = "a test fails where this does")]

mod harness;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Command, Output};
use std::time::SystemTime;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use conclave_pki::{Kind, TlsFiles, TlsMaterial, api_client_config};
use conclave_proto::v1::EncryptRequest;
use conclave_proto::v1::kms_client::KmsClient;
use harness::{Cluster, json, run, run_with_input};
use serde_json::Value;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::ServerName;
use tonic::Code;
use tonic::transport::{Channel, Endpoint};

#[test]
fn plaintext_of_0_4096_and_4097_bytes() {
    let cluster = Cluster::start(1);
    let at = Files { folder: cluster.dir.path().to_owned() };
    let key = create(&cluster, &[]);

    let (empty, sealed) = (at.file("empty", b""), at.path("sealed-empty"));
    run(cluster.cli().args(["encrypt", "--key", &key, "--in", &empty, "--out", &sealed]));
    assert!(std::fs::metadata(&sealed).unwrap().len() > 0);
    assert_eq!(run(cluster.cli().args(["decrypt", "--in", &sealed])), b"");

    let plaintext: Vec<u8> = (0..4096_u32).map(|n| n.to_le_bytes()[0]).collect();
    let (largest, sealed) = (at.file("largest", &plaintext), at.path("sealed"));
    run(cluster.cli().args(["encrypt", "--key", &key, "--in", &largest, "--out", &sealed]));
    assert_eq!(run(cluster.cli().args(["decrypt", "--in", &sealed])), plaintext);

    // One byte more, or many: the command sends nothing, and says what to do instead.
    for bytes in [4097, 1 << 20] {
        let file = at.file("too-large", &vec![7; bytes]);
        let output =
            cluster.cli().args(["encrypt", "--key", &key, "--in", &file]).output().unwrap();
        let error = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{error}");
        assert!(error.contains("4096 bytes"), "{error}");
        assert!(error.contains("envelope encryption"), "{error}");
        assert!(error.contains("conclave data-key"), "{error}");
    }

    // A client that sends it all the same is refused by the node, in the same words.
    let statuses = tokio::runtime::Runtime::new().unwrap().block_on(async {
        let mut kms = KmsClient::new(channel(&cluster, "key-user"));
        let request = |bytes| EncryptRequest {
            key_id: key.clone(),
            plaintext: vec![7; bytes],
            ..Default::default()
        };
        for bytes in [0, 4096] {
            assert!(kms.encrypt(request(bytes)).await.is_ok());
        }
        let mut statuses = Vec::new();
        for bytes in [4097, 60_000] {
            statuses.push(kms.encrypt(request(bytes)).await.unwrap_err());
        }
        // Beyond any message: refused unread, and the connection still serves.
        let enormous = kms.encrypt(request(1 << 20)).await.unwrap_err();
        assert_eq!(enormous.code(), Code::OutOfRange, "{enormous:?}");
        assert!(kms.encrypt(request(4096)).await.is_ok());
        statuses
    });
    for (status, names) in statuses.iter().zip(["envelope encryption", "GenerateDataKey"]) {
        assert_eq!(status.code(), Code::InvalidArgument, "{status:?}");
        assert_eq!(status.metadata().get("conclave-error").unwrap(), "ValidationException");
        assert!(status.message().contains(names), "{status:?}");
    }
}

#[test]
fn every_command_of_a_keys_life() {
    let cluster = Cluster::start(3);
    let at = Files { folder: cluster.dir.path().to_owned() };
    let made =
        create_json(&cluster, &["--alias", "alias/one", "--description", "d", "--tag", "a=b=c"]);
    assert_eq!((&made["state"], &made["versions"]), (&"Enabled".into(), &1.into()));
    assert_eq!(
        (&made["aliases"][0], &made["tags"][0]["value"]),
        (&"alias/one".into(), &"b=c".into())
    );
    let (key, arn) = (text(&made["key_id"]), text(&made["arn"]));
    assert_eq!(arn, format!("arn:aws:kms:local:000000000000:key/{key}"));
    let revision = text(&made["revision"]);
    assert!(revision.starts_with("local:"), "{revision}");
    assert!(made["request_id"].is_string());

    // Every way of naming it is the same key, on every node.
    let plaintext = at.file("plaintext", b"\0\xffsome bytes\n");
    let alias_arn = "arn:aws:kms:local:000000000000:alias/one";
    for (name, node) in
        [key.as_str(), &arn, "alias/one", alias_arn].iter().zip(["n1", "n2", "n3", "n1"])
    {
        let sealed = at.path("sealed");
        let encrypted = json(cluster.cli_at(node).args([
            "--output",
            "json",
            "encrypt",
            "--key",
            name,
            "--in",
            &plaintext,
            "--out",
            &sealed,
            "--context",
            "app=x",
            "--context",
            "b=1",
        ]))
        .unwrap();
        assert_eq!(
            (text(&encrypted["key_id"]), text(&encrypted["out"])),
            (arn.clone(), sealed.clone())
        );
        let decrypt =
            ["decrypt", "--in", &sealed, "--context", "b=1", "--context", "app=x", "--key", name];
        assert_eq!(run(cluster.cli().args(decrypt)), b"\0\xffsome bytes\n", "{name}");
        assert_eq!(text(&describe(&cluster, name)["key_id"]), key);
    }
    let sealed = at.path("sealed");
    for wrong in [vec!["--context", "app=y"], vec!["--context", "app=x"], vec![]] {
        let error = refused(cluster.cli().args(["decrypt", "--in", &sealed]).args(wrong), 1);
        assert_eq!(error["name"], "InvalidCiphertextException");
    }
    let error = refused(cluster.cli().args(["key", "describe", "alias/none"]), 1);
    assert_eq!(error["name"], "NotFoundException");
    let unknown = key.replace(|c: char| c.is_ascii_hexdigit(), "0");
    let error = refused(cluster.cli().args(["key", "describe", &unknown]), 1);
    assert_eq!(error["name"], "NotFoundException");
    let error = refused(cluster.cli().args(["key", "create", "--alias", "alias/one"]), 1);
    assert_eq!(error["name"], "AlreadyExistsException");

    // Another key and another context; the old ciphertext is as good as before.
    let other = create(&cluster, &["--alias", "alias/other"]);
    let moved = at.path("moved");
    let answer = json(cluster.cli().args([
        "--output",
        "json",
        "re-encrypt",
        "--to",
        "alias/other",
        "--in",
        &sealed,
        "--out",
        &moved,
        "--context",
        "app=x",
        "--context",
        "b=1",
        "--to-context",
        "now=z",
    ]))
    .unwrap();
    assert!(text(&answer["key_id"]).ends_with(&other), "{answer}");
    assert_eq!(text(&answer["source_key_id"]), arn);
    let context = ["--context", "now=z"];
    assert_eq!(
        run(cluster.cli().args(["decrypt", "--in", &moved]).args(context)),
        b"\0\xffsome bytes\n"
    );
    let error =
        refused(cluster.cli().args(["decrypt", "--in", &moved, "--key", &key]).args(context), 1);
    assert_eq!(error["name"], "IncorrectKeyException");

    // Data keys: the plaintext goes to the caller, the ciphertext decrypts to it.
    for bytes in ["1", "32", "1024"] {
        let made = json(
            cluster.cli().args(["--output", "json", "data-key", "--key", &key, "--bytes", bytes]),
        )
        .unwrap();
        let data_key = STANDARD.decode(text(&made["plaintext"])).unwrap();
        assert_eq!(data_key.len().to_string(), bytes);
        assert_eq!(decrypt_text(&cluster, &text(&made["ciphertext"])), data_key);
        assert_eq!(text(&made["key_id"]), arn);
    }
    let without = ["--output", "json", "data-key", "--key", &key, "--without-plaintext"];
    let without = json(cluster.cli().args(without)).unwrap();
    assert!(without.get("plaintext").is_none(), "{without}");
    assert_eq!(decrypt_text(&cluster, &text(&without["ciphertext"])).len(), 32);
    for bytes in ["0", "1025"] {
        let command = ["data-key", "--key", &key, "--bytes", bytes];
        assert_eq!(cluster.cli().args(command).output().unwrap().status.code(), Some(2));
    }

    // Random bytes, as text and raw.
    let hex_text = String::from_utf8(run(cluster.cli().args(["random", "--bytes", "32"]))).unwrap();
    assert_eq!(hex::decode(hex_text.trim()).unwrap().len(), 32);
    let raw = at.path("random");
    run(cluster.cli().args(["random", "--bytes", "1024", "--out", &raw]));
    assert_eq!(fs::read(&raw).unwrap().len(), 1024);
    assert_eq!(fs::metadata(&raw).unwrap().permissions().mode() & 0o777, 0o600);

    // After a rotation what was encrypted before still decrypts, and what is new is of the new version.
    let rotated =
        json(cluster.cli().args(["--output", "json", "key", "rotate", "alias/one"])).unwrap();
    assert_eq!((&rotated["versions"], &rotated["state"]), (&2.into(), &"Enabled".into()));
    assert_eq!((text(&rotated["key_id"]), text(&rotated["arn"])), (key.clone(), arn.clone()));
    let old = ["decrypt", "--in", &sealed, "--context", "app=x", "--context", "b=1"];
    assert_eq!(run(cluster.cli().args(old)), b"\0\xffsome bytes\n");
    let renewed = at.path("renewed");
    run(cluster.cli().args(["encrypt", "--key", &key, "--in", &plaintext, "--out", &renewed]));
    // Behind magic, format and key id stands the version.
    let version = |file: &str| fs::read(file).unwrap()[20..24].to_vec();
    assert_eq!((version(&sealed), version(&renewed)), (vec![0, 0, 0, 1], vec![0, 0, 0, 2]));
    assert_eq!(run(cluster.cli().args(["decrypt", "--in", &renewed])), b"\0\xffsome bytes\n");

    // Disabled and enabled; scheduled for deletion and taken back.
    let decrypt = ["decrypt", "--in", &renewed];
    let changed = json(cluster.cli().args(["--output", "json", "key", "disable", &key])).unwrap();
    assert_eq!((&changed["state"], text(&changed["arn"])), (&"Disabled".into(), arn.clone()));
    assert_eq!(refused(cluster.cli().args(decrypt), 1)["name"], "DisabledException");
    let changed = json(cluster.cli().args(["--output", "json", "key", "enable", &key])).unwrap();
    assert_eq!(changed["state"], "Enabled");
    run(cluster.cli().args(decrypt));

    for days in ["6", "31"] {
        let command = ["key", "schedule-deletion", &key, "--days", days];
        assert_eq!(cluster.cli().args(command).output().unwrap().status.code(), Some(2));
    }
    let schedule = ["--output", "json", "key", "schedule-deletion", &key, "--days", "7"];
    let scheduled = json(cluster.cli().args(schedule)).unwrap();
    assert_eq!(scheduled["state"], "PendingDeletion");
    let days = (scheduled["deletion_ms"].as_u64().unwrap() - unix_ms()) as f64 / 86_400_000.0;
    assert!((6.9..7.1).contains(&days), "{days} days");
    for node in ["n1", "n2", "n3"] {
        for command in [
            &decrypt[..],
            &["encrypt", "--key", &key, "--in", &plaintext],
            &["data-key", "--key", &key],
            &["re-encrypt", "--to", &key, "--in", &moved, "--context", "now=z"],
            &["key", "enable", &key],
            &["key", "rotate", &key],
        ] {
            let error = refused(cluster.cli_at(node).args(command), 1);
            assert_eq!(error["name"], "KMSInvalidStateException", "{command:?}");
        }
    }
    let cancel = ["--output", "json", "key", "cancel-deletion", &key];
    let cancelled = json(cluster.cli().args(cancel)).unwrap();
    assert_eq!((&cancelled["state"], &cancelled["deletion_ms"]), (&"Disabled".into(), &0.into()));
    let error = refused(cluster.cli().args(["key", "cancel-deletion", &key]), 1);
    assert_eq!(error["name"], "KMSInvalidStateException");
    run(cluster.cli().args(["key", "enable", &key]));
    run(cluster.cli().args(decrypt));
    assert_eq!(describe(&cluster, &key)["state"], "Enabled");

    let listed = json(cluster.cli().args(["--output", "json", "key", "list"])).unwrap();
    let mut ids: Vec<String> =
        listed["keys"].as_array().unwrap().iter().map(|key| text(&key["key_id"])).collect();
    let mut expected = vec![key, other];
    ids.sort();
    expected.sort();
    assert_eq!(ids, expected);
}

/// A scratch folder.
struct Files {
    folder: PathBuf,
}

impl Files {
    fn path(&self, name: &str) -> String {
        self.folder.join(name).to_str().unwrap().to_owned()
    }

    fn file(&self, name: &str, bytes: &[u8]) -> String {
        fs::write(self.folder.join(name), bytes).unwrap();
        self.path(name)
    }
}

fn create_json(cluster: &Cluster, args: &[&str]) -> Value {
    json(cluster.cli().args(["--output", "json", "key", "create"]).args(args)).unwrap()
}

fn create(cluster: &Cluster, args: &[&str]) -> String {
    text(&create_json(cluster, args)["key_id"])
}

fn describe(cluster: &Cluster, key: &str) -> Value {
    json(cluster.cli().args(["--output", "json", "key", "describe", key])).unwrap()
}

/// Decrypts base64 text, through standard input.
fn decrypt_text(cluster: &Cluster, ciphertext: &str) -> Vec<u8> {
    let ciphertext = STANDARD.decode(ciphertext).unwrap();
    let Output { status, stdout, stderr } =
        run_with_input(cluster.cli().arg("decrypt"), &ciphertext);
    assert!(status.success(), "{}", String::from_utf8_lossy(&stderr));
    stdout
}

/// Runs a command that must fail with that exit code and print nothing, and gives its error.
fn refused(command: &mut Command, code: i32) -> Value {
    let output = command.args(["--output", "json"]).output().unwrap();
    let error = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(code), "{command:?}: {error}");
    assert!(output.stdout.is_empty(), "{command:?}");
    let error: Value = serde_json::from_str(&error).unwrap();
    assert!(error["error"]["request_id"].is_string(), "{error}");
    error["error"].clone()
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("no text: {value}")).to_owned()
}

fn unix_ms() -> u64 {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
    u64::try_from(now.as_millis()).unwrap()
}

/// gRPC without the client library, whose limits it would keep.
fn channel(cluster: &Cluster, principal: &str) -> Channel {
    let pki = cluster.pki();
    let files = TlsFiles {
        ca: pki.join("ca.pem"),
        cert: pki.join(format!("{principal}.pem")),
        key: pki.join(format!("{principal}.key")),
    };
    let tls = TlsMaterial::load(&files, &[Kind::Client], SystemTime::now()).unwrap();
    let connector = TlsConnector::from(api_client_config(&tls).unwrap());
    let address = cluster.nodes[0].api.clone();
    Endpoint::from_shared(format!("http://{address}")).unwrap().connect_with_connector_lazy(
        tower::service_fn(move |_: http::Uri| {
            let (address, connector) = (address.clone(), connector.clone());
            async move {
                let stream = TcpStream::connect(&address).await?;
                let name = ServerName::try_from("127.0.0.1").unwrap();
                connector.connect(name, stream).await.map(hyper_util::rt::TokioIo::new)
            }
        }),
    )
}
