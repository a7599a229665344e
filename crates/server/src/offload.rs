//! What takes the processor for long, away from whoever else waits: making key pairs and using those
//! of RSA. On threads of their own, outside the locks of a decision, and never more at once than the
//! machine can use.

use std::sync::LazyLock;
use std::thread::available_parallelism;

use conclave_crypto::SystemEntropy;
use conclave_kms::{Computation, Request};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::Semaphore;
use tonic::Status;
use tracing::warn;

use crate::meta::unavailable;

/// One kind of such work.
struct Lane {
    /// What is done at once.
    places: Semaphore,
    /// That and what waits for it.
    queue: Semaphore,
    /// As many as there are places, kept for a while: a thread for each computation of RSA cost a quarter of
    /// the signatures.
    threads: Option<Runtime>,
}

/// Each may take seconds. A second at once would only take the processor from those who use keys. Not the
/// lowest priority: where the processors are busy that would be a hundredth of one, and no key in time.
static MAKING: LazyLock<Lane> = LazyLock::new(|| Lane::new("key-maker", 1, 64, 10));
/// Milliseconds, so as many as there are processors. At everyone's priority: below it, on a busy machine,
/// they trickle into the log one by one, and what each costs the quorum alone slows all others too.
static COMPUTING: LazyLock<Lane> = LazyLock::new(|| {
    let processors = available_parallelism().map_or(1, usize::from);
    Lane::new("key-user", processors, 1024, 0)
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
    /// `nice` is the priority of its threads: 0 is everyone's, 19 the lowest.
    fn new(name: &'static str, at_once: usize, waiting: usize, nice: i32) -> Self {
        let lower = move || {
            // Of this thread alone.
            if let Err(error) = rustix::process::nice(nice) {
                warn!(%error, "{name} works at the priority of everything else");
            }
        };
        let threads = Builder::new_current_thread()
            .max_blocking_threads(at_once)
            .thread_name(name)
            .on_thread_start(lower)
            .build();
        let threads = threads.inspect_err(|error| warn!(%error, "no threads for {name}")).ok();
        Self { places: Semaphore::new(at_once), queue: Semaphore::new(at_once + waiting), threads }
    }

    async fn run<T: Send + 'static>(
        &'static self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Status> {
        let closed = |_| unavailable("this node is stopping; retry on another");
        let busy = |_| unavailable("too much is waiting to be computed at this node; retry");
        let queued = self.queue.try_acquire().map_err(busy)?;
        let place = self.places.acquire().await.map_err(closed)?;
        let work = move || {
            // Held until the work has ended, whether somebody still waits for it or not.
            let _held = (queued, place);
            work()
        };
        let threads =
            self.threads.as_ref().ok_or_else(|| unavailable("no thread to compute on; retry"))?;
        let done = threads.spawn_blocking(work).await;
        done.map_err(|_| unavailable("computing failed; the node's log has the reason"))
    }
}
