//! The operator key: what the operators' shares make, and what derives from it.
//!
//! A node needs it for a moment only, to derive its own node-seal key; it is never written down
//! whole. A key pair derives from it, too, to whose public half open nodes encrypt every root key:
//! the way back in when no node's share can be had.

use std::collections::BTreeMap;

use conclave_crypto::entropy::Entropy;
use conclave_crypto::hpke::{self, HpkeError, HpkePrivateKey, HpkePublicKey};
use conclave_crypto::secret::Key;
use conclave_proto::record;
use prost::Message;

use crate::ids::{DomainId, EpochNumber, OperatorGeneration};
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

    /// The public record of this key, with no root key wrapped yet.
    pub fn record(&self, domain: DomainId, split: OperatorSplit) -> OperatorKeyRecord {
        OperatorKeyRecord {
            generation: self.generation,
            split,
            check: *self.check(domain).expose(),
            recovery: self.recovery(domain).public(),
            root_wraps: BTreeMap::new(),
            previous: None,
        }
    }

    /// The root key of a share epoch out of `record`: the way in that needs no node's share.
    ///
    /// # Errors
    /// [`RecoveryError`] if the record is of another operator key, was changed, or has no such root.
    pub fn unwrap_root(
        &self,
        domain: DomainId,
        record: &OperatorKeyRecord,
        epoch: EpochNumber,
    ) -> Result<Key, RecoveryError> {
        let record = record.each().find(|r| r.is_key(domain, self)).ok_or(RecoveryError)?;
        let wrapped = record.root_wraps.get(&epoch).ok_or(RecoveryError)?;
        let info = labels::root_wrap_info(domain, self.generation, epoch);
        let root = hpke::hpke_open(&self.recovery(domain), &info, &[], wrapped)
            .map_err(|_| RecoveryError)?;
        Key::from_slice(root.expose()).map_err(|_| RecoveryError)
    }

    fn recovery(&self, domain: DomainId) -> HpkePrivateKey {
        let private = labels::recovery_key(&self.key, domain, self.generation);
        HpkePrivateKey::from_bytes(private.expose()).expect("a key has 32 bytes")
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
    /// What root keys are encrypted to.
    pub recovery: HpkePublicKey,
    /// The root keys that count, by share epoch.
    pub root_wraps: BTreeMap<EpochNumber, Vec<u8>>,
    /// The operator key before, while nodes may still hold shares that are wrapped under it.
    pub previous: Option<Box<OperatorKeyRecord>>,
}

impl OperatorKeyRecord {
    /// Whether this is the record of `key`, found out in constant time.
    pub fn is_key(&self, domain: DomainId, key: &OperatorKey) -> bool {
        let check = Key::from_array(Box::new(self.check));
        key.generation == self.generation && key.check(domain).ct_eq(&check)
    }

    /// This one and the one before, if that still counts.
    pub fn each(&self) -> impl Iterator<Item = &Self> {
        std::iter::once(self).chain(self.previous.as_deref())
    }

    /// Encrypts the root key of `epoch` to the operators, those of the generation before included.
    ///
    /// # Errors
    /// [`HpkeError`] never happens for a record that an honest node wrote.
    pub fn wrap_root(
        &mut self,
        domain: DomainId,
        epoch: EpochNumber,
        root: &Key,
        entropy: &mut dyn Entropy,
    ) -> Result<(), HpkeError> {
        let info = labels::root_wrap_info(domain, self.generation, epoch);
        let wrapped = hpke::hpke_seal(&self.recovery, &info, &[], root.expose(), entropy)?;
        self.root_wraps.insert(epoch, wrapped);
        match &mut self.previous {
            Some(previous) => previous.wrap_root(domain, epoch, root, entropy),
            None => Ok(()),
        }
    }

    /// Drops the wraps of all root keys but those of `epochs`.
    pub(crate) fn keep_roots(&mut self, epochs: &[EpochNumber]) {
        self.root_wraps.retain(|epoch, _| epochs.contains(epoch));
        if let Some(previous) = &mut self.previous {
            previous.keep_roots(epochs);
        }
    }

    /// The record's blob.
    pub fn encode(&self) -> Vec<u8> {
        self.to_proto().encode_to_vec()
    }

    fn to_proto(&self) -> record::OperatorKey {
        let wraps = self.root_wraps.iter();
        let wrap = |(epoch, wrapped): (&EpochNumber, &Vec<u8>)| record::RootWrap {
            share_epoch: epoch.0,
            wrapped: wrapped.clone(),
        };
        record::OperatorKey {
            generation: self.generation.0,
            threshold: self.split.threshold().into(),
            shares: self.split.shares().into(),
            check: self.check.to_vec(),
            recovery_key: self.recovery.as_bytes().to_vec(),
            root_wraps: wraps.map(wrap).collect(),
            previous: self.previous.as_ref().map(|previous| Box::new(previous.to_proto())),
        }
    }

    /// A record's blob, checked.
    ///
    /// # Errors
    /// [`OperatorKeyRecordError`] if it is none.
    pub fn parse(blob: &[u8]) -> Result<Self, OperatorKeyRecordError> {
        let mut record =
            record::OperatorKey::decode(blob).map_err(|_| OperatorKeyRecordError::Encoding)?;
        let previous = match record.previous.take() {
            Some(previous) if previous.previous.is_some() => {
                return Err(OperatorKeyRecordError::Encoding);
            }
            Some(previous) if previous.generation >= record.generation => {
                return Err(OperatorKeyRecordError::Encoding);
            }
            Some(previous) => Some(Box::new(Self::from_proto(*previous)?)),
            None => None,
        };
        Ok(Self { previous, ..Self::from_proto(record)? })
    }

    fn from_proto(record: record::OperatorKey) -> Result<Self, OperatorKeyRecordError> {
        if record.generation == 0 || record.root_wraps.iter().any(|wrap| wrap.share_epoch == 0) {
            return Err(OperatorKeyRecordError::NumberZero);
        }
        let recovery = HpkePublicKey::from_bytes(&record.recovery_key);
        let wraps = record.root_wraps.into_iter();
        Ok(Self {
            generation: OperatorGeneration(record.generation),
            split: OperatorSplit::new(record.threshold, record.shares)?,
            check: record.check.as_slice().try_into().map_err(|_| OperatorKeyRecordError::Check)?,
            recovery: recovery.map_err(|_| OperatorKeyRecordError::Recovery)?,
            root_wraps: wraps.map(|w| (EpochNumber(w.share_epoch), w.wrapped)).collect(),
            previous: None,
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
    /// Generations and share epochs start at 1.
    #[error("the operator key record lacks a generation or the number of a root key")]
    NumberZero,
    /// The recovery key has another length than 32 bytes.
    #[error("the operator key record has no proper recovery key")]
    Recovery,
    /// The check value has another length than 32 bytes.
    #[error("the operator key record has no proper check value")]
    Check,
    /// A split that cannot be.
    #[error(transparent)]
    Split(#[from] SplitError),
}
