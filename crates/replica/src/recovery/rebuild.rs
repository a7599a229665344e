//! Making the folder of a group of one.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::path::Path;
use std::sync::Arc;

use conclave_crypto::{Entropy, SystemEntropy};
use openraft::storage::RaftLogStorage;
use tokio::sync::mpsc;

use super::read::{Pages, Parts};
use super::{FAR, Holding, RecoveryError, Source};
use crate::applied::{Applied, Restored};
use crate::clock::ClusterClock;
use crate::config::ReplicaConfig;
use crate::disk::{OnFile, create_dir, sync_dir};
use crate::log::{LogStore, Owner};
use crate::snapshot::SnapshotStore;
use crate::types::{Leader, LogId, Membership, PeerNode, RaftId, StoredMembership, Vote};

/// Makes in `dir`, which is empty or absent, the replica of a group of one that continues `holding`,
/// which [`read`](super::read()) gave for this source. Gives the Raft id of its one member. All of it is
/// durable then, but for the name of `dir`.
///
/// # Errors
/// [`RecoveryError`]; what is in `dir` then is worth nothing.
pub async fn rebuild(
    source: &Source,
    holding: &Holding,
    dir: &Path,
    node: PeerNode,
) -> Result<RaftId, RecoveryError> {
    let raft_id = far_after(holding.last.index);
    create_dir(dir).on(dir)?;
    let parts = Parts::open(source)?;
    let config = ReplicaConfig::new(dir, "", holding.domain_id, raft_id, node.name.clone());
    copy_segments(&parts.audit, &config.audit_dir(), holding)?;
    let (snapshots, _) = SnapshotStore::open(&config)?;
    let applied = replay(&parts, &config, &snapshots).await?;
    let is_same = applied.read(|content| {
        let head = content.state.head();
        content.last_applied == Some(holding.last)
            && (head.size, head.hash) == (holding.audit_size, holding.audit_head)
    });
    if !is_same {
        return Err(RecoveryError::Changed);
    }
    let leader = Leader { term: holding.term + 1, node_id: raft_id };
    let begins = LogId::new(leader, raft_id);
    let members =
        Membership::new(vec![BTreeSet::from([raft_id])], BTreeMap::from([(raft_id, node)]));
    let members = members.map_err(|error| std::io::Error::other(error.to_string()))?;
    applied.continue_at(begins, StoredMembership::new(Some(begins), members))?;
    snapshots.build(&applied)?;
    drop(applied);
    begin_log(&config, begins, Vote::new(leader.term, raft_id)).await?;
    fs::remove_dir_all(config.index_dir()).on(&config.index_dir())?;
    sync_dir(dir).on(dir)?;
    Ok(raft_id)
}

/// A log index, and so a Raft id, that nothing was ever given.
fn far_after(index: u64) -> u64 {
    let mut drawn = [0; 8];
    SystemEntropy.fill(&mut drawn);
    index + FAR + u64::from_be_bytes(drawn) % FAR
}

/// The segments as they lie there: whoever opens them checks them against the chain.
fn copy_segments(from: &Path, to: &Path, holding: &Holding) -> Result<(), RecoveryError> {
    create_dir(to).on(to)?;
    let entries = match fs::read_dir(from) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return match holding.snapshot_index {
                Some(_) => Err(RecoveryError::NoAudit { path: from.to_owned() }),
                None => Ok(()),
            };
        }
        entries => entries.on(from)?,
    };
    for entry in entries {
        let entry = entry.on(from)?;
        if entry.path().extension().is_none_or(|extension| extension != "seg") {
            continue;
        }
        let copy = to.join(entry.file_name());
        fs::copy(entry.path(), &copy).on(&copy)?;
        File::open(&copy).and_then(|file| file.sync_all()).on(&copy)?;
    }
    Ok(sync_dir(to).on(to)?)
}

/// The state at the end of the source's log, with its records and its audit history in the new folder.
async fn replay(
    parts: &Parts,
    config: &ReplicaConfig,
    snapshots: &SnapshotStore,
) -> Result<Applied, RecoveryError> {
    let restored = match &parts.snapshot {
        Some(file) => snapshots.check(file)?.0,
        None => Restored::nothing(config),
    };
    let last = restored.last_applied;
    let clock = Arc::new(ClusterClock::new(config.wall_clock.clone()));
    // Nobody proposes here, so nobody is to be told.
    let (notices, _) = mpsc::unbounded_channel();
    let applied = Applied::open(config, restored, notices, clock, Arc::default())?;
    if let Some(file) = &parts.snapshot {
        applied.fill(snapshots.records_of(file)?.map(|record| record.map_err(Into::into)))?;
    }
    // What opening took on trust, and what a start would check in the background.
    let scrub = applied.segments().scrub();
    scrub.run(|_| true)?;
    if let Some(log) = parts.log()? {
        let mut pages = Pages::after(log, last);
        while let Some(entries) = pages.next(parts).await? {
            applied.apply(&entries)?;
        }
    }
    applied.segments().sync()?;
    Ok(applied)
}

/// An empty log that continues after the snapshot.
async fn begin_log(config: &ReplicaConfig, begins: LogId, vote: Vote) -> Result<(), RecoveryError> {
    let owner = Owner { domain: config.domain_id, raft_id: config.raft_id };
    let mut log = LogStore::open(&config.log_dir(), owner)?;
    log.save_vote(&vote).await?;
    log.purge(begins).await?;
    Ok(())
}
