//! What happens to keys at a time: rotation, the expiry of imported material, destruction.
//!
//! One loop on every node; the one that leads and is open does the work, since it alone hears every
//! voter's clock. Each key that has such a date has one record of it, and these sort by time, so a look
//! costs nothing while nothing is due. What is due goes down the staircase like a request that nobody
//! sent: its guards make it happen once, whoever else leads meanwhile.

use std::sync::{Arc, Weak};
use std::time::Duration;

use conclave_kms::Caller;
use conclave_kms::fields::RequestId;
use conclave_store::{Kind, RecordId, View};
use tokio::sync::watch;
use tonic::Status;
use tracing::{debug, info, warn};

use crate::hosted::Hosted;
use crate::listener::told_to;
use crate::node::Node;
use crate::staircase;

/// Between looks; dates are days away when they are set.
const EVERY: Duration = Duration::from_secs(1);

/// Starts the loop; it ends with the node, with the domain, or when told to stop.
pub(crate) fn start(node: &Arc<Node>, hosted: &Arc<Hosted>, stop: watch::Receiver<bool>) {
    tokio::spawn(run(Arc::downgrade(node), Arc::downgrade(hosted), stop));
}

async fn run(node: Weak<Node>, hosted: Weak<Hosted>, mut stop: watch::Receiver<bool>) {
    loop {
        tokio::select! {
            () = tokio::time::sleep(EVERY) => {}
            () = told_to(&mut stop) => return,
        }
        let (Some(node), Some(hosted)) = (node.upgrade(), hosted.upgrade()) else { return };
        tokio::select! {
            () = all_that_is_due(&node, &hosted) => {}
            () = told_to(&mut stop) => return,
        }
    }
}

/// One after the other, until nothing is due, this node does not lead any more, or it is sealed.
async fn all_that_is_due(node: &Node, hosted: &Hosted) {
    let mut after = None;
    while hosted.is_open()
        && let Some(passed_ms) = hosted.replica.passed_ms()
        && let Some(due) = first_due(hosted, after, passed_ms)
    {
        // What does not work now is left for the next look, and nothing behind it waits for it.
        after = Some(due);
        match fall_due(node, hosted, due, passed_ms).await {
            Ok(Some(action)) => info!(action, "done, since it was due"),
            Ok(None) => debug!(%due, "others were first"),
            Err(status) => {
                warn!(%due, reason = status.message(), "what is due is not done yet");
            }
        }
    }
}

fn first_due(hosted: &Hosted, after: Option<RecordId>, passed_ms: u64) -> Option<RecordId> {
    let first = hosted.replica.view().list(Kind::Due, after.as_ref(), 1).into_iter().next()?;
    first.due_at().filter(|at| at.0 <= passed_ms).map(|_| first)
}

/// The name of what was done, if it was.
async fn fall_due(
    node: &Node,
    hosted: &Hosted,
    due: RecordId,
    passed_ms: u64,
) -> Result<Option<&'static str>, Status> {
    let request_id = RequestId::parse(&uuid::Uuid::new_v4().to_string())
        .map_err(|refusal| Status::internal(refusal.message()))?;
    let caller = Caller {
        principal: format!("node/{}", hosted.name),
        certificate_serial: String::new(),
        source_address: String::new(),
        request_id,
        retry_of: None,
    };
    let Some(request) = staircase::due_here(hosted, &caller, due, passed_ms)? else {
        return Ok(None);
    };
    let counters = &node.request_counters;
    let done = staircase::perform(hosted, counters, &caller, Duration::ZERO, &request).await?;
    Ok(done.reply.is_ok().then(|| request.action().name()))
}
