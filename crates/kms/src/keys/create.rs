//! CreateKey.

use conclave_crypto::{Key, Secret};
use conclave_proto::record;
use prost::Message;

use crate::key_ref::KeyId;
use crate::reads::key_record_id;
use crate::records::{BackingKey, KeyRecord, KeyState};
use crate::refusal::Refusal;
use crate::request::CreateKey;
use crate::response::{KeyMetadata, Response};
use crate::work::{Stop, Work};

/// The id derives from the request's token: however late a retry comes, it is this key or none.
pub(crate) fn create_key(work: &mut Work<'_>, create: &CreateKey) -> Result<Response, Stop> {
    let id = KeyId::new(work.keyring.derived_key_id(&work.token()));
    let arn = work.domain.key_arn(id);
    work.concerns_key(id);
    if work.reads.key(id)?.is_some() {
        return Err(Refusal::KeyExists { arn }.into());
    }
    if let Some(alias) = &create.alias {
        if work.reads.alias(alias)?.is_some() {
            let arn = work.domain.alias_arn(alias);
            return Err(Refusal::AliasExists { arn }.into());
        }
        let stored = record::Alias {
            name: alias.as_str().to_owned(),
            key_id: id.bytes().to_vec(),
            created_ms: work.now_ms,
        };
        let record = work.reads.alias_record_id(alias);
        work.put(record, &Secret::from_vec(stored.encode_to_vec()));
    }
    let first = BackingKey { material: Key::generate(work.entropy), created_ms: work.now_ms };
    let key = KeyRecord {
        id,
        description: create.description.as_str().to_owned(),
        tags: create.tags.pairs().to_vec(),
        state: KeyState::Enabled,
        created_ms: work.now_ms,
        backing_keys: vec![first],
        aliases: create.alias.iter().map(|alias| alias.as_str().to_owned()).collect(),
    };
    work.put(key_record_id(id), &key.encode());
    Ok(Response::KeyCreated(KeyMetadata::created(work.domain, id, work.now_ms, create)))
}
