//! The operator key: what the operators' shares make, and what derives from it.
//!
//! A node needs it for a moment only, to derive its own node-seal key; it is never written down
//! whole. It also wraps the root key, for recovery.

use conclave_crypto::aead;
use conclave_crypto::entropy::Entropy;
use conclave_crypto::secret::Key;
use conclave_proto::record;
use prost::Message;

use crate::ids::{DomainId, OperatorGeneration, RootGeneration};
use crate::labels;
use crate::operator_split::{OperatorSplit, SplitError};

/// The operator key of one generation.
#[derive(Debug)]
pub struct OperatorKey {
    /// Which one.
    pub generation: OperatorGeneration,
    /// The key.
    pub key: Key,
}

impl OperatorKey {
    /// What tells this key from others: public.
    pub fn check(&self, domain: DomainId) -> Key {
        labels::operator_check(&self.key, domain, self.generation)
    }

    /// What every node's own seal key derives from.
    pub fn node_seal_root(&self, domain: DomainId) -> NodeSealRoot {
        let key = labels::node_seal_root(&self.key, domain, self.generation);
        NodeSealRoot { generation: self.generation, key }
    }

    /// Wraps the root key for recovery.
    pub fn wrap_root(
        &self,
        domain: DomainId,
        root: &Key,
        root_generation: RootGeneration,
        entropy: &mut dyn Entropy,
    ) -> Vec<u8> {
        let key = labels::recovery_key(&self.key, domain, self.generation);
        let aad = labels::root_wrap_aad(domain, self.generation, root_generation);
        aead::seal(&key, entropy, &aad, root.expose())
    }

    /// The root key out of `record`: the way in that needs no node's share.
    ///
    /// # Errors
    /// [`RecoveryError`] if the record is of another operator key, or was changed.
    pub fn unwrap_root(
        &self,
        domain: DomainId,
        record: &OperatorKeyRecord,
    ) -> Result<Key, RecoveryError> {
        if !record.is_key(domain, self) {
            return Err(RecoveryError);
        }
        let key = labels::recovery_key(&self.key, domain, self.generation);
        let aad = labels::root_wrap_aad(domain, self.generation, record.root_generation);
        let root = aead::open(&key, &aad, &record.root_wrap).map_err(|_| RecoveryError)?;
        Key::from_slice(root.expose()).map_err(|_| RecoveryError)
    }
}

/// What the seal keys of all nodes derive from, of one operator generation. Open nodes have it from
/// a sealed record, so they wrap shares for others without a ceremony.
#[derive(Debug)]
pub struct NodeSealRoot {
    /// Of which operator key.
    pub generation: OperatorGeneration,
    /// The key.
    pub key: Key,
}

impl NodeSealRoot {
    /// The seal key of the node called `name`.
    pub fn node_key(&self, domain: DomainId, name: &str) -> NodeSealKey {
        let key = labels::node_seal_key(&self.key, domain, self.generation, name);
        NodeSealKey { generation: self.generation, name: name.to_owned(), key }
    }
}

/// What wraps one node's own share at rest.
#[derive(Debug)]
pub struct NodeSealKey {
    /// Of which operator key.
    pub generation: OperatorGeneration,
    /// Whose.
    pub name: String,
    /// The key.
    pub(crate) key: Key,
}

/// The public record of the operator key, checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OperatorKeyRecord {
    /// Which operator key.
    pub generation: OperatorGeneration,
    /// How many shares there are and how many it takes.
    pub split: OperatorSplit,
    /// What a reconstructed operator key is checked against.
    pub check: [u8; 32],
    /// The root key under the operator key.
    pub root_wrap: Vec<u8>,
    /// Which root key that is.
    pub root_generation: RootGeneration,
}

impl OperatorKeyRecord {
    /// Whether this is the record of `key`, found out in constant time.
    pub fn is_key(&self, domain: DomainId, key: &OperatorKey) -> bool {
        let check = Key::from_array(Box::new(self.check));
        key.generation == self.generation && key.check(domain).ct_eq(&check)
    }

    /// The record's blob.
    pub fn encode(&self) -> Vec<u8> {
        record::OperatorKey {
            generation: self.generation.0,
            threshold: self.split.threshold().into(),
            shares: self.split.shares().into(),
            check: self.check.to_vec(),
            root_wrap: self.root_wrap.clone(),
            root_generation: self.root_generation.0,
        }
        .encode_to_vec()
    }

    /// A record's blob, checked.
    ///
    /// # Errors
    /// [`OperatorKeyRecordError`] if it is none.
    pub fn parse(blob: &[u8]) -> Result<Self, OperatorKeyRecordError> {
        let record =
            record::OperatorKey::decode(blob).map_err(|_| OperatorKeyRecordError::Encoding)?;
        if record.generation == 0 || record.root_generation == 0 {
            return Err(OperatorKeyRecordError::GenerationZero);
        }
        Ok(Self {
            generation: OperatorGeneration(record.generation),
            split: OperatorSplit::new(record.threshold, record.shares)?,
            check: record.check.as_slice().try_into().map_err(|_| OperatorKeyRecordError::Check)?,
            root_wrap: record.root_wrap,
            root_generation: RootGeneration(record.root_generation),
        })
    }
}

/// The operator key does not open the root key of this record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "the operator key does not open this domain's root key; use shares of the same domain and generation"
)]
pub struct RecoveryError;

/// Why a blob is no record of an operator key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum OperatorKeyRecordError {
    /// Not the protobuf message.
    #[error("the operator key record cannot be decoded")]
    Encoding,
    /// Generations start at 1.
    #[error("the operator key record has no generation")]
    GenerationZero,
    /// The check value has another length than 32 bytes.
    #[error("the operator key record has no proper check value")]
    Check,
    /// A split that cannot be.
    #[error(transparent)]
    Split(#[from] SplitError),
}
