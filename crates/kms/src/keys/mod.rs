//! The life of keys: one file for each verb, and the table of what a key's state allows.

mod change;
mod create;
mod describe;
mod list;
mod state;

pub use change::VERSIONS_MAX;
pub(crate) use change::change_key;
pub(crate) use create::create_key;
pub(crate) use describe::describe_key;
pub(crate) use list::list_keys;
pub(crate) use state::check_usable;
