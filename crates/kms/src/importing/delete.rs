//! DeleteImportedKeyMaterial, and what becomes of material that has expired: the same.
//!
//! A version whose material is gone stays, with its id, and waits for the same material. Material that
//! was not current yet leaves nothing behind.

use conclave_proto::{record, v1};
use zeroize::Zeroize;

use crate::action::Action;
use crate::answer::{Kept, KeptKey};
use crate::audit_entry::Told;
use crate::fields::MaterialIdText;
use crate::importing::check_external;
use crate::importing::import::shown_id;
use crate::key_ref::{DomainInfo, KeyRef};
use crate::operation::{Change, Operation};
use crate::records::{KeyState, StoredKey};
use crate::refusal::Refusal;
use crate::response::Response;
use crate::work::{Stop, Work};

#[derive(Debug)]
pub(crate) struct DeleteImportedKeyMaterial {
    key: KeyRef,
    /// None: the current one.
    material_id: Option<MaterialIdText>,
}

impl TryFrom<v1::DeleteImportedKeyMaterialRequest> for DeleteImportedKeyMaterial {
    type Error = Refusal;

    fn try_from(sent: v1::DeleteImportedKeyMaterialRequest) -> Result<Self, Refusal> {
        let material_id = MaterialIdText::parse_optional(&sent.key_material_id)?;
        Ok(Self { key: KeyRef::parse_key(&sent.key_id)?, material_id })
    }
}

impl Operation for DeleteImportedKeyMaterial {
    fn action(&self) -> Action {
        Action::DeleteImportedKeyMaterial
    }

    fn tell(&self, told: &mut Told<'_>) {
        told.key(&self.key);
        told.put_given(
            "KeyMaterialId",
            self.material_id.as_ref().map_or("", MaterialIdText::as_str),
        );
    }
}

impl Change for DeleteImportedKeyMaterial {
    fn perform(&self, work: &mut Work<'_>) -> Result<Kept, Stop> {
        let key = work.find_key(&self.key)?;
        let arn = work.domain.key_arn(key.id);
        check_external(&key, &arn)?;
        let id = match &self.material_id {
            None => key.backing_keys.last().map(|current| current.id),
            Some(named) => {
                let mut known = key.backing_keys.iter().chain(&key.pending).map(|known| known.id);
                let known = known.find(|id| hex::encode(id) == named.as_str());
                let unknown = || Refusal::UnknownKeyMaterial { arn, id: named.as_str().to_owned() };
                Some(known.ok_or_else(unknown)?)
            }
        };
        let mut stored = key.to_stored();
        // What is gone already is left as it is: every use under way would conflict.
        if take_away(&mut stored, |known| id.is_some_and(|id| known.id == id)) {
            work.put_key(&stored);
        }
        let state = KeyState::from_proto(stored.state, stored.deletion_ms).unwrap_or(key.state);
        let kept =
            Kept::key(work.now_ms, KeptKey { id: key.id, state, versions: stored.versions() });
        Ok(Kept { item: id.map(|id| shown_id(key.spec, id)).unwrap_or_default(), ..kept })
    }

    fn response(&self, kept: &Kept, domain: &DomainInfo) -> Response {
        v1::DeleteImportedKeyMaterialResponse {
            key_id: kept.key.map(|key| domain.key_arn(key.id)).unwrap_or_default(),
            key_material_id: Some(hex::encode(&kept.item)).filter(|id| !id.is_empty()),
        }
        .into()
    }
}

/// Takes away all material that has expired at `now_ms`, and says whether there was any. That it has
/// is for the caller to make sure of: one clock is not enough.
pub(crate) fn without_expired(stored: &mut StoredKey, now_ms: u64) -> bool {
    take_away(stored, |known| known.valid_to_ms.is_some_and(|valid_to_ms| valid_to_ms <= now_ms))
}

/// Takes away the material that is meant, and says whether there was any. The key waits for what its
/// versions lack, unless it is to be destroyed anyway.
fn take_away(stored: &mut StoredKey, is_meant: impl Fn(&record::BackingKey) -> bool) -> bool {
    let mut is_changed = false;
    for version in &mut stored.backing_keys {
        if !version.material.is_empty() && is_meant(version) {
            version.material.zeroize();
            version.valid_to_ms = None;
            is_changed = true;
        }
    }
    if stored.pending.as_ref().is_some_and(&is_meant)
        && let Some(mut pending) = stored.pending.take()
    {
        pending.material.zeroize();
        is_changed = true;
    }
    let state = KeyState::from_proto(stored.state, stored.deletion_ms);
    if matches!(state, Some(KeyState::Enabled | KeyState::Disabled)) && !stored.is_whole() {
        stored.set_state(KeyState::PendingImport);
    }
    is_changed
}

#[cfg(test)]
mod tests {
    use super::*;

    fn version(byte: u8, valid_to_ms: Option<u64>) -> record::BackingKey {
        record::BackingKey {
            material: vec![byte; 32],
            id: vec![byte; 32],
            valid_to_ms,
            ..Default::default()
        }
    }

    /// What expires later, or never, stays; of what waited nothing does; a date is met at its millisecond.
    #[test]
    fn what_has_expired_is_taken_away() {
        let key = |state: KeyState| {
            let backing_keys = vec![version(1, Some(10)), version(2, None), version(3, Some(11))];
            let pending = Some(version(4, Some(10)));
            let mut key =
                StoredKey::new(record::Key { backing_keys, pending, ..Default::default() });
            key.set_state(state);
            key
        };
        let left = |key: &StoredKey| {
            key.backing_keys.iter().map(|version| !version.material.is_empty()).collect::<Vec<_>>()
        };
        let mut stored = key(KeyState::Enabled);
        assert!(!without_expired(&mut stored, 9));
        assert!(stored.pending.is_some() && stored.is_whole());

        assert!(without_expired(&mut stored, 10));
        assert_eq!(left(&stored), [false, true, true]);
        assert!(stored.pending.is_none());
        assert_eq!(stored.backing_keys[0].id, [1; 32]);
        assert_eq!(stored.state, KeyState::PendingImport.to_proto() as i32);
        assert!(!without_expired(&mut stored, 10));
        assert!(without_expired(&mut stored, 11));
        assert_eq!(left(&stored), [false, true, false]);

        let doomed = KeyState::PendingDeletion { deletion_ms: 99 };
        let mut stored = key(doomed);
        assert!(without_expired(&mut stored, 10));
        assert_eq!((stored.state, stored.deletion_ms), (doomed.to_proto() as i32, 99));
    }
}
