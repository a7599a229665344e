//! `conclave dev`: what scripts and fault tests rely on.

#![allow(clippy::unwrap_used, unreachable_pub, reason = "a test fails where this does")]

mod harness;

use std::fs;
use std::io::{BufRead, BufReader};
use std::mem::MaybeUninit;
use std::net::TcpStream;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};

use harness::{Cluster, LONG, conclave, json, run, wait_for};
use rustix::fs::inotify;
use serde_json::Value;

#[test]
fn exec_ends_with_the_commands_status_and_nothing_is_left() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().join("cluster");
    // The command finds the cluster by its environment alone, and this binary on its path.
    let command = "conclave key create --alias alias/a && echo some-output && exit 7";
    let output = dev(&dir, 2).args(["--exec", command]).output().unwrap();
    let stdout = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(7), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(stdout.starts_with("ready\n"), "{stdout}");
    assert!(stdout.contains("alias/a") && stdout.ends_with("some-output\n"), "{stdout}");
    // Stopped in order and waited for: nothing to wait for here.
    assert_eq!(node_processes(&dir), Vec::<u32>::new());
    for number in 1..=2 {
        let log = fs::read_to_string(dir.join(format!("n{number}/log"))).unwrap();
        assert!(log.contains("stopped"), "n{number} was not stopped in order: {log}");
    }
}

#[test]
fn exec_in_a_temporary_folder_leaves_no_folder() {
    let output = conclave()
        .args(["dev", "--nodes", "1", "--exec", "echo $CONCLAVE_DEV_DIR; exit 0"])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    let stdout = String::from_utf8(output.stdout).unwrap();
    let dir = stdout.strip_prefix("ready\n").unwrap().trim();
    assert!(!dir.is_empty() && !Path::new(dir).exists(), "{dir} is still there");
}

#[test]
fn nodes_die_with_dev_however_it_dies() {
    for signal in ["-KILL", "-TERM", "-INT"] {
        let folder = tempfile::tempdir().unwrap();
        let mut dev = start(dev(folder.path(), 2));
        assert_eq!(node_processes(folder.path()).len(), 2);
        let status = dev.end_by(signal);
        match signal {
            "-KILL" => assert_eq!(status.signal(), Some(9)),
            _ => assert_eq!(status.code(), Some(0), "{signal}"),
        }
        wait_for("the nodes to be gone", LONG, || {
            node_processes(folder.path()).is_empty().then_some(())
        });
    }
}

#[test]
fn a_folder_that_is_not_empty_is_refused_and_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("mine");
    fs::write(&file, "precious").unwrap();
    let output = dev(folder.path(), 1).output().unwrap();
    let error = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{error}");
    assert!(error.contains("is not empty") && error.contains("--dir"), "{error}");
    assert!(output.stdout.is_empty());
    assert_eq!(fs::read_to_string(&file).unwrap(), "precious");
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
}

#[test]
fn ready_is_said_only_when_everything_is_in_place() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().to_owned();
    let published = ["pki", "operator-shares", "env", "cluster.json"];
    let watch = inotify::init(inotify::CreateFlags::NONBLOCK).unwrap();
    inotify::add_watch(&watch, &dir, inotify::WatchFlags::MOVED_TO).unwrap();
    let mut dev = start(dev(&dir, 3));
    // The very next thing after the line: no waiting. Each was renamed into place whole, and
    // whoever waits for the last of them finds all.
    let missing: Vec<&str> =
        published.into_iter().filter(|name| !dir.join(name).exists()).collect();
    assert!(missing.is_empty(), "ready without {missing:?}");
    let mut buffer = [MaybeUninit::uninit(); 4096];
    let mut events = inotify::Reader::new(&watch, &mut buffer);
    let mut renamed = Vec::new();
    while let Ok(event) = events.next() {
        renamed.push(event.file_name().unwrap().to_str().unwrap().to_owned());
    }
    assert_eq!(renamed, published);

    let cluster: Value =
        serde_json::from_slice(&fs::read(dir.join("cluster.json")).unwrap()).unwrap();
    assert_eq!(cluster["cluster"], "dev");
    let env = fs::read_to_string(dir.join("env")).unwrap();
    let env: Vec<(&str, &str)> = env.lines().map(|line| line.split_once('=').unwrap()).collect();
    assert!(env.iter().all(|(_, value)| !value.is_empty()), "{env:?}");
    assert_eq!(fs::read_dir(dir.join("operator-shares")).unwrap().count(), 5);
    let pids: Vec<u32> = cluster["nodes"]
        .as_array()
        .unwrap()
        .iter()
        .map(|node| u32::try_from(node["pid"].as_u64().unwrap()).unwrap())
        .collect();
    let mut running = node_processes(&dir);
    running.sort_unstable();
    let mut sorted = pids.clone();
    sorted.sort_unstable();
    assert_eq!(running, sorted);

    // And the first call works, at every node.
    let status = json(conclave().envs(env.clone()).args(["--output", "json", "status"])).unwrap();
    let open = status["nodes"].as_array().unwrap().iter().filter(|node| node["state"] == "open");
    assert_eq!(open.count(), 3, "{status}");
    for node in cluster["nodes"].as_array().unwrap() {
        let endpoint = format!("https://{}", node["api"].as_str().unwrap());
        let mut create = conclave();
        create.envs(env.clone()).env("CONCLAVE_ENDPOINTS", endpoint).args(["key", "create"]);
        run(&mut create);
    }
    assert_eq!(dev.end_by("-TERM").code(), Some(0));
}

#[test]
fn a_killed_node_is_started_again_only_by_hand() {
    let mut cluster = Cluster::start(3);
    let killed = cluster.follower();
    let address = cluster.node(&killed).api.clone();
    assert_eq!(children(cluster.dev_pid()).len(), 3);
    cluster.kill(&killed);
    // A whole life of the cluster later it is still down, and the others serve.
    for _ in 0..10 {
        run(cluster.cli().args(["key", "create"]));
        assert_eq!(children(cluster.dev_pid()).len(), 2);
        assert!(TcpStream::connect(&address).is_err(), "{killed} answers again");
    }
    let status = cluster.status().unwrap();
    let of_killed = status["nodes"].as_array().unwrap().iter().find(|node| node["id"] == *killed);
    assert_eq!(of_killed.unwrap()["state"], "unreachable");

    cluster.restart(&killed);
    assert_eq!(cluster.own_status(&killed).unwrap()["state"], "sealed");
    cluster.unseal(&killed);
    run(cluster.cli_at(&killed).args(["key", "create"]));
    let leader = cluster.leader();
    cluster.wait_same_audit(&killed, &leader);
    assert_eq!(children(cluster.dev_pid()).len(), 2, "it is no child of dev");
}

#[test]
fn every_node_has_a_token_of_its_own() {
    let cluster = Cluster::start_with_tokens(2);
    let mut serials = Vec::new();
    for node in &cluster.nodes {
        let conf = node.env.get("SOFTHSM2_CONF").unwrap();
        let environ = fs::read(format!("/proc/{}/environ", node.pid)).unwrap();
        let expected = format!("SOFTHSM2_CONF={conf}");
        assert!(environ.split(|byte| *byte == 0).any(|entry| entry == expected.as_bytes()));
        let shown =
            run(Command::new("softhsm2-util").arg("--show-slots").env("SOFTHSM2_CONF", conf));
        let shown = String::from_utf8(shown).unwrap();
        let field = |name: &str| {
            let of_line = |line: &str| line.trim().strip_prefix(name).map(|v| v.trim().to_owned());
            shown.lines().filter_map(of_line).next().unwrap()
        };
        assert_eq!(field("Label:"), node.id, "{shown}");
        serials.push(field("Serial number:"));
        let config = fs::read_to_string(&node.config).unwrap();
        assert!(config.contains("type = \"pkcs11\""), "{config}");
    }
    serials.dedup();
    assert_eq!(serials.len(), 2);
    run(cluster.cli().args(["key", "create"]));
}

#[test]
fn without_softhsm_it_says_how_to_get_it() {
    let folder = tempfile::tempdir().unwrap();
    let empty = tempfile::tempdir().unwrap();
    let mut command = dev(folder.path(), 1);
    let output = command.args(["--seal", "pkcs11"]).env("PATH", empty.path()).output().unwrap();
    let error = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{error}");
    assert!(error.contains("apt-get install softhsm2"), "{error}");
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0, "nothing was written");
}

fn dev(dir: &Path, nodes: u16) -> Command {
    let mut command = conclave();
    command.args(["dev", "--nodes", &nodes.to_string(), "--dir"]).arg(dir);
    command
}

/// A running `conclave dev`; a test that fails leaves none behind.
struct Dev(Child);

impl Dev {
    fn end_by(&mut self, signal: &str) -> ExitStatus {
        let pid = self.0.id().to_string();
        assert!(Command::new("kill").args([signal, &pid]).status().unwrap().success());
        self.0.wait().unwrap()
    }
}

impl Drop for Dev {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Starts it, up to its line `ready`.
fn start(mut dev: Command) -> Dev {
    let mut dev = Dev(dev.stdout(Stdio::piped()).spawn().unwrap());
    let mut line = String::new();
    BufReader::new(dev.0.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
    assert_eq!(line, "ready\n");
    dev
}

/// The processes that run a node in that folder, however they were started.
fn node_processes(dir: &Path) -> Vec<u32> {
    let dir = format!("{}/", fs::canonicalize(dir).unwrap().display());
    let runs_here = |pid: &u32| {
        let arguments = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let arguments = String::from_utf8_lossy(&arguments);
        arguments.contains("\0server\0") && arguments.contains(&dir)
    };
    processes().into_iter().filter(runs_here).collect()
}

fn children(parent: u32) -> Vec<u32> {
    let is_child = |pid: &u32| {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        status.lines().any(|line| {
            line.strip_prefix("PPid:").is_some_and(|of| of.trim() == parent.to_string())
        })
    };
    processes().into_iter().filter(is_child).collect()
}

fn processes() -> Vec<u32> {
    fs::read_dir("/proc")
        .unwrap()
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .collect()
}
