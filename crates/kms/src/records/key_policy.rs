//! A key's policy, under the key's id and beneath its record.

use conclave_crypto::Secret;
use conclave_policy::Policy;
use conclave_proto::record;
use prost::Message;

use crate::records::RecordError;

#[derive(Debug)]
pub(crate) struct KeyPolicyRecord {
    /// As it was given.
    pub(crate) text: String,
    /// What it says. Nothing is decided by it yet.
    #[expect(dead_code, reason = "kept for what evaluates it, and read so that damage is found")]
    pub(crate) policy: Policy,
}

impl KeyPolicyRecord {
    pub(crate) fn decode(opened: &Secret) -> Result<Self, RecordError> {
        let text = record::KeyPolicy::decode(opened.expose())?.policy;
        Ok(Self { policy: Policy::parse(&text)?, text })
    }

    pub(crate) fn encode(text: &str) -> Secret {
        Secret::from_vec(record::KeyPolicy { policy: text.to_owned() }.encode_to_vec())
    }
}
