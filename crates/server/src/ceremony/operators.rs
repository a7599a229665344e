//! New shares for the operators, and the way in with operator shares alone.
//!
//! New shares take k of the present ones: an operator's certificate alone must not make anybody the
//! holder of the root key. They are handed out first and count from the commit on, which deals a new
//! root key to the nodes, too, so that no node's share is left under the operator key before.

use std::collections::BTreeMap;
use std::sync::{Arc, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use conclave_crypto::{Entropy, SystemEntropy};
use conclave_kms::{AdminAction, Caller};
use conclave_proto::v1::{
    PrepareOperatorSharesRequest, PrepareOperatorSharesResponse, RecoverResponse,
    RotateRootResponse,
};
use conclave_seal::dealing::NewOperators;
use conclave_seal::pool::{OperatorSharePool, Progress};
use conclave_seal::{OperatorKey, OperatorSplit};
use tonic::{Code, Status};
use tracing::{info, warn};

use crate::audited::{Happened, note_or_later};
use crate::ceremony::dealing::{Change, Order};
use crate::ceremony::effects::open;
use crate::ceremony::recovering::deal_alone;
use crate::ceremony::rooting::missing;
use crate::hosted::Hosted;
use crate::meta::{invalid, precondition, unavailable};
use crate::node::Node;
use crate::pending::PendingOperators;
use crate::refusals::named;

/// Operator shares taken in one call; a domain has at most 16.
const SHARES_PER_CALL_MAX: usize = 16;
/// Prepared shares are forgotten after this long.
const PREPARED_FOR: Duration = Duration::from_secs(600);

/// Deals a new operator key in memory and gives the operators their shares.
pub(crate) async fn prepare(
    node: &Arc<Node>,
    hosted: &Arc<Hosted>,
    caller: &Caller,
    request: &PrepareOperatorSharesRequest,
) -> Result<PrepareOperatorSharesResponse, Status> {
    let _changing = node.changing.lock().await;
    let split = OperatorSplit::new(request.threshold, request.shares)
        .map_err(|error| invalid(error.to_string()))?;
    let order = Order { node, hosted, caller, action: AdminAction::DealOperatorShares };
    let given = operator_key(hosted, &request.operator_shares);
    let outcome = match &given {
        Ok(_) => "accepted".to_owned(),
        Err(status) => status.message().to_owned(),
    };
    let parameters =
        [("step", "prepare".to_owned()), ("split", split.to_string()), ("shares", outcome)];
    order.record(BTreeMap::new(), Vec::new(), &parameters, &[]).await?;
    drop(given?);

    let record = hosted
        .operator_key()
        .ok_or_else(|| unavailable("the domain's records are not known here yet"))?;
    let (operators, texts) =
        NewOperators::after(&record, hosted.domain_id(), split, &mut SystemEntropy)
            .map_err(|error| unavailable(error.to_string()))?;
    let mut id = [0; 16];
    SystemEntropy.fill(&mut id);
    let response = PrepareOperatorSharesResponse {
        id: id.to_vec(),
        operator_shares: texts.iter().map(|text| text.expose().to_owned()).collect(),
        generation: operators.key.generation.0,
    };
    let creator = caller.principal.clone();
    *pending(node) = Some(PendingOperators { id, prepared: Instant::now(), operators, creator });
    // What was dealt must not stay in memory if nobody commits it.
    let node = Arc::downgrade(node);
    tokio::spawn(async move {
        tokio::time::sleep(PREPARED_FOR).await;
        if let Some(node) = node.upgrade() {
            pending(&node).take_if(|pending| pending.id == id);
        }
    });
    Ok(response)
}

/// Makes the prepared shares count, and deals a new root key with them.
pub(crate) async fn commit(
    node: &Arc<Node>,
    hosted: &Arc<Hosted>,
    caller: &Caller,
    id: &[u8],
) -> Result<RotateRootResponse, Status> {
    let _changing = node.changing.lock().await;
    let prepared = pending(node).take_if(|pending| {
        pending.id == id
            && pending.prepared.elapsed() < PREPARED_FOR
            && pending.creator == caller.principal
    });
    let prepared = prepared.ok_or_else(|| {
        precondition("no such operator shares are prepared here; begin again, and destroy those")
    })?;
    let order = Order { node, hosted, caller, action: AdminAction::DealOperatorShares };
    let (members, members_read) = order.members_as_read()?;
    let operators = Some(prepared.operators);
    let change = Change { operators, ..Change::of_no_member(members, members_read) };
    let epoch = order.deal(change).await?;
    Ok(RotateRootResponse { share_epoch: epoch.0, missing: missing(hosted) })
}

/// Opens this node with the operators' key alone. The shares are the authority. A node that leads a
/// recovered domain becomes its only member with that, under a new root key.
pub(crate) async fn recover(
    node: &Arc<Node>,
    hosted: &Arc<Hosted>,
    caller: &Caller,
    shares: &[String],
) -> Result<RecoverResponse, Status> {
    let given = operator_key(hosted, shares);
    let happened = Happened {
        refused: given.as_ref().err().map(|s| s.message().to_owned()).unwrap_or_default(),
        ..Happened::by(caller, "Recover", vec![hosted.name.clone()])
    };
    note_or_later(hosted, happened).await?;
    let operator = given?;
    let record = hosted.operator_key();
    let epochs = hosted.share_epochs();
    let (Some(record), Some(epochs)) = (record, epochs) else {
        return Err(unavailable("the domain's records are not known here yet"));
    };
    let number = epochs.newest().number;
    let root = operator
        .unwrap_root(hosted.domain_id(), &record, number)
        .map_err(|error| precondition(error.to_string()))?;
    warn!(epoch = %number, "opening with operator shares alone");
    hosted.seal().adopt(number);
    open(hosted, number, &root).await;
    if !hosted.is_open() {
        return Err(unavailable(format!("it does not open: {}", hosted.detail())));
    }
    hosted.news.notify_one();
    let alone = hosted.awaits_members();
    let share_epoch = match alone {
        true => deal_alone(node, hosted, caller).await?,
        false => {
            info!("recovered: deal a new root key to the nodes next");
            number
        }
    };
    let state = hosted.state().as_str().to_owned();
    Ok(RecoverResponse { state, share_epoch: share_epoch.0, alone })
}

/// The operator key that these shares make. None of them is kept.
fn operator_key(hosted: &Hosted, shares: &[String]) -> Result<OperatorKey, Status> {
    if let Some(reason) = hosted.barred() {
        return Err(precondition(reason));
    }
    if shares.len() > SHARES_PER_CALL_MAX {
        return Err(precondition("at most 16 operator shares in one call"));
    }
    let record = hosted
        .operator_key()
        .ok_or_else(|| unavailable("the domain's records are not known here yet"))?;
    let mut pool = OperatorSharePool::default();
    for share in shares {
        match pool.add(share, hosted.domain_id(), &record, 0) {
            Ok(Progress::Complete(key)) => return Ok(key),
            Ok(Progress::Held { .. }) => {}
            Err(refused) => {
                let message = refused.to_string();
                return Err(named(Code::InvalidArgument, "ValidationException", message));
            }
        }
    }
    let (held, threshold) = (pool.len(), record.split.threshold());
    Err(invalid(format!("{held} distinct operator shares were given, it takes {threshold}")))
}

fn pending(node: &Node) -> MutexGuard<'_, Option<PendingOperators>> {
    node.pending_operators.lock().unwrap_or_else(PoisonError::into_inner)
}
