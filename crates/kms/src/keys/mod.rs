//! The life of keys: one file for each verb, and the table of what a key's state allows.

mod alias;
mod change;
mod create;
mod describe;
mod description;
mod due;
mod last_usage;
mod list;
mod list_aliases;
mod metadata;
mod public_key;
mod regions;
mod rotation;
mod state;
mod tags;
mod tombstone;

pub(crate) use alias::{CreateAlias, DeleteAlias, UpdateAlias};
pub(crate) use change::ChangeKey;
pub use change::ON_DEMAND_ROTATIONS_MAX;
pub(crate) use create::CreateKey;
pub(crate) use describe::DescribeKey;
pub(crate) use description::UpdateKeyDescription;
pub(crate) use last_usage::GetKeyLastUsage;
pub(crate) use list::ListKeys;
pub(crate) use list_aliases::ListAliases;
pub(crate) use metadata::expiration_model;
pub(crate) use public_key::GetPublicKey;
pub(crate) use regions::{ReplicateKey, UpdatePrimaryRegion};
pub(crate) use rotation::{ChangeRotation, GetKeyRotationStatus, ListKeyRotations};
pub(crate) use state::check_usable;
pub(crate) use tags::{ListResourceTags, TagResource, UntagResource};
pub(crate) use tombstone::GetKeyTombstone;
