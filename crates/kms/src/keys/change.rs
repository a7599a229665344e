//! EnableKey, DisableKey, ScheduleKeyDeletion, CancelKeyDeletion, RotateKeyOnDemand: what moves a key
//! from one state to another, or to its next version.

use conclave_proto::v1;

use crate::action::Action;
use crate::answer::{Kept, KeptKey};
use crate::audit_entry::Told;
use crate::fields::Days;
use crate::key_ref::{DomainInfo, KeyRef};
use crate::keys::state::{Transition, after};
use crate::material::Material;
use crate::operation::{Change, Operation};
use crate::plan::DecideError;
use crate::records::{KeyRecord, KeyState, Rotation, StoredKey, VERSIONS_MAX, made_here};
use crate::refusal::Refusal;
use crate::response::Response;
use crate::spec::KeySpec;
use crate::work::{Stop, Work};

/// Rotations that were not automatic, of one key, as AWS KMS allows them.
pub const ON_DEMAND_ROTATIONS_MAX: u32 = 25;

#[derive(Debug)]
pub(crate) struct ChangeKey {
    key: KeyRef,
    transition: Transition,
}

macro_rules! messages {
    ($($message:ident => |$sent:ident| $transition:expr;)*) => {$(
        impl TryFrom<v1::$message> for ChangeKey {
            type Error = Refusal;

            fn try_from($sent: v1::$message) -> Result<Self, Refusal> {
                Ok(Self { key: KeyRef::parse_key(&$sent.key_id)?, transition: $transition })
            }
        }
    )*};
}
messages! {
    EnableKeyRequest => |sent| Transition::Enable;
    DisableKeyRequest => |sent| Transition::Disable;
    ScheduleKeyDeletionRequest => |sent|
        Transition::ScheduleDeletion(Days::parse(sent.pending_window_in_days)?);
    CancelKeyDeletionRequest => |sent| Transition::CancelDeletion;
    RotateKeyOnDemandRequest => |sent| Transition::Rotate;
}

impl Operation for ChangeKey {
    fn action(&self) -> Action {
        match self.transition {
            Transition::Enable => Action::EnableKey,
            Transition::Disable => Action::DisableKey,
            Transition::ScheduleDeletion(_) => Action::ScheduleKeyDeletion,
            Transition::CancelDeletion => Action::CancelKeyDeletion,
            Transition::Rotate => Action::RotateKeyOnDemand,
        }
    }

    fn tell(&self, told: &mut Told<'_>) {
        told.key(&self.key);
        if let Transition::ScheduleDeletion(days) = self.transition {
            told.put("PendingWindowInDays", &days.get().to_string());
        }
    }
}

impl Change for ChangeKey {
    fn perform(&self, work: &mut Work<'_>) -> Result<Kept, Stop> {
        let key = work.find_key(&self.key)?;
        let arn = work.domain.key_arn(key.id);
        if self.transition == Transition::Rotate && key.spec != KeySpec::SymmetricDefault {
            return Err(Refusal::NoRotation.into());
        }
        let state = match after(self.transition, key.state, work.now_ms, &arn)? {
            // Kept after all, a key that lacks material waits for it again.
            KeyState::Disabled if !key.is_whole() => KeyState::PendingImport,
            state => state,
        };
        let mut stored = key.to_stored();
        stored.set_state(state);
        match self.transition {
            Transition::Rotate => rotate_on_demand(work, &key, &mut stored)?,
            Transition::ScheduleDeletion(days) => stored.deletion_days = days.get(),
            Transition::Enable | Transition::Disable | Transition::CancelDeletion => {}
        }
        // Sealing the same again would change the digest, and every use under way would conflict.
        if state != key.state || self.transition == Transition::Rotate {
            work.put_key(&stored);
        }
        let versions = stored.versions();
        Ok(Kept::key(work.now_ms, KeptKey { id: key.id, state, versions }))
    }

    fn response(&self, kept: &Kept, domain: &DomainInfo) -> Response {
        let Some(KeptKey { id, state, versions }) = kept.key else { return Response::Done };
        let key_id = domain.key_arn(id);
        let deletion_ms = state.deletion_ms();
        let key = Some(v1::KeyChange {
            key_id: id.to_string(),
            arn: key_id.clone(),
            key_state: state.name().to_owned(),
            deletion_date_ms: Some(deletion_ms).filter(|deletion_ms| *deletion_ms != 0),
            versions,
        });
        match self.transition {
            Transition::Enable => v1::EnableKeyResponse { key }.into(),
            Transition::Disable => v1::DisableKeyResponse { key }.into(),
            Transition::CancelDeletion => v1::CancelKeyDeletionResponse { key_id, key }.into(),
            Transition::Rotate => v1::RotateKeyOnDemandResponse { key_id, key }.into(),
            Transition::ScheduleDeletion(days) => v1::ScheduleKeyDeletionResponse {
                key_id,
                deletion_date_ms: deletion_ms,
                key_state: state.name().to_owned(),
                pending_window_in_days: i32::try_from(days.get()).unwrap_or_default(),
                key,
            }
            .into(),
        }
    }
}

/// A new version: made here, or the imported one that waits.
fn rotate_on_demand(
    work: &mut Work<'_>,
    key: &KeyRecord,
    stored: &mut StoredKey,
) -> Result<(), Stop> {
    let arn = work.domain.key_arn(key.id);
    if key.on_demand_rotations >= ON_DEMAND_ROTATIONS_MAX || key.versions() >= VERSIONS_MAX {
        return Err(Refusal::RotationLimit { arn }.into());
    }
    let next = if key.external {
        stored.pending.take().ok_or(Refusal::NothingToRotateTo { arn })?
    } else {
        let material = Material::generate(key.spec, key.usage, work.entropy);
        made_here(&material.map_err(DecideError::from)?, key.id, work.now_ms)
    };
    stored.on_demand_rotations += 1;
    stored.rotate_to(next, Rotation::OnDemand, work.now_ms);
    Ok(())
}
