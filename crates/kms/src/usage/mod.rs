//! The use of keys: one file for each verb.

mod data_key;
mod decrypt;
mod encrypt;
mod random;
mod re_encrypt;

pub(crate) use data_key::generate_data_key;
pub(crate) use decrypt::decrypt;
pub(crate) use encrypt::encrypt;
pub(crate) use random::generate_random;
pub(crate) use re_encrypt::re_encrypt;
