//! ImportKeyMaterial: the first material of a key, one that was there before, or the next one.

use std::sync::Arc;

use conclave_crypto::sha256;
use conclave_proto::{record, v1};
use zeroize::Zeroize;

use crate::action::Action;
use crate::answer::{Kept, KeptKey};
use crate::audit_entry::Told;
use crate::computation::{Computation, Computed};
use crate::fields::{MaterialDescription, MaterialIdText, Tagged};
use crate::importing::check_importable;
use crate::importing::token::ImportToken;
use crate::invalid::Invalid;
use crate::key_ref::{DomainInfo, KeyRef};
use crate::keys::expiration_model;
use crate::material::{Material, MaterialId};
use crate::operation::{Change, Operation};
use crate::records::{KeyRecord, KeyState, StoredKey, VERSIONS_MAX};
use crate::refusal::Refusal;
use crate::response::Response;
use crate::spec::{KeySpec, named};
use crate::work::{Stop, Work};

/// How far ahead material may expire: 365 days.
const VALID_MS_MAX: u64 = 365 * 86_400_000;

named! {
    /// Whether imported material expires.
    ExpirationModel {
        Expires = "KEY_MATERIAL_EXPIRES",
        DoesNotExpire = "KEY_MATERIAL_DOES_NOT_EXPIRE",
    }
}

named! {
    /// Whether the material was the key's before.
    ImportType {
        New = "NEW_KEY_MATERIAL",
        Existing = "EXISTING_KEY_MATERIAL",
    }
}

#[derive(Debug)]
pub(crate) struct ImportKeyMaterial {
    key: KeyRef,
    token: Tagged,
    wrapped: Tagged,
    /// None: never.
    valid_to_ms: Option<u64>,
    import_type: Option<ImportType>,
    description: Option<MaterialDescription>,
    material_id: Option<MaterialIdText>,
    imported: Computed<Result<Material, Refusal>>,
}

impl TryFrom<v1::ImportKeyMaterialRequest> for ImportKeyMaterial {
    type Error = Refusal;

    fn try_from(sent: v1::ImportKeyMaterialRequest) -> Result<Self, Refusal> {
        let model = match sent.expiration_model.as_str() {
            "" => ExpirationModel::Expires,
            model => ExpirationModel::parse("expirationModel", model)?,
        };
        match (model, sent.valid_to_ms) {
            (ExpirationModel::Expires, None) => return Err(Invalid::NoValidTo.into()),
            (ExpirationModel::DoesNotExpire, Some(_)) => {
                return Err(Invalid::ValidToOfUnending.into());
            }
            _ => {}
        }
        let import_type = match sent.import_type.as_str() {
            "" => None,
            import_type => Some(ImportType::parse("importType", import_type)?),
        };
        let material_id = MaterialIdText::parse_optional(&sent.key_material_id)?;
        if import_type == Some(ImportType::New) && material_id.is_some() {
            return Err(Invalid::IdOfNewMaterial.into());
        }
        Ok(Self {
            key: KeyRef::parse_key(&sent.key_id)?,
            token: Tagged::parse("importToken", sent.import_token)?,
            wrapped: Tagged::parse("encryptedKeyMaterial", sent.encrypted_key_material)?,
            valid_to_ms: sent.valid_to_ms,
            import_type,
            description: MaterialDescription::parse_optional(sent.key_material_description)?,
            material_id,
            imported: Computed::default(),
        })
    }
}

impl Operation for ImportKeyMaterial {
    fn action(&self) -> Action {
        Action::ImportKeyMaterial
    }

    fn tell(&self, told: &mut Told<'_>) {
        told.key(&self.key);
        told.put("ExpirationModel", expiration_model(self.valid_to_ms));
        if let Some(valid_to_ms) = self.valid_to_ms {
            told.put("ValidTo", &valid_to_ms.to_string());
        }
        told.put_given("ImportType", self.import_type.map_or("", ImportType::name));
        let description = self.description.as_ref().map_or("", MaterialDescription::as_str);
        told.put_given("KeyMaterialDescription", description);
        told.put_given(
            "KeyMaterialId",
            self.material_id.as_ref().map_or("", MaterialIdText::as_str),
        );
    }
}

impl Change for ImportKeyMaterial {
    fn perform(&self, work: &mut Work<'_>) -> Result<Kept, Stop> {
        let key = work.find_key(&self.key)?;
        let arn = work.domain.key_arn(key.id);
        check_importable(&key, &arn)?;
        self.check_members(key.spec)?;
        self.check_valid_to(work.now_ms)?;
        let token = ImportToken::open(self.token.bytes(), key.id, work.keyring, work.now_ms)?;
        let imported = self.unwrap(token, &key)?;
        let material = imported.as_ref().as_ref().map_err(Clone::clone)?;
        let id = material.id(key.id);
        if self.material_id.as_ref().is_some_and(|named| named.as_str() != hex::encode(id)) {
            return Err(Refusal::OtherKeyMaterial.into());
        }
        let mut stored = key.to_stored();
        self.place(&key, &mut stored, material, id, work.now_ms, &arn)?;
        // What was disabled stays so; what waited for this need wait no longer.
        let state = match key.state {
            KeyState::PendingImport if stored.is_whole() => KeyState::Enabled,
            state => state,
        };
        stored.set_state(state);
        work.put_key(&stored);
        let kept =
            Kept::key(work.now_ms, KeptKey { id: key.id, state, versions: stored.versions() });
        Ok(Kept { item: shown_id(key.spec, id), ..kept })
    }

    fn response(&self, kept: &Kept, domain: &DomainInfo) -> Response {
        v1::ImportKeyMaterialResponse {
            key_id: kept.key.map(|key| domain.key_arn(key.id)).unwrap_or_default(),
            key_material_id: Some(hex::encode(&kept.item)).filter(|id| !id.is_empty()),
        }
        .into()
    }
}

/// Only materials of keys for symmetric encryption have an id that is shown.
pub(super) fn shown_id(spec: KeySpec, id: MaterialId) -> Vec<u8> {
    if spec == KeySpec::SymmetricDefault { id.to_vec() } else { Vec::new() }
}

impl ImportKeyMaterial {
    /// Opens what was wrapped for the token, and checks that it is material of such a key, which takes
    /// private operations of RSA.
    fn unwrap(
        &self,
        token: ImportToken,
        key: &KeyRecord,
    ) -> Result<Arc<Result<Material, Refusal>>, Computation> {
        let (spec, usage) = (key.spec, key.usage);
        let wrapped = self.wrapped.bytes().to_vec();
        self.imported.get(sha256(&[self.token.bytes()]), move || {
            let bytes = token.unwrap(&wrapped)?;
            Ok(Material::import(spec, usage, &bytes)?)
        })
    }

    /// Keys of other kinds have one material, for good.
    fn check_members(&self, spec: KeySpec) -> Result<(), Refusal> {
        if spec == KeySpec::SymmetricDefault {
            return Ok(());
        }
        let given = [
            ("ImportType", self.import_type.is_some()),
            ("KeyMaterialDescription", self.description.is_some()),
            ("KeyMaterialId", self.material_id.is_some()),
        ];
        match given.into_iter().find(|(_, is_given)| *is_given) {
            Some((member, _)) => Err(Refusal::OnlyOfSymmetric { member }),
            None => Ok(()),
        }
    }

    fn check_valid_to(&self, now_ms: u64) -> Result<(), Refusal> {
        match self.valid_to_ms {
            Some(valid_to_ms) if valid_to_ms <= now_ms => Err(Invalid::ValidToPast.into()),
            Some(valid_to_ms) if valid_to_ms - now_ms > VALID_MS_MAX => {
                Err(Invalid::ValidToFar.into())
            }
            _ => Ok(()),
        }
    }

    /// Puts the material where it belongs.
    fn place(
        &self,
        key: &KeyRecord,
        stored: &mut StoredKey,
        material: &Material,
        id: MaterialId,
        now_ms: u64,
        arn: &str,
    ) -> Result<(), Refusal> {
        let is_first = key.backing_keys.is_empty();
        let is_this = |known: &&mut record::BackingKey| known.id == id;
        let stored: &mut record::Key = stored;
        let known = stored.backing_keys.iter_mut().chain(&mut stored.pending).find(is_this);
        let by_default = if is_first { ImportType::New } else { ImportType::Existing };
        match (self.import_type.unwrap_or(by_default), known) {
            (ImportType::Existing, Some(known)) => {
                known.material.zeroize();
                known.material = material.bytes().to_vec();
                known.valid_to_ms = self.valid_to_ms;
                if let Some(description) = &self.description {
                    description.as_str().clone_into(&mut known.description);
                }
                Ok(())
            }
            (ImportType::Existing, None) => Err(Refusal::OtherKeyMaterial),
            (ImportType::New, Some(_)) => Err(Refusal::KnownKeyMaterial),
            (ImportType::New, None) => {
                if let Some(pending) = &key.pending {
                    let (new, pending) = (hex::encode(id), hex::encode(pending.id));
                    let key = key.id.to_string();
                    return Err(Refusal::OtherMaterialPending { new, key, pending });
                }
                if key.versions() >= VERSIONS_MAX {
                    return Err(Refusal::RotationLimit { arn: arn.to_owned() });
                }
                let description = self.description.as_ref().map_or("", MaterialDescription::as_str);
                let mut new = record::BackingKey {
                    material: material.bytes().to_vec(),
                    id: id.to_vec(),
                    created_ms: now_ms,
                    valid_to_ms: self.valid_to_ms,
                    description: description.to_owned(),
                    ..Default::default()
                };
                if is_first {
                    new.version = 1;
                    stored.backing_keys.push(new);
                } else {
                    stored.pending = Some(new);
                }
                Ok(())
            }
        }
    }
}
