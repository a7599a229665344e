//! A cluster started by `conclave dev`, and what tests do to it.

#![allow(
    dead_code,
    unreachable_pub,
    clippy::print_stderr,
    clippy::missing_panics_doc,
    reason = "each test uses its part"
)]

pub mod faults;
pub mod keys;
pub mod load;
#[path = "../../src/dev/ports.rs"]
pub mod ports;
pub mod softhsm;
pub mod steady;
pub mod tls;
pub mod traffic;

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use serde_json::Value;

/// Generous: tests wait for conditions, this only ends a wait that would never end.
pub const LONG: Duration = Duration::from_secs(60);

pub fn conclave() -> Command {
    Command::new(env!("CARGO_BIN_EXE_conclave"))
}

#[derive(Clone, Debug)]
pub struct NodeInfo {
    pub id: String,
    pub pid: u32,
    pub api: String,
    pub peer: String,
    pub data_dir: PathBuf,
    pub config: PathBuf,
    /// What its process needs in its environment.
    pub env: BTreeMap<String, String>,
}

pub struct Cluster {
    pub dir: tempfile::TempDir,
    dev: Child,
    pub nodes: Vec<NodeInfo>,
    restarted: BTreeMap<String, Child>,
    env: BTreeMap<String, String>,
}

impl Cluster {
    pub fn start(nodes: usize) -> Self {
        Self::start_with(nodes, &[])
    }

    /// Starts with more flags for `conclave dev`.
    pub fn start_with(nodes: usize, flags: &[&str]) -> Self {
        let dir = tempfile::Builder::new().prefix("conclave-test-").tempdir().unwrap();
        let mut dev = conclave()
            .args(["dev", "--nodes", &nodes.to_string(), "--dir"])
            .arg(dir.path())
            .args(flags)
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(dev.stdout.take().unwrap()).lines();
        loop {
            match lines.next() {
                Some(Ok(line)) if line == "ready" => break,
                Some(Ok(_)) => {}
                _ => panic!("conclave dev ended before it was ready: {:?}", dev.wait()),
            }
        }
        // Keep its standard output drained.
        std::thread::spawn(move || lines.for_each(drop));
        let info: Value =
            serde_json::from_slice(&std::fs::read(dir.path().join("cluster.json")).unwrap())
                .unwrap();
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let nodes = info["nodes"]
            .as_array()
            .unwrap()
            .iter()
            .map(|node| NodeInfo {
                id: text(&node["id"]),
                pid: u32::try_from(node["pid"].as_u64().unwrap()).unwrap(),
                api: text(&node["api"]),
                peer: text(&node["peer"]),
                data_dir: text(&node["data_dir"]).into(),
                config: text(&node["config"]).into(),
                env: serde_json::from_value(node["env"].clone()).unwrap(),
            })
            .collect();
        let env = std::fs::read_to_string(dir.path().join("env"))
            .unwrap()
            .lines()
            .map(|line| line.split_once('=').unwrap())
            .map(|(k, v)| (k.to_owned(), v.to_owned()))
            .collect();
        Self { dir, dev, nodes, restarted: BTreeMap::new(), env }
    }

    pub fn node(&self, id: &str) -> &NodeInfo {
        self.nodes.iter().find(|node| node.id == id).unwrap()
    }

    pub fn pki(&self) -> PathBuf {
        self.dir.path().join("pki")
    }

    /// The environment of the client that holds all four roles.
    pub fn env(&self) -> &BTreeMap<String, String> {
        &self.env
    }

    /// The command line as the client with all four roles, at every endpoint.
    pub fn cli(&self) -> Command {
        let mut command = conclave();
        command.envs(&self.env).stdin(Stdio::null());
        command
    }

    /// The command line as the client of that role.
    pub fn cli_as(&self, role: &str) -> Command {
        let mut command = self.cli();
        command
            .env("CONCLAVE_CLIENT_CERT", self.pki().join(format!("{role}.pem")))
            .env("CONCLAVE_CLIENT_KEY", self.pki().join(format!("{role}.key")));
        command
    }

    /// The command line, at one node only.
    pub fn cli_at(&self, id: &str) -> Command {
        let mut command = self.cli();
        command.env("CONCLAVE_ENDPOINTS", format!("https://{}", self.node(id).api));
        command
    }

    pub fn status(&self) -> Option<Value> {
        json(self.cli().args(["--timeout", "3", "--output", "json", "status"])).ok()
    }

    pub fn status_at(&self, id: &str) -> Option<Value> {
        json(self.cli_at(id).args(["--timeout", "3", "--output", "json", "status"])).ok()
    }

    /// What that node says of itself.
    pub fn own_status(&self, id: &str) -> Option<Value> {
        let status = self.status_at(id)?;
        status["nodes"].as_array()?.iter().find(|node| node["id"] == id).cloned()
    }

    pub fn leader(&self) -> String {
        wait_for("a leader", LONG, || self.status()?["leader"].as_str().map(str::to_owned))
    }

    /// Some node that does not lead.
    pub fn follower(&self) -> String {
        let leader = self.leader();
        self.nodes.iter().map(|node| &node.id).find(|id| **id != leader).unwrap().clone()
    }

    /// `kill -9`. Gives the moment at which the signal had been sent.
    pub fn kill(&mut self, id: &str) -> Instant {
        self.signal(id, "-KILL");
        let killed = Instant::now();
        self.reap(id);
        killed
    }

    /// Asks a node to stop, and waits until it has.
    pub fn terminate(&mut self, id: &str) {
        self.signal(id, "-TERM");
        self.reap(id);
    }

    fn reap(&mut self, id: &str) {
        let pid = self.pid(id);
        match self.restarted.remove(id) {
            Some(mut child) => drop(child.wait()),
            // A child of `dev`, which reaps it.
            None => wait_for("the process to be gone", LONG, || {
                (!Path::new(&format!("/proc/{pid}")).exists()).then_some(())
            }),
        }
    }

    /// Starts a killed node again; it comes up sealed.
    pub fn restart(&mut self, id: &str) {
        self.launch(id, &[]);
        wait_for("the node to answer", LONG, || self.own_status(id));
    }

    /// Starts the process of a node that does not run, with this in its environment.
    pub fn launch(&mut self, id: &str, env: &[(String, String)]) {
        let log = std::fs::OpenOptions::new()
            .append(true)
            .create(true)
            .open(self.dir.path().join(id).join("log"))
            .unwrap();
        let child = conclave()
            .args(["server", "--config"])
            .arg(&self.node(id).config)
            .envs(&self.node(id).env)
            .envs(env.iter().cloned())
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        self.restarted.insert(id.to_owned(), child);
    }

    /// The shares of the root key on a node's disk, by epoch.
    pub fn shares_of(&self, id: &str) -> BTreeSet<u64> {
        let domains = self.node(id).data_dir.join("domains");
        let domain = std::fs::read_dir(domains).unwrap().next().unwrap().unwrap().path();
        let files = std::fs::read_dir(domain.join("shares")).unwrap();
        let names = files.map(|file| file.unwrap().file_name().into_string().unwrap());
        // A file that is being written has another name.
        names.filter_map(|name| name.parse().ok()).collect()
    }

    pub fn share_file(&self, number: usize) -> PathBuf {
        let mut files: Vec<PathBuf> = std::fs::read_dir(self.dir.path().join("operator-shares"))
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .collect();
        files.sort();
        files[number - 1].clone()
    }

    /// Enters those operator shares at a node.
    pub fn enter_shares(&self, id: &str, numbers: &[usize]) -> Output {
        let mut command = self.cli_at(id);
        command.args(["--output", "json", "operator", "unseal"]);
        for number in numbers {
            command.arg("--share-file").arg(self.share_file(*number));
        }
        command.output().unwrap()
    }

    /// Enters enough operator shares, and waits until the node is open.
    pub fn unseal(&self, id: &str) {
        wait_for(&format!("{id} to take the shares"), LONG, || {
            let output = self.enter_shares(id, &[1, 2, 3]);
            let error = String::from_utf8_lossy(&output.stderr);
            // A node that has only just started says that it has to catch up first.
            let not_yet = ["caught up", "ThrottlingException"];
            let is_not_yet = not_yet.iter().any(|reason| error.contains(reason));
            assert!(output.status.success() || is_not_yet, "{error}");
            output.status.success().then_some(())
        });
        self.wait_state(id, "open");
    }

    pub fn wait_state(&self, id: &str, state: &str) {
        wait_for(&format!("{id} to be {state}"), LONG, || {
            (self.own_status(id)?["state"] == state).then_some(())
        });
    }

    pub fn stop_process(&self, id: &str) {
        self.signal(id, "-STOP");
    }

    pub fn continue_process(&self, id: &str) {
        self.signal(id, "-CONT");
    }

    /// The process id of that node.
    pub fn pid(&self, id: &str) -> u32 {
        self.restarted.get(id).map_or(self.node(id).pid, Child::id)
    }

    /// The process id of `conclave dev`.
    pub fn dev_pid(&self) -> u32 {
        self.dev.id()
    }

    /// Waits until that node has applied what the other has, and has the same audit log.
    pub fn wait_same_audit(&self, id: &str, other: &str) -> u64 {
        wait_for(&format!("{id} to have the audit log of {other}"), LONG, || {
            let (one, two) = (self.own_status(id)?, self.own_status(other)?);
            let size = one["audit_size"].as_u64()?;
            if two["audit_size"].as_u64()? != size {
                return None;
            }
            assert_eq!(one["audit_head"], two["audit_head"], "two logs of {size} entries differ");
            Some(size)
        })
    }

    fn signal(&self, id: &str, signal: &str) {
        let pid = self.pid(id);
        assert!(Command::new("kill").args([signal, &pid.to_string()]).status().unwrap().success());
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        for child in self.restarted.values_mut() {
            let _ = child.kill();
            let _ = child.wait();
        }
        let _ = Command::new("kill").args(["-TERM", &self.dev.id().to_string()]).status();
        let _ = self.dev.wait();
        if std::thread::panicking() {
            for node in &self.nodes {
                let log = self.dir.path().join(&node.id).join("log");
                let text = std::fs::read_to_string(&log).unwrap_or_default();
                let tail: Vec<&str> = text.lines().rev().take(30).collect();
                eprintln!("--- last lines of {}:", node.id);
                tail.iter().rev().for_each(|line| eprintln!("{line}"));
            }
        }
    }
}

/// Whether the figures that the project promises are to be held against this run: on a machine that
/// does nothing else, with a release build (`scripts/holds`). They are printed in any case.
pub fn figures_count() -> bool {
    std::env::var_os("CONCLAVE_HOLDS").is_some()
}

/// A count from the environment, so that the same test runs briefly often and for long once.
pub fn count_from(name: &str, default: usize) -> usize {
    std::env::var(name).map_or(default, |text| text.parse().expect("a whole number"))
}

/// An address on loopback that is the caller's until this process ends, whether it listens there or not.
pub fn address() -> String {
    static CLAIMED: Mutex<Vec<ports::Ports>> = Mutex::new(Vec::new());
    let claimed = ports::Ports::claim(1).unwrap();
    let address = format!("127.0.0.1:{}", claimed.numbers[0]);
    CLAIMED.lock().unwrap().push(claimed);
    address
}

/// Runs a command that must succeed, and gives what it printed.
pub fn run(command: &mut Command) -> Vec<u8> {
    let output = command.output().unwrap();
    assert!(
        output.status.success(),
        "{command:?} failed with {}: {}",
        output.status,
        String::from_utf8_lossy(&output.stderr)
    );
    output.stdout
}

/// Runs a command with something on its standard input.
pub fn run_with_input(command: &mut Command, input: &[u8]) -> Output {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // It may end before it has read everything: that is its answer.
    let _ = child.stdin.take().unwrap().write_all(input);
    child.wait_with_output().unwrap()
}

/// Runs a command and parses the JSON it printed.
pub fn json(command: &mut Command) -> Result<Value, String> {
    let output = command.output().unwrap();
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into_owned());
    }
    serde_json::from_slice(&output.stdout).map_err(|error| error.to_string())
}

/// Waits for a condition; panics if it does not come.
pub fn wait_for<T>(what: &str, limit: Duration, mut condition: impl FnMut() -> Option<T>) -> T {
    let began = Instant::now();
    loop {
        if let Some(value) = condition() {
            return value;
        }
        assert!(began.elapsed() < limit, "waited {limit:?} for {what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// What the tests of membership, founding and catching up need beside.
impl Cluster {
    /// Starts a node that belongs to nothing yet, with a certificate of the cluster's authority.
    /// The command line does not call it before [`Cluster::know`].
    pub fn add_spare_node(&mut self, id: &str) {
        let folder = self.dir.path().join(id);
        let node = spare_node(&self.pki(), &folder, id);
        self.nodes.push(node);
        self.restart(id);
    }

    /// Puts the nodes among the endpoints of [`Cluster::cli`].
    pub fn know(&mut self, ids: &[&str]) {
        let endpoints: Vec<String> =
            ids.iter().map(|id| format!("https://{}", self.node(id).api)).collect();
        self.env.insert("CONCLAVE_ENDPOINTS".to_owned(), endpoints.join(","));
    }

    /// The nodes as that node sees them.
    pub fn nodes_at(&self, id: &str) -> Option<Vec<Value>> {
        self.status_at(id)?["nodes"].as_array().cloned()
    }

    /// Waits until these nodes, and no others, have applied and audited the same, as they say
    /// themselves; gives the size and the head.
    pub fn wait_same_head(&self, ids: &[&str]) -> (u64, String) {
        wait_for("equal audit heads", LONG, || {
            let nodes = self.nodes_at(ids[0])?;
            let mut heads: Vec<(u64, String)> = nodes
                .iter()
                .filter(|node| ids.iter().any(|id| node["id"] == *id))
                .filter_map(|node| {
                    Some((node["audit_size"].as_u64()?, node["audit_head"].as_str()?.to_owned()))
                })
                .collect();
            let complete = heads.len() == ids.len();
            heads.dedup();
            (complete && heads.len() == 1).then(|| heads.remove(0))
        })
    }

    /// The node's own log.
    pub fn log_of(&self, id: &str) -> String {
        std::fs::read_to_string(self.dir.path().join(id).join("log")).unwrap_or_default()
    }
}

/// Issues a certificate and writes the configuration of a node in a folder of its own.
pub fn spare_node(pki: &Path, folder: &Path, id: &str) -> NodeInfo {
    std::fs::create_dir_all(folder).unwrap();
    run(conclave()
        .args(["pki", "issue", "node", id, "--host", "127.0.0.1", "--days", "1", "--dir"])
        .arg(pki)
        .arg("--out")
        .arg(folder));
    let [api, peer] = [(); 2].map(|()| address());
    let config = folder.join("conclave.toml");
    std::fs::write(
        &config,
        format!(
            "data_dir = \"data\"\nregion = \"local\"\nzone = \"{id}\"\n\n\
             [api]\nlisten = \"{api}\"\n\n[peer]\nlisten = \"{peer}\"\n\n\
             [tls]\nca = {ca:?}\ncert = \"{id}.pem\"\nkey = \"{id}.key\"\n",
            ca = pki.join("ca.pem"),
        ),
    )
    .unwrap();
    let data_dir = folder.join("data");
    NodeInfo { id: id.to_owned(), pid: 0, api, peer, data_dir, config, env: BTreeMap::new() }
}
