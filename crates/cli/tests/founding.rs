//! Founding: once, by nodes that all take part, and again if it broke off before it counted.

#![allow(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "a test fails where this does, and says what it saw"
)]

mod harness;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::SystemTime;

use conclave_client::{Client, ClientConfig};
use conclave_pki::{Kind, TlsFiles, TlsMaterial};
use conclave_proto::v1::{CommitInitRequest, InitMember, PrepareInitRequest, PrepareInitResponse};
use harness::{LONG, NodeInfo, conclave, json, run, spare_node, wait_for};
use serde_json::Value;

/// Nodes that run and belong to nothing yet.
struct Nodes {
    dir: tempfile::TempDir,
    nodes: Vec<NodeInfo>,
    running: BTreeMap<String, Child>,
}

impl Nodes {
    fn start(ids: &[&str]) -> Self {
        let dir = tempfile::Builder::new().prefix("conclave-test-").tempdir().unwrap();
        let pki = dir.path().join("pki");
        run(conclave().args(["pki", "init", "--cluster", "test", "--dir"]).arg(&pki));
        for client in ["ops", "auditor"] {
            run(conclave()
                .args(["pki", "issue", "client", client, "--days", "1", "--dir"])
                .arg(&pki));
        }
        let nodes = ids.iter().map(|id| spare_node(&pki, &dir.path().join(id), id)).collect();
        let mut nodes = Self { dir, nodes, running: BTreeMap::new() };
        ids.iter().for_each(|id| nodes.run(id));
        nodes
    }

    fn run(&mut self, id: &str) {
        let log = self.dir.path().join(id).join("log");
        let log = std::fs::OpenOptions::new().append(true).create(true).open(log).unwrap();
        let child = conclave()
            .args(["server", "--die-with-parent", &std::process::id().to_string(), "--config"])
            .arg(&self.node(id).config)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        self.running.insert(id.to_owned(), child);
        wait_for("the node to answer", LONG, || self.status(id));
    }

    /// `kill -9`.
    fn kill(&mut self, id: &str) {
        let mut child = self.running.remove(id).unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
    }

    fn node(&self, id: &str) -> &NodeInfo {
        self.nodes.iter().find(|node| node.id == id).unwrap()
    }

    fn files(&self) -> TlsFiles {
        let file = |name| self.dir.path().join("pki").join(name);
        TlsFiles { ca: file("ca.pem"), cert: file("ops.pem"), key: file("ops.key") }
    }

    fn cli_at(&self, id: &str) -> Command {
        let files = self.files();
        let mut command = conclave();
        command
            .env("CONCLAVE_ENDPOINTS", format!("https://{}", self.node(id).api))
            .env("CONCLAVE_CA_CERT", files.ca)
            .env("CONCLAVE_CLIENT_CERT", files.cert)
            .env("CONCLAVE_CLIENT_KEY", files.key)
            .stdin(Stdio::null());
        command
    }

    fn client_at(&self, id: &str) -> Client {
        let tls = TlsMaterial::load(&self.files(), &[Kind::Client], SystemTime::now()).unwrap();
        let endpoints = vec![self.node(id).api.parse().unwrap()];
        Client::new(ClientConfig { endpoints, tls, timeout: LONG }).unwrap()
    }

    fn status(&self, id: &str) -> Option<Value> {
        json(self.cli_at(id).args(["--timeout", "3", "--output", "json", "status"])).ok()
    }

    fn state(&self, id: &str) -> Option<String> {
        let status = self.status(id)?;
        let own = status["nodes"].as_array()?.iter().find(|node| node["id"] == id)?;
        own["state"].as_str().map(str::to_owned)
    }

    fn init(&self, at: &str, members: &[&str], shares: &str) -> (Output, PathBuf) {
        let members: Vec<String> =
            members.iter().map(|id| format!("{id}={}", self.node(id).peer)).collect();
        self.init_with(at, &members, shares)
    }

    /// Runs `operator init`, with a folder for the shares that it gives back.
    fn init_with(&self, at: &str, members: &[String], shares: &str) -> (Output, PathBuf) {
        let folder = self.dir.path().join(format!("shares-{}", uuid::Uuid::new_v4()));
        let mut command = self.cli_at(at);
        command.args(["--timeout", "60", "--output", "json", "operator", "init"]);
        command.args(members.iter().flat_map(|member| ["--member", member]));
        command.args(["--shares", shares, "--shares-out"]).arg(&folder);
        (command.output().unwrap(), folder)
    }

    /// Founds, and opens every founder with the first two shares.
    fn found_and_open(&self, at: &str, members: &[&str]) -> Value {
        let (output, shares) = self.init(at, members, "2-of-3");
        let founded = succeeded(&output);
        members.iter().for_each(|id| self.unseal(id, &shares));
        founded
    }

    fn unseal(&self, id: &str, shares: &Path) {
        wait_for(&format!("{id} to take shares"), LONG, || {
            let mut command = self.cli_at(id);
            command.args(["operator", "unseal"]);
            for number in [1, 3] {
                command.arg("--share-file").arg(shares.join(format!("operator-share-{number}")));
            }
            command.output().unwrap().status.success().then_some(())
        });
    }

    fn wait_open(&self, ids: &[&str]) {
        for id in ids {
            wait_for(&format!("{id} to open"), LONG, || (self.state(id)? == "open").then_some(()));
        }
    }
}

impl Drop for Nodes {
    fn drop(&mut self) {
        for child in self.running.values_mut() {
            let _ = child.kill();
            let _ = child.wait();
        }
        if std::thread::panicking() {
            for node in &self.nodes {
                let log = self.dir.path().join(&node.id).join("log");
                let text = std::fs::read_to_string(log).unwrap_or_default();
                eprintln!("--- {}:", node.id);
                let ours = text.lines().filter(|line| !line.contains(" openraft::"));
                ours.for_each(|line| eprintln!("{line}"));
            }
        }
    }
}

fn succeeded(output: &Output) -> Value {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// It must have failed with this code, and have said this.
fn refused(output: &Output, code: i32, why: &str) {
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{said}");
    assert!(said.contains(why), "{said}");
}

const THREE: [&str; 3] = ["n1", "n2", "n3"];

#[test]
fn a_domain_is_founded_once_and_by_nodes_that_are_free() {
    let mut nodes = Nodes::start(&["n1", "n2", "n3", "n4", "n5"]);
    nodes.kill("n5");

    for shares in ["0-of-3", "4-of-3", "1-of-999", "3", "three-of-five"] {
        refused(&nodes.init("n1", &THREE, shares).0, 2, "3-of-5");
    }
    refused(&nodes.init("n1", &THREE, "3-of-17").0, 2, "at most 16");
    let (output, _) = nodes.init("n1", &["n1", "n5"], "2-of-3");
    refused(&output, 3, &format!("n5 at {} does not answer", nodes.node("n5").peer));
    let (output, _) = nodes.init("n1", &["n2", "n3"], "2-of-3");
    refused(&output, 1, "must be among the members");
    // Whoever answers there is another node.
    let members =
        [("n1", "n1"), ("n2", "n3")].map(|(id, at)| format!("{id}={}", nodes.node(at).peer));
    refused(&nodes.init_with("n1", &members, "2-of-3").0, 3, "n2 at");
    for id in ["n1", "n2", "n3", "n4"] {
        assert_eq!(nodes.status(id).unwrap()["initialized"], false);
    }

    let (output, first) = nodes.init("n1", &THREE, "2-of-3");
    let founded = succeeded(&output);
    assert_eq!(founded["principal"], "ops");
    assert_eq!(std::fs::read_dir(&first).unwrap().count(), 3);

    for at in THREE {
        wait_for("the founding to be applied", LONG, || {
            nodes.status(at).filter(|status| status["initialized"] == true)
        });
        refused(&nodes.init(at, &THREE, "2-of-3").0, 1, "founding works once");
    }
    refused(&nodes.init("n4", &["n4", "n1"], "2-of-3").0, 1, "n1 belongs to a domain already");
    assert_eq!(nodes.status("n4").unwrap()["initialized"], false);

    // What was refused has done no harm: the first shares open it.
    THREE.iter().for_each(|id| nodes.unseal(id, &first));
    nodes.wait_open(&THREE);
}

#[test]
fn killed_right_after_the_commit_all_founders_come_back_founded() {
    let mut nodes = Nodes::start(&THREE);
    let (output, shares) = nodes.init("n2", &THREE, "2-of-3");
    THREE.iter().for_each(|id| nodes.kill(id));
    let key = succeeded(&output)["audit_verifier_key"].as_str().unwrap().to_owned();

    THREE.iter().for_each(|id| nodes.run(id));
    THREE.iter().for_each(|id| nodes.unseal(id, &shares));
    nodes.wait_open(&THREE);
    for id in THREE {
        assert_eq!(nodes.status(id).unwrap()["audit_verifier_key"], key.as_str());
    }
    // Whoever founded is an operator and no auditor, but can let one in.
    run(nodes.cli_at("n1").args(["principal", "create", "auditor", "--role", "auditor"]));
    let pki = nodes.dir.path().join("pki");
    let mut verify = nodes.cli_at("n3");
    verify
        .env("CONCLAVE_CLIENT_CERT", pki.join("auditor.pem"))
        .env("CONCLAVE_CLIENT_KEY", pki.join("auditor.key"))
        .env("CONCLAVE_AUDIT_KEY", key)
        .args(["--output", "json", "audit", "verify"]);
    assert_eq!(json(&mut verify).unwrap()["voters_agreeing"], 3);
}

/// The two calls of a founding, apart.
fn prepare(nodes: &Nodes, at: &str) -> PrepareInitResponse {
    let members = THREE
        .iter()
        .map(|id| InitMember { name: (*id).to_owned(), peer: nodes.node(id).peer.clone() })
        .collect();
    let request = PrepareInitRequest {
        members,
        domain: "local".to_owned(),
        account: "000000000000".to_owned(),
        shares: 3,
        threshold: 2,
    };
    blocking(async { nodes.client_at(at).at_first().prepare_init(request).await.unwrap().value })
}

fn commit(nodes: &Nodes, at: &str, init_id: Vec<u8>) -> Result<(), String> {
    let request = CommitInitRequest { init_id };
    blocking(async {
        let committed = nodes.client_at(at).at_first().commit_init(request).await;
        committed.map(drop).map_err(|error| error.to_string())
    })
}

fn blocking<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(work)
}

#[test]
fn a_founding_that_was_prepared_and_left_gives_way() {
    let nodes = Nodes::start(&THREE);
    let left = prepare(&nodes, "n1");
    assert_eq!(left.operator_shares.len(), 3);
    let said = commit(&nodes, "n1", vec![0; 16]).unwrap_err();
    assert!(said.contains("no such founding is prepared here"), "{said}");
    // A wrong id spends what was prepared: another try begins anew.
    let left = prepare(&nodes, "n1");

    nodes.found_and_open("n1", &THREE);
    nodes.wait_open(&THREE);
    let said = commit(&nodes, "n1", left.init_id).unwrap_err();
    assert!(said.contains("founding works once"), "{said}");
}

#[test]
fn a_founding_that_broke_off_can_be_repeated() {
    let mut nodes = Nodes::start(&THREE);
    // n1 and n2 have taken the domain up by the time n3 is missed.
    let prepared = prepare(&nodes, "n1");
    nodes.kill("n3");
    let said = commit(&nodes, "n1", prepared.init_id).unwrap_err();
    assert!(said.contains("n3"), "{said}");
    assert_eq!(nodes.status("n1").unwrap()["initialized"], false);

    // Without n3 there is still nothing to found with all three; and a restart changes nothing.
    nodes.kill("n2");
    nodes.run("n2");
    refused(&nodes.init("n1", &THREE, "2-of-3").0, 3, "n3");
    nodes.run("n3");
    nodes.found_and_open("n2", &THREE);
    nodes.wait_open(&THREE);
    let heads = wait_for("equal audit heads", LONG, || {
        let status = nodes.status("n1")?;
        let mut heads: Vec<String> =
            status["nodes"].as_array()?.iter().map(|node| node["audit_head"].to_string()).collect();
        heads.dedup();
        (heads.len() == 1).then_some(heads)
    });
    assert_ne!(heads[0], "\"\"");
}

/// Every founder has its share and two of three die: the first txn is committed or it is not, and
/// either way there is a way on.
#[test]
fn killed_before_the_first_txn_a_domain_is_founded_or_can_be_founded() {
    let mut nodes = Nodes::start(&THREE);
    let prepared = prepare(&nodes, "n1");
    let shares = nodes.dir.path().join("prepared");
    std::fs::create_dir(&shares).unwrap();
    for (number, share) in (1..).zip(&prepared.operator_shares) {
        std::fs::write(shares.join(format!("operator-share-{number}")), share).unwrap();
    }
    // Shares are delivered in the order of the members.
    let domains = nodes.node("n3").data_dir.join("domains");
    let (committed, pids) = std::thread::scope(|scope| {
        let committing = scope.spawn(|| commit(&nodes, "n1", prepared.init_id.clone()));
        wait_for("n3 to have its share", LONG, || {
            let domain = std::fs::read_dir(&domains).ok()?.next()?.unwrap().path();
            domain.join("shares/1").exists().then_some(())
        });
        let pids = ["n2", "n3"].map(|id| nodes.running[id].id().to_string());
        run(Command::new("kill").arg("-9").args(&pids));
        (committing.join().unwrap(), pids)
    });
    eprintln!("{pids:?} killed; committing: {committed:?}");
    for id in ["n2", "n3"] {
        nodes.running.remove(id).unwrap().wait().unwrap();
        nodes.run(id);
    }
    let is_founded =
        |id: &str| nodes.status(id).is_some_and(|status| status["initialized"] == true);
    // The group goes on from what is in the log, if it was formed.
    if let Err(said) = &committed {
        wait_for("a leader, or nothing to lead", LONG, || {
            (said.contains("cannot be formed") || nodes.status("n1")?["leader"].is_string())
                .then_some(())
        });
    } else {
        wait_for("what was acknowledged", LONG, || is_founded("n1").then_some(()));
    }
    let (output, again) = nodes.init("n1", &THREE, "2-of-3");
    let shares = if output.status.success() {
        assert!(committed.is_err(), "founded twice");
        again
    } else {
        refused(&output, 1, "founding works once");
        shares
    };
    THREE.iter().for_each(|id| nodes.unseal(id, &shares));
    nodes.wait_open(&THREE);
}
