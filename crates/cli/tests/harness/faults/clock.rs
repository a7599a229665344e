//! A node's clock, by libfaketime: set anew while the node runs, its monotonic clock untouched.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use super::super::{Cluster, LONG, conclave, run, wait_for};

/// Where Debian puts it; the folder between is the machine's.
const LIBRARY: &str = "faketime/libfaketimeMT.so.1";

/// The file that a node's clock follows: seconds to be added, as text.
pub struct Clock {
    file: PathBuf,
}

impl Clock {
    /// A clock for that node, right to begin with.
    pub fn new(cluster: &Cluster, id: &str) -> Self {
        let clock = Self { file: cluster.dir.path().join(id).join("clock") };
        clock.set(0);
        clock
    }

    /// What a node is started with.
    pub fn env(&self) -> Vec<(String, String)> {
        let library = fs::read_dir("/usr/lib")
            .unwrap()
            .map(|folder| folder.unwrap().path().join(LIBRARY))
            .find(|path| path.exists())
            .expect("libfaketime is not here: run scripts/test, which installs it");
        [
            ("LD_PRELOAD", library.to_str().unwrap()),
            ("FAKETIME_TIMESTAMP_FILE", self.file.to_str().unwrap()),
            ("FAKETIME_NO_CACHE", "1"),
            ("FAKETIME_DONT_FAKE_MONOTONIC", "1"),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .to_vec()
    }

    /// Sets it that many seconds off.
    pub fn set(&self, seconds: i64) {
        // By rename: the node reads the file at every look at its clock.
        let beside = self.file.with_extension("new");
        fs::write(&beside, format!("{seconds:+}\n")).unwrap();
        fs::rename(&beside, &self.file).unwrap();
    }
}

impl Cluster {
    /// Waits until that node's clock is so many seconds off, as it shows itself: it writes the time,
    /// to the hour, into its log, and does so (at `debug`) when somebody knocks and says nothing.
    pub fn wait_clock_off(&self, id: &str, seconds: i64) {
        wait_for(&format!("the clock of {id} to be {seconds:+} s off"), LONG, || {
            let _ = std::net::TcpStream::connect(&self.node(id).api);
            let mut date = Command::new("date");
            date.args(["--utc", "+%Y-%m-%dT%H:", "--date", &format!("{seconds:+} seconds")]);
            let expected = String::from_utf8(run(&mut date)).unwrap();
            self.log_of(id)
                .lines()
                .last()
                .filter(|line| line.starts_with(expected.trim()))
                .map(drop)
        });
    }
}

/// Issues all certificates anew for ten years, and starts every node with a clock of its own.
pub fn with_clocks_of_their_own(cluster: &mut Cluster) -> Vec<Clock> {
    let (pki, names) = (cluster.pki(), cluster.names());
    let ids: Vec<&str> = names.iter().map(String::as_str).collect();
    ids.iter().for_each(|id| cluster.terminate(id));
    let fresh = cluster.dir.path().join("fresh");
    let clocks: Vec<Clock> = ids.iter().map(|id| Clock::new(cluster, id)).collect();
    // Valid since the day before, for whoever is hours back.
    clocks[0].set(-86_400);
    let conclave = || {
        let mut command = conclave();
        command.envs(clocks[0].env());
        command
    };
    let days = ["--days", "3640"];
    let mut authority = conclave();
    authority.args(["pki", "init", "--cluster", "dev", "--days", "3650", "--dir"]).arg(&fresh);
    run(&mut authority);
    for client in ["dev", "operator", "key-administrator", "key-user", "auditor"] {
        let mut issue = conclave();
        issue.args(["pki", "issue", "client", client, "--dir"]).arg(&fresh).args(days);
        run(&mut issue);
    }
    for id in &ids {
        let folder = cluster.dir.path().join(id);
        let mut issue = conclave();
        issue.args(["pki", "issue", "node", id, "--host", "127.0.0.1", "--dir"]).arg(&fresh);
        run(issue.args(days));
        for (from, to) in [("ca.pem", "ca.pem"), (".pem", "node.pem"), (".key", "node.key")] {
            let from = if from == "ca.pem" { from.to_owned() } else { format!("{id}{from}") };
            fs::copy(fresh.join(from), folder.join(to)).unwrap();
        }
        let config = &cluster.node(id).config;
        let quiet = fs::read_to_string(config).unwrap();
        let level = "\n[log]\nlevel = \"info,conclave_server=debug\"\n";
        fs::write(config, quiet + level).unwrap();
    }
    for file in fs::read_dir(&fresh).unwrap() {
        let from = file.unwrap().path();
        fs::copy(&from, pki.join(from.file_name().unwrap())).unwrap();
    }
    clocks[0].set(0);
    for (id, clock) in ids.iter().zip(&clocks) {
        cluster.launch(id, &clock.env());
    }
    cluster.unseal_all(&ids);
    clocks
}
