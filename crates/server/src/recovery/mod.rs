//! When the quorum of a domain is gone: what a disk or a snapshot holds of it, and making the data
//! folder of a node that leads it alone. Both run where no server does.
//!
//! The source is only read. What is made counts with one rename, the last step, so whatever breaks off
//! before that has made nothing. The folder holds no share: k operator shares open it, and deal a root
//! key anew, see `ceremony::recovering`.

mod make;

use std::fs::File;
use std::path::{Path, PathBuf};

use conclave_audit::VerifierKey;
use conclave_proto::record::{Domain, Members, PublicKeys};
use conclave_replica::recovery::{self, Holding, Source};
use conclave_seal::{OperatorKeyRecord, ShareEpochs};
use conclave_store::{Kind, RecordId};
use prost::Message;

use crate::config::ConfigError;
use crate::folder::{FolderError, survey};

pub use conclave_replica::recovery::RecoveryError;
pub use make::{Made, begin};

/// Where to recover from.
#[derive(Clone, Debug)]
pub enum From {
    /// The data folder of a node that is stopped.
    DataDir(PathBuf),
    /// A snapshot file, and the folder with the audit history that it names.
    Snapshot {
        /// The file.
        file: PathBuf,
        /// The folder.
        audit: PathBuf,
    },
}

/// What there is to recover, as it is told to whoever decides.
#[derive(Clone, Debug)]
pub struct Statement {
    /// The domain's id.
    pub domain_id: [u8; 16],
    /// Its name; empty if it was not founded.
    pub domain: String,
    /// Its audit log's origin, which names cluster and domain.
    pub origin: String,
    /// The Raft id that the disk was used under; 0 for a snapshot.
    pub raft_id: u64,
    /// Log index of the snapshot, if there is one.
    pub snapshot_index: Option<u64>,
    /// The last log entry and its term.
    pub last_index: u64,
    /// Its term.
    pub last_term: u64,
    /// The last log entry that this disk knew to be committed.
    pub committed_index: u64,
    /// Cluster time of the last batch, milliseconds since 1970.
    pub time_ms: u64,
    /// Entries of the audit log.
    pub audit_size: u64,
    /// Its head after them.
    pub audit_head: [u8; 32],
    /// Records of all kinds.
    pub records: usize,
    /// The members, by name.
    pub members: Vec<String>,
    /// The newest share epoch.
    pub share_epoch: u64,
    /// The generation of the operator shares that open it.
    pub operator_generation: u64,
    /// How many of them it takes.
    pub operator_threshold: u8,
    /// How many there are.
    pub operator_shares: u8,
}

impl Statement {
    /// Log entries taken over that this disk did not know to be committed.
    pub fn uncertain(&self) -> u64 {
        self.last_index.saturating_sub(self.committed_index)
    }
}

/// Why nothing was said or made.
#[derive(Debug, thiserror::Error)]
pub enum RecoverError {
    /// The source's or the new folder.
    #[error(transparent)]
    Folder(#[from] FolderError),
    /// What the source holds.
    #[error(transparent)]
    Source(#[from] RecoveryError),
    /// The new node's configuration.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// Its certificate.
    #[error(transparent)]
    Material(#[from] conclave_pki::MaterialError),
    /// The folder belongs to no domain.
    #[error("{path} belongs to no domain: nothing is to be recovered from it", path = .0.display())]
    NoDomain(PathBuf),
    /// The domain's records are not all there.
    #[error(
        "the domain was never founded on this disk, or had not reached it: it lacks {0}; recover from another disk"
    )]
    NotFounded(&'static str),
    /// The new node is of another cluster than the domain's audit log.
    #[error(
        "the domain's audit log is of {origin}, and the new node's certificate is of cluster {cluster}: use one of the same cluster's"
    )]
    OtherCluster {
        /// What the audit key is for.
        origin: String,
        /// What the certificate says.
        cluster: String,
    },
    /// The new folder is not empty.
    #[error(
        "{path} is not empty; let data_dir in the configuration name a folder that is",
        path = .0.display()
    )]
    NotEmpty(PathBuf),
}

/// Says what there is to recover.
///
/// # Errors
/// [`RecoverError`].
pub async fn inspect(from: &From) -> Result<Statement, RecoverError> {
    let found = Found::open(from)?;
    let holding = recovery::read(&found.source).await?;
    found.state(&holding)
}

/// A source that nothing else uses for as long as this lives.
struct Found {
    source: Source,
    raft_id: u64,
    _lock: Option<File>,
}

impl Found {
    fn open(from: &From) -> Result<Self, RecoverError> {
        match from {
            From::DataDir(path) => {
                let (lock, domain) = survey(path)?;
                let domain = domain.ok_or_else(|| RecoverError::NoDomain(path.clone()))?;
                let (domain_id, raft_id) = (domain.domain_id, domain.raft_id);
                let source = Source::Disk { dir: domain.path, domain_id, raft_id };
                Ok(Self { source, raft_id, _lock: lock })
            }
            From::Snapshot { file, audit } => {
                let source = Source::Snapshot { file: file.clone(), audit: audit.clone() };
                Ok(Self { source, raft_id: 0, _lock: None })
            }
        }
    }

    fn state(&self, holding: &Holding) -> Result<Statement, RecoverError> {
        let record = |kind: Kind, what| {
            let blob = holding.public.get(&RecordId::singleton(kind));
            blob.ok_or(RecoverError::NotFounded(what))
        };
        let unread = RecoverError::NotFounded;
        let domain = Domain::decode(record(Kind::Domain, "the domain record")?.as_ref())
            .map_err(|_| unread("a readable domain record"))?;
        let members = Members::decode(record(Kind::Members, "the members")?.as_ref())
            .map_err(|_| unread("readable members"))?;
        let epochs = ShareEpochs::parse(record(Kind::ShareEpoch, "the share epochs")?)
            .map_err(|_| unread("readable share epochs"))?;
        let operator = OperatorKeyRecord::parse(record(Kind::OperatorKey, "the operator key")?)
            .map_err(|_| unread("a readable operator key"))?;
        let keys = PublicKeys::decode(record(Kind::PublicKeys, "the audit key")?.as_ref())
            .map_err(|_| unread("a readable audit key"))?;
        let key: VerifierKey =
            keys.audit_verifier.parse().map_err(|_| unread("a readable audit key"))?;
        Ok(Statement {
            origin: key.name().to_owned(),
            domain_id: holding.domain_id,
            domain: domain.name,
            raft_id: self.raft_id,
            snapshot_index: holding.snapshot_index,
            last_index: holding.last.index,
            last_term: holding.last.leader_id.term,
            committed_index: holding.committed_index,
            time_ms: holding.time_ms,
            audit_size: holding.audit_size,
            audit_head: holding.audit_head,
            records: holding.records,
            members: members.members.into_iter().map(|member| member.name).collect(),
            share_epoch: epochs.newest().number.0,
            operator_generation: operator.generation.0,
            operator_threshold: operator.split.threshold(),
            operator_shares: operator.split.shares(),
        })
    }
}

/// The audit history beside a snapshot, where a node keeps it.
pub fn audit_beside(snapshot: &Path) -> PathBuf {
    let domain = snapshot.parent().and_then(Path::parent).unwrap_or(Path::new("."));
    domain.join("audit")
}
