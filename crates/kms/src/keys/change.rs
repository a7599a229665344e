//! EnableKey, DisableKey, RotateKeyOnDemand, ScheduleKeyDeletion, CancelKeyDeletion.

use conclave_crypto::Key;

use crate::key_ref::KeyRef;
use crate::keys::state::after;
use crate::reads::key_record_id;
use crate::records::BackingKey;
use crate::refusal::Refusal;
use crate::request::Change;
use crate::response::{KeyChange, Response};
use crate::work::{Stop, Work};

/// Versions of one key: a record must hold them all, and each decision reads the record.
pub const VERSIONS_MAX: u32 = 100;

pub(crate) fn change_key(
    work: &mut Work<'_>,
    named: &KeyRef,
    change: Change,
) -> Result<Response, Stop> {
    let key = work.find_key(named)?;
    let arn = work.domain.key_arn(key.id);
    let state = after(change, key.state, work.now_ms, &arn)?;
    let added = match change {
        Change::Rotate if key.versions() >= VERSIONS_MAX => {
            return Err(Refusal::RotationLimit { arn }.into());
        }
        Change::Rotate => {
            Some(BackingKey { material: Key::generate(work.entropy), created_ms: work.now_ms })
        }
        Change::Enable | Change::Disable | Change::ScheduleDeletion(_) | Change::CancelDeletion => {
            None
        }
    };
    // Sealing the same again would change the digest, and every use under way would conflict.
    if state != key.state || added.is_some() {
        work.put(key_record_id(key.id), &key.encode_as(state, added.as_ref()));
    }
    let versions = key.versions() + u32::from(added.is_some());
    Ok(Response::KeyChanged(KeyChange { id: key.id, arn, state, versions }))
}
