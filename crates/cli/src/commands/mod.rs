//! The commands, one file each; a group of commands shares one.

pub(crate) mod alias;
pub(crate) mod audit;
pub(crate) mod completions;
pub(crate) mod data_key;
pub(crate) mod decrypt;
pub(crate) mod encrypt;
pub(crate) mod grant;
pub(crate) mod import;
pub(crate) mod key;
mod key_arg;
mod key_policy;
pub(crate) mod labels;
pub(crate) mod node;
pub(crate) mod operator;
pub(crate) mod pki;
pub(crate) mod principal;
pub(crate) mod random;
pub(crate) mod re_encrypt;
pub(crate) mod recover;
mod rotation;
mod signing;
pub(crate) mod status;
