//! What an open node holds: every key of its domain, and what is done with them.
//!
//! A keyring never changes: [`Keyring::refreshed`] makes the next one when the records it was
//! read from have changed, and the node swaps it in. The audit side is in `entries`, tokens for
//! imports in `import_token`, reading the records in `load`, replacing the domain key in [`rotation`] and [`resealing`].

mod entries;
mod import_token;
mod load;
pub mod resealing;
pub mod rotation;

use std::collections::BTreeMap;
use std::fmt;

use conclave_crypto::ed25519::SigningKey;
use conclave_crypto::entropy::Entropy;
use conclave_crypto::hpke::{HpkePrivateKey, HpkePublicKey};
use conclave_crypto::secret::{Key, Secret};
use conclave_crypto::{aead, hmac_sha256};
use conclave_proto::record;
use conclave_store::{BlobDigest, Kind, RecordId};
use prost::Message;

pub use entries::{EntryError, OpenedEntry, seal_entry_to_intake};
pub use import_token::ImportTokenError;
pub use load::KeyringError;

use crate::delivery::Delivery;
use crate::epoch::ShareEpoch;
use crate::ids::{DomainId, EpochNumber, OperatorGeneration};
use crate::labels;
use crate::members::Recipient;
use crate::operator::NodeSealRoot;
use crate::wrapped::SealKind;

/// The format of sealed blobs.
pub const SEALED_BLOB_FORMAT: u32 = 1;

/// The longest plaintext of an answer, in bytes: sealed it has 256, the most that the store keeps.
pub const ANSWER_LEN_MAX: usize = 256 - 4 - aead::OVERHEAD;

/// All keys of one domain.
pub struct Keyring {
    domain: DomainId,
    root: Key,
    root_epoch: EpochNumber,
    current: u32,
    domain_keys: BTreeMap<u32, Key>,
    secrets: Secrets,
    token_key: Key,
    /// What was read, to see whether anything has changed since.
    read: BTreeMap<RecordId, BlobDigest>,
}

/// The keys that lie in sealed records.
struct Secrets {
    index: Key,
    /// Numbered from 0; what is sealed now is sealed to the last.
    intake: BTreeMap<u64, HpkePrivateKey>,
    audit: BTreeMap<u32, Key>,
    audit_signing: Key,
    node_seal: BTreeMap<OperatorGeneration, NodeSealRoot>,
}

impl Keyring {
    /// The domain whose keys these are.
    pub fn domain(&self) -> DomainId {
        self.domain
    }

    /// The root key it was opened with. After a new one was dealt, that is an older one until the
    /// node has put the new one together; the domain keys are the same under either.
    pub fn root(&self) -> &Key {
        &self.root
    }

    /// The share epoch whose root key that is.
    pub fn root_epoch(&self) -> EpochNumber {
        self.root_epoch
    }

    /// Whether the record wraps exactly the domain keys that are here.
    pub(crate) fn has_domain_keys(&self, keys: &record::DomainKeys) -> bool {
        self.covers(keys)
            && self.domain_keys.keys().all(|key| keys.wraps.iter().any(|w| w.epoch == *key))
    }

    /// Whether all domain keys that the record wraps are here.
    fn covers(&self, keys: &record::DomainKeys) -> bool {
        keys.current == self.current
            && keys.wraps.iter().any(|wrap| wrap.epoch == keys.current)
            && keys.wraps.iter().all(|wrap| self.domain_keys.contains_key(&wrap.epoch))
    }

    /// Every domain key under the root key of `epoch`.
    pub(crate) fn wrap_domain_keys(
        &self,
        root: &Key,
        epoch: EpochNumber,
        entropy: &mut dyn Entropy,
    ) -> Vec<record::DomainKeyWrap> {
        let keys = self.domain_keys.iter();
        let wrap = |(&number, key)| wrap_domain_key(self.domain, root, epoch, number, key, entropy);
        keys.map(wrap).collect()
    }

    /// The newest node-seal root: what new shares are wrapped under.
    pub fn node_seal_root(&self) -> Option<&NodeSealRoot> {
        self.secrets.node_seal.values().next_back()
    }

    /// Every key in here by what it is, for the test that looks for them in a node's memory.
    #[doc(hidden)]
    pub fn every_key(&self) -> Vec<(&'static str, Key)> {
        let copy = |bytes: &[u8]| Key::from_slice(bytes).expect("every key here is one");
        let secrets = &self.secrets;
        let single = [
            ("root key", self.root.duplicate()),
            ("index key", secrets.index.duplicate()),
            ("audit signing key", secrets.audit_signing.duplicate()),
            ("token key", self.token_key.duplicate()),
        ];
        let numbered = (self.domain_keys.values().map(|key| ("domain key", key)))
            .chain(secrets.audit.values().map(|key| ("audit key", key)))
            .chain(secrets.node_seal.values().map(|root| ("node-seal root", &root.key)));
        let numbered = numbered.map(|(what, key)| (what, key.duplicate()));
        let intake = secrets.intake.values().map(|pair| pair.to_secret());
        let intake = intake.map(|private| ("intake key", copy(private.expose())));
        single.into_iter().chain(numbered).chain(intake).collect()
    }

    /// What audit checkpoints are signed with.
    pub fn audit_signing_key(&self) -> SigningKey {
        SigningKey::from_seed(&self.secrets.audit_signing)
    }

    /// What nodes that are not open seal their audit entries to.
    pub fn intake_public(&self) -> HpkePublicKey {
        let (_, newest) = self.secrets.intake.last_key_value().expect("checked when it was read");
        newest.public()
    }

    /// The node-seal root of an operator generation: what nodes with shares under it unwrap them with.
    pub fn node_seal_root_of(&self, generation: OperatorGeneration) -> Option<&NodeSealRoot> {
        self.secrets.node_seal.get(&generation)
    }

    /// The share of `member` in `epoch`, on its way to it; none if this is not that epoch's root key,
    /// or `member` no holder.
    pub fn deliver(
        &self,
        epoch: &ShareEpoch,
        member: &Recipient,
        kind: SealKind,
        entropy: &mut dyn Entropy,
    ) -> Option<Delivery> {
        let share = epoch.share_of(self.domain, &self.root, member.raft_id).ok()?;
        let seal = self.node_seal_root()?;
        Delivery::new(member, kind, self.domain, epoch.number, &share, seal, entropy).ok()
    }

    /// Seals a record's plaintext under the current domain key; the blob belongs under `id` alone.
    pub fn seal_record(
        &self,
        id: &RecordId,
        plaintext: &[u8],
        entropy: &mut dyn Entropy,
    ) -> Vec<u8> {
        let key = self.domain_keys.get(&self.current).expect("checked when the keyring was made");
        seal_blob(self.domain, self.current, key, id, plaintext, entropy)
    }

    /// The plaintext of the record `id`.
    ///
    /// # Errors
    /// [`RecordError`] if the blob is not one that a keyring of this domain sealed for `id`.
    pub fn open_record(&self, id: &RecordId, blob: &[u8]) -> Result<Secret, RecordError> {
        open_blob(self.domain, &self.domain_keys, id, blob)
    }

    /// The record that a name stands for, without giving the name away.
    pub fn name_id(&self, kind: Kind, account: &str, name: &str) -> RecordId {
        let message = labels::name_message(self.domain, account, kind.byte(), name);
        let tag = hmac_sha256(&self.secrets.index, &[&message]);
        let mut id = [0; 16];
        id.copy_from_slice(&tag[..16]);
        RecordId::new(kind, id)
    }

    /// By what a mutation is known again: the same for the same principal and request id.
    pub fn token(&self, principal: &str, request_id: &str) -> [u8; 32] {
        hmac_sha256(&self.token_key, &[&labels::token_message(principal, request_id)])
    }

    /// The id of the key that the mutation behind `token` creates: shaped as a UUID of version 4.
    pub fn derived_key_id(&self, token: &[u8; 32]) -> [u8; 16] {
        labels::key_id(self.domain, token)
    }

    /// The id of the grant that the mutation behind `token` creates, if it has no name of its own.
    pub fn derived_grant_id(&self, token: &[u8; 32]) -> [u8; 16] {
        labels::grant_id(self.domain, token)
    }

    /// Seals what a retry of the mutation behind `token` gets, at most [`ANSWER_LEN_MAX`] bytes.
    ///
    /// # Errors
    /// [`AnswerError::TooLong`].
    pub fn seal_answer(
        &self,
        token: &[u8; 32],
        answer: &[u8],
        entropy: &mut dyn Entropy,
    ) -> Result<Vec<u8>, AnswerError> {
        if answer.len() > ANSWER_LEN_MAX {
            return Err(AnswerError::TooLong { found: answer.len() });
        }
        let aad = labels::answer_aad(self.domain, self.current, token);
        let key = self.domain_keys.get(&self.current).expect("checked when the keyring was made");
        let mut sealed = self.current.to_be_bytes().to_vec();
        sealed.extend_from_slice(&aead::seal(key, entropy, &aad, answer));
        Ok(sealed)
    }

    /// What [`Keyring::seal_answer`] sealed.
    ///
    /// # Errors
    /// [`AnswerError`] if it was not sealed for `token` in this domain.
    pub fn open_answer(&self, token: &[u8; 32], sealed: &[u8]) -> Result<Secret, AnswerError> {
        let (epoch, sealed) = sealed.split_first_chunk::<4>().ok_or(AnswerError::NotAuthentic)?;
        let epoch = u32::from_be_bytes(*epoch);
        let key = self.domain_keys.get(&epoch).ok_or(AnswerError::UnknownEpoch { epoch })?;
        let aad = labels::answer_aad(self.domain, epoch, token);
        aead::open(key, &aad, sealed).map_err(|_| AnswerError::NotAuthentic)
    }
}

impl fmt::Debug for Keyring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keyring").field("domain", &self.domain).finish_non_exhaustive()
    }
}

/// The domain key `number` under the root key of `epoch`.
fn wrap_domain_key(
    domain: DomainId,
    root: &Key,
    epoch: EpochNumber,
    number: u32,
    key: &Key,
    entropy: &mut dyn Entropy,
) -> record::DomainKeyWrap {
    let wrap_key = labels::domain_wrap_key(root, domain, epoch);
    let aad = labels::domain_key_aad(domain, number, epoch);
    let wrapped = aead::seal(&wrap_key, entropy, &aad, key.expose());
    record::DomainKeyWrap { epoch: number, share_epoch: epoch.0, wrapped }
}

fn record_aad(domain: DomainId, id: &RecordId, format: u32) -> Vec<u8> {
    labels::record_aad(domain, id.kind().byte(), id.id(), format)
}

fn seal_blob(
    domain: DomainId,
    epoch: u32,
    key: &Key,
    id: &RecordId,
    plaintext: &[u8],
    entropy: &mut dyn Entropy,
) -> Vec<u8> {
    let aad = record_aad(domain, id, SEALED_BLOB_FORMAT);
    let sealed = aead::seal(key, entropy, &aad, plaintext);
    record::SealedBlob { format: SEALED_BLOB_FORMAT, epoch, sealed }.encode_to_vec()
}

fn open_blob(
    domain: DomainId,
    domain_keys: &BTreeMap<u32, Key>,
    id: &RecordId,
    blob: &[u8],
) -> Result<Secret, RecordError> {
    let record = *id;
    let blob = record::SealedBlob::decode(blob).map_err(|_| RecordError::Encoding { record })?;
    if blob.format != SEALED_BLOB_FORMAT {
        return Err(RecordError::Format { record, found: blob.format });
    }
    let key = domain_keys
        .get(&blob.epoch)
        .ok_or(RecordError::UnknownEpoch { record, epoch: blob.epoch })?;
    let aad = record_aad(domain, id, blob.format);
    aead::open(key, &aad, &blob.sealed).map_err(|_| RecordError::NotAuthentic { record })
}

/// Why a sealed record did not open. The state of a healthy replica never holds one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    /// The blob is no sealed blob.
    #[error("record {record} is no sealed record")]
    Encoding {
        /// Which one.
        record: RecordId,
    },
    /// A later version sealed it.
    #[error(
        "record {record} has format {found}, this version knows {SEALED_BLOB_FORMAT}; upgrade the node"
    )]
    Format {
        /// Which one.
        record: RecordId,
        /// As written.
        found: u32,
    },
    /// Under a domain key that this keyring has not got.
    #[error("record {record} is under domain key {epoch}, which is not here")]
    UnknownEpoch {
        /// Which one.
        record: RecordId,
        /// Under which domain key.
        epoch: u32,
    },
    /// Another record's blob, another domain's, or a changed one.
    #[error("record {record} was not sealed as such in this domain")]
    NotAuthentic {
        /// Which one.
        record: RecordId,
    },
}

/// Why an answer was not sealed or not opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AnswerError {
    /// Beyond what is kept beside a token.
    #[error("an answer has at most {ANSWER_LEN_MAX} bytes, this has {found}")]
    TooLong {
        /// How many bytes there were.
        found: usize,
    },
    /// Another token's, another domain's, or a changed one.
    #[error("the kept answer was not sealed for this request")]
    NotAuthentic,
    /// Under a domain key that this keyring has not got: most likely one that was retired.
    #[error("the kept answer is under domain key {epoch}, which is not here")]
    UnknownEpoch {
        /// Under which domain key.
        epoch: u32,
    },
}
