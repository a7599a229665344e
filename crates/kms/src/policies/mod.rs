//! The policies of keys: one for each, called `default`. They are checked and kept; nothing is decided by
//! them yet, which is why every key still does what the roles say, as the default policy has it.

mod get;
mod list;
mod put;

pub(crate) use get::GetKeyPolicy;
pub(crate) use list::ListKeyPolicies;
pub(crate) use put::{PutKeyPolicy, put_policy, tell_policy};
