//! CreateAlias, UpdateAlias, DeleteAlias: names for keys, each for one key at a time.
//!
//! An alias is a record under its key, found by its name; a key with its aliases is listed in
//! `list_aliases.rs`. What names a key does not change it: uses under its id go on meanwhile.

use std::sync::Arc;

use conclave_proto::v1;
use conclave_store::RecordId;

use crate::action::Action;
use crate::answer::Kept;
use crate::audit_entry::Told;
use crate::key_ref::{AliasName, DomainInfo, KeyId, KeyRef};
use crate::keys::state::check_labelled;
use crate::operation::{Change, Operation};
use crate::reads::{ALIASES_MAX, key_record_id};
use crate::records::{AliasRecord, KeyRecord};
use crate::refusal::Refusal;
use crate::response::Response;
use crate::work::{Stop, Work};

/// What CreateAlias and UpdateAlias are told.
#[derive(Debug)]
struct Naming {
    alias: AliasName,
    key: KeyRef,
}

impl Naming {
    fn parse(alias: &str, key: &str) -> Result<Self, Refusal> {
        let alias = AliasName::parse(alias)?;
        Ok(Self { alias, key: KeyRef::parse_key_as("targetKeyId", key)? })
    }

    fn tell(&self, told: &mut Told<'_>) {
        told.alias(&self.alias);
        told.key(&self.key);
        told.other_key("TargetKeyId", &self.key);
    }
}

#[derive(Debug)]
pub(crate) struct CreateAlias(Naming);

impl TryFrom<v1::CreateAliasRequest> for CreateAlias {
    type Error = Refusal;

    fn try_from(sent: v1::CreateAliasRequest) -> Result<Self, Refusal> {
        Naming::parse(&sent.alias_name, &sent.target_key_id).map(Self)
    }
}

impl Operation for CreateAlias {
    fn action(&self) -> Action {
        Action::CreateAlias
    }

    fn tell(&self, told: &mut Told<'_>) {
        self.0.tell(told);
    }
}

impl Change for CreateAlias {
    fn perform(&self, work: &mut Work<'_>) -> Result<Kept, Stop> {
        let Naming { alias, key } = &self.0;
        work.concerns(work.domain.alias_arn(alias));
        let key = work.find_key(key)?;
        check_labelled(key.state, &work.domain.key_arn(key.id))?;
        create_alias(work, alias, key.id)?;
        Ok(Kept::nothing(work.now_ms))
    }

    fn response(&self, _: &Kept, _: &DomainInfo) -> Response {
        v1::CreateAliasResponse {}.into()
    }
}

#[derive(Debug)]
pub(crate) struct UpdateAlias(Naming);

impl TryFrom<v1::UpdateAliasRequest> for UpdateAlias {
    type Error = Refusal;

    fn try_from(sent: v1::UpdateAliasRequest) -> Result<Self, Refusal> {
        Naming::parse(&sent.alias_name, &sent.target_key_id).map(Self)
    }
}

impl Operation for UpdateAlias {
    fn action(&self) -> Action {
        Action::UpdateAlias
    }

    fn tell(&self, told: &mut Told<'_>) {
        self.0.tell(told);
    }
}

impl Change for UpdateAlias {
    fn perform(&self, work: &mut Work<'_>) -> Result<Kept, Stop> {
        let Naming { alias, key } = &self.0;
        let (record, named) = find_alias(work, alias)?;
        let key = work.find_key(key)?;
        let arn = work.domain.key_arn(key.id);
        check_labelled(key.state, &arn)?;
        // Its state does not matter: it loses a name, no more.
        let old = work.reads.key(named.key)?;
        work.concerns_key(named.key);
        if let Some(old) = old.filter(|old| type_of(old) != type_of(&key)) {
            let (new, old) = (type_of(&key), type_of(&old));
            let alias = work.domain.alias_arn(alias);
            return Err(Refusal::AliasOfOtherType { alias, key: arn, new, old }.into());
        }
        // Sealing the same again would change the digest, and every use under this name would conflict.
        if named.key != key.id {
            check_room(work, key.id)?;
            let moved = AliasRecord {
                name: named.name.clone(),
                key: key.id,
                created_ms: named.created_ms,
                updated_ms: work.now_ms,
            };
            work.put_under(key_record_id(key.id), record, &moved.encode());
        }
        Ok(Kept::nothing(work.now_ms))
    }

    fn response(&self, _: &Kept, _: &DomainInfo) -> Response {
        v1::UpdateAliasResponse {}.into()
    }
}

/// What a caller who uses a key by its alias relies on.
fn type_of(key: &KeyRecord) -> String {
    format!("{} {}", key.spec.kind(), key.usage.name())
}

#[derive(Debug)]
pub(crate) struct DeleteAlias {
    alias: AliasName,
}

impl TryFrom<v1::DeleteAliasRequest> for DeleteAlias {
    type Error = Refusal;

    fn try_from(sent: v1::DeleteAliasRequest) -> Result<Self, Refusal> {
        Ok(Self { alias: AliasName::parse(&sent.alias_name)? })
    }
}

impl Operation for DeleteAlias {
    fn action(&self) -> Action {
        Action::DeleteAlias
    }

    fn tell(&self, told: &mut Told<'_>) {
        told.alias(&self.alias);
    }
}

impl Change for DeleteAlias {
    /// Whatever the state of its key: that one is not even read.
    fn perform(&self, work: &mut Work<'_>) -> Result<Kept, Stop> {
        let (record, named) = find_alias(work, &self.alias)?;
        work.concerns_key(named.key);
        work.delete(record);
        Ok(Kept::nothing(work.now_ms))
    }

    fn response(&self, _: &Kept, _: &DomainInfo) -> Response {
        v1::DeleteAliasResponse {}.into()
    }
}

/// The alias that a request names, and where it stands.
fn find_alias(
    work: &mut Work<'_>,
    alias: &AliasName,
) -> Result<(RecordId, Arc<AliasRecord>), Stop> {
    let arn = work.domain.alias_arn(alias);
    let named = work.reads.alias(alias)?.ok_or(Refusal::UnknownAlias { arn: arn.clone() })?;
    work.concerns(arn);
    Ok((work.reads.alias_record_id(alias), named))
}

/// A name that is free, for a key that has room for it.
pub(crate) fn create_alias(work: &mut Work<'_>, alias: &AliasName, key: KeyId) -> Result<(), Stop> {
    if work.reads.alias(alias)?.is_some() {
        return Err(Refusal::AliasExists { arn: work.domain.alias_arn(alias) }.into());
    }
    check_room(work, key)?;
    let created = AliasRecord {
        name: alias.as_str().to_owned(),
        key,
        created_ms: work.now_ms,
        updated_ms: 0,
    };
    let record = work.reads.alias_record_id(alias);
    work.put_under(key_record_id(key), record, &created.encode());
    Ok(())
}

fn check_room(work: &mut Work<'_>, key: KeyId) -> Result<(), Refusal> {
    if work.reads.has_room_for_alias(key) {
        return Ok(());
    }
    Err(Refusal::AliasLimit { arn: work.domain.key_arn(key), max: ALIASES_MAX })
}
