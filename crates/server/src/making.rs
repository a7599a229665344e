//! Making key pairs that take long, RSA above all: on threads of their own and at the lowest priority,
//! before the decision and outside its locks, so that nobody else waits for it.

use std::sync::LazyLock;

use conclave_crypto::SystemEntropy;
use conclave_kms::Request;
use tokio::sync::{Semaphore, oneshot};
use tonic::Status;
use tracing::warn;

use crate::meta::unavailable;

/// Pairs made at once. A second would only take the processor from those who use keys.
const AT_ONCE: usize = 1;
/// Requests that wait for their turn; each may take seconds.
const WAITING_MAX: usize = 64;
/// The lowest priority there is.
const NICE: i32 = 19;

static PLACES: LazyLock<Semaphore> = LazyLock::new(|| Semaphore::new(AT_ONCE));
static QUEUE: LazyLock<Semaphore> = LazyLock::new(|| Semaphore::new(AT_ONCE + WAITING_MAX));

/// The request, with what takes long to make already made.
pub(crate) async fn prepared(request: Request) -> Result<Request, Status> {
    let closed = |_| unavailable("this node is stopping; retry on another");
    let busy = |_| unavailable("too many key pairs wait to be made at this node; retry");
    let _queued = QUEUE.try_acquire().map_err(busy)?;
    let place = PLACES.acquire().await.map_err(closed)?;
    let (done, made) = oneshot::channel();
    let make = move || {
        // Of this thread alone, which ends with its work.
        if let Err(error) = rustix::process::nice(NICE) {
            warn!(%error, "key pairs are made at the priority of everything else");
        }
        request.prepare(&mut SystemEntropy);
        let _ = done.send(request);
    };
    let spawned = std::thread::Builder::new().name("key-maker".to_owned()).spawn(make);
    spawned.map_err(|_| unavailable("no thread for making a key pair; retry"))?;
    // Held until the work has ended, whether somebody still waits for it or not.
    let made = tokio::spawn(async move {
        let made = made.await;
        drop(place);
        made
    });
    match made.await {
        Ok(Ok(request)) => Ok(request),
        _ => Err(unavailable("making a key pair failed; the node's log has the reason")),
    }
}
