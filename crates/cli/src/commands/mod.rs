//! The commands, one file each; a group of commands shares one.

pub(crate) mod audit;
pub(crate) mod completions;
pub(crate) mod data_key;
pub(crate) mod decrypt;
pub(crate) mod encrypt;
pub(crate) mod import;
pub(crate) mod key;
pub(crate) mod node;
pub(crate) mod operator;
pub(crate) mod pki;
pub(crate) mod principal;
pub(crate) mod random;
pub(crate) mod re_encrypt;
pub(crate) mod recover;
pub(crate) mod status;
