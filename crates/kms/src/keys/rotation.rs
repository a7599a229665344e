//! EnableKeyRotation, DisableKeyRotation, GetKeyRotationStatus, ListKeyRotations: rotation that comes by
//! itself, and what came of all rotations. The rotating itself is in `change.rs` and `due.rs`.

use conclave_proto::{record, v1};

use crate::action::Action;
use crate::answer::{Kept, KeptKey};
use crate::audit_entry::Told;
use crate::fields::{PageLimit, RotationPeriod};
use crate::key_ref::{DomainInfo, KeyRef};
use crate::keys::metadata::expiration_model;
use crate::keys::state::check_usable;
use crate::operation::{Change, Operation, Use};
use crate::records::{BackingKey, KeyRecord, KeyState, VERSIONS_MAX};
use crate::refusal::Refusal;
use crate::response::Response;
use crate::spec::{KeySpec, named};
use crate::work::{Stop, Work};

/// Turns automatic rotation on or off.
#[derive(Debug)]
pub(crate) struct ChangeRotation {
    key: KeyRef,
    period: Option<RotationPeriod>,
}

impl TryFrom<v1::EnableKeyRotationRequest> for ChangeRotation {
    type Error = Refusal;

    fn try_from(sent: v1::EnableKeyRotationRequest) -> Result<Self, Refusal> {
        let period = RotationPeriod::parse(sent.rotation_period_in_days)?;
        Ok(Self { key: KeyRef::parse_key(&sent.key_id)?, period: Some(period) })
    }
}

impl TryFrom<v1::DisableKeyRotationRequest> for ChangeRotation {
    type Error = Refusal;

    fn try_from(sent: v1::DisableKeyRotationRequest) -> Result<Self, Refusal> {
        Ok(Self { key: KeyRef::parse_key(&sent.key_id)?, period: None })
    }
}

impl Operation for ChangeRotation {
    fn action(&self) -> Action {
        match self.period {
            Some(_) => Action::EnableKeyRotation,
            None => Action::DisableKeyRotation,
        }
    }

    fn tell(&self, told: &mut Told<'_>) {
        told.key(&self.key);
        if let Some(period) = self.period {
            told.put("RotationPeriodInDays", &period.days().to_string());
        }
    }
}

impl Change for ChangeRotation {
    fn perform(&self, work: &mut Work<'_>) -> Result<Kept, Stop> {
        let key = work.find_key(&self.key)?;
        check_rotates(&key)?;
        let arn = work.domain.key_arn(key.id);
        // Material from outside is rotated to what was imported for that, on demand.
        if key.external {
            return Err(Refusal::Origin { arn, origin: "EXTERNAL" }.into());
        }
        check_usable(key.state, &arn)?;
        let asked = self.period.map(RotationPeriod::days);
        // Turned on again as it is, the next rotation stays where it was.
        if key.rotation.map(|rotation| rotation.period_days) != asked {
            let mut stored = key.to_stored();
            stored.rotation = self.period.map(|period| record::AutomaticRotation {
                period_days: period.days(),
                next_ms: period.after(work.now_ms),
            });
            work.put_key(&stored);
        }
        let (id, state, versions) = (key.id, key.state, key.versions());
        Ok(Kept::key(work.now_ms, KeptKey { id, state, versions }))
    }

    fn response(&self, _: &Kept, _: &DomainInfo) -> Response {
        match self.period {
            Some(_) => v1::EnableKeyRotationResponse {}.into(),
            None => v1::DisableKeyRotationResponse {}.into(),
        }
    }
}

#[derive(Debug)]
pub(crate) struct GetKeyRotationStatus {
    key: KeyRef,
}

impl TryFrom<v1::GetKeyRotationStatusRequest> for GetKeyRotationStatus {
    type Error = Refusal;

    fn try_from(sent: v1::GetKeyRotationStatusRequest) -> Result<Self, Refusal> {
        Ok(Self { key: KeyRef::parse_key(&sent.key_id)? })
    }
}

impl Operation for GetKeyRotationStatus {
    fn action(&self) -> Action {
        Action::GetKeyRotationStatus
    }

    fn tell(&self, told: &mut Told<'_>) {
        told.key(&self.key);
    }
}

impl Use for GetKeyRotationStatus {
    fn perform(&self, work: &mut Work<'_>) -> Result<Response, Stop> {
        let key = work.find_key(&self.key)?;
        check_rotates(&key)?;
        // As AWS KMS shows it: none while the key waits for its deletion, the same again if it is kept.
        let waits = matches!(key.state, KeyState::PendingDeletion { .. });
        let rotation = key.rotation.filter(|_| !waits);
        let more = key.versions() < VERSIONS_MAX;
        Ok(v1::GetKeyRotationStatusResponse {
            key_rotation_enabled: rotation.is_some(),
            key_id: work.domain.key_arn(key.id),
            rotation_period_in_days: rotation
                .map(|it| it.period_days.try_into().unwrap_or(i32::MAX)),
            next_rotation_date_ms: rotation.filter(|_| more).map(|rotation| rotation.next_ms),
            // On demand it is done at once.
            on_demand_rotation_start_date_ms: None,
        }
        .into())
    }
}

named! {
    /// What a listing of rotations includes.
    IncludeKeyMaterial {
        RotationsOnly = "ROTATIONS_ONLY",
        AllKeyMaterial = "ALL_KEY_MATERIAL",
    }
}

#[derive(Debug)]
pub(crate) struct ListKeyRotations {
    key: KeyRef,
    include: IncludeKeyMaterial,
    limit: PageLimit,
    /// The last version of an earlier page.
    after: u32,
}

impl TryFrom<v1::ListKeyRotationsRequest> for ListKeyRotations {
    type Error = Refusal;

    fn try_from(sent: v1::ListKeyRotationsRequest) -> Result<Self, Refusal> {
        let include = match sent.include_key_material.as_str() {
            "" => IncludeKeyMaterial::RotationsOnly,
            include => IncludeKeyMaterial::parse("includeKeyMaterial", include)?,
        };
        let after = match sent.marker.as_str() {
            "" => 0,
            marker => marker.parse().map_err(|_| Refusal::InvalidMarker)?,
        };
        let limit = PageLimit::parse(sent.limit, 100, 1000)?;
        Ok(Self { key: KeyRef::parse_key(&sent.key_id)?, include, limit, after })
    }
}

impl Operation for ListKeyRotations {
    fn action(&self) -> Action {
        Action::ListKeyRotations
    }

    fn tell(&self, told: &mut Told<'_>) {
        told.key(&self.key);
        told.put("IncludeKeyMaterial", self.include.name());
    }
}

impl Use for ListKeyRotations {
    /// Oldest first; a material that waits for its rotation comes last.
    fn perform(&self, work: &mut Work<'_>) -> Result<Response, Stop> {
        let key = work.find_key(&self.key)?;
        check_rotates(&key)?;
        let arn = work.domain.key_arn(key.id);
        let all = self.include == IncludeKeyMaterial::AllKeyMaterial;
        let current = key.versions();
        let versions = (1..).zip(&key.backing_keys);
        let pending = key.pending.iter().map(|pending| (current + 1, pending));
        let shown = versions.chain(pending.filter(|_| all));
        let mut shown = shown.filter(|(_, version)| all || version.rotation.is_some());
        let mut page: Vec<_> = shown.by_ref().filter(|(number, _)| *number > self.after).collect();
        let truncated = page.len() > self.limit.get();
        page.truncate(self.limit.get());
        let next = page.last().filter(|_| truncated).map(|(number, _)| number.to_string());
        let entry = |(number, version): &(u32, &BackingKey)| {
            let state = match number.cmp(&current) {
                std::cmp::Ordering::Less => "NON_CURRENT",
                std::cmp::Ordering::Equal => "CURRENT",
                std::cmp::Ordering::Greater => "PENDING_ROTATION",
            };
            entry(&key, &arn, version, state)
        };
        Ok(v1::ListKeyRotationsResponse {
            rotations: page.iter().map(entry).collect(),
            next_marker: next,
            truncated,
        }
        .into())
    }
}

fn entry(key: &KeyRecord, arn: &str, version: &BackingKey, state: &str) -> v1::RotationsListEntry {
    let there = version.material.is_some();
    let imported = key.external && there;
    v1::RotationsListEntry {
        key_id: arn.to_owned(),
        key_material_id: Some(hex::encode(version.id)),
        key_material_description: Some(version.description.clone()).filter(|it| !it.is_empty()),
        import_state: key
            .external
            .then(|| if there { "IMPORTED" } else { "PENDING_IMPORT" }.to_owned()),
        key_material_state: Some(state.to_owned()),
        expiration_model: imported.then(|| expiration_model(version.valid_to_ms).to_owned()),
        valid_to_ms: version.valid_to_ms.filter(|_| imported),
        rotation_date_ms: version.rotation.map(|_| version.rotated_ms),
        rotation_type: version.rotation.map(|rotation| rotation.name().to_owned()),
    }
}

/// Whether there is anything to say of a key's rotation.
fn check_rotates(key: &KeyRecord) -> Result<(), Refusal> {
    if key.spec == KeySpec::SymmetricDefault { Ok(()) } else { Err(Refusal::NoRotation) }
}
