//! What a decision is given: the state it looks at, the means it works with, and who asks.

use conclave_crypto::Entropy;
use conclave_seal::Keyring;
use conclave_store::View;

use crate::cache::Cache;
use crate::fields::RequestId;
use crate::key_ref::DomainInfo;

/// Everything a decision may look at.
pub struct Ctx<'a> {
    /// The applied state, possibly stale: the plan is guarded on what it showed.
    pub view: &'a dyn View,
    /// The domain's keys.
    pub keyring: &'a Keyring,
    /// Decoded records of this domain.
    pub cache: &'a Cache,
    /// For nonces, key material and salts.
    pub entropy: &'a mut dyn Entropy,
    /// This node's view of cluster time.
    pub now_ms: u64,
    /// This node's name.
    pub node: &'a str,
    /// This node's region.
    pub region: &'a str,
    /// How ARNs of this domain look.
    pub domain: &'a DomainInfo,
    /// How many keys the domain may have, those that wait to be deleted among them.
    pub keys_max: u32,
    /// Who asks.
    pub caller: &'a Caller,
}

/// Who asks, as the listener established it.
#[derive(Debug, Clone)]
pub struct Caller {
    /// The name in the client certificate.
    pub principal: String,
    /// That certificate's serial number in lower-case hex.
    pub certificate_serial: String,
    /// host:port as the node saw it.
    pub source_address: String,
    /// Chosen by the client, kept by its retries; else by the node.
    pub request_id: RequestId,
    /// The request id that this attempt repeats, if it is a retry.
    pub retry_of: Option<RequestId>,
}
