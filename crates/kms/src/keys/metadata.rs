//! How a key is shown.

use conclave_proto::v1;

use crate::key_ref::{DomainInfo, KeyId};
use crate::material::MaterialId;
use crate::records::{KeyRecord, KeyState};
use crate::spec::{EncapsulationAlgorithm, KeyAgreementAlgorithm, KeySpec, KeyUsage};

/// What a key is, whatever becomes of it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Shape {
    pub(crate) spec: KeySpec,
    pub(crate) usage: KeyUsage,
    pub(crate) external: bool,
    pub(crate) multi_region: bool,
}

impl KeyRecord {
    pub(crate) fn shape(&self) -> Shape {
        let Self { spec, usage, external, multi_region, .. } = *self;
        Shape { spec, usage, external, multi_region }
    }

    pub(crate) fn metadata(&self, domain: &DomainInfo) -> v1::KeyMetadata {
        let newest = self.backing_keys.last();
        let expires = self.backing_keys.iter().filter_map(|version| version.valid_to_ms).min();
        let imported = self.external && self.current().is_some();
        v1::KeyMetadata {
            description: self.description.clone(),
            creation_date_ms: self.created_ms,
            valid_to_ms: expires.filter(|_| imported),
            expiration_model: imported.then(|| expiration_model(expires).to_owned()),
            tags: tags(&self.tags),
            versions: self.versions(),
            ..self.shape().metadata(domain, self.id, self.state, newest.map(|key| &key.id))
        }
    }
}

impl Shape {
    /// What follows from these alone; the rest is empty.
    pub(crate) fn metadata(
        self,
        domain: &DomainInfo,
        id: KeyId,
        state: KeyState,
        material: Option<&MaterialId>,
    ) -> v1::KeyMetadata {
        let Self { spec, usage, external, multi_region } = self;
        let arn = domain.key_arn(id);
        let algorithms = Algorithms::of(spec, usage);
        v1::KeyMetadata {
            aws_account_id: domain.account.clone(),
            key_id: id.to_string(),
            enabled: state == KeyState::Enabled,
            key_usage: usage.name().to_owned(),
            key_state: state.name().to_owned(),
            deletion_date_ms: Some(state.deletion_ms()).filter(|deletion_ms| *deletion_ms != 0),
            origin: if external { "EXTERNAL" } else { "AWS_KMS" }.to_owned(),
            key_manager: "CUSTOMER".to_owned(),
            customer_master_key_spec: spec.has_old_name().then(|| spec.name().to_owned()),
            key_spec: spec.name().to_owned(),
            encryption_algorithms: algorithms.encryption,
            signing_algorithms: algorithms.signing,
            key_agreement_algorithms: algorithms.key_agreement,
            mac_algorithms: algorithms.mac,
            encapsulation_algorithms: algorithms.encapsulation,
            multi_region,
            multi_region_configuration: multi_region.then(|| v1::MultiRegionConfiguration {
                multi_region_key_type: "PRIMARY".to_owned(),
                primary_key: Some(v1::MultiRegionKey {
                    arn: arn.clone(),
                    region: domain.name.clone(),
                }),
                replica_keys: Vec::new(),
            }),
            current_key_material_id: material
                .filter(|_| spec == KeySpec::SymmetricDefault)
                .map(hex::encode),
            arn,
            ..Default::default()
        }
    }
}

/// The names of the algorithms that a key takes; those of other usages are empty.
#[derive(Debug, Default)]
pub(crate) struct Algorithms {
    pub(crate) encryption: Vec<String>,
    pub(crate) signing: Vec<String>,
    pub(crate) key_agreement: Vec<String>,
    pub(crate) mac: Vec<String>,
    pub(crate) encapsulation: Vec<String>,
}

impl Algorithms {
    pub(crate) fn of(spec: KeySpec, usage: KeyUsage) -> Self {
        let mut all = Self::default();
        match usage {
            KeyUsage::EncryptDecrypt => {
                let names = spec.encryption_algorithms().iter().map(|algorithm| algorithm.name());
                all.encryption = names.map(str::to_owned).collect();
            }
            KeyUsage::SignVerify => {
                let names = spec.signing_algorithms().iter().map(|algorithm| algorithm.name());
                all.signing = names.map(str::to_owned).collect();
            }
            KeyUsage::GenerateVerifyMac => {
                let names = spec.mac_algorithms().iter().map(|algorithm| algorithm.name());
                all.mac = names.map(str::to_owned).collect();
            }
            KeyUsage::KeyAgreement => {
                all.key_agreement = vec![KeyAgreementAlgorithm::Ecdh.name().to_owned()];
            }
            KeyUsage::EncapsulateDecapsulate => {
                all.encapsulation = vec![EncapsulationAlgorithm::MlKem.name().to_owned()];
            }
        }
        all
    }
}

pub(crate) fn expiration_model(valid_to_ms: Option<u64>) -> &'static str {
    match valid_to_ms {
        Some(_) => "KEY_MATERIAL_EXPIRES",
        None => "KEY_MATERIAL_DOES_NOT_EXPIRE",
    }
}

pub(crate) fn tags(tags: &[(String, String)]) -> Vec<v1::Tag> {
    let tag = |(key, value): &(String, String)| v1::Tag {
        tag_key: key.clone(),
        tag_value: value.clone(),
    };
    tags.iter().map(tag).collect()
}
