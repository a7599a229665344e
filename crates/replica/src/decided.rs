//! What whoever proposed a txn is told.

use conclave_store::{BodyError, Guarded, LogIndex, Revision};

/// How a txn ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decided {
    /// It took effect.
    Committed(Revision),
    /// It had no effect: what it was decided by has changed.
    Conflict {
        /// Wait until this is applied, then decide again.
        log_index: LogIndex,
        /// The first guard that failed; `None`: the decision was too old.
        on: Option<Guarded>,
    },
    /// It had no effect: its token was taken before.
    Known {
        /// Where the first one took effect.
        revision: Revision,
        /// Its sealed answer.
        answer: Vec<u8>,
    },
}

/// Why a txn has no outcome.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProposeError {
    /// It may have taken effect, or may yet.
    #[error("the outcome is unknown: the change may or may not have taken effect")]
    OutcomeUnknown,
    /// It was never proposed: no leader was found in time. It has no effect.
    #[error("no leader could be reached in time; nothing was done")]
    Unavailable,
    /// The queue is full. It has no effect.
    #[error("this node has too many requests waiting; nothing was done, try again later")]
    Overloaded,
    /// The replica has stopped. It has no effect.
    #[error("this node is stopping; nothing was done")]
    Stopped,
    /// It has a shape that no replica accepts. It has no effect.
    #[error("the txn is malformed: {0}")]
    Malformed(#[from] BodyError),
}
