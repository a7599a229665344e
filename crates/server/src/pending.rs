//! What is prepared and not committed: in memory only.

use std::time::Instant;

use conclave_seal::Founding;
use conclave_seal::dealing::NewOperators;

/// Everything dealt, nothing committed. In memory only.
pub(crate) struct PendingInit {
    pub(crate) init_id: [u8; 16],
    pub(crate) prepared: Instant,
    pub(crate) founders: Vec<Founder>,
    pub(crate) founding: Founding,
    pub(crate) domain_id: [u8; 16],
    pub(crate) creator: String,
}

pub(crate) struct Founder {
    pub(crate) name: String,
    pub(crate) peer: String,
    pub(crate) raft_id: u64,
    /// The domain of an unfinished founding that this one replaces.
    pub(crate) replaces: Vec<u8>,
}

/// New operator shares that were handed out and do not count yet.
pub(crate) struct PendingOperators {
    pub(crate) id: [u8; 16],
    pub(crate) prepared: Instant,
    pub(crate) operators: NewOperators,
    pub(crate) creator: String,
}
