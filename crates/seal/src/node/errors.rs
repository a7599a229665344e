//! What a node's seal refuses, and what to do then.

use crate::epoch::{CombineError, ShareError};
use crate::ids::{EpochNumber, OperatorGeneration, RaftId};
use crate::node::SHARES_KEPT_MAX;
use crate::pool::PoolError;
use crate::wrapped::UnwrapError;

/// Why operator shares did not unseal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum UnsealError {
    /// The records that shares are checked against are not here yet.
    #[error("this node has not caught up with its domain yet; wait, then enter the shares again")]
    NotCaughtUp,
    /// The share was refused.
    #[error(transparent)]
    Pool(#[from] PoolError),
    /// The operators were right, but there is nothing to unwrap yet. The node keeps its seal key
    /// and goes on by itself when its share is there.
    #[error(
        "this node holds no share of epoch {epoch}; it goes on by itself once it has caught up, else enrol it anew"
    )]
    NoShare {
        /// The committed epoch.
        epoch: EpochNumber,
    },
    /// The share is under the node's HSM: operators cannot unwrap it.
    #[error(
        "this node keeps its share under its HSM, which operator shares do not replace; see `conclave operator recover` if the HSM is lost"
    )]
    NeedsItsToken,
    /// The share is wrapped under another operator key than these shares make.
    #[error(
        "this node's share is under operator generation {wanted}; enter the operator shares of that generation"
    )]
    OtherGeneration {
        /// What the shares given make.
        given: OperatorGeneration,
        /// What the node's share is under.
        wanted: OperatorGeneration,
    },
    /// There is a share, but it does not open.
    #[error(transparent)]
    Unwrap(#[from] UnwrapError),
}

/// Why a member's share was not of use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CollectError {
    /// It is not what was dealt to that member.
    #[error(transparent)]
    Share(#[from] ShareError),
    /// All shares fit their verification keys and yet do not make the root key.
    #[error(transparent)]
    Combine(#[from] CombineError),
}

/// Why a plan's share was not stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum StoreShareError {
    /// It belongs to another domain or plan.
    #[error("the share does not belong to the plan it came with")]
    OtherPlan,
    /// The plan has this node elsewhere or nowhere.
    #[error("the plan does not give this share to the node with Raft id {me}")]
    NotMyPlace {
        /// This node.
        me: RaftId,
    },
    /// A newer epoch is committed already.
    #[error("share epoch {plan} comes after {newest} was committed; plan anew")]
    Superseded {
        /// The plan's.
        plan: EpochNumber,
        /// The newest that is committed.
        newest: EpochNumber,
    },
    /// Wrapped under an operator key that is not the domain's.
    #[error(
        "the share is wrapped under operator generation {found}, the domain is at {wanted}; plan anew"
    )]
    OtherGeneration {
        /// The share's.
        found: OperatorGeneration,
        /// The domain's.
        wanted: OperatorGeneration,
    },
    /// An unlocked node looked, and it is not its share.
    #[error(transparent)]
    Unwrap(#[from] UnwrapError),
    /// Too many plans were begun and not finished.
    #[error("{SHARES_KEPT_MAX} plans were begun and not finished; finish one")]
    TooMany,
}
