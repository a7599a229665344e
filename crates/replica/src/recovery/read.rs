//! Reading a source through: its snapshot, and what its log adds.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use conclave_proto::store::{Command, snapshot_item};
use conclave_store::State;
use openraft::RaftLogReader;
use openraft::storage::RaftLogStorage;
use prost::Message;

use super::{Holding, RecoveryError, Source};
use crate::applied::{ApplyError, Restored};
use crate::config::ReplicaConfig;
use crate::disk::OnFile;
use crate::log::{LogStore, Owner};
use crate::snapshot::{SnapshotReader, SnapshotStore, index_of};
use crate::types::{Entry, LogId};

/// Says what a source holds. A log that is damaged, or does not follow the snapshot, is refused.
///
/// # Errors
/// [`RecoveryError`].
pub async fn read(source: &Source) -> Result<Holding, RecoveryError> {
    let parts = Parts::open(source)?;
    let config = parts.config();
    let snapshots = SnapshotStore::over(&config);
    let mut public = std::collections::BTreeMap::new();
    let mut state = State::with_segment_bytes(config.domain_id, config.segment_bytes);
    let mut last = None;
    if let Some(file) = &parts.snapshot {
        let Restored { state: restored, last_applied, .. } = snapshots.check(file)?.0;
        (state, last) = (restored, last_applied);
        for record in snapshots.records_of(file)? {
            let (id, blob) = record?;
            if id.kind().is_public() {
                public.insert(id, Arc::from(blob));
            }
        }
    }
    let snapshot_index = last.map(|last: LogId| last.index);
    let mut term = last.map_or(0, |last| last.leader_id.term);
    let mut committed_index = snapshot_index.unwrap_or(0);
    if let Some(mut log) = parts.log()? {
        let vote = log.vote()?.map_or(0, |vote| vote.leader_id.term);
        term = term.max(vote);
        let committed = log.read_committed().await?.map_or(0, |committed| committed.index);
        committed_index = committed_index.max(committed);
        let mut pages = Pages::after(log, last);
        while let Some(entries) = pages.next(&parts).await? {
            for entry in entries {
                let index = entry.log_id.index;
                match &entry.payload.command {
                    None => state.apply_blank(index)?,
                    Some(command) => {
                        let applied = state.apply(index, &decode(index, &command.0)?)?;
                        for (id, blob) in applied.writes {
                            match blob {
                                Some(blob) if id.kind().is_public() => public.insert(id, blob),
                                _ => public.remove(&id),
                            };
                        }
                    }
                }
                term = term.max(entry.log_id.leader_id.term);
                last = Some(entry.log_id);
            }
        }
    }
    let last = last.ok_or_else(|| RecoveryError::Nothing { path: parts.place.clone() })?;
    Ok(Holding {
        domain_id: config.domain_id,
        snapshot_index,
        last,
        term,
        committed_index: committed_index.min(last.index),
        time_ms: state.time().0,
        audit_size: state.head().size,
        audit_head: state.head().hash,
        records: state.records(),
        public,
    })
}

fn decode(index: u64, command: &Bytes) -> Result<Command, ApplyError> {
    Command::decode(command.clone()).map_err(|source| ApplyError::Command { index, source })
}

/// A source, taken apart.
pub(super) struct Parts {
    /// For messages.
    pub(super) place: PathBuf,
    pub(super) snapshot: Option<PathBuf>,
    pub(super) audit: PathBuf,
    domain_id: [u8; 16],
    log: Option<(PathBuf, Owner)>,
}

impl Parts {
    pub(super) fn open(source: &Source) -> Result<Self, RecoveryError> {
        match source {
            Source::Disk { dir, domain_id, raft_id } => {
                let config = ReplicaConfig::new(dir, "", *domain_id, *raft_id, "");
                let owner = Owner { domain: *domain_id, raft_id: *raft_id };
                Ok(Self {
                    place: dir.clone(),
                    snapshot: newest(&config.snapshot_dir())?,
                    audit: config.audit_dir(),
                    domain_id: *domain_id,
                    log: Some((config.log_dir(), owner)),
                })
            }
            Source::Snapshot { file, audit } => Ok(Self {
                place: file.clone(),
                snapshot: Some(file.clone()),
                audit: audit.clone(),
                domain_id: domain_of(file)?,
                log: None,
            }),
        }
    }

    /// A replica's configuration with the domain's facts, and with no folder of its own.
    pub(super) fn config(&self) -> ReplicaConfig {
        ReplicaConfig::new(PathBuf::new(), "", self.domain_id, 0, "")
    }

    pub(super) fn log(&self) -> Result<Option<LogStore>, RecoveryError> {
        let Some((path, owner)) = &self.log else { return Ok(None) };
        Ok(Some(LogStore::open_unchanged(path, *owner)?))
    }
}

/// The newest snapshot in a folder, by its name.
fn newest(dir: &Path) -> Result<Option<PathBuf>, RecoveryError> {
    let mut newest = None;
    let entries = match fs::read_dir(dir) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        entries => entries.on(dir)?,
    };
    for entry in entries {
        let path = entry.on(dir)?.path();
        if let Some(index) = index_of(&path) {
            newest = newest.max(Some((index, path)));
        }
    }
    Ok(newest.map(|(_, path)| path))
}

/// The domain that a snapshot says it is of.
fn domain_of(file: &Path) -> Result<[u8; 16], RecoveryError> {
    let unread = || RecoveryError::Nothing { path: file.to_owned() };
    let mut reader = SnapshotReader::open(file)?;
    let first = reader.next_item().map_err(crate::snapshot::SnapshotError::from)?;
    match first.and_then(|item| item.item) {
        Some(snapshot_item::Item::Header(header)) => {
            header.domain_id.as_slice().try_into().map_err(|_| unread())
        }
        _ => Err(unread()),
    }
}

/// A log's entries after a snapshot, as many at once as one message takes.
pub(super) struct Pages {
    log: LogStore,
    next: u64,
    end: u64,
}

impl Pages {
    pub(super) fn after(log: LogStore, snapshot: Option<LogId>) -> Self {
        let end = log.log_state().ok().and_then(|state| state.last_log_id);
        let next = snapshot.map_or(0, |snapshot| snapshot.index + 1);
        Self { log, next, end: end.map_or(0, |last| last.index + 1) }
    }

    pub(super) async fn next(
        &mut self,
        parts: &Parts,
    ) -> Result<Option<Vec<Entry>>, RecoveryError> {
        if self.next >= self.end {
            return Ok(None);
        }
        let entries = self.log.limited_get_log_entries(self.next, self.end).await?;
        let first = entries.first().map(|entry| entry.log_id.index);
        if first != Some(self.next) {
            return Err(RecoveryError::Gap { path: parts.place.clone(), wanted: self.next });
        }
        self.next += entries.len() as u64;
        Ok(Some(entries))
    }
}
