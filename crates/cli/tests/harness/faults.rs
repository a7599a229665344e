//! Faults that are injected into running nodes, each with the proof that it took effect.
//!
//! They need root and a few tools (`scripts/test` installs them), and say so loudly when they are
//! missing. Whatever they change on the machine is taken back when they are dropped, after a panic
//! too. A fault that did not act fails the test: a run without its fault shows nothing.

pub mod clock;
pub mod disk;
pub mod rot;
pub mod trace;

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use super::{Cluster, LONG, wait_for};

/// Setting this to 1 leaves out what needs root.
const LEAVE_OUT: &str = "CONCLAVE_NO_FAULTS";
/// A start that is refused has mostly ended by then.
const REFUSAL: Duration = Duration::from_secs(1);
const TOOLS: [&str; 7] =
    ["strace", "mkfs.ext4", "mount", "umount", "fsfreeze", "perl", "fallocate"];

/// Whether faults can be injected here. Panics if they cannot and nobody said to leave them out.
pub fn ready() -> bool {
    if std::env::var(LEAVE_OUT).is_ok_and(|value| value == "1") {
        eprintln!("!! {LEAVE_OUT}=1: THIS FAULT TEST WAS LEFT OUT, it shows nothing");
        return false;
    }
    let root = rustix::process::geteuid().is_root();
    assert!(root, "faults are injected as root; {LEAVE_OUT}=1 leaves these tests out");
    let folders = std::env::var_os("PATH").unwrap_or_default();
    let folders: Vec<_> = std::env::split_paths(&folders).collect();
    let missing: Vec<_> =
        TOOLS.iter().filter(|tool| !folders.iter().any(|dir| dir.join(tool).exists())).collect();
    assert!(
        missing.is_empty(),
        "{missing:?} not on the PATH: run scripts/test, which installs them"
    );
    true
}

/// How often, or how long: by default few, as many as that variable says for the whole run.
pub fn count(variable: &str, default: u64) -> u64 {
    std::env::var(variable).map_or(default, |value| value.parse().unwrap())
}

/// A small generator of choices (xorshift64*), so that a run can be repeated by its seed.
pub struct Dice(u64);

impl Dice {
    /// From `CONCLAVE_FAULT_SEED`, or the time; says which.
    pub fn new() -> Self {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
        let seed = count("CONCLAVE_FAULT_SEED", u64::from(now.subsec_nanos()) << 8 | 1);
        eprintln!("CONCLAVE_FAULT_SEED={seed}");
        Self(seed.max(1))
    }

    pub fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) % end
    }

    /// Waits for less than that: when a fault comes is part of what is drawn.
    pub fn wait_below(&mut self, limit: Duration) {
        let limit_ms = u64::try_from(limit.as_millis()).unwrap();
        std::thread::sleep(Duration::from_millis(self.below(limit_ms)));
    }
}

/// What became of a node that was started.
#[derive(Debug)]
pub enum Started {
    /// It answers.
    Serving,
    /// It ended by itself, with this last in its log.
    Refused(String),
}

impl Started {
    /// The words with which it refused.
    pub fn refusal(self) -> String {
        match self {
            Self::Refused(words) => words,
            Self::Serving => panic!("the node serves"),
        }
    }
}

impl Cluster {
    /// Starts a node and waits until it answers or has ended.
    pub fn try_restart(&mut self, id: &str) -> Started {
        let from = self.log_of(id).len();
        self.launch(id, &[]);
        let launched = Instant::now();
        let ended = wait_for(&format!("{id} to answer or to end"), LONG, || {
            if self.has_ended(id) {
                return Some(true);
            }
            // The command would go on asking a node that ends meanwhile.
            (launched.elapsed() > REFUSAL).then_some(())?;
            self.own_status(id).map(|_| false)
        });
        if !ended {
            return Started::Serving;
        }
        self.restarted.remove(id);
        Started::Refused(self.log_of(id)[from..].to_owned())
    }

    /// Whether the node's process has ended by itself.
    pub fn has_ended(&mut self, id: &str) -> bool {
        match self.restarted.get_mut(id) {
            Some(child) => child.try_wait().unwrap().is_some(),
            None => !Path::new(&format!("/proc/{}", self.node(id).pid)).exists(),
        }
    }

    /// Waits until a node has ended by itself; gives what it logged since `from`.
    pub fn wait_ended(&mut self, id: &str, from: usize) -> String {
        wait_for(&format!("{id} to stop by itself"), LONG, || self.has_ended(id).then_some(()));
        self.restarted.remove(id);
        self.log_of(id)[from..].to_owned()
    }

    /// Enters operator shares at all of these and waits until all are open. Nodes that have only
    /// just started, or have no leader yet, are asked again.
    pub fn unseal_all(&self, ids: &[&str]) {
        for id in ids {
            wait_for(&format!("{id} to take the shares"), LONG, || {
                let taken = self.enter_shares(id, &[1, 2, 3]).status.success();
                (taken || self.own_status(id)?["state"] == "open").then_some(())
            });
        }
        for id in ids {
            self.wait_state(id, "open");
        }
    }

    /// Every node by name.
    pub fn names(&self) -> Vec<String> {
        self.nodes.iter().map(|node| node.id.clone()).collect()
    }

    /// Every node is open and has applied and audited the same, and a majority of the voters
    /// vouches for a log that verifies.
    pub fn assert_whole(&self) {
        let names = self.names();
        let ids: Vec<&str> = names.iter().map(String::as_str).collect();
        ids.iter().for_each(|id| self.wait_state(id, "open"));
        self.wait_same_head(&ids);
        // Nobody else writes, but nodes do now and then (an audit key, a checkpoint).
        let verified = wait_for("every voter to vouch for the log", LONG, || {
            let verified =
                super::json(self.cli().args(["--output", "json", "audit", "verify"])).unwrap();
            assert_eq!(verified["verified"], true, "{verified}");
            (verified["voters_agreeing"] == ids.len()).then_some(verified)
        });
        assert_eq!(verified["voters"], ids.len(), "{verified}");
    }

    /// The term as the node sees it.
    pub fn term(&self, id: &str) -> Option<u64> {
        self.own_status(id)?["term"].as_u64()
    }
}

/// Waits until no such process is left.
pub fn wait_gone(pid: u32) {
    wait_for(&format!("process {pid} to be gone"), LONG, || {
        (!Path::new(&format!("/proc/{pid}")).exists()).then_some(())
    });
}

/// The state letter of a process, as in /proc: `T` stopped, `D` waiting for a disk.
pub fn process_state(pid: u32) -> char {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    stat.rsplit_once(") ").unwrap().1.chars().next().unwrap()
}

/// The state letters of all threads of a process.
pub fn thread_states(pid: u32) -> Vec<char> {
    let Ok(tasks) = fs::read_dir(format!("/proc/{pid}/task")) else { return Vec::new() };
    tasks
        .filter_map(|task| fs::read_to_string(task.ok()?.path().join("stat")).ok())
        .filter_map(|stat| stat.rsplit_once(") ")?.1.chars().next())
        .collect()
}

/// Runs a tool that must succeed.
pub fn tool(name: &str, args: &[&str]) {
    let output = Command::new(name).args(args).output();
    let output = output.unwrap_or_else(|error| panic!("{name}: {error}"));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{name} {args:?}: {said}");
}
