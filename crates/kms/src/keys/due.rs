//! What happens to a key by itself when its time has come: its rotation, the expiry of imported
//! material, its destruction. No principal asks for it, and what it rests on is looked at again in
//! the decision.

use conclave_crypto::Secret;
use conclave_proto::record;
use conclave_store::{Family, Kind, RecordId};
use prost::Message;

use crate::action::Action;
use crate::audit_entry::Told;
use crate::ctx::Ctx;
use crate::fields::after_days;
use crate::importing::without_expired;
use crate::key_ref::KeyId;
use crate::material::Material;
use crate::operation::{Asked, Operation, Request, Use};
use crate::plan::DecideError;
use crate::reads::{ALIASES_MAX, key_record_id, tombstone_record_id};
use crate::records::{KeyRecord, KeyState, Rotation, made_here};
use crate::refusal::Refusal;
use crate::response::Response;
use crate::work::{Stop, Work};

/// Grants that go in one txn: with what else it writes it stays below the store's bound.
const GRANTS_AT_ONCE: usize = 50;

/// One thing that is due.
#[derive(Debug)]
struct FallDue {
    key: KeyId,
    due: RecordId,
    what: What,
    /// The time that a majority of the voters' clocks have passed.
    passed_ms: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum What {
    Rotate,
    Expire,
    Destroy,
    /// The grants of a key that is gone.
    Sweep,
}

impl Request {
    /// What is to happen to a key by its `due` record, the time of which has come if `passed_ms` is
    /// past it: a time that a majority of the voters say their own clocks have passed. `None`: nothing, as
    /// far as this view shows.
    ///
    /// # Errors
    /// [`DecideError`] if the records cannot be read.
    pub fn due(
        ctx: &mut Ctx<'_>,
        due: RecordId,
        passed_ms: u64,
    ) -> Result<Option<Self>, DecideError> {
        let mut work = Work::new(ctx);
        if due.due_at().is_none_or(|at| at.0 > passed_ms) {
            return Ok(None);
        }
        let Some(key) = work.reads.due(due)? else { return Ok(None) };
        let what = work.reads.key(key)?.map_or(Some(What::Sweep), |key| what(&key, passed_ms));
        let Some(what) = what else { return Ok(None) };
        let operation = FallDue { key, due, what, passed_ms };
        Ok(Some(Self(Asked::Due(Box::new(operation)))))
    }
}

/// What a key's own dates say; destruction before all else.
fn what(key: &KeyRecord, passed_ms: u64) -> Option<What> {
    let passed = |at_ms: u64| at_ms <= passed_ms;
    let versions = key.backing_keys.iter().chain(&key.pending);
    let mut expiries =
        versions.filter(|version| version.material.is_some()).filter_map(|it| it.valid_to_ms);
    match key.state {
        KeyState::PendingDeletion { deletion_ms } if passed(deletion_ms) => Some(What::Destroy),
        _ if expiries.any(passed) => Some(What::Expire),
        KeyState::Enabled if key.rotation.is_some_and(|it| passed(it.next_ms)) => {
            Some(What::Rotate)
        }
        _ => None,
    }
}

impl Operation for FallDue {
    fn action(&self) -> Action {
        match self.what {
            What::Rotate => Action::RotateKey,
            What::Expire => Action::DeleteExpiredKeyMaterial,
            What::Destroy => Action::DestroyKey,
            What::Sweep => Action::DeleteGrantsOfDestroyedKey,
        }
    }

    fn tell(&self, told: &mut Told<'_>) {
        told.key_id(self.key);
        told.put("ClocksPast", &self.passed_ms.to_string());
    }
}

impl Use for FallDue {
    fn perform(&self, work: &mut Work<'_>) -> Result<Response, Stop> {
        let not_due = || Stop::from(Refusal::NotDue { arn: work.domain.key_arn(self.key) });
        // Whoever was first has taken the record away, or moved it.
        if work.reads.due(self.due)? != Some(self.key) {
            return Err(not_due());
        }
        let key = work.reads.key(self.key)?;
        match (self.what, key.as_deref()) {
            (What::Sweep, None) => sweep(work, self.key, self.due)?,
            (what, Some(key)) if Some(what) == self::what(key, self.passed_ms) => match what {
                What::Rotate => rotate(work, key)?,
                What::Expire => {
                    let mut stored = key.to_stored();
                    without_expired(&mut stored, self.passed_ms);
                    work.put_key(&stored);
                }
                What::Destroy | What::Sweep => destroy(work, key, self.due)?,
            },
            _ => return Err(not_due()),
        }
        Ok(Response::Done)
    }
}

fn rotate(work: &mut Work<'_>, key: &KeyRecord) -> Result<(), Stop> {
    let mut stored = key.to_stored();
    let material = Material::generate(key.spec, key.usage, work.entropy);
    let next = made_here(&material.map_err(DecideError::from)?, key.id, work.now_ms);
    stored.rotate_to(next, Rotation::Automatic, work.now_ms);
    if let Some(rotation) = &mut stored.rotation {
        rotation.next_ms = after_days(work.now_ms, rotation.period_days);
    }
    work.put_key(&stored);
    Ok(())
}

/// Takes the key away, with its names and its policy, and leaves a tombstone. Its grants follow.
fn destroy(work: &mut Work<'_>, key: &KeyRecord, due: RecordId) -> Result<(), Stop> {
    let record = key_record_id(key.id);
    work.delete(record);
    for (kind, limit) in [(Kind::Alias, ALIASES_MAX as usize), (Kind::KeyPolicy, 1)] {
        for child in work.reads.children(Family::new(record, kind), limit) {
            work.delete(child);
        }
    }
    let tombstone = record::Tombstone {
        key_id: key.id.bytes().to_vec(),
        destroyed_ms: work.now_ms,
        domain_key: work.keyring.domain_key_epoch(),
    };
    let tombstone = Secret::from_vec(tombstone.encode_to_vec());
    work.put(tombstone_record_id(key.id), &tombstone);
    if work.reads.children(Family::new(record, Kind::Grant), 1).is_empty() {
        work.delete(due);
    }
    Ok(())
}

/// Nothing can be granted of a key that is gone, so these become fewer.
fn sweep(work: &mut Work<'_>, key: KeyId, due: RecordId) -> Result<(), Stop> {
    let grants = Family::new(key_record_id(key), Kind::Grant);
    let page = work.reads.children(grants, GRANTS_AT_ONCE);
    if page.len() < GRANTS_AT_ONCE {
        work.delete(due);
    }
    page.into_iter().for_each(|grant| work.delete(grant));
    Ok(())
}
