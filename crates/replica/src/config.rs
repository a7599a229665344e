//! What a replica is started with, checked once, and what openraft is told of it.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use openraft::SnapshotPolicy;

use crate::clock::{SystemClock, WallClock};
use crate::types::RaftId;

/// Log entries between two snapshots unless configured otherwise.
pub const SNAPSHOT_EVERY: u64 = 20_000;
/// Milliseconds between heartbeats unless configured otherwise.
pub const HEARTBEAT_MS: u64 = 100;
/// Shortest silence of a leader before a node stands for election, unless configured otherwise.
pub const ELECTION_MIN_MS: u64 = 500;
/// Longest such silence; each node draws its own between the two. Both are stretched by what is
/// measured: see `hearing`.
pub const ELECTION_MAX_MS: u64 = 1000;
/// How long a node that starts waits for silent voters, unless configured otherwise.
pub(crate) const WITNESS_WAIT: Duration = Duration::from_secs(10);
/// Entries kept behind a snapshot. A follower that is sent one must find the log going on from there
/// when it has installed it, or it is sent the next for ever: so more is kept than goes by meanwhile.
const KEPT_BEHIND_SNAPSHOT_MAX: u64 = 10_000;
/// The same where snapshots are taken often, in snapshots.
const SNAPSHOTS_KEPT: u64 = 2;
/// Entries in one AppendEntries at most; their bytes are bounded by the sender too.
const ENTRIES_PER_APPEND: u64 = 64;
/// A snapshot may take this long to be sent and installed, its audit segments included.
const INSTALL_SNAPSHOT_MS: u64 = 600_000;

/// What a replica is started with. Fields a caller does not care about come from
/// [`ReplicaConfig::new`].
#[derive(Clone)]
pub struct ReplicaConfig {
    /// Folder of this domain on this node; made if absent. Nothing else may write in it.
    pub data_dir: PathBuf,
    /// Cluster name, as the certificates have it.
    pub cluster: String,
    /// The domain's id.
    pub domain_id: [u8; 16],
    /// This node's Raft id in this domain, never 0.
    pub raft_id: RaftId,
    /// This node's stable name.
    pub name: String,
    /// Log entries between two snapshots.
    pub snapshot_every: u64,
    /// Milliseconds between heartbeats.
    pub heartbeat_ms: u64,
    /// Shortest election timeout, milliseconds.
    pub election_min_ms: u64,
    /// Longest election timeout, milliseconds.
    pub election_max_ms: u64,
    /// Bytes of one audit segment; the same on every replica of the domain, for as long as it lives.
    pub segment_bytes: u64,
    /// How long a node that starts waits for voters that do not say what they saw of its disk.
    pub witness_wait: Duration,
    /// Where the node's own wall clock is read.
    pub wall_clock: Arc<dyn WallClock>,
}

impl ReplicaConfig {
    /// The configuration with every default.
    pub fn new(
        data_dir: impl Into<PathBuf>,
        cluster: impl Into<String>,
        domain_id: [u8; 16],
        raft_id: RaftId,
        name: impl Into<String>,
    ) -> Self {
        Self {
            data_dir: data_dir.into(),
            cluster: cluster.into(),
            domain_id,
            raft_id,
            name: name.into(),
            snapshot_every: SNAPSHOT_EVERY,
            heartbeat_ms: HEARTBEAT_MS,
            election_min_ms: ELECTION_MIN_MS,
            election_max_ms: ELECTION_MAX_MS,
            segment_bytes: conclave_store::limits::SEGMENT_BYTES,
            witness_wait: WITNESS_WAIT,
            wall_clock: Arc::new(SystemClock),
        }
    }

    /// Where audit segments are.
    pub(crate) fn audit_dir(&self) -> PathBuf {
        self.data_dir.join("audit")
    }

    /// Where snapshots are, and what is being received.
    pub(crate) fn snapshot_dir(&self) -> PathBuf {
        self.data_dir.join("snapshot")
    }

    /// Where the index is that every start rebuilds.
    pub(crate) fn index_dir(&self) -> PathBuf {
        self.data_dir.join("index")
    }

    /// Where the Raft log is.
    pub(crate) fn log_dir(&self) -> PathBuf {
        self.data_dir.join("raft")
    }

    /// Checks the numbers and makes openraft's configuration.
    pub(crate) fn raft_config(&self) -> Result<openraft::Config, ConfigError> {
        if self.raft_id == 0 {
            return Err(ConfigError::NoRaftId);
        }
        if self.snapshot_every == 0 {
            return Err(ConfigError::SnapshotEvery);
        }
        let (heartbeat, shortest) = (self.heartbeat_ms, self.election_min_ms);
        if heartbeat * 3 > shortest || shortest >= self.election_max_ms {
            return Err(ConfigError::Timing { heartbeat, shortest, longest: self.election_max_ms });
        }
        let config = openraft::Config {
            cluster_name: self.cluster.clone(),
            heartbeat_interval: heartbeat,
            // Elections are called for by `campaign`. What openraft still takes from these is the
            // lease, the longer of the two: for so long after it heard a leader a node grants nobody
            // a vote. It is the shortest silence after which one is asked for.
            enable_elect: false,
            election_timeout_min: heartbeat.midpoint(shortest),
            election_timeout_max: shortest,
            install_snapshot_timeout: INSTALL_SNAPSHOT_MS,
            max_payload_entries: ENTRIES_PER_APPEND,
            snapshot_policy: SnapshotPolicy::LogsSinceLast(self.snapshot_every),
            max_in_snapshot_log_to_keep: KEPT_BEHIND_SNAPSHOT_MAX
                .min(SNAPSHOTS_KEPT * self.snapshot_every),
            // A learner counts as caught up for openraft within this; our own check is stricter.
            replication_lag_threshold: self.snapshot_every,
            // A restarted leader may have applied less than it had acknowledged: it stands again.
            enable_leader_restore: Some(false),
            enable_pre_vote: Some(true),
            // A peer that comes back is tried again soon, whatever it had been doing.
            backoff: "50ms 100ms 200ms ...500ms".to_owned(),
            ..openraft::Config::default()
        };
        config.validate().map_err(|error| ConfigError::Refused(error.to_string()))
    }
}

/// What a replica cannot be started with.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// Raft id 0 means none.
    #[error("the Raft id is 0, which means none; found or join a domain first")]
    NoRaftId,
    /// Snapshots would never stop.
    #[error("snapshot_every is 0; set the number of log entries between two snapshots")]
    SnapshotEvery,
    /// Heartbeat and election times do not fit each other.
    #[error(
        "the Raft times do not fit: 3 × heartbeat ({heartbeat} ms) must be at most the shortest election time ({shortest} ms), and that below the longest ({longest} ms)"
    )]
    Timing {
        /// Between heartbeats, milliseconds.
        heartbeat: u64,
        /// Shortest election time, milliseconds.
        shortest: u64,
        /// Longest election time, milliseconds.
        longest: u64,
    },
    /// openraft takes it for unusable.
    #[error("Raft's configuration is unusable: {0}")]
    Refused(String),
}
