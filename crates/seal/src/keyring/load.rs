//! Reading a keyring out of the applied state, and writing the records it is read from.

use std::collections::BTreeMap;

use conclave_crypto::aead;
use conclave_crypto::entropy::Entropy;
use conclave_crypto::hpke::HpkePrivateKey;
use conclave_crypto::secret::Key;
use conclave_proto::record;
use conclave_store::{BlobDigest, Kind, ReadError, RecordId, View, Write};
use prost::Message;
use zeroize::{Zeroize, Zeroizing};

use super::{Keyring, RecordError, Secrets, open_blob};
use crate::epoch::ShareEpochError;
use crate::epochs::ShareEpochs;
use crate::ids::{DomainId, EpochNumber, OperatorGeneration};
use crate::labels;
use crate::operator::NodeSealRoot;

/// How many record ids are listed at once.
const PAGE: usize = 256;

/// The records that a keyring is read from: those that may grow in number …
const NUMBERED: [Kind; 3] = [Kind::IntakeKey, Kind::AuditKey, Kind::NodeSealRoot];
/// … and those of which there is one.
const SINGLE: [Kind; 4] = [Kind::Domain, Kind::DomainKeys, Kind::IndexKey, Kind::AuditSigningKey];

impl Keyring {
    /// The keyring of the domain of whose dealings one has the root key `root`, out of its records.
    ///
    /// # Errors
    /// [`KeyringError`] if `root` is not this domain's, or a record is missing or does not open.
    pub fn open(root: &Key, view: &dyn View) -> Result<Self, KeyringError> {
        let blob = public(view, Kind::Domain)?;
        let domain = record::Domain::decode(&*blob)
            .ok()
            .and_then(|record| DomainId::from_slice(&record.id).ok())
            .ok_or(KeyringError::Public { kind: Kind::Domain })?;
        let epochs = ShareEpochs::parse(&public(view, Kind::ShareEpoch)?)?;
        let epoch = epochs.of_root(domain, root).ok_or(KeyringError::OtherRoot)?.number;
        let keys = domain_keys_record(view)?;
        let domain_keys = unwrap_domain_keys(root, domain, epoch, &keys)?;
        Self::read(domain, root.duplicate(), epoch, keys.current, domain_keys, view)
    }

    /// The next keyring, if a record that this one was read from has changed; else `None`, for the
    /// price of comparing digests. When a new root key was dealt, the domain keys are those that are
    /// here, until [`Keyring::open`] has been given the new one.
    ///
    /// # Errors
    /// [`KeyringError`] as [`Keyring::open`].
    pub fn refreshed(&self, view: &dyn View) -> Result<Option<Self>, KeyringError> {
        if digests(view) == self.read {
            return Ok(None);
        }
        let keys = domain_keys_record(view)?;
        let counts = keys.wraps.iter().any(|wrap| wrap.share_epoch == self.root_epoch.0);
        let domain_keys = if counts {
            unwrap_domain_keys(&self.root, self.domain, self.root_epoch, &keys)?
        } else if self.covers(&keys) {
            let wrapped = |epoch: &u32| keys.wraps.iter().any(|wrap| wrap.epoch == *epoch);
            let kept = self.domain_keys.iter().filter(|(epoch, _)| wrapped(epoch));
            kept.map(|(&epoch, key)| (epoch, key.duplicate())).collect()
        } else {
            // A domain key has come that takes the new root key. Until then nothing that this one
            // seals commits, for it is guarded on the record that this one was read from.
            return Ok(None);
        };
        let current = keys.current;
        let root = self.root.duplicate();
        Self::read(self.domain, root, self.root_epoch, current, domain_keys, view).map(Some)
    }

    /// The rest, once there are domain keys.
    fn read(
        domain: DomainId,
        root: Key,
        root_epoch: EpochNumber,
        current: u32,
        domain_keys: BTreeMap<u32, Key>,
        view: &dyn View,
    ) -> Result<Self, KeyringError> {
        let reader = Reader { domain, domain_keys: &domain_keys, view };
        let secrets = Secrets {
            index: reader.secret(&RecordId::singleton(Kind::IndexKey))?.key,
            intake: reader.intake_keys()?,
            audit: reader.audit_keys()?,
            audit_signing: reader.secret(&RecordId::singleton(Kind::AuditSigningKey))?.key,
            node_seal: reader.node_seal_roots()?,
        };
        let read = digests(view);
        Ok(Self::assemble(domain, root, root_epoch, current, domain_keys, secrets, read))
    }

    /// The one place that a keyring is put together. `current` must be among `domain_keys`.
    pub(super) fn assemble(
        domain: DomainId,
        root: Key,
        root_epoch: EpochNumber,
        current: u32,
        domain_keys: BTreeMap<u32, Key>,
        secrets: Secrets,
        read: BTreeMap<RecordId, BlobDigest>,
    ) -> Self {
        let token_key = labels::token_key(&secrets.index, domain);
        Self { domain, root, root_epoch, current, domain_keys, secrets, token_key, read }
    }

    /// The first keyring of a new domain, all keys drawn but the root key and the node-seal root.
    pub(crate) fn create(
        domain: DomainId,
        root: Key,
        root_epoch: EpochNumber,
        node_seal: NodeSealRoot,
        entropy: &mut dyn Entropy,
    ) -> Self {
        let domain_keys = BTreeMap::from([(1, Key::generate(entropy))]);
        let secrets = Secrets {
            index: Key::generate(entropy),
            intake: BTreeMap::from([(0, HpkePrivateKey::generate(entropy))]),
            audit: BTreeMap::from([(1, Key::generate(entropy))]),
            audit_signing: Key::generate(entropy),
            node_seal: BTreeMap::from([(node_seal.generation, node_seal)]),
        };
        Self::assemble(domain, root, root_epoch, 1, domain_keys, secrets, BTreeMap::new())
    }

    /// What a founding has written is as good as read: txns are guarded on it.
    pub(crate) fn note_written(&mut self, records: &[(RecordId, Vec<u8>)]) {
        self.read = records.iter().map(|(id, blob)| (*id, BlobDigest::of(blob))).collect();
    }

    /// The blobs of the records that [`Keyring::open`] reads, the domain and share epoch aside.
    pub(crate) fn records(&self, entropy: &mut dyn Entropy) -> Vec<(RecordId, Vec<u8>)> {
        let wraps = self.wrap_domain_keys(&self.root, self.root_epoch, entropy);
        let keys = record::DomainKeys { current: self.current, wraps, since_ms: 0 };
        let mut records = vec![(RecordId::singleton(Kind::DomainKeys), keys.encode_to_vec())];

        let mut seal = |id: RecordId, key: &[u8], number: u64| {
            records.push((id, self.seal_secret(&id, key, number, entropy)));
        };
        let secrets = &self.secrets;
        seal(RecordId::singleton(Kind::IndexKey), secrets.index.expose(), 0);
        for (&number, key) in &secrets.intake {
            seal(RecordId::numbered(Kind::IntakeKey, number), key.to_secret().expose(), number);
        }
        seal(RecordId::singleton(Kind::AuditSigningKey), secrets.audit_signing.expose(), 0);
        for (&number, key) in &secrets.audit {
            seal(RecordId::numbered(Kind::AuditKey, number.into()), key.expose(), number.into());
        }
        for (generation, root) in &secrets.node_seal {
            let id = RecordId::numbered(Kind::NodeSealRoot, generation.0);
            seal(id, root.key.expose(), generation.0);
        }
        records
    }

    /// The record that open nodes read a node-seal root from.
    pub(crate) fn node_seal_root_record(
        &self,
        root: &NodeSealRoot,
        entropy: &mut dyn Entropy,
    ) -> Write {
        let generation = root.generation.0;
        let id = RecordId::numbered(Kind::NodeSealRoot, generation);
        Write::put(id, self.seal_secret(&id, root.key.expose(), generation, entropy))
    }

    fn seal_secret(
        &self,
        id: &RecordId,
        key: &[u8],
        number: u64,
        entropy: &mut dyn Entropy,
    ) -> Vec<u8> {
        self.seal_record(id, &secret_key(key, number), entropy)
    }
}

/// The plaintext of a record that holds one key.
pub(super) fn secret_key(key: &[u8], number: u64) -> Zeroizing<Vec<u8>> {
    let mut message = record::SecretKey { key: key.to_vec(), number };
    let plaintext = Zeroizing::new(message.encode_to_vec());
    message.key.zeroize();
    plaintext
}

fn domain_keys_record(view: &dyn View) -> Result<record::DomainKeys, KeyringError> {
    record::DomainKeys::decode(&*public(view, Kind::DomainKeys)?)
        .map_err(|_| KeyringError::Public { kind: Kind::DomainKeys })
}

fn unwrap_domain_keys(
    root: &Key,
    domain: DomainId,
    epoch: EpochNumber,
    keys: &record::DomainKeys,
) -> Result<BTreeMap<u32, Key>, KeyringError> {
    let wrap_key = labels::domain_wrap_key(root, domain, epoch);
    let mut domain_keys = BTreeMap::new();
    for wrap in keys.wraps.iter().filter(|wrap| wrap.share_epoch == epoch.0) {
        let aad = labels::domain_key_aad(domain, wrap.epoch, epoch);
        let key = aead::open(&wrap_key, &aad, &wrap.wrapped)
            .ok()
            .and_then(|key| Key::from_slice(key.expose()).ok())
            .ok_or(KeyringError::DomainKey { epoch: wrap.epoch })?;
        domain_keys.insert(wrap.epoch, key);
    }
    if domain_keys.contains_key(&keys.current) {
        Ok(domain_keys)
    } else {
        Err(KeyringError::DomainKey { epoch: keys.current })
    }
}

struct Reader<'a> {
    domain: DomainId,
    domain_keys: &'a BTreeMap<u32, Key>,
    view: &'a dyn View,
}

struct SecretRecord {
    key: Key,
    number: u64,
}

impl Reader<'_> {
    fn secret(&self, id: &RecordId) -> Result<SecretRecord, KeyringError> {
        let blob = self.view.blob(id)?.ok_or(KeyringError::Missing { record: *id })?;
        let plaintext = open_blob(self.domain, self.domain_keys, id, &blob)?;
        let broken = KeyringError::Secret { record: *id };
        let Ok(mut message) = record::SecretKey::decode(plaintext.expose()) else {
            return Err(broken);
        };
        let key = Key::from_slice(&message.key);
        message.key.zeroize();
        key.map(|key| SecretRecord { key, number: message.number }).map_err(|_| broken)
    }

    fn intake_keys(&self) -> Result<BTreeMap<u64, HpkePrivateKey>, KeyringError> {
        let mut keys = BTreeMap::new();
        for id in list_all(self.view, Kind::IntakeKey) {
            let secret = self.secret(&id)?;
            let key = HpkePrivateKey::from_bytes(secret.key.expose())
                .map_err(|_| KeyringError::Secret { record: id })?;
            keys.insert(secret.number, key);
        }
        match keys.is_empty() {
            true => Err(KeyringError::Missing { record: RecordId::singleton(Kind::IntakeKey) }),
            false => Ok(keys),
        }
    }

    fn audit_keys(&self) -> Result<BTreeMap<u32, Key>, KeyringError> {
        let mut keys = BTreeMap::new();
        for id in list_all(self.view, Kind::AuditKey) {
            let secret = self.secret(&id)?;
            let number = u32::try_from(secret.number).ok().filter(|&number| number > 0);
            keys.insert(number.ok_or(KeyringError::Secret { record: id })?, secret.key);
        }
        if keys.is_empty() {
            return Err(KeyringError::Missing { record: RecordId::numbered(Kind::AuditKey, 1) });
        }
        Ok(keys)
    }

    fn node_seal_roots(&self) -> Result<BTreeMap<OperatorGeneration, NodeSealRoot>, KeyringError> {
        let mut roots = BTreeMap::new();
        for id in list_all(self.view, Kind::NodeSealRoot) {
            let secret = self.secret(&id)?;
            let generation = OperatorGeneration(secret.number);
            roots.insert(generation, NodeSealRoot { generation, key: secret.key });
        }
        Ok(roots)
    }
}

fn public(view: &dyn View, kind: Kind) -> Result<std::sync::Arc<[u8]>, KeyringError> {
    let record = RecordId::singleton(kind);
    view.blob(&record)?.ok_or(KeyringError::Missing { record })
}

fn digests(view: &dyn View) -> BTreeMap<RecordId, BlobDigest> {
    let single = SINGLE.into_iter().map(RecordId::singleton);
    let numbered = NUMBERED.into_iter().flat_map(|kind| list_all(view, kind));
    single.chain(numbered).filter_map(|id| Some((id, view.digest(&id)?))).collect()
}

fn list_all(view: &dyn View, kind: Kind) -> Vec<RecordId> {
    let mut all = Vec::new();
    loop {
        let page = view.list(kind, all.last(), PAGE);
        let last = page.len() < PAGE;
        all.extend(page);
        if last {
            return all;
        }
    }
}

/// Why a keyring could not be read.
#[derive(Debug, thiserror::Error)]
pub enum KeyringError {
    /// The root key does not fit the share-epoch record's check value.
    #[error("the root key is not this domain's")]
    OtherRoot,
    /// The applied state lacks a record; it does not lack it once the node has caught up.
    #[error("record {record} is not there; wait until the node has caught up")]
    Missing {
        /// Which one.
        record: RecordId,
    },
    /// The share-epoch record is broken.
    #[error(transparent)]
    ShareEpoch(#[from] ShareEpochError),
    /// A public record is broken.
    #[error(
        "the public record {kind:?} is not what this version knows; upgrade or rebuild the node"
    )]
    Public {
        /// Which one.
        kind: Kind,
    },
    /// A domain key does not unwrap under the root key, or the current one has no wrap.
    #[error("domain key {epoch} does not open under the root key")]
    DomainKey {
        /// Which one.
        epoch: u32,
    },
    /// A sealed record does not open.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// A sealed record opens, but holds no key.
    #[error("record {record} holds no key that this version knows; upgrade or rebuild the node")]
    Secret {
        /// Which one.
        record: RecordId,
    },
    /// The disk.
    #[error(transparent)]
    Read(#[from] ReadError),
}
