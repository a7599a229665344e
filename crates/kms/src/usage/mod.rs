//! The use of keys: one file for each verb.

mod agree;
mod data_key;
mod data_key_pair;
mod decrypt;
mod encrypt;
mod mac;
mod random;
mod re_encrypt;
mod sign;

pub(crate) use agree::{Decapsulate, DeriveSharedSecret, Encapsulate};
pub(crate) use data_key::{GenerateDataKey, GenerateDataKeyWithoutPlaintext};
pub(crate) use data_key_pair::{GenerateDataKeyPair, GenerateDataKeyPairWithoutPlaintext};
pub(crate) use decrypt::Decrypt;
pub(crate) use encrypt::Encrypt;
pub(crate) use mac::{GenerateMac, VerifyMac};
pub(crate) use random::GenerateRandom;
pub(crate) use re_encrypt::ReEncrypt;
pub use sign::verify_published;
pub(crate) use sign::{Sign, Verify};
