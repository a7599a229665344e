//! The life of keys: one file for each verb, and the table of what a key's state allows.

mod change;
mod create;
mod describe;
mod due;
mod last_usage;
mod list;
mod metadata;
mod public_key;
mod rotation;
mod state;
mod tombstone;

pub(crate) use change::ChangeKey;
pub use change::ON_DEMAND_ROTATIONS_MAX;
pub(crate) use create::CreateKey;
pub(crate) use describe::DescribeKey;
pub(crate) use last_usage::GetKeyLastUsage;
pub(crate) use list::ListKeys;
pub(crate) use public_key::GetPublicKey;
pub(crate) use rotation::{ChangeRotation, GetKeyRotationStatus, ListKeyRotations};
pub(crate) use state::check_usable;
pub(crate) use tombstone::GetKeyTombstone;
