//! The domain key's epochs: a new one put to use, old ones retired.
//!
//! A rotation writes the domain-keys record with one more wrap and `current` moved to it. From then
//! on everything is sealed under the new epoch; what lies under older ones is sealed again in the
//! background ([`super::resealing`]), and once nothing is left their wraps go.
//!
//! **Invariant: whoever seals is guarded.** Every txn that writes a sealed record, or keeps a sealed
//! answer, is guarded on the domain-keys record that its keyring was read from
//! ([`Keyring::domain_keys_guard`]). So no txn that takes effect after a rotation brings anything
//! under an older epoch, however stale the node that decided it, and a record that was seen under
//! the newest epoch never goes back. That is why one walk over all records, page by page, proves that an
//! epoch is out of use.
//!
//! The intake key, to which nodes that are not open seal their audit entries, is replaced with it.
//! Older ones are kept, for they open older entries.
//!
//! Not here: replacing the root key, which wraps the same epochs anew.

use std::collections::{BTreeMap, BTreeSet};

use conclave_crypto::entropy::Entropy;
use conclave_crypto::hpke::HpkePrivateKey;
use conclave_crypto::secret::Key;
use conclave_proto::record;
use conclave_store::{GuardDigest, Kind, ReadError, RecordId, View, Write};
use prost::Message;

use super::load::secret_key;
use super::resealing::NothingOlder;
use super::{Keyring, seal_blob, wrap_domain_key};

use crate::epochs::ShareEpochs;

/// Epochs of the domain key that are kept at once. More than two are there only while rotations come
/// faster than records are sealed again.
pub const DOMAIN_KEYS_MAX: usize = 16;

/// An old epoch is not retired before the newest has been in use for this long, in milliseconds of
/// cluster time. The answers kept for retries are not sealed again. None is under an old epoch that
/// committed after the rotation; clients retry for 30 s, a node works on one for 8 s, and the
/// rotation was decided at most 5 s before its stamp.
pub const RETIRE_AFTER_MS: u64 = 45_000;

const RECORD: RecordId = RecordId::singleton(Kind::DomainKeys);
const SHARE_EPOCH: RecordId = RecordId::singleton(Kind::ShareEpoch);

/// The public side of the domain keys: which epochs there are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DomainKeyEpochs {
    /// What is sealed is sealed under this one.
    pub current: u32,
    /// The others, which still open what was sealed under them; ascending.
    pub older: Vec<u32>,
    /// Since when the current one is in use, in milliseconds of cluster time; 0: since the founding.
    pub since_ms: u64,
}

/// What a rotation or a retirement commits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DomainKeyChange {
    /// What it was worked out from.
    pub guards: BTreeMap<RecordId, Option<GuardDigest>>,
    /// The record that takes the place of the old one.
    pub writes: Vec<Write>,
    /// The epochs once it has committed.
    pub epochs: DomainKeyEpochs,
}

impl DomainKeyEpochs {
    /// Those of the record as it stands in `view`; `None` if there is none that this version knows.
    ///
    /// # Errors
    /// [`ReadError`] if the disk does not give the record.
    pub fn read(view: &dyn View) -> Result<Option<Self>, ReadError> {
        let record = view.blob(&RECORD)?.map(|blob| record::DomainKeys::decode(&*blob));
        Ok(record.and_then(Result::ok).map(|record| Self::of(&record)))
    }

    fn of(record: &record::DomainKeys) -> Self {
        let current = record.current;
        let older: BTreeSet<u32> =
            record.wraps.iter().map(|wrap| wrap.epoch).filter(|&epoch| epoch != current).collect();
        Self { current, older: older.into_iter().collect(), since_ms: record.since_ms }
    }
}

impl Keyring {
    /// The epoch that this keyring seals under.
    pub fn domain_key_epoch(&self) -> u32 {
        self.current
    }

    /// What a txn must be guarded on that writes what this keyring sealed.
    pub fn domain_keys_guard(&self) -> (RecordId, Option<GuardDigest>) {
        (RECORD, self.read.get(&RECORD).map(|digest| digest.guard()))
    }

    /// Whether it holds the domain keys as they stand in `view`: else it may not open what it finds
    /// there, and what it seals does not commit. [`Keyring::refreshed`] helps.
    pub fn knows_domain_keys_of(&self, view: &dyn View) -> bool {
        self.read.get(&RECORD) == view.digest(&RECORD).as_ref()
    }

    /// A new domain key, put to use.
    ///
    /// # Errors
    /// [`DomainKeyError`]; nothing is to be committed then.
    pub fn rotate_domain_key(
        &self,
        view: &dyn View,
        now_ms: u64,
        entropy: &mut dyn Entropy,
    ) -> Result<DomainKeyChange, DomainKeyError> {
        let mut record = self.domain_keys_record(view)?;
        let epochs = DomainKeyEpochs::of(&record);
        if epochs.older.len() + 1 >= DOMAIN_KEYS_MAX {
            return Err(DomainKeyError::TooMany { older: epochs.older.len() });
        }
        let newest = epochs.older.iter().copied().fold(epochs.current, u32::max);
        let epoch = newest.checked_add(1).ok_or(DomainKeyError::Unreadable)?;
        let (domain, share_epoch) = (self.domain, self.root_epoch);
        let mut epochs = share_epochs(view)?;
        if epochs.pending.is_some() {
            return Err(DomainKeyError::Pending);
        }
        if epochs.complete.number != share_epoch {
            return Err(DomainKeyError::Stale);
        }
        let key = Key::generate(entropy);
        let wrap = wrap_domain_key(domain, &self.root, share_epoch, epoch, &key, entropy);
        record.wraps.push(wrap);
        record.current = epoch;
        record.since_ms = now_ms;
        let mut change = self.change(view, &record);

        if std::mem::take(&mut epochs.owes_rotation) {
            change.writes.push(Write::put(SHARE_EPOCH, epochs.encode()));
        }
        // Entries of nodes that are not open go to a new key, too.
        let (&last, _) = self.secrets.intake.last_key_value().ok_or(DomainKeyError::Unreadable)?;
        let intake = HpkePrivateKey::generate(entropy);
        let id = RecordId::numbered(Kind::IntakeKey, last + 1);
        let plaintext = secret_key(intake.to_secret().expose(), last + 1);
        let sealed = seal_blob(domain, epoch, &key, &id, &plaintext, entropy);
        let public = RecordId::singleton(Kind::PublicKeys);
        let blob = view.blob(&public)?.ok_or(DomainKeyError::Stale)?;
        let keys = record::PublicKeys::decode(&*blob).map_err(|_| DomainKeyError::Unreadable)?;
        let keys = record::PublicKeys { intake: intake.public().as_bytes().to_vec(), ..keys };
        change.guards.extend([(id, view.guard(&id)), (public, view.guard(&public))]);
        change.writes.extend([Write::put(id, sealed), Write::put(public, keys.encode_to_vec())]);
        Ok(change)
    }

    /// Old domain keys taken away: all below the one under which `proof` found every record.
    ///
    /// # Errors
    /// [`DomainKeyError`]; nothing is to be committed then.
    pub fn retire_domain_keys(
        &self,
        view: &dyn View,
        now_ms: u64,
        proof: NothingOlder,
    ) -> Result<DomainKeyChange, DomainKeyError> {
        let mut record = self.domain_keys_record(view)?;
        let in_use_for_ms = now_ms.saturating_sub(record.since_ms);
        if in_use_for_ms < RETIRE_AFTER_MS {
            return Err(DomainKeyError::TooSoon { left_ms: RETIRE_AFTER_MS - in_use_for_ms });
        }
        record.wraps.retain(|wrap| wrap.epoch >= proof.than() || wrap.epoch == record.current);
        Ok(self.change(view, &record))
    }

    /// The record as it stands, if this keyring was read from that very one.
    fn domain_keys_record(&self, view: &dyn View) -> Result<record::DomainKeys, DomainKeyError> {
        if !self.knows_domain_keys_of(view) {
            return Err(DomainKeyError::Stale);
        }
        let blob = view.blob(&RECORD)?.ok_or(DomainKeyError::Stale)?;
        record::DomainKeys::decode(&*blob).map_err(|_| DomainKeyError::Unreadable)
    }

    fn change(&self, view: &dyn View, record: &record::DomainKeys) -> DomainKeyChange {
        DomainKeyChange {
            guards: BTreeMap::from([
                self.domain_keys_guard(),
                (SHARE_EPOCH, view.guard(&SHARE_EPOCH)),
            ]),
            writes: vec![Write::put(RECORD, record.encode_to_vec())],
            epochs: DomainKeyEpochs::of(record),
        }
    }
}

fn share_epochs(view: &dyn View) -> Result<ShareEpochs, DomainKeyError> {
    let blob = view.blob(&SHARE_EPOCH)?.ok_or(DomainKeyError::Stale)?;
    ShareEpochs::parse(&blob).map_err(|_| DomainKeyError::Unreadable)
}

/// Why the domain keys are not changed now.
#[derive(Debug, thiserror::Error)]
pub enum DomainKeyError {
    /// The keyring was read from another record than the one that stands: refresh it.
    #[error("the domain keys changed meanwhile; retry")]
    Stale,
    /// Each domain key has a wrap under either root key then, and this node has one of them.
    #[error(
        "a share epoch is pending; wait until all nodes have their shares, or exclude those that will not come back (`conclave node exclude`)"
    )]
    Pending,
    /// The record is not one that this version knows.
    #[error("the record of the domain keys is not what this version knows; upgrade the node")]
    Unreadable,
    /// The records have to catch up first.
    #[error(
        "{older} older domain keys are still in use, and {DOMAIN_KEYS_MAX} are kept at most; wait until records are sealed again, see `conclave status`"
    )]
    TooMany {
        /// How many there are beside the current one.
        older: usize,
    },
    /// Answers under the old one may yet be asked for.
    #[error("the newest domain key has not been in use for long enough; {left_ms} ms are left")]
    TooSoon {
        /// Until when, in milliseconds of cluster time.
        left_ms: u64,
    },
    /// The disk.
    #[error(transparent)]
    Read(#[from] ReadError),
}
