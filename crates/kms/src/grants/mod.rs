//! Grants: what somebody may do with one key, kept beneath it. They are checked, listed and ended;
//! nothing is decided by them yet but who may retire one, which `authorize.rs` says.

mod create;
mod list;
mod page;
mod retirable;
mod retire;
mod revoke;

pub(crate) use create::CreateGrant;
pub(crate) use list::ListGrants;
pub(crate) use retirable::ListRetirableGrants;
pub(crate) use retire::RetireGrant;
pub(crate) use revoke::RevokeGrant;
