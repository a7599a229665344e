//! The life of a key whose material comes from outside, under operations in any order, against a model
//! that knows nothing of records: imports of every kind, deletions, expiries, rotations to what waits.
//! The lives of keys that are made here are in `life.rs`.
#![allow(clippy::unwrap_used, reason = "clippy takes helpers of tests for none")]

#[path = "../common/mod.rs"]
mod common;
#[path = "../importing/mod.rs"]
mod importing;
mod model;

use std::cell::RefCell;

use common::{NOW_MS, Service, decrypt, encrypt};
use conclave_kms::{Cache, KeySpec, KeyUsage};
use conclave_proto::v1;
use conclave_store::MemoryStore;
use importing::{AES, Wrapped, ask, asking, import, make};
use model::{ImportType, Model, Step, Switch, step};
use proptest::prelude::*;
use proptest::test_runner::TestRunner;

const DAY_MS: u64 = 86_400_000;
/// So many different materials are imported.
const MATERIALS: usize = 4;

/// One service, in which the life begins again and again.
struct Life {
    service: Service,
    born: MemoryStore,
    key: String,
    wrapped: Wrapped,
    ids: Vec<String>,
    sealed: Vec<Vec<u8>>,
}

fn material(number: usize) -> [u8; 32] {
    [u8::try_from(number).unwrap() + 1; 32]
}

impl Life {
    fn new() -> Self {
        let mut service = Service::new();
        let key = make(&mut service, KeySpec::SymmetricDefault, KeyUsage::EncryptDecrypt);
        let born = service.store.clone();
        // Parameters that last for all of a life, from a node whose clock is far ahead; nobody needs to
        // have agreed to its answer.
        let caller = service.caller("ada");
        service.now_ms += 100 * 365 * DAY_MS;
        let request = asking(&key, AES).try_into().unwrap();
        let answer = service.decide(&caller, &request).reply.unwrap();
        let parameters = v1::GetParametersForImportResponse::try_from(answer).unwrap();
        service.now_ms = NOW_MS;
        let wrapped = Wrapped { key: key.clone(), algorithm: AES, parameters };
        // Ids are of the material and the key alone, so they are the same in every life.
        let mut ids = Vec::new();
        for number in 0..MATERIALS {
            let imported = import(&mut service, &wrapped.request(&material(number))).unwrap();
            ids.push(imported.key_material_id.unwrap());
            service.store = born.clone();
        }
        Self { service, born, key, wrapped, ids, sealed: Vec::new() }
    }

    fn begin(&mut self) {
        self.service.store = self.born.clone();
        self.service.cache = Cache::new();
        self.service.now_ms = NOW_MS;
        self.sealed.clear();
    }

    fn take(&mut self, step: &Step) -> Result<(), String> {
        let (service, key_id) = (&mut self.service, self.key.clone());
        let done = match step {
            Step::Enable => {
                ask::<v1::EnableKeyResponse>(service, "ada", v1::EnableKeyRequest { key_id })
                    .map(drop)
            }
            Step::Disable => {
                ask::<v1::DisableKeyResponse>(service, "ada", v1::DisableKeyRequest { key_id })
                    .map(drop)
            }
            Step::Schedule { days } => {
                let pending_window_in_days = Some(*days);
                let request = v1::ScheduleKeyDeletionRequest { key_id, pending_window_in_days };
                ask::<v1::ScheduleKeyDeletionResponse>(service, "ada", request).map(drop)
            }
            Step::Cancel => {
                let request = v1::CancelKeyDeletionRequest { key_id };
                ask::<v1::CancelKeyDeletionResponse>(service, "ada", request).map(drop)
            }
            Step::Rotate => {
                let request = v1::RotateKeyOnDemandRequest { key_id };
                ask::<v1::RotateKeyOnDemandResponse>(service, "ada", request).map(drop)
            }
            Step::Import { material: number, import_type, days } => {
                let expires = match days {
                    Some(_) => "KEY_MATERIAL_EXPIRES",
                    None => "KEY_MATERIAL_DOES_NOT_EXPIRE",
                };
                let request = v1::ImportKeyMaterialRequest {
                    expiration_model: expires.to_owned(),
                    valid_to_ms: days.map(|days| service.now_ms + days * DAY_MS),
                    import_type: match import_type {
                        None => String::new(),
                        Some(ImportType::New) => "NEW_KEY_MATERIAL".to_owned(),
                        Some(ImportType::Existing) => "EXISTING_KEY_MATERIAL".to_owned(),
                    },
                    ..self.wrapped.request(&material(*number))
                };
                import(service, &request).map(|imported| {
                    assert_eq!(imported.key_material_id.as_ref(), Some(&self.ids[*number]));
                })
            }
            Step::Delete(which) => {
                let key_material_id = which.map(|which| self.ids[which].clone());
                let key_material_id = key_material_id.unwrap_or_default();
                let request = v1::DeleteImportedKeyMaterialRequest { key_id, key_material_id };
                ask::<v1::DeleteImportedKeyMaterialResponse>(service, "ada", request).map(drop)
            }
            Step::Encrypt => {
                let plaintext = self.sealed.len().to_string();
                let request = encrypt(&self.key, plaintext.as_bytes());
                ask::<v1::EncryptResponse>(service, "uma", request)
                    .map(|made| self.sealed.push(made.ciphertext_blob))
            }
            Step::Decrypt(_) if self.sealed.is_empty() => Ok(()),
            Step::Decrypt(which) => {
                let number = which % self.sealed.len();
                ask::<v1::DecryptResponse>(service, "uma", decrypt(&self.sealed[number]))
                    .map(|opened| assert_eq!(opened.plaintext, number.to_string().into_bytes()))
            }
            Step::Pass { days } => {
                service.now_ms += days * DAY_MS;
                service.fall_due(service.now_ms);
                Ok(())
            }
            Step::PassAlone { days } => {
                let others_ms = service.now_ms;
                service.now_ms += days * DAY_MS;
                let done = service.fall_due(others_ms);
                service.now_ms = others_ms;
                assert!(done.is_empty(), "one clock is not enough");
                Ok(())
            }
        };
        done.map_err(|refused| refused.split(':').next().unwrap().to_owned())
    }

    /// What can be seen of the key.
    fn check(&mut self, model: &Model) {
        let (service, key_id) = (&mut self.service, self.key.clone());
        let due: Vec<_> = service.due().iter().map(|due| due.due_at().unwrap().0).collect();
        assert_eq!(due, model.due_ms().into_iter().collect::<Vec<_>>());
        let request = v1::DescribeKeyRequest { key_id: key_id.clone(), ..Default::default() };
        let shown = ask::<v1::DescribeKeyResponse>(service, "aud", request);
        if model.switch == Switch::Destroyed {
            assert!(shown.unwrap_err().starts_with("NotFoundException"));
            return;
        }
        let shown = shown.unwrap().key_metadata.unwrap();
        assert_eq!(shown.key_state, model.state());
        assert_eq!(shown.enabled, model.state() == "Enabled");
        let versions = u32::try_from(model.versions.len()).unwrap();
        assert_eq!((shown.versions, shown.origin.as_str()), (versions, "EXTERNAL"));
        let current = model.versions.last();
        let current_id = current.map(|current| &self.ids[current.material]);
        assert_eq!(shown.current_key_material_id.as_ref(), current_id);
        // The first to expire makes the whole key wait.
        let first = model.versions.iter().filter_map(|version| version.valid_to_ms).min();
        let is_there = current.is_some_and(|current| current.is_there);
        assert_eq!(shown.valid_to_ms, first.filter(|_| is_there));
        assert_eq!(shown.expiration_model.is_some(), is_there);

        let listed = ask::<v1::ListKeyRotationsResponse>(
            service,
            "aud",
            v1::ListKeyRotationsRequest {
                key_id,
                include_key_material: "ALL_KEY_MATERIAL".to_owned(),
                ..Default::default()
            },
        );
        let listed: Vec<_> = listed
            .unwrap()
            .rotations
            .into_iter()
            .map(|it| {
                let is_there = it.import_state.unwrap() == "IMPORTED";
                let is_rotation = it.rotation_type.is_some();
                let id = it.key_material_id.unwrap();
                (id, it.key_material_state.unwrap(), is_there, is_rotation, it.valid_to_ms)
            })
            .collect();
        let all = model.versions.iter().chain(&model.pending).enumerate();
        let all = all.map(|(number, version)| {
            let state = match number + 1 {
                before if before < model.versions.len() => "NON_CURRENT",
                at if at == model.versions.len() => "CURRENT",
                _ => "PENDING_ROTATION",
            };
            let is_rotation = number > 0 && state != "PENDING_ROTATION";
            let id = self.ids[version.material].clone();
            (id, state.to_owned(), version.is_there, is_rotation, version.valid_to_ms)
        });
        assert_eq!(listed, all.collect::<Vec<_>>());
    }
}

/// A failure names the steps that lead to it, made as few as they can be.
#[test]
fn a_key_of_imported_material_does_what_the_model_does() {
    let life = RefCell::new(Life::new());
    let config =
        ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() };
    let lives = prop::collection::vec(step(), 1..60);
    let lived = TestRunner::new(config).run(&lives, |steps| {
        let mut life = life.borrow_mut();
        life.begin();
        let mut model = Model::new();
        for step in &steps {
            let expected = model.take(step);
            let told = life.take(step);
            prop_assert_eq!(told, expected.map_err(str::to_owned), "{:?}", step);
            life.check(&model);
        }
        Ok(())
    });
    lived.unwrap();
}

/// That the life above reaches what it is for: of each of these there are many in a run.
#[test]
fn a_life_with_everything_in_it() {
    let mut life = Life::new();
    let mut model = Model::new();
    let import = |material, import_type, days| Step::Import { material, import_type, days };
    let new = Some(ImportType::New);
    let script = [
        (import(0, None, None), "Enabled"),
        (Step::Encrypt, "Enabled"),
        // The same again, of another refused.
        (import(0, None, Some(30)), "Enabled"),
        (import(1, None, None), "Enabled"),
        (import(1, new, Some(20)), "Enabled"),
        (import(2, new, None), "Enabled"),
        (Step::Rotate, "Enabled"),
        (Step::Encrypt, "Enabled"),
        (Step::PassAlone { days: 25 }, "Enabled"),
        (Step::Pass { days: 19 }, "Enabled"),
        (Step::Pass { days: 1 }, "PendingImport"),
        (Step::Decrypt(0), "PendingImport"),
        (import(1, None, None), "Enabled"),
        (Step::Delete(Some(0)), "PendingImport"),
        (Step::Schedule { days: 7 }, "PendingDeletion"),
        (import(0, None, None), "PendingDeletion"),
        (Step::Cancel, "PendingImport"),
        (import(0, None, None), "Enabled"),
        (Step::Decrypt(0), "Enabled"),
        (Step::Delete(None), "PendingImport"),
        (Step::Schedule { days: 7 }, "PendingDeletion"),
        (Step::Pass { days: 7 }, "gone"),
    ];
    for (step, state) in script {
        let expected = model.take(&step);
        assert_eq!(life.take(&step), expected.map_err(str::to_owned), "{step:?}");
        assert_eq!(model.state(), state, "{step:?}");
        life.check(&model);
    }
}
