//! The only way from a decision to the view: whatever is read here, found or not, becomes a guard, so
//! that no decision can forget one.

use std::collections::BTreeMap;
use std::sync::Arc;

use conclave_crypto::Entropy;
use conclave_proto::record;
use conclave_seal::Keyring;
use conclave_seal::keyring::rotation::{DomainKeyChange, DomainKeyEpochs, DomainKeyError};
use conclave_store::{Family, GuardDigest, Kind, LastUse, RecordId, TimeMs, View};
use prost::Message;

use crate::cache::{Cache, Decoded};
use crate::fields::GrantId;
use crate::key_ref::{AliasName, KeyId};
use crate::plan::DecideError;
use crate::records::{
    AliasRecord, GrantRecord, KeyPolicyRecord, KeyRecord, PrincipalRecord, RecordError,
};

pub(crate) type Guards = BTreeMap<RecordId, Option<GuardDigest>>;
pub(crate) type Scans = BTreeMap<Family, Option<GuardDigest>>;
pub(crate) type Quotas = BTreeMap<Family, u32>;

/// Aliases of one key, as AWS KMS bounds them.
pub const ALIASES_MAX: u32 = 50;
/// Grants of one key, as AWS KMS bounds them.
pub const GRANTS_MAX: u32 = 50_000;

/// What all keys are under, so that they are counted.
pub(crate) const DOMAIN: RecordId = RecordId::singleton(Kind::Domain);

pub(crate) struct Reads<'a> {
    view: &'a dyn View,
    keyring: &'a Keyring,
    cache: &'a Cache,
    account: &'a str,
    guards: Guards,
    scans: Scans,
    fewer: Quotas,
}

impl<'a> Reads<'a> {
    pub(crate) fn new(
        view: &'a dyn View,
        keyring: &'a Keyring,
        cache: &'a Cache,
        account: &'a str,
    ) -> Self {
        let (guards, scans, fewer) = Default::default();
        Self { view, keyring, cache, account, guards, scans, fewer }
    }

    pub(crate) fn key(&mut self, id: KeyId) -> Result<Option<Arc<KeyRecord>>, DecideError> {
        let record = key_record_id(id);
        match self.decoded(record)? {
            None => Ok(None),
            Some(Decoded::Key(key)) if key.id == id => Ok(Some(key)),
            Some(_) => Err(misplaced(record)),
        }
    }

    pub(crate) fn alias(
        &mut self,
        name: &AliasName,
    ) -> Result<Option<Arc<AliasRecord>>, DecideError> {
        let record = self.alias_record_id(name);
        match self.decoded(record)? {
            None => Ok(None),
            Some(Decoded::Alias(alias)) => Ok(Some(alias)),
            Some(_) => Err(misplaced(record)),
        }
    }

    pub(crate) fn principal(
        &mut self,
        name: &str,
    ) -> Result<Option<Arc<PrincipalRecord>>, DecideError> {
        let record = self.principal_record_id(name);
        match self.decoded(record)? {
            None => Ok(None),
            Some(Decoded::Principal(principal)) if principal.name == name => Ok(Some(principal)),
            Some(_) => Err(misplaced(record)),
        }
    }

    /// None if the key has the default policy.
    pub(crate) fn key_policy(
        &mut self,
        key: KeyId,
    ) -> Result<Option<Arc<KeyPolicyRecord>>, DecideError> {
        let record = key_policy_record_id(key);
        match self.decoded(record)? {
            None => Ok(None),
            Some(Decoded::KeyPolicy(policy)) => Ok(Some(policy)),
            Some(_) => Err(misplaced(record)),
        }
    }

    pub(crate) fn grant(&mut self, id: GrantId) -> Result<Option<Arc<GrantRecord>>, DecideError> {
        let record = grant_record_id(id);
        match self.decoded(record)? {
            None => Ok(None),
            Some(Decoded::Grant(grant)) if grant.id == id => Ok(Some(grant)),
            Some(_) => Err(misplaced(record)),
        }
    }

    pub(crate) fn alias_record_id(&self, name: &AliasName) -> RecordId {
        self.keyring.name_id(Kind::Alias, self.account, name.as_str())
    }

    pub(crate) fn principal_record_id(&self, name: &str) -> RecordId {
        self.keyring.name_id(Kind::Principal, self.account, name)
    }

    /// The names that a key goes by, sorted. What is guarded is that these are all: an alias that points
    /// elsewhere has left them.
    pub(crate) fn aliases_of(&mut self, key: KeyId) -> Result<Vec<String>, DecideError> {
        let family = alias_family(key);
        let mut names = Vec::new();
        for record in self.children(family, ALIASES_MAX as usize) {
            names.push(self.listed_alias(record)?.name.clone());
        }
        names.sort();
        Ok(names)
    }

    /// Rests the decision on a record as it is, whatever it holds, and says what that is.
    pub(crate) fn guard(&mut self, record: RecordId) -> Option<GuardDigest> {
        let guard = self.view.guard(&record);
        self.guards.insert(record, guard);
        guard
    }

    /// The first of what is listed under a record; guarded is that this is what is listed.
    pub(crate) fn children(&mut self, family: Family, limit: usize) -> Vec<RecordId> {
        self.scan(family);
        self.view.family(&family, None, limit)
    }

    /// The key that something is to happen to.
    pub(crate) fn due(&mut self, record: RecordId) -> Result<Option<KeyId>, DecideError> {
        let stored: Option<record::Due> = self.message(record)?;
        stored.map(|due| key_id(record, &due.key_id)).transpose()
    }

    /// What is left of a destroyed key.
    pub(crate) fn tombstone(
        &mut self,
        key: KeyId,
    ) -> Result<Option<record::Tombstone>, DecideError> {
        let record = tombstone_record_id(key);
        let stored: Option<record::Tombstone> = self.message(record)?;
        match &stored {
            Some(tombstone) if key_id(record, &tombstone.key_id)? != key => Err(misplaced(record)),
            _ => Ok(stored),
        }
    }

    /// Whether the domain may have one more key.
    pub(crate) fn has_room_for_key(&mut self, max: u32) -> bool {
        self.has_room(Family::new(DOMAIN, Kind::Key), max)
    }

    /// Whether a key may have one more alias.
    pub(crate) fn has_room_for_alias(&mut self, key: KeyId) -> bool {
        self.has_room(alias_family(key), ALIASES_MAX)
    }

    /// Whether it may have one more grant.
    pub(crate) fn has_room_for_grant(&mut self, key: KeyId) -> bool {
        self.has_room(grant_family(key), GRANTS_MAX)
    }

    /// That there is room is guarded by number alone, so what is made at once conflicts only over the
    /// last place; that there is none, by who takes it.
    fn has_room(&mut self, family: Family, max: u32) -> bool {
        let has_room = self.view.count(&family) < max;
        if has_room {
            self.fewer.insert(family, max);
        } else {
            self.scan(family);
        }
        has_room
    }

    fn scan(&mut self, family: Family) {
        self.scans.insert(family, self.view.scan_guard(&family));
    }

    /// When a key was last used, as far as it is known here; not guarded, since every use changes it.
    pub(crate) fn last_use(&self, key: KeyId) -> Option<LastUse> {
        self.view.last_use(&key_record_id(key))
    }

    /// One page of records, *not* guarded: lists come after a ReadIndex, and are guarded only by what
    /// authorises them. The flag says whether more follow.
    pub(crate) fn page(
        &self,
        kind: Kind,
        after: Option<&RecordId>,
        limit: usize,
    ) -> (Vec<RecordId>, bool) {
        cut(self.view.list(kind, after, limit + 1), limit)
    }

    /// The same, of a key's aliases.
    pub(crate) fn page_of_aliases(
        &self,
        key: KeyId,
        after: Option<&RecordId>,
        limit: usize,
    ) -> (Vec<RecordId>, bool) {
        cut(self.view.family(&alias_family(key), after, limit + 1), limit)
    }

    /// An alias off a page, not guarded, as the page is not.
    pub(crate) fn listed_alias(&self, record: RecordId) -> Result<Arc<AliasRecord>, DecideError> {
        match self.decode(record)? {
            Some((_, Decoded::Alias(alias))) => Ok(alias),
            Some(_) => Err(misplaced(record)),
            None => Err(DecideError::Vanished { record }),
        }
    }

    /// A principal off a page, not guarded, as the page is not.
    pub(crate) fn listed_principal(
        &self,
        record: RecordId,
    ) -> Result<Option<Arc<PrincipalRecord>>, DecideError> {
        match self.decode(record)? {
            None => Ok(None),
            Some((_, Decoded::Principal(principal))) => Ok(Some(principal)),
            Some(_) => Err(misplaced(record)),
        }
    }

    /// Which domain keys there are still.
    pub(crate) fn domain_keys(&mut self) -> Result<Option<DomainKeyEpochs>, DecideError> {
        self.adopt(&Guards::from([self.keyring.domain_keys_guard()]))?;
        Ok(DomainKeyEpochs::read(self.view)?)
    }

    /// Grants in order of id, of one key or of all, *not* guarded, as pages are not.
    pub(crate) fn grants_after(
        &self,
        of: Option<KeyId>,
        after: Option<GrantId>,
        limit: usize,
    ) -> Vec<RecordId> {
        let after = after.map(grant_record_id);
        match of {
            Some(key) => self.view.family(&grant_family(key), after.as_ref(), limit),
            None => self.view.list(Kind::Grant, after.as_ref(), limit),
        }
    }

    /// A grant off a page, not guarded, as the page is not; nor kept: there may be so many that nothing
    /// else would be left in the cache.
    pub(crate) fn listed_grant(
        &self,
        record: RecordId,
    ) -> Result<Option<Arc<GrantRecord>>, DecideError> {
        let Some(digest) = self.view.digest(&record) else { return Ok(None) };
        let decoded = match self.cache.get(&record, &digest) {
            Some(decoded) => decoded,
            None => self.open(record)?,
        };
        match decoded {
            Decoded::Grant(grant) => Ok(Some(grant)),
            _ => Err(misplaced(record)),
        }
    }

    /// The applied index that the view contains.
    pub(crate) fn read_index(&self) -> u64 {
        self.view.applied().0
    }

    /// The domain keys with one more. The change says what it read; see [`Reads::adopt`].
    pub(crate) fn rotate_domain_key(
        &self,
        now_ms: u64,
        entropy: &mut dyn Entropy,
    ) -> Result<DomainKeyChange, DomainKeyError> {
        self.keyring.rotate_domain_key(self.view, now_ms, entropy)
    }

    /// Takes over what a ceremony read for itself.
    pub(crate) fn adopt(&mut self, guards: &Guards) -> Result<(), DecideError> {
        for (record, guard) in guards {
            let seen = self.guards.insert(*record, *guard);
            if seen.is_some_and(|seen| seen != *guard) {
                return Err(DecideError::ReadTwice { record: *record });
            }
        }
        Ok(())
    }

    pub(crate) fn into_guards(self) -> (Guards, Scans, Quotas) {
        (self.guards, self.scans, self.fewer)
    }

    /// What is read too seldom to be kept decoded.
    fn message<M: Message + Default>(
        &mut self,
        record: RecordId,
    ) -> Result<Option<M>, DecideError> {
        self.guard(record);
        let Some(blob) = self.view.blob(&record)? else { return Ok(None) };
        let opened = self.keyring.open_record(&record, &blob)?;
        let unusable = |source| DecideError::Record { record, source };
        M::decode(opened.expose()).map(Some).map_err(|error| unusable(error.into()))
    }

    fn decoded(&mut self, record: RecordId) -> Result<Option<Decoded>, DecideError> {
        let found = self.decode(record)?;
        let (guard, decoded) = match found {
            None => (None, None),
            Some((guard, decoded)) => (Some(guard), Some(decoded)),
        };
        self.guards.insert(record, guard);
        Ok(decoded)
    }

    fn decode(&self, record: RecordId) -> Result<Option<(GuardDigest, Decoded)>, DecideError> {
        let Some(digest) = self.view.digest(&record) else { return Ok(None) };
        if let Some(decoded) = self.cache.get(&record, &digest) {
            return Ok(Some((digest.guard(), decoded)));
        }
        let decoded = self.open(record)?;
        self.cache.put(record, digest, decoded.clone());
        Ok(Some((digest.guard(), decoded)))
    }

    fn open(&self, record: RecordId) -> Result<Decoded, DecideError> {
        let Some(blob) = self.view.blob(&record)? else {
            return Err(DecideError::Vanished { record });
        };
        let opened = self.keyring.open_record(&record, &blob)?;
        let decoded = match record.kind() {
            Kind::Key => KeyRecord::decode(&opened).map(|key| Decoded::Key(Arc::new(key))),
            Kind::Alias => {
                AliasRecord::decode(&opened).map(|alias| Decoded::Alias(Arc::new(alias)))
            }
            Kind::KeyPolicy => {
                KeyPolicyRecord::decode(&opened).map(|it| Decoded::KeyPolicy(Arc::new(it)))
            }
            Kind::Grant => GrantRecord::decode(&opened).map(|it| Decoded::Grant(Arc::new(it))),
            _ => PrincipalRecord::decode(&opened).map(|name| Decoded::Principal(Arc::new(name))),
        };
        decoded.map_err(|source| DecideError::Record { record, source })
    }
}

pub(crate) fn key_record_id(id: KeyId) -> RecordId {
    RecordId::new(Kind::Key, *id.bytes())
}

/// Where a key's tombstone is put.
pub(crate) fn tombstone_record_id(id: KeyId) -> RecordId {
    RecordId::new(Kind::Tombstone, *id.bytes())
}

fn key_id(record: RecordId, bytes: &[u8]) -> Result<KeyId, DecideError> {
    bytes.try_into().map(KeyId::new).map_err(|_| misplaced(record))
}

/// The record of what is to happen to a key at a time. Two keys whose ids begin alike never are.
pub(crate) fn due_record_id(at_ms: u64, id: KeyId) -> RecordId {
    let [a, b, c, d, e, f, g, h, ..] = *id.bytes();
    RecordId::due(TimeMs(at_ms), [a, b, c, d, e, f, g, h])
}

pub(crate) fn key_policy_record_id(key: KeyId) -> RecordId {
    RecordId::new(Kind::KeyPolicy, *key.bytes())
}

pub(crate) fn grant_record_id(id: GrantId) -> RecordId {
    RecordId::new(Kind::Grant, *id.bytes())
}

fn grant_family(key: KeyId) -> Family {
    Family::new(key_record_id(key), Kind::Grant)
}

fn alias_family(key: KeyId) -> Family {
    Family::new(key_record_id(key), Kind::Alias)
}

/// `limit` of the records of a page, which has one more if more follow.
fn cut(mut page: Vec<RecordId>, limit: usize) -> (Vec<RecordId>, bool) {
    let truncated = page.len() > limit;
    page.truncate(limit);
    (page, truncated)
}

fn misplaced(record: RecordId) -> DecideError {
    DecideError::Record { record, source: RecordError::Misplaced }
}
