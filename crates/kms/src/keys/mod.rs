//! The life of keys: one file for each verb, and the table of what a key's state allows.

mod change;
mod create;
mod describe;
mod last_usage;
mod list;
mod metadata;
mod public_key;
mod state;

pub(crate) use change::ChangeKey;
pub use change::{ON_DEMAND_ROTATIONS_MAX, VERSIONS_MAX};
pub(crate) use create::CreateKey;
pub(crate) use describe::DescribeKey;
pub(crate) use last_usage::GetKeyLastUsage;
pub(crate) use list::ListKeys;
pub(crate) use metadata::expiration_model;
pub(crate) use public_key::GetPublicKey;
pub(crate) use state::check_usable;
