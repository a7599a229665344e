//! The node processes: started once, never again, and ended with this one.

use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::process::{ExitCode, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tokio::process::{Child, Command};

use super::layout::Layout;
use crate::error::CliError;

/// How long nodes may take to stop before they are killed.
const STOP_TIMEOUT: Duration = Duration::from_secs(10);

/// The children.
pub(super) struct Nodes {
    running: BTreeMap<String, Child>,
}

impl Nodes {
    /// Starts every node. Called on the one thread that lives as long as this process.
    pub(super) fn start(layout: &Layout) -> Result<Self, CliError> {
        let binary = std::env::current_exe().map_err(CliError::Runtime)?;
        let mut running = BTreeMap::new();
        for node in &layout.nodes {
            let log =
                OpenOptions::new().create(true).append(true).open(&node.log).map_err(|source| {
                    CliError::File { verb: "write", path: node.log.clone(), source }
                })?;
            let child = Command::new(&binary)
                .args(["server", "--die-with-parent", &std::process::id().to_string(), "--config"])
                .arg(&node.config)
                .envs(&node.env)
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(log)
                .kill_on_drop(true)
                // Ctrl-C is for `dev`, which then stops the nodes in order.
                .process_group(0)
                .spawn()
                .map_err(CliError::Runtime)?;
            running.insert(node.name.clone(), child);
        }
        Ok(Self { running })
    }

    /// Process ids, by node name.
    pub(super) fn pids(&self) -> BTreeMap<String, u32> {
        self.running.iter().filter_map(|(name, child)| Some((name.clone(), child.id()?))).collect()
    }

    /// The name of a node that has ended, if any.
    pub(super) fn ended(&mut self) -> Option<String> {
        let ended = |child: &mut Child| !matches!(child.try_wait(), Ok(None));
        self.running.iter_mut().find_map(|(name, child)| ended(child).then(|| name.clone()))
    }

    /// Collects nodes that end, for ever.
    pub(super) async fn reap(&mut self) -> Result<ExitCode, CliError> {
        loop {
            self.running.retain(|_, child| matches!(child.try_wait(), Ok(None)));
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Stops every node, in order if they will.
    pub(super) async fn stop(&mut self) {
        for child in self.running.values() {
            if let Some(pid) =
                child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw)
            {
                let _ = kill_process(pid, Signal::TERM);
            }
        }
        for child in self.running.values_mut() {
            if tokio::time::timeout(STOP_TIMEOUT, child.wait()).await.is_err() {
                let _ = child.kill().await;
            }
        }
    }
}
