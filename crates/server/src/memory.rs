//! What this process does for its secrets, and how it stands with them.

use std::time::Duration;

use conclave_memory::{Confinement, PageKind, prepare, usage};
use tokio::sync::watch;
use tracing::{info, warn};

use crate::listener::told_to;

/// Between looks at whether all secrets have found secret pages.
const LOOK_EVERY: Duration = Duration::from_secs(10);

/// Confines the process before it has any secret, and says in one line what it got.
pub(crate) fn protect(best: PageKind) {
    let process = Confinement::enter();
    let secret_pages = prepare(best);
    info!(%secret_pages, "memory: {process}");
    if secret_pages == PageKind::Heap {
        warn!(
            "no memory can be locked for secrets: they may be swapped out; raise LimitMEMLOCK, or run without swap"
        );
    }
}

/// Says so when secrets had to go where they are not locked.
pub(crate) async fn tell(mut stop: watch::Receiver<bool>) {
    let mut told = 0;
    loop {
        tokio::select! {
            () = tokio::time::sleep(LOOK_EVERY) => {}
            () = told_to(&mut stop) => return,
        }
        let usage = usage();
        if usage.on_heap > told {
            warn!(
                secrets = usage.secrets,
                unlocked = usage.on_heap,
                locked_bytes = usage.mapped,
                "no more memory can be locked for secrets: raise LimitMEMLOCK"
            );
            told = usage.on_heap.saturating_mul(2);
        }
    }
}
