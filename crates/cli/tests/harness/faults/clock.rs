//! A node's clock, by libfaketime: set anew while the node runs, its monotonic clock untouched.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use super::super::{Cluster, LONG, run, wait_for};

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
