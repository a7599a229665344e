//! System calls that fail or take long, by strace attached to a running node.

use std::fs;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use super::super::{Cluster, LONG, wait_for};

/// An attached strace; it lets go when this is dropped.
pub struct Tampering {
    strace: Child,
    output: PathBuf,
}

impl Tampering {
    /// The `nth` of these calls that a thread makes from now on fails with EIO, and so do all after it.
    pub fn failing(cluster: &Cluster, id: &str, calls: &str, nth: u64) -> Self {
        Self::attach(cluster, id, &format!("inject={calls}:error=EIO:when={nth}+"))
    }

    /// Each of these calls takes that much longer.
    pub fn slow(cluster: &Cluster, id: &str, calls: &str, by: Duration) -> Self {
        Self::attach(cluster, id, &format!("inject={calls}:delay_enter={}", by.as_micros()))
    }

    /// The node is killed with SIGKILL as a thread makes the `nth` of these calls.
    pub fn killing(cluster: &Cluster, id: &str, calls: &str, nth: u64) -> Self {
        Self::attach(cluster, id, &format!("inject={calls}:signal=KILL:when={nth}"))
    }

    fn attach(cluster: &Cluster, id: &str, inject: &str) -> Self {
        let output = cluster.dir.path().join(format!("{id}.strace"));
        let pid = cluster.pid(id);
        let strace = Command::new("strace")
            .args(["-f", "-p", &pid.to_string(), "-e", inject, "-o"])
            .arg(&output)
            .stdin(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let tampering = Self { strace, output };
        wait_for("strace to hold every thread", LONG, || {
            // The fault may be quick, and the node gone already.
            let Ok(tasks) = fs::read_dir(format!("/proc/{pid}/task")) else { return Some(()) };
            let held = |status: String| {
                !status.contains("\nTracerPid:\t0\n") || status.contains("\nState:\tZ")
            };
            tasks
                .filter_map(|task| fs::read_to_string(task.ok()?.path().join("status")).ok())
                .all(held)
                .then_some(())
        });
        tampering
    }

    /// How many calls it has changed so far.
    pub fn acted(&self) -> usize {
        let text = fs::read_to_string(&self.output).unwrap_or_default();
        text.matches("(INJECTED)").count() + text.matches("(DELAYED)").count()
    }

    /// Waits until it has changed that many.
    pub fn wait_acted(&self, times: usize) {
        wait_for("the fault to act", LONG, || (self.acted() >= times).then_some(()));
    }
}

impl Drop for Tampering {
    fn drop(&mut self) {
        // SIGTERM lets it detach; after SIGKILL the node might go with it.
        let pid = self.strace.id().to_string();
        let _ = Command::new("kill").args(["-TERM", &pid]).status();
        let _ = self.strace.wait();
    }
}
