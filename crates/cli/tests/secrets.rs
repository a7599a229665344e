//! P5: what stands on a node's disk and in its log gives nothing away.

#![allow(clippy::unwrap_used, unreachable_pub, reason = "a test fails where this does")]

mod harness;
mod scanner;

use std::collections::BTreeSet;
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::PathBuf;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use conclave_client::{Client, ClientConfig};
use conclave_pki::{Kind, TlsFiles, TlsMaterial};
use conclave_proto::seal::OperatorShare;
use conclave_proto::v1::{EncryptRequest, Tag};
use harness::{Cluster, LONG, json, run, run_with_input, wait_for};
use prost::Message;
use scanner::{Marker, Scanner};
use uuid::Uuid;

/// Log entries between snapshots, and more than enough calls for one.
const SNAPSHOT_ENTRIES: &str = "50";
const CALLS: usize = 80;

#[test]
fn no_plaintext_in_any_file_or_log() {
    let mut cluster = Cluster::start_with(3, &["--snapshot-entries", SNAPSHOT_ENTRIES]);
    let mut world = World::new();
    world.admit_principal(&cluster);
    world.make_keys(&cluster);
    world.use_keys(&cluster, "n1");
    world.encrypt_often(&cluster);
    world.enter_shares(&cluster);
    let first = wait_for("a snapshot at every node", LONG, || all_snapshots(&cluster));

    // Again after a start of every node, each logging all it can say.
    for id in ["n1", "n2", "n3"] {
        cluster.kill(id);
        let config = cluster.node(id).config.clone();
        let mut config = OpenOptions::new().append(true).open(config).unwrap();
        config.write_all(b"\n[log]\nlevel = \"debug\"\n").unwrap();
        cluster.restart(id);
        cluster.unseal(id);
        world.use_keys(&cluster, id);
    }
    world.encrypt_often(&cluster);
    wait_for("a newer snapshot at every node", LONG, || {
        let now = all_snapshots(&cluster)?;
        now.is_disjoint(&first).then_some(())
    });
    // Whoever orders a node to be sealed has a name too.
    run(cluster.cli_as(&world.principal).args(["operator", "seal"]));

    let scanner = Scanner::new(&world.markers);
    let mut files = Vec::new();
    for node in &cluster.nodes {
        let folder = cluster.dir.path().join(&node.id);
        let log = fs::read_to_string(folder.join("log")).unwrap();
        assert!(log.contains(" DEBUG "), "{} does not log what it could", node.id);
        let (scanned, found) = scanner.scan_folder(&folder);
        assert!(
            found.is_empty(),
            "{} places, such as {:#?}",
            found.len(),
            &found[..found.len().min(20)]
        );
        files.extend(scanned);
    }
    for name in ["raft", "log", "snapshot", "audit", "index", "shares"] {
        let is_there = files.iter().any(|file| file.iter().any(|part| part == name));
        assert!(is_there, "no {name} among the files scanned: {files:?}");
    }
}

#[test]
fn the_scanner_finds_every_spelling_of_every_marker() {
    let markers = [
        Marker { what: "text", bytes: marker("marker-").into_bytes() },
        Marker { what: "bytes", bytes: (0..32).map(|n: u8| n.wrapping_mul(251)).collect() },
    ];
    let scanner = Scanner::new(&markers);
    let folder = tempfile::tempdir().unwrap();
    let inner = folder.path().join("a/b");
    fs::create_dir_all(&inner).unwrap();
    let file = inner.join("planted");
    for pattern in scanner.patterns() {
        fs::write(&file, [b"\0before", &*pattern.bytes, b"after\xff"].concat()).unwrap();
        let (_, found) = scanner.scan_folder(folder.path());
        assert!(
            found.iter().any(|found| found.contains(pattern.what)),
            "{} as {} was not found",
            pattern.what,
            pattern.spelling
        );
    }
    // Base64 of a longer text that holds it somewhere in the middle, at each alignment.
    for before in 0..6 {
        for marker in &markers {
            let text = [&b"prefix"[..before], &marker.bytes, b"suffix"].concat();
            fs::write(&file, STANDARD.encode(&text)).unwrap();
            assert!(!scanner.scan_folder(folder.path()).1.is_empty(), "{} bytes before", before);
        }
    }
    fs::write(&file, b"nothing of interest").unwrap();
    assert!(scanner.scan_folder(folder.path()).1.is_empty());
    fs::write(inner.join(std::str::from_utf8(&markers[0].bytes).unwrap()), b"").unwrap();
    assert!(!scanner.scan_folder(folder.path()).1.is_empty(), "in the name of a file");
}

/// Everything that must not be found, as it comes into being.
struct World {
    markers: Vec<Marker>,
    principal: String,
    plaintext: String,
    context: (String, String),
    alias: String,
    key: String,
}

impl World {
    fn new() -> Self {
        Self {
            markers: Vec::new(),
            principal: marker("principal-"),
            plaintext: marker("plaintext-"),
            context: (marker("context-name-"), marker("context-value-")),
            alias: marker("alias/a-"),
            key: String::new(),
        }
    }

    fn must_not_show(&mut self, what: &'static str, bytes: impl Into<Vec<u8>>) {
        self.markers.push(Marker { what, bytes: bytes.into() });
    }

    /// A principal with every role, whose certificate is used from here on.
    fn admit_principal(&mut self, cluster: &Cluster) {
        let pki = cluster.pki();
        let name = self.principal.clone();
        run(cluster
            .cli()
            .args(["pki", "issue", "client", &name, "--days", "2", "--dir"])
            .arg(&pki));
        let roles = ["operator", "key-administrator", "key-user", "auditor"];
        let roles = roles.iter().flat_map(|role| ["--role", role]);
        run(cluster.cli().args(["principal", "create", &name]).args(roles));
        run(cluster.cli_as(&name).args(["principal", "list"]));
        self.must_not_show("principal", name);
    }

    fn make_keys(&mut self, cluster: &Cluster) {
        let (tag, value) = (marker("tag-key-"), marker("tag-value-"));
        let description = marker("description-");
        let made = json(cluster.cli_as(&self.principal).args([
            "--output",
            "json",
            "key",
            "create",
            "--alias",
            &self.alias,
            "--description",
            &description,
            "--tag",
            &format!("{tag}={value}"),
        ]))
        .unwrap();
        self.key = made["key_id"].as_str().unwrap().to_owned();
        run(cluster.cli_as(&self.principal).args(["key", "rotate", &self.alias]));
        run(cluster.cli_as(&self.principal).args(["key", "disable", &self.alias]));
        run(cluster.cli_as(&self.principal).args(["key", "enable", &self.alias]));
        for (what, text) in [
            ("alias", self.alias.strip_prefix("alias/").unwrap().to_owned()),
            ("description", description),
            ("tag key", tag),
            ("tag value", value),
            ("plaintext", self.plaintext.clone()),
            ("context name", self.context.0.clone()),
            ("context value", self.context.1.clone()),
        ] {
            self.must_not_show(what, text);
        }
    }

    /// One call of each kind that takes or gives a secret, some of them refused, at that node.
    fn use_keys(&mut self, cluster: &Cluster, at: &str) {
        let endpoint = format!("https://{}", cluster.node(at).api);
        let cli = || {
            let mut command = cluster.cli_as(&self.principal);
            command.env("CONCLAVE_ENDPOINTS", &endpoint).args(["--output", "json"]);
            command
        };
        let context = format!("{}={}", self.context.0, self.context.1);
        let ciphertext = cluster.dir.path().join("ciphertext");
        let mut encrypt = cli();
        encrypt.args(["encrypt", "--key", &self.alias, "--context", &context, "--out"]);
        let done = run_with_input(encrypt.arg(&ciphertext), self.plaintext.as_bytes());
        assert!(done.status.success(), "{done:?}");

        let decrypted =
            json(cli().args(["decrypt", "--context", &context, "--in"]).arg(&ciphertext)).unwrap();
        let decrypted = STANDARD.decode(decrypted["plaintext"].as_str().unwrap()).unwrap();
        assert_eq!(decrypted, self.plaintext.as_bytes());
        run(cli()
            .args(["re-encrypt", "--to", &self.key, "--context", &context])
            .args(["--to-context", &context, "--in"])
            .arg(&ciphertext));
        let wrong = cli().args(["decrypt", "--in"]).arg(&ciphertext).output().unwrap();
        assert_eq!(wrong.status.code(), Some(1), "{wrong:?}");
        let mut wrong = cli();
        wrong.args([
            "encrypt",
            "--context",
            &context,
            "--key",
            &format!("alias/{}", self.plaintext),
        ]);
        let wrong = run_with_input(&mut wrong, self.plaintext.as_bytes());
        assert_eq!(wrong.status.code(), Some(1), "{wrong:?}");

        let data_key =
            json(cli().args(["data-key", "--key", &self.alias, "--context", &context])).unwrap();
        let random = json(cli().args(["random", "--bytes", "32"])).unwrap();
        let data_key = STANDARD.decode(data_key["plaintext"].as_str().unwrap()).unwrap();
        let random = hex::decode(random["random"].as_str().unwrap()).unwrap();
        self.must_not_show("data key", data_key);
        self.must_not_show("random bytes", random);
    }

    /// Enough entries for a snapshot, each with plaintext, alias and context in it.
    fn encrypt_often(&self, cluster: &Cluster) {
        let request = EncryptRequest {
            key_id: self.alias.clone(),
            plaintext: self.plaintext.clone().into_bytes(),
            encryption_context: [self.context.clone()].into(),
            ..Default::default()
        };
        let make = conclave_proto::v1::CreateKeyRequest {
            description: self.plaintext.clone(),
            tags: vec![Tag { tag_key: self.context.0.clone(), tag_value: self.plaintext.clone() }],
            ..Default::default()
        };
        tokio::runtime::Runtime::new().unwrap().block_on(async {
            let client = client(cluster, &self.principal);
            for _ in 0..CALLS {
                client.encrypt(request.clone()).await.unwrap();
            }
            client.create_key(make).await.unwrap();
        });
    }

    /// The operators' shares, as text and as what it says.
    fn enter_shares(&mut self, cluster: &Cluster) {
        for number in 1..=5 {
            let text = fs::read_to_string(cluster.share_file(number)).unwrap().trim().to_owned();
            let encoded = text.split(':').nth(1).unwrap();
            let decoded = URL_SAFE_NO_PAD.decode(encoded).unwrap();
            let share = OperatorShare::decode(decoded.as_slice()).unwrap().share;
            assert_eq!(share.len(), 32);
            self.must_not_show("operator share", share);
            self.must_not_show("operator share's text", text);
        }
    }
}

/// Distinctive, and of characters that every kind of name may have.
fn marker(prefix: &str) -> String {
    format!("{prefix}{}", Uuid::new_v4().simple())
}

fn client(cluster: &Cluster, principal: &str) -> Client {
    let pki = cluster.pki();
    let files = TlsFiles {
        ca: pki.join("ca.pem"),
        cert: pki.join(format!("{principal}.pem")),
        key: pki.join(format!("{principal}.key")),
    };
    let tls = TlsMaterial::load(&files, &[Kind::Client], std::time::SystemTime::now()).unwrap();
    let endpoints =
        cluster.nodes.iter().map(|node| format!("https://{}", node.api).parse().unwrap()).collect();
    Client::new(ClientConfig { endpoints, tls, timeout: Duration::from_secs(30) }).unwrap()
}

/// The snapshot files of all nodes, if every node has one.
fn all_snapshots(cluster: &Cluster) -> Option<BTreeSet<PathBuf>> {
    let mut all = BTreeSet::new();
    for node in &cluster.nodes {
        let domains = fs::read_dir(node.data_dir.join("domains")).ok()?;
        let before = all.len();
        for domain in domains {
            let files = fs::read_dir(domain.ok()?.path().join("snapshot")).ok()?;
            all.extend(files.filter_map(|file| Some(file.ok()?.path())));
        }
        if all.len() == before {
            return None;
        }
    }
    Some(all)
}
