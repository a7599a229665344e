//! The data folder of a node that leads a recovered domain alone.

use std::path::{Path, PathBuf};
use std::time::SystemTime;

use conclave_pki::{Kind, TlsMaterial};
use conclave_proto::seal::Recovered;
use conclave_replica::PeerNode;
use conclave_replica::recovery;

use super::{Found, From, RecoverError, Statement};
use crate::config::Config;
use crate::folder::{FORMAT, Folder};

/// A data folder that was made.
#[derive(Clone, Debug)]
pub struct Made {
    /// The node that it is for: its certificate says so.
    pub node: String,
    /// The folder.
    pub data_dir: PathBuf,
    /// Its Raft id in the new group.
    pub raft_id: u64,
}

/// Makes the data folder of the node that `config` is the configuration of, from what `stated` says.
///
/// # Errors
/// [`RecoverError`]; then nothing was made, and it can be begun again.
pub async fn begin(from: &From, stated: &Statement, config: &Path) -> Result<Made, RecoverError> {
    let config = Config::load(config)?;
    let now = SystemTime::now();
    let material = TlsMaterial::load(&config.tls, &[Kind::Node], now)?;
    let name = material.identity().name().to_owned();
    let cluster = material.identity().cluster().to_string();
    if !conclave_audit::Origin::new(&cluster, &stated.domain)
        .is_ok_and(|origin| origin.as_str() == stated.origin)
    {
        return Err(RecoverError::OtherCluster { origin: stated.origin.clone(), cluster });
    }
    let found = Found::open(from)?;
    let folder = Folder::open(&config.data_dir)?;
    folder.clear_unfinished()?;
    if !folder.is_empty()? {
        return Err(RecoverError::NotEmpty(config.data_dir));
    }
    let holding = recovery::read(&found.source).await?;
    if (holding.last.index, holding.audit_head) != (stated.last_index, stated.audit_head) {
        return Err(recovery::RecoveryError::Changed.into());
    }
    let unfinished = folder.begin_unfinished(holding.domain_id)?;
    let node = PeerNode { name: name.clone(), peer: config.peer.advertise.clone() };
    let raft_id = recovery::rebuild(&found.source, &holding, unfinished.path(), node).await?;
    let made_ms = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_millis();
    let recovered = Recovered {
        format: FORMAT,
        node: name.clone(),
        made_ms: u64::try_from(made_ms).unwrap_or(u64::MAX),
        source_raft_id: stated.raft_id,
        last_index: stated.last_index,
        last_term: stated.last_term,
        committed_index: stated.committed_index,
        time_ms: stated.time_ms,
        audit_size: stated.audit_size,
        audit_head: stated.audit_head.to_vec(),
    };
    unfinished.finish(raft_id, &recovered)?;
    Ok(Made { node: name, data_dir: config.data_dir, raft_id })
}
