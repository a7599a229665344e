//! The root key of a domain: how it comes to be, how its shares are dealt, kept, exchanged and put
//! together again, and the [`Keyring`] that a node holds once it has it.
//!
//! Pure: no disk, no network, no clock, no randomness of its own. The server keeps files, sends
//! messages and proposes txns; this crate says what goes into them and judges what comes back.
//!
//! Start reading at [`labels`], which lists every derivation; then [`ShareEpoch`] (a dealing) and
//! [`ShareEpochs`] (those that count),
//! [`founding`] and [`dealing`] (how one comes about), [`exchange`] (how members put one together)
//! and [`NodeSeal`] (one node's way from sealed to open).

pub mod dealing;
pub mod delivery;
pub mod epoch;
pub mod epochs;
pub mod exchange;
pub mod founding;
pub mod ids;
pub mod keyring;
pub mod labels;
pub mod members;
pub mod node;
pub mod operator;
pub mod operator_share;
mod operator_split;
pub mod pool;
pub mod wrapped;

pub use dealing::{Dealing, Ground};
pub use delivery::{Delivered, Delivery};
pub use epoch::ShareEpoch;
pub use epochs::ShareEpochs;
pub use founding::{Founding, FoundingInput, found};
pub use ids::{DomainId, EpochNumber, OperatorGeneration, RaftId};
pub use keyring::{Keyring, seal_entry_to_intake};
pub use node::{Effect, NodeSeal, SealState};
pub use operator::{OperatorKey, OperatorKeyRecord};
pub use operator_share::{OperatorShareText, OperatorSplit};
pub use wrapped::{SealKind, WrappedShare};
