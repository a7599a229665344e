//! CreateKey.

use conclave_proto::{record, v1};

use crate::action::Action;
use crate::answer::{Kept, KeptKey};
use crate::audit_entry::Told;
use crate::fields::{Description, PolicyDocument, Tags};
use crate::invalid::Invalid;
use crate::key_ref::{AliasName, DomainInfo, KeyId};
use crate::keys::alias::create_alias;
use crate::keys::metadata::{Shape, tags};
use crate::material::ToMake;
use crate::operation::{Change, Operation};
use crate::plan::DecideError;
use crate::policies::{put_policy, tell_policy};
use crate::records::{KeyState, StoredKey, made_here, stored_tags};
use crate::refusal::Refusal;
use crate::response::Response;
use crate::spec::{KeySpec, KeyUsage, Origin};
use crate::work::{Stop, Work};

/// A key to be made.
#[derive(Debug)]
pub(crate) struct CreateKey {
    shape: Shape,
    material: ToMake,
    description: Description,
    tags: Tags,
    alias: Option<AliasName>,
    policy: Option<PolicyDocument>,
    bypass_lockout_check: bool,
}

impl TryFrom<v1::CreateKeyRequest> for CreateKey {
    type Error = Refusal;

    fn try_from(sent: v1::CreateKeyRequest) -> Result<Self, Refusal> {
        let spec = match (sent.key_spec.as_str(), sent.customer_master_key_spec.as_str()) {
            ("", "") => KeySpec::SymmetricDefault,
            ("", old) => KeySpec::parse("customerMasterKeySpec", old)?,
            (new, "") => KeySpec::parse("keySpec", new)?,
            _ => return Err(Invalid::TwoSpecs.into()),
        };
        let usage = match sent.key_usage.as_str() {
            "" if spec == KeySpec::SymmetricDefault => KeyUsage::EncryptDecrypt,
            "" => return Err(Invalid::NoKeyUsage.into()),
            usage => KeyUsage::parse("keyUsage", usage)?,
        };
        if !spec.usages().contains(&usage) {
            return Err(Invalid::UsageOfSpec { usage: usage.name(), spec: spec.name() }.into());
        }
        let not_offered = |what: &str| Refusal::NotOffered { what: what.to_owned() };
        if spec == KeySpec::Sm2 {
            return Err(not_offered("Key spec SM2"));
        }
        let external = match sent.origin.as_str() {
            "" => false,
            origin => match Origin::parse("origin", origin)? {
                Origin::AwsKms => false,
                Origin::External => true,
                Origin::AwsCloudHsm | Origin::ExternalKeyStore => {
                    return Err(not_offered("A custom key store"));
                }
            },
        };
        if !sent.custom_key_store_id.is_empty() || !sent.xks_key_id.is_empty() {
            return Err(not_offered("A custom key store"));
        }
        let alias = match sent.alias.as_str() {
            "" => None,
            alias => Some(AliasName::parse(alias)?),
        };
        let policy = match sent.policy {
            none if none.is_empty() => None,
            policy => Some(PolicyDocument::parse(policy)?),
        };
        Ok(Self {
            shape: Shape { spec, usage, external, multi_region: sent.multi_region },
            material: ToMake::new(spec, usage),
            description: Description::parse(sent.description)?,
            tags: Tags::parse_proto(sent.tags)?,
            alias,
            policy,
            bypass_lockout_check: sent.bypass_policy_lockout_safety_check,
        })
    }
}

impl Operation for CreateKey {
    fn action(&self) -> Action {
        Action::CreateKey
    }

    fn tell(&self, told: &mut Told<'_>) {
        told.put("KeySpec", self.shape.spec.name());
        told.put("KeyUsage", self.shape.usage.name());
        told.put("Origin", if self.shape.external { "EXTERNAL" } else { "AWS_KMS" });
        told.put_given("Alias", self.alias.as_ref().map_or("", AliasName::as_str));
        told.put_given("Description", self.description.as_str());
        told.put_all("Tag.", self.tags.pairs());
        if let Some(policy) = &self.policy {
            tell_policy(told, policy, self.bypass_lockout_check);
        }
    }

    fn slow(&self) -> Option<&ToMake> {
        (!self.shape.external).then_some(&self.material)
    }
}

impl Change for CreateKey {
    /// The id derives from the request's token: however late a retry comes, it is this key or none.
    fn perform(&self, work: &mut Work<'_>) -> Result<Kept, Stop> {
        let id = KeyId::new(work.keyring.derived_key_id(&work.token()));
        work.concerns_key(id);
        if work.reads.key(id)?.is_some() {
            return Err(Refusal::KeyExists { arn: work.domain.key_arn(id) }.into());
        }
        if !work.reads.has_room_for_key(work.keys_max) {
            return Err(Refusal::KeyLimit { max: work.keys_max }.into());
        }
        if let Some(alias) = &self.alias {
            create_alias(work, alias, id)?;
        }
        if let Some(policy) = &self.policy {
            put_policy(work, id, policy, self.bypass_lockout_check)?;
        }
        let Shape { spec, usage, external, multi_region } = self.shape;
        let mut key = StoredKey::new(record::Key {
            id: id.bytes().to_vec(),
            description: self.description.as_str().to_owned(),
            tags: stored_tags(self.tags.pairs()),
            created_ms: work.now_ms,
            spec: spec.to_proto() as i32,
            usage: usage.to_proto() as i32,
            external,
            multi_region,
            ..Default::default()
        });
        let mut item = Vec::new();
        let (state, versions) = if external {
            (KeyState::PendingImport, 0)
        } else {
            let material = self.material.get(work.entropy).map_err(DecideError::from)?;
            item = material.id(id).to_vec();
            key.push_version(made_here(material, id, work.now_ms));
            (KeyState::Enabled, 1)
        };
        key.set_state(state);
        work.put_new_key(id, &key);
        let kept = Kept::key(work.now_ms, KeptKey { id, state, versions });
        Ok(Kept { item, ..kept })
    }

    fn response(&self, kept: &Kept, domain: &DomainInfo) -> Response {
        let key = kept.key.map(|key| {
            let material = kept.item.as_slice().try_into().ok();
            v1::KeyMetadata {
                description: self.description.as_str().to_owned(),
                creation_date_ms: kept.now_ms,
                aliases: self.alias.iter().map(|alias| alias.as_str().to_owned()).collect(),
                tags: tags(self.tags.pairs()),
                versions: key.versions,
                ..self.shape.metadata(domain, key.id, key.state, material)
            }
        });
        v1::CreateKeyResponse { key_metadata: key }.into()
    }
}
