//! What a replica counts, for the server's metrics. Plain atomics: whoever exports them reads them.

use std::sync::atomic::{AtomicU64, Ordering};

macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident),* $(,)?) => {
        /// Counts since the replica started. Each only ever grows.
        #[derive(Debug, Default)]
        pub struct Counters { $($(#[$doc])* pub $name: Counter,)* }

        impl Counters {
            /// Every counter with its name, in a fixed order.
            pub fn each(&self) -> impl Iterator<Item = (&'static str, u64)> {
                [$((stringify!($name), self.$name.get()),)*].into_iter()
            }
        }
    };
}

counters! {
    /// Batches this node appended as leader.
    appends,
    /// Log entries applied.
    applied_entries,
    /// Txns applied that committed.
    committed_txns,
    /// Txns applied that conflicted.
    conflicts,
    /// Txns applied whose token was already taken.
    known,
    /// Txns applied that were rejected.
    rejections,
    /// Snapshots written.
    snapshots_built,
    /// Snapshots received and installed.
    snapshots_installed,
    /// Times this node saw a new term.
    term_changes,
    /// Times this node became leader.
    elections_won,
    /// Batches proposed again because their fate was unknown.
    propose_retries,
    /// Txns given up at their deadline with an unknown outcome.
    outcomes_unknown,
    /// Txns turned away because the queue was full.
    overloads,
    /// Batches not appended because a majority's clocks were unknown.
    clock_refusals,
}

/// One count.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// The count now.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    pub(crate) fn add(&self, more: u64) {
        self.0.fetch_add(more, Ordering::Relaxed);
    }

    pub(crate) fn one(&self) {
        self.add(1);
    }
}
