//! The records that decisions read and write, decoded: keys, aliases, principals.
//!
//! Backing keys live in zeroizing types as soon as they are decoded, and what prost made of them on
//! the way is wiped. A record that opened but does not decode is damage or a newer version's work,
//! so it is an error of ours and never a refusal.

use conclave_crypto::{Key, Secret};
use conclave_proto::record;
use prost::Message;
use zeroize::Zeroize;

use crate::fields::{PrincipalName, Role, Roles};
use crate::key_ref::KeyId;

/// A key with its backing keys.
#[derive(Debug)]
pub(crate) struct KeyRecord {
    pub(crate) id: KeyId,
    pub(crate) description: String,
    /// Pairs of key and value, sorted by key.
    pub(crate) tags: Vec<(String, String)>,
    pub(crate) state: KeyState,
    pub(crate) created_ms: u64,
    /// Version n is at position n − 1; the last is current. Never empty.
    pub(crate) backing_keys: Vec<BackingKey>,
    pub(crate) aliases: Vec<String>,
}

/// One version of a key.
#[derive(Debug)]
pub(crate) struct BackingKey {
    pub(crate) material: Key,
    pub(crate) created_ms: u64,
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
}

impl KeyState {
    /// As AWS KMS spells it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Enabled => "Enabled",
            Self::Disabled => "Disabled",
            Self::PendingDeletion { .. } => "PendingDeletion",
        }
    }

    /// 0 unless the key waits for its deletion.
    pub fn deletion_ms(self) -> u64 {
        match self {
            Self::PendingDeletion { deletion_ms } => deletion_ms,
            Self::Enabled | Self::Disabled => 0,
        }
    }

    pub(crate) fn to_proto(self) -> record::KeyState {
        match self {
            Self::Enabled => record::KeyState::Enabled,
            Self::Disabled => record::KeyState::Disabled,
            Self::PendingDeletion { .. } => record::KeyState::PendingDeletion,
        }
    }

    pub(crate) fn from_proto(state: i32, deletion_ms: u64) -> Option<Self> {
        match record::KeyState::try_from(state) {
            Ok(record::KeyState::Enabled) => Some(Self::Enabled),
            Ok(record::KeyState::Disabled) => Some(Self::Disabled),
            Ok(record::KeyState::PendingDeletion) => Some(Self::PendingDeletion { deletion_ms }),
            Ok(record::KeyState::Unspecified) | Err(_) => None,
        }
    }
}

impl KeyRecord {
    pub(crate) fn decode(opened: &Secret) -> Result<Self, RecordError> {
        let mut stored = record::Key::decode(opened.expose())?;
        let backing_keys = stored.backing_keys.iter().zip(1_u32..).map(BackingKey::from_stored);
        let backing_keys = backing_keys.collect::<Result<Vec<_>, _>>();
        wipe(&mut stored);
        let backing_keys = backing_keys?;
        if backing_keys.is_empty() {
            return Err(RecordError::BackingKeys);
        }
        Ok(Self {
            id: key_id(&stored.id)?,
            description: stored.description,
            tags: stored.tags.into_iter().map(|tag| (tag.key, tag.value)).collect(),
            state: KeyState::from_proto(stored.state, stored.deletion_ms)
                .ok_or(RecordError::State { found: stored.state })?,
            created_ms: stored.created_ms,
            backing_keys,
            aliases: stored.aliases,
        })
    }

    pub(crate) fn encode(&self) -> Secret {
        self.encode_as(self.state, None)
    }

    /// This record in another state, with one more version or none.
    pub(crate) fn encode_as(&self, state: KeyState, added: Option<&BackingKey>) -> Secret {
        let backing_keys = self.backing_keys.iter().chain(added).zip(1..);
        let mut stored = record::Key {
            id: self.id.bytes().to_vec(),
            description: self.description.clone(),
            tags: self
                .tags
                .iter()
                .map(|(key, value)| record::Tag { key: key.clone(), value: value.clone() })
                .collect(),
            state: state.to_proto() as i32,
            created_ms: self.created_ms,
            deletion_ms: state.deletion_ms(),
            backing_keys: backing_keys.map(|(key, version)| key.to_stored(version)).collect(),
            aliases: self.aliases.clone(),
        };
        let encoded = Secret::from_vec(stored.encode_to_vec());
        wipe(&mut stored);
        encoded
    }

    /// The version that encrypts.
    pub(crate) fn current(&self) -> (u32, &Key) {
        let last = self.backing_keys.last().expect("decode and create make at least one");
        (self.versions(), &last.material)
    }

    /// Any version that decrypts.
    pub(crate) fn version(&self, version: u32) -> Option<&Key> {
        let position = usize::try_from(version).ok()?.checked_sub(1)?;
        self.backing_keys.get(position).map(|key| &key.material)
    }

    pub(crate) fn versions(&self) -> u32 {
        u32::try_from(self.backing_keys.len()).expect("rotation stops far below")
    }
}

impl BackingKey {
    fn from_stored((stored, version): (&record::BackingKey, u32)) -> Result<Self, RecordError> {
        let material = Key::from_slice(&stored.material).map_err(|_| RecordError::BackingKeys)?;
        if stored.version != version {
            return Err(RecordError::BackingKeys);
        }
        Ok(Self { material, created_ms: stored.created_ms })
    }

    fn to_stored(&self, version: u32) -> record::BackingKey {
        let material = self.material.expose().to_vec();
        record::BackingKey { version, material, created_ms: self.created_ms }
    }
}

/// prost's own copies of key material.
fn wipe(stored: &mut record::Key) {
    stored.backing_keys.iter_mut().for_each(|key| key.material.zeroize());
}

/// A name for a key.
#[derive(Debug)]
pub(crate) struct AliasRecord {
    pub(crate) key: KeyId,
}

impl AliasRecord {
    pub(crate) fn decode(opened: &Secret) -> Result<Self, RecordError> {
        let stored = record::Alias::decode(opened.expose())?;
        Ok(Self { key: key_id(&stored.key_id)? })
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

fn key_id(bytes: &[u8]) -> Result<KeyId, RecordError> {
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
    /// A key without versions, or with versions out of order or of a wrong length.
    #[error("its backing keys are damaged")]
    BackingKeys,
    /// A newer version's state.
    #[error("key state {found} is unknown to this version")]
    State {
        /// As stored.
        found: i32,
    },
    /// A newer version's role.
    #[error("role {found} is unknown to this version")]
    Role {
        /// As stored.
        found: i32,
    },
}
