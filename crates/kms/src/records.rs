//! The records that decisions read and write, decoded: keys, aliases, principals here, key policies and
//! grants in files of their own.
//!
//! Key material lives in zeroizing types as soon as it is decoded, and what prost made of it on the
//! way is wiped. A record that opened but does not decode is damage or a newer version's work,
//! so it is an error of ours and never a refusal.

mod grant;
mod key_policy;

use std::ops::{Deref, DerefMut};

use conclave_crypto::Secret;
use conclave_proto::record;
use prost::Message;
use zeroize::Zeroize;

use crate::fields::{PrincipalName, Role, Roles};
use crate::key_ref::KeyId;
use crate::material::{Material, MaterialId, Pair};
use crate::spec::{KeySpec, KeyUsage};

pub(crate) use grant::GrantRecord;
pub(crate) use key_policy::KeyPolicyRecord;

/// A key with its backing keys.
#[derive(Debug)]
pub(crate) struct KeyRecord {
    pub(crate) id: KeyId,
    pub(crate) spec: KeySpec,
    pub(crate) usage: KeyUsage,
    /// Its material comes from outside.
    pub(crate) external: bool,
    pub(crate) multi_region: bool,
    pub(crate) description: String,
    /// Pairs of key and value, sorted by key.
    pub(crate) tags: Vec<(String, String)>,
    pub(crate) state: KeyState,
    pub(crate) created_ms: u64,
    /// Of a key that waits for its deletion: the waiting time that was chosen.
    pub(crate) deletion_days: u32,
    pub(crate) rotation: Option<record::AutomaticRotation>,
    pub(crate) on_demand_rotations: u32,
    /// Version n is at position n − 1; the last is current. Empty only until a first import.
    pub(crate) backing_keys: Vec<BackingKey>,
    /// Imported, to become current by the next rotation.
    pub(crate) pending: Option<BackingKey>,
}

/// Versions of one key: a record must hold them all, and each decision reads the record. At four a year,
/// automatic rotation comes to an end after 25 years.
pub const VERSIONS_MAX: u32 = 100;

/// One version of a key.
#[derive(Debug)]
pub(crate) struct BackingKey {
    /// None once it was deleted or has expired.
    pub(crate) material: Option<Material>,
    pub(crate) id: MaterialId,
    pub(crate) created_ms: u64,
    /// How it became current; none of the first.
    pub(crate) rotation: Option<Rotation>,
    pub(crate) rotated_ms: u64,
    /// Of imported material, when it expires; none: never.
    pub(crate) valid_to_ms: Option<u64>,
    pub(crate) description: String,
}

/// How a version of a key became current.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rotation {
    Automatic,
    OnDemand,
}

impl Rotation {
    /// As AWS KMS spells it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Automatic => "AUTOMATIC",
            Self::OnDemand => "ON_DEMAND",
        }
    }

    fn to_proto(self) -> record::RotationType {
        match self {
            Self::Automatic => record::RotationType::Automatic,
            Self::OnDemand => record::RotationType::OnDemand,
        }
    }
}

/// What a key's state lets it do is decided in `keys/state.rs`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyState {
    /// It can be used.
    Enabled,
    /// It cannot, until it is enabled.
    Disabled,
    /// It cannot, and may be destroyed from then on.
    PendingDeletion {
        /// When, in milliseconds of cluster time.
        deletion_ms: u64,
    },
    /// It cannot, until its key material is imported.
    PendingImport,
}

impl KeyState {
    /// As AWS KMS spells it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Enabled => "Enabled",
            Self::Disabled => "Disabled",
            Self::PendingDeletion { .. } => "PendingDeletion",
            Self::PendingImport => "PendingImport",
        }
    }

    /// 0 unless the key waits for its deletion.
    pub fn deletion_ms(self) -> u64 {
        match self {
            Self::PendingDeletion { deletion_ms } => deletion_ms,
            Self::Enabled | Self::Disabled | Self::PendingImport => 0,
        }
    }

    pub(crate) fn to_proto(self) -> record::KeyState {
        match self {
            Self::Enabled => record::KeyState::Enabled,
            Self::Disabled => record::KeyState::Disabled,
            Self::PendingDeletion { .. } => record::KeyState::PendingDeletion,
            Self::PendingImport => record::KeyState::PendingImport,
        }
    }

    pub(crate) fn from_proto(state: i32, deletion_ms: u64) -> Option<Self> {
        match record::KeyState::try_from(state) {
            Ok(record::KeyState::Enabled) => Some(Self::Enabled),
            Ok(record::KeyState::Disabled) => Some(Self::Disabled),
            Ok(record::KeyState::PendingDeletion) => Some(Self::PendingDeletion { deletion_ms }),
            Ok(record::KeyState::PendingImport) => Some(Self::PendingImport),
            Ok(record::KeyState::Unspecified) | Err(_) => None,
        }
    }
}

/// A key's record before it is encoded, to be changed in place; wiped when it goes.
#[derive(Debug)]
pub(crate) struct StoredKey {
    key: record::Key,
    /// When something was to happen to it, before it was changed.
    pub(crate) was_due_ms: Option<u64>,
}

impl StoredKey {
    /// Of a key that was not there before.
    pub(crate) fn new(key: record::Key) -> Self {
        Self { key, was_due_ms: None }
    }

    /// When something is next to happen to it by itself: its deletion, the expiry of a material, a
    /// rotation. A key that cannot be used is not rotated.
    pub(crate) fn due_ms(&self) -> Option<u64> {
        let deletion = Some(self.deletion_ms).filter(|deletion_ms| *deletion_ms != 0);
        let versions = self.backing_keys.iter().chain(&self.pending);
        let expiries =
            versions.filter(|key| !key.material.is_empty()).filter_map(|k| k.valid_to_ms);
        let rotates =
            self.state == record::KeyState::Enabled as i32 && self.versions() < VERSIONS_MAX;
        let rotation = self.rotation.filter(|_| rotates).map(|rotation| rotation.next_ms);
        expiries.chain(deletion).chain(rotation).min()
    }

    pub(crate) fn set_state(&mut self, state: KeyState) {
        self.state = state.to_proto() as i32;
        self.deletion_ms = state.deletion_ms();
    }

    /// Adds a version, which is current from now on.
    pub(crate) fn push_version(&mut self, mut added: record::BackingKey) {
        added.version = self.versions() + 1;
        self.backing_keys.push(added);
    }

    /// The same, of a key that had a version before.
    pub(crate) fn rotate_to(
        &mut self,
        mut next: record::BackingKey,
        rotation: Rotation,
        now_ms: u64,
    ) {
        next.rotation = rotation.to_proto() as i32;
        next.rotated_ms = now_ms;
        self.push_version(next);
    }

    pub(crate) fn versions(&self) -> u32 {
        u32::try_from(self.backing_keys.len()).expect("rotation stops far below")
    }

    /// Whether there is a version, and none lacks its material.
    pub(crate) fn is_whole(&self) -> bool {
        let mut versions = self.backing_keys.iter();
        !self.backing_keys.is_empty() && versions.all(|version| !version.material.is_empty())
    }

    pub(crate) fn encode(&self) -> Secret {
        Secret::from_vec(self.encode_to_vec())
    }
}

impl Deref for StoredKey {
    type Target = record::Key;

    fn deref(&self) -> &record::Key {
        &self.key
    }
}

impl DerefMut for StoredKey {
    fn deref_mut(&mut self) -> &mut record::Key {
        &mut self.key
    }
}

impl Drop for StoredKey {
    fn drop(&mut self) {
        let all = self.key.backing_keys.iter_mut().chain(&mut self.key.pending);
        all.for_each(|key| key.material.zeroize());
    }
}

impl KeyRecord {
    pub(crate) fn decode(opened: &Secret) -> Result<Self, RecordError> {
        let stored = StoredKey::new(record::Key::decode(opened.expose())?);
        let spec =
            KeySpec::from_proto(stored.spec).ok_or(RecordError::Spec { found: stored.spec })?;
        let usage =
            KeyUsage::from_proto(stored.usage).ok_or(RecordError::Usage { found: stored.usage })?;
        let state = KeyState::from_proto(stored.state, stored.deletion_ms)
            .ok_or(RecordError::State { found: stored.state })?;
        let backing_keys = stored.backing_keys.iter().zip(1_u32..);
        let backing_keys: Vec<_> = backing_keys
            .map(|(key, version)| BackingKey::decode(spec, usage, key, version))
            .collect::<Result<_, _>>()?;
        let pending = stored.pending.as_ref().map(|key| BackingKey::decode(spec, usage, key, 0));
        let is_whole = stored.is_whole();
        if !is_whole && !stored.external {
            return Err(RecordError::BackingKeys);
        }
        Ok(Self {
            id: key_id(&stored.id)?,
            spec,
            usage,
            external: stored.external,
            multi_region: stored.multi_region,
            description: stored.description.clone(),
            tags: stored.tags.iter().map(|tag| (tag.key.clone(), tag.value.clone())).collect(),
            state: match state {
                KeyState::Enabled | KeyState::Disabled if !is_whole => KeyState::PendingImport,
                state => state,
            },
            created_ms: stored.created_ms,
            deletion_days: stored.deletion_days,
            rotation: stored.rotation,
            on_demand_rotations: stored.on_demand_rotations,
            backing_keys,
            pending: pending.transpose()?,
        })
    }

    /// To be changed and written again.
    pub(crate) fn to_stored(&self) -> StoredKey {
        let mut stored = StoredKey::new(record::Key {
            id: self.id.bytes().to_vec(),
            description: self.description.clone(),
            tags: stored_tags(&self.tags),
            state: self.state.to_proto() as i32,
            created_ms: self.created_ms,
            deletion_ms: self.state.deletion_ms(),
            backing_keys: self.backing_keys.iter().zip(1..).map(BackingKey::encode).collect(),
            spec: self.spec.to_proto() as i32,
            usage: self.usage.to_proto() as i32,
            external: self.external,
            multi_region: self.multi_region,
            deletion_days: self.deletion_days,
            rotation: self.rotation,
            pending: self.pending.as_ref().map(|key| BackingKey::encode((key, 0))),
            on_demand_rotations: self.on_demand_rotations,
        });
        stored.was_due_ms = stored.due_ms();
        stored
    }

    /// Whether there is a version, and none lacks its material.
    pub(crate) fn is_whole(&self) -> bool {
        let mut versions = self.backing_keys.iter();
        !self.backing_keys.is_empty() && versions.all(|version| version.material.is_some())
    }

    /// The version that encrypts and signs, if it has its material.
    pub(crate) fn current(&self) -> Option<(u32, &BackingKey)> {
        let current = self.backing_keys.last().filter(|current| current.material.is_some());
        current.map(|current| (self.versions(), current))
    }

    /// Any version that decrypts.
    pub(crate) fn version(&self, version: u32) -> Option<&BackingKey> {
        let position = usize::try_from(version).ok()?.checked_sub(1)?;
        self.backing_keys.get(position)
    }

    /// The key pair of a version that has its material.
    pub(crate) fn pair(&self, version: u32) -> Option<&Pair> {
        self.version(version)?.material.as_ref()?.pair()
    }

    pub(crate) fn versions(&self) -> u32 {
        u32::try_from(self.backing_keys.len()).expect("rotation stops far below")
    }
}

impl BackingKey {
    fn decode(
        spec: KeySpec,
        usage: KeyUsage,
        stored: &record::BackingKey,
        version: u32,
    ) -> Result<Self, RecordError> {
        let damaged = || RecordError::BackingKeys;
        let material = match stored.material.as_slice() {
            [] => None,
            bytes => Some(Material::parse(spec, usage, bytes).map_err(|_| damaged())?),
        };
        if stored.version != version {
            return Err(damaged());
        }
        Ok(Self {
            material,
            id: stored.id.as_slice().try_into().map_err(|_| damaged())?,
            created_ms: stored.created_ms,
            rotation: match record::RotationType::try_from(stored.rotation) {
                Ok(record::RotationType::Unspecified) => None,
                Ok(record::RotationType::Automatic) => Some(Rotation::Automatic),
                Ok(record::RotationType::OnDemand) => Some(Rotation::OnDemand),
                Err(_) => return Err(damaged()),
            },
            rotated_ms: stored.rotated_ms,
            valid_to_ms: stored.valid_to_ms,
            description: stored.description.clone(),
        })
    }

    fn encode((key, version): (&Self, u32)) -> record::BackingKey {
        record::BackingKey {
            version,
            material: key.material.as_ref().map(|m| m.bytes().to_vec()).unwrap_or_default(),
            id: key.id.to_vec(),
            created_ms: key.created_ms,
            rotation: key.rotation.map_or(0, |rotation| rotation.to_proto() as i32),
            rotated_ms: key.rotated_ms,
            valid_to_ms: key.valid_to_ms,
            description: key.description.clone(),
        }
    }
}

/// Pairs of key and value, as they are stored.
pub(crate) fn stored_tags(tags: &[(String, String)]) -> Vec<record::Tag> {
    let tag =
        |(key, value): &(String, String)| record::Tag { key: key.clone(), value: value.clone() };
    tags.iter().map(tag).collect()
}

/// A version made here, as it is stored.
pub(crate) fn made_here(material: &Material, id: KeyId, now_ms: u64) -> record::BackingKey {
    record::BackingKey {
        version: 1,
        material: material.bytes().to_vec(),
        id: material.id(id).to_vec(),
        created_ms: now_ms,
        ..Default::default()
    }
}

/// A name for a key.
#[derive(Debug)]
pub(crate) struct AliasRecord {
    /// With its prefix.
    pub(crate) name: String,
    pub(crate) key: KeyId,
    pub(crate) created_ms: u64,
    /// When it was last pointed at another key; 0: never.
    pub(crate) updated_ms: u64,
}

impl AliasRecord {
    pub(crate) fn decode(opened: &Secret) -> Result<Self, RecordError> {
        let stored = record::Alias::decode(opened.expose())?;
        Ok(Self {
            key: key_id(&stored.key_id)?,
            name: stored.name,
            created_ms: stored.created_ms,
            updated_ms: stored.updated_ms,
        })
    }

    pub(crate) fn encode(&self) -> Secret {
        let stored = record::Alias {
            name: self.name.clone(),
            key_id: self.key.bytes().to_vec(),
            created_ms: self.created_ms,
            updated_ms: self.updated_ms,
        };
        Secret::from_vec(stored.encode_to_vec())
    }
}

/// Who a client certificate names, and what they may do.
#[derive(Debug)]
pub(crate) struct PrincipalRecord {
    pub(crate) name: String,
    pub(crate) roles: Roles,
    pub(crate) created_ms: u64,
}

impl PrincipalRecord {
    pub(crate) fn decode(opened: &Secret) -> Result<Self, RecordError> {
        let stored = record::Principal::decode(opened.expose())?;
        let role = |role: &i32| Role::from_proto(*role).ok_or(RecordError::Role { found: *role });
        Ok(Self {
            name: stored.name,
            roles: Roles::new(stored.roles.iter().map(role).collect::<Result<_, _>>()?),
            created_ms: stored.created_ms,
        })
    }
}

/// The record of a principal, as founding and CreatePrincipal write it.
pub fn encode_principal(name: &PrincipalName, roles: &Roles, created_ms: u64) -> Vec<u8> {
    let roles = roles.as_slice().iter().map(|role| role.to_proto() as i32).collect();
    record::Principal { name: name.as_str().to_owned(), roles, created_ms }.encode_to_vec()
}

pub(crate) fn key_id(bytes: &[u8]) -> Result<KeyId, RecordError> {
    bytes.try_into().map(KeyId::new).map_err(|_| RecordError::Id)
}

/// A record that opened, but is none that this version can use.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// Not protobuf.
    #[error("it does not decode: {0}")]
    Decode(#[from] prost::DecodeError),
    /// An id of other than 16 bytes.
    #[error("it holds an id of a wrong length")]
    Id,
    /// Another kind of record under this id, or another key's.
    #[error("it is not the record that its id names")]
    Misplaced,
    /// A key without material, or with versions out of order or of a wrong form.
    #[error("its backing keys are damaged")]
    BackingKeys,
    /// A newer version's kind of key.
    #[error("key spec {found} is unknown to this version")]
    Spec {
        /// As stored.
        found: i32,
    },
    /// A newer version's usage.
    #[error("key usage {found} is unknown to this version")]
    Usage {
        /// As stored.
        found: i32,
    },
    /// A newer version's state.
    #[error("key state {found} is unknown to this version")]
    State {
        /// As stored.
        found: i32,
    },
    /// A newer version's kind of policy.
    #[error("the key policy is none: {0}")]
    KeyPolicy(#[from] conclave_policy::PolicyError),
    /// A newer version's kind of grant.
    #[error("grant operation {found} is unknown to this version")]
    GrantOperation {
        /// As stored.
        found: String,
    },
    /// A newer version's role.
    #[error("role {found} is unknown to this version")]
    Role {
        /// As stored.
        found: i32,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A stored format. Everything is filled in, and reads back as it was written.
    #[test]
    fn golden_key() {
        let version = |version: u32| record::BackingKey {
            version,
            material: vec![0x11; 32],
            created_ms: 1,
            id: vec![0x22; 32],
            rotation: if version == 1 { 0 } else { record::RotationType::OnDemand as i32 },
            rotated_ms: u64::from(version - 1),
            valid_to_ms: None,
            description: String::new(),
        };
        let stored = StoredKey::new(record::Key {
            id: vec![0x33; 16],
            description: "d".to_owned(),
            tags: vec![record::Tag { key: "k".to_owned(), value: "v".to_owned() }],
            state: record::KeyState::PendingDeletion as i32,
            created_ms: 2,
            deletion_ms: 3,
            backing_keys: vec![version(1), version(2)],
            spec: record::KeySpec::SymmetricDefault as i32,
            usage: record::KeyUsage::EncryptDecrypt as i32,
            external: false,
            multi_region: true,
            deletion_days: 7,
            rotation: Some(record::AutomaticRotation { period_days: 90, next_ms: 4 }),
            pending: None,
            on_demand_rotations: 1,
        });
        let encoded = stored.encode();
        assert_eq!(
            hex::encode(encoded.expose()),
            "0a10333333333333333333333333333333331201641a060a016b1201762003280230033a4808\
             0112201111111111111111111111111111111111111111111111111111111111111111180122\
             2022222222222222222222222222222222222222222222222222222222222222223a4c080212\
             2011111111111111111111111111111111111111111111111111111111111111111801222022\
             2222222222222222222222222222222222222222222222222222222222222228023001480150\
             01600168077204085a1004800101"
        );
        let read = KeyRecord::decode(&encoded).unwrap();
        assert_eq!(read.to_stored().encode().expose(), encoded.expose());
        assert_eq!(read.state, KeyState::PendingDeletion { deletion_ms: 3 });
        assert_eq!(read.current().map(|(version, _)| version), Some(2));
    }
}
