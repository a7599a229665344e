//! What takes the processor for long, away from whoever else waits: making key pairs and using those
//! of RSA. On threads of their own, at a lower priority, outside the locks of a decision, and never more
//! at once than the machine can use.

use std::sync::LazyLock;
use std::thread::available_parallelism;

use conclave_crypto::SystemEntropy;
use conclave_kms::{Computation, Request};
use tokio::sync::{Semaphore, oneshot};
use tonic::Status;
use tracing::warn;

use crate::meta::unavailable;

/// One kind of such work.
struct Lane {
    name: &'static str,
    /// What is done at once.
    places: Semaphore,
    /// That and what waits for it.
    queue: Semaphore,
    /// The priority, as `nice` has it: 19 is the lowest.
    nice: i32,
}

/// Each may take seconds. A second at once would only take the processor from those who use keys. Not the
/// lowest priority: where the processors are busy that would be a hundredth of one, and no key in time.
static MAKING: LazyLock<Lane> = LazyLock::new(|| Lane::new("key-maker", 1, 64, 10));
/// Milliseconds, so as many as there are processors.
static COMPUTING: LazyLock<Lane> = LazyLock::new(|| {
    let processors = available_parallelism().map_or(1, usize::from);
    Lane::new("key-user", processors, 1024, 5)
});

/// The request, with what takes long to make already made.
pub(crate) async fn prepared(request: Request) -> Result<Request, Status> {
    let prepare = move || {
        request.prepare(&mut SystemEntropy);
        request
    };
    MAKING.run(prepare).await
}

/// What a decision waits for.
pub(crate) async fn computed(computation: Computation) -> Result<(), Status> {
    COMPUTING.run(move || computation.run()).await
}

impl Lane {
    fn new(name: &'static str, at_once: usize, waiting: usize, nice: i32) -> Self {
        let (places, queue) = (Semaphore::new(at_once), Semaphore::new(at_once + waiting));
        Self { name, places, queue, nice }
    }

    async fn run<T: Send + 'static>(
        &'static self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Status> {
        let closed = |_| unavailable("this node is stopping; retry on another");
        let busy = |_| unavailable("too much is waiting to be computed at this node; retry");
        let queued = self.queue.try_acquire().map_err(busy)?;
        let place = self.places.acquire().await.map_err(closed)?;
        let (done, result) = oneshot::channel();
        let thread = move || {
            // Of this thread alone, which ends with its work. Its place is held until then, whether
            // somebody still waits for it or not.
            let _held = (queued, place);
            if let Err(error) = rustix::process::nice(self.nice) {
                warn!(%error, "{} works at the priority of everything else", self.name);
            }
            let _ = done.send(work());
        };
        let spawned = std::thread::Builder::new().name(self.name.to_owned()).spawn(thread);
        spawned.map_err(|_| unavailable("no thread to compute on; retry"))?;
        result.await.map_err(|_| unavailable("computing failed; the node's log has the reason"))
    }
}
