//! `operator rotate-domain-key`: one txn puts a new domain key to use. What lies under the old one is
//! sealed again afterwards, see `resealing`.

use std::sync::Arc;
use std::time::{Duration, Instant};

use conclave_crypto::SystemEntropy;
use conclave_kms::{Admin, AdminAction, Caller, Request};
use conclave_seal::keyring::rotation::{DomainKeyChange, DomainKeyEpochs, DomainKeyError};
use conclave_store::Revision;
use tonic::Status;
use tracing::info;

use crate::hosted::Hosted;
use crate::meta::{precondition, unavailable};
use crate::node::Node;
use crate::resealing::resource;
use crate::staircase::perform;

/// How long this node may take to apply what it has committed.
const APPLY_MAX: Duration = Duration::from_secs(8);

/// Rotates, once for each request id, and says which domain key is in use then.
pub(crate) async fn rotate_domain_key(
    node: &Arc<Node>,
    hosted: &Arc<Hosted>,
    caller: &Caller,
    age: Duration,
) -> Result<(u32, Revision), Status> {
    let request = |resources, parameters, change: Option<DomainKeyChange>| {
        let (guards, writes) = change.map(|it| (it.guards, it.writes)).unwrap_or_default();
        Request::Admin(Admin {
            action: AdminAction::RotateDomainKey,
            resources,
            parameters,
            guards,
            writes,
        })
    };
    let (request, refused) = match new_key(hosted)? {
        Ok(change) => {
            let resources = vec![resource(change.epochs.current)];
            (request(resources, Vec::new(), Some(change)), None)
        }
        // Who may ask is decided, and that it was asked is audited, all the same.
        Err(error) => {
            let parameters = vec![("refused".to_owned(), error.to_string())];
            (request(Vec::new(), parameters, None), Some(error))
        }
    };
    let counters = &node.request_counters;
    let performed = perform(hosted, counters, caller, age, &request).await?;
    let (_, revision) = performed.into_response(&hosted.domain_name())?;
    if let Some(error) = refused {
        return Err(precondition(error.to_string()));
    }
    hosted
        .replica
        .wait_applied(revision.log_index.0, Instant::now() + APPLY_MAX)
        .await
        .map_err(|_| unavailable("this node lags behind the quorum; retry with the same id"))?;
    let epochs = DomainKeyEpochs::read(&hosted.replica.view()).ok().flatten();
    let epoch = epochs.map(|epochs| epochs.current).unwrap_or_default();
    info!(epoch, "the domain key was rotated by order");
    Ok((epoch, revision))
}

fn new_key(hosted: &Hosted) -> Result<Result<DomainKeyChange, DomainKeyError>, Status> {
    let now_ms = hosted
        .replica
        .now_ms()
        .ok_or_else(|| unavailable("cluster time is not known yet; retry"))?;
    hosted.refresh_keyring().map_err(|error| unavailable(error.to_string()))?;
    let change = hosted.with_keyring(|keyring| {
        let keyring = keyring.ok_or_else(|| {
            unavailable(
                "this node is sealed; retry on an open node, or unseal it with `conclave operator unseal`",
            )
        })?;
        let view = hosted.replica.view();
        Ok::<_, Status>(keyring.rotate_domain_key(&view, now_ms, &mut SystemEntropy))
    })?;
    match change {
        // Ours to do again, not the operator's.
        Err(error @ (DomainKeyError::Stale | DomainKeyError::Read(_))) => {
            Err(unavailable(error.to_string()))
        }
        change => Ok(change),
    }
}
