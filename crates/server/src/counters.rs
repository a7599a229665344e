//! What the listeners and the staircase count, for metrics.

use std::sync::atomic::AtomicU64;

/// Counts of one listener.
#[derive(Debug, Default)]
pub(crate) struct ListenerCounters {
    pub(crate) accepted: AtomicU64,
    /// Closed at once, over a quota.
    pub(crate) turned_away: AtomicU64,
    /// Let in now.
    pub(crate) open: AtomicU64,
    /// Closed because the other end let this one wait.
    pub(crate) cut: AtomicU64,
    /// Closed because the certificate they were let in with is not good any more.
    pub(crate) outlived: AtomicU64,
    pub(crate) handshake_failures: AtomicU64,
    pub(crate) requests_read: AtomicU64,
}

/// Counts of operations.
#[derive(Debug, Default)]
pub(crate) struct RequestCounters {
    pub(crate) committed: AtomicU64,
    pub(crate) refused: AtomicU64,
    pub(crate) conflicts: AtomicU64,
    pub(crate) unavailable: AtomicU64,
    pub(crate) outcome_unknown: AtomicU64,
    /// Turned away because their principal is over its rate.
    pub(crate) throttled: AtomicU64,
}
