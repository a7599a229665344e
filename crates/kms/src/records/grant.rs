//! A grant, beneath its key's record.

use conclave_crypto::Secret;
use conclave_proto::record;
use prost::Message;

use crate::fields::{GrantId, GrantOperation, GrantOperations};
use crate::key_ref::KeyId;
use crate::records::{RecordError, key_id};

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct GrantRecord {
    pub(crate) id: GrantId,
    pub(crate) key: KeyId,
    pub(crate) name: Option<String>,
    /// An ARN.
    pub(crate) grantee: String,
    /// An ARN.
    pub(crate) retiring: Option<String>,
    pub(crate) operations: GrantOperations,
    /// Pairs, sorted; none: no such constraint.
    pub(crate) context_equals: Vec<(String, String)>,
    /// The same.
    pub(crate) context_subset: Vec<(String, String)>,
    /// The ARN of who made it.
    pub(crate) issuer: String,
    pub(crate) created_ms: u64,
}

impl GrantRecord {
    pub(crate) fn decode(opened: &Secret) -> Result<Self, RecordError> {
        let stored = record::Grant::decode(opened.expose())?;
        let id = stored.id.as_slice().try_into().map_err(|_| RecordError::Id)?;
        let operation = |name: &String| {
            let known = GrantOperation::ALL.iter().copied().find(|known| known.name() == name);
            known.ok_or_else(|| RecordError::GrantOperation { found: name.clone() })
        };
        let operations = stored.operations.iter().map(operation).collect::<Result<_, _>>()?;
        let given = |text: String| Some(text).filter(|text| !text.is_empty());
        Ok(Self {
            id: GrantId::new(id),
            key: key_id(&stored.key_id)?,
            name: given(stored.name),
            grantee: stored.grantee,
            retiring: given(stored.retiring),
            operations: GrantOperations::new(operations),
            context_equals: pairs(stored.context_equals),
            context_subset: pairs(stored.context_subset),
            issuer: stored.issuer,
            created_ms: stored.created_ms,
        })
    }

    pub(crate) fn encode(&self) -> Secret {
        Secret::from_vec(self.to_stored().encode_to_vec())
    }

    /// What was asked for, without what came of it: the same for the same request, whoever makes it.
    pub(crate) fn asked(&self) -> Vec<u8> {
        let (id, issuer, created_ms) = Default::default();
        record::Grant { id, issuer, created_ms, ..self.to_stored() }.encode_to_vec()
    }

    fn to_stored(&self) -> record::Grant {
        record::Grant {
            id: self.id.bytes().to_vec(),
            key_id: self.key.bytes().to_vec(),
            name: self.name.clone().unwrap_or_default(),
            grantee: self.grantee.clone(),
            retiring: self.retiring.clone().unwrap_or_default(),
            operations: self.operations.names(),
            context_equals: tags(&self.context_equals),
            context_subset: tags(&self.context_subset),
            issuer: self.issuer.clone(),
            created_ms: self.created_ms,
            source_arn: String::new(),
        }
    }
}

fn pairs(tags: Vec<record::Tag>) -> Vec<(String, String)> {
    tags.into_iter().map(|tag| (tag.key, tag.value)).collect()
}

fn tags(pairs: &[(String, String)]) -> Vec<record::Tag> {
    let tag =
        |(key, value): &(String, String)| record::Tag { key: key.clone(), value: value.clone() };
    pairs.iter().map(tag).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A stored format, and what a named grant's id is made of. Everything is filled in.
    #[test]
    fn golden_grant() {
        let pair = |key: &str, value: &str| vec![(key.to_owned(), value.to_owned())];
        let grant = GrantRecord {
            id: GrantId::new([0x11; 16]),
            key: KeyId::new([0x22; 16]),
            name: Some("n".to_owned()),
            grantee: "g".to_owned(),
            retiring: Some("r".to_owned()),
            operations: GrantOperations::new(vec![
                GrantOperation::Encrypt,
                GrantOperation::Decrypt,
            ]),
            context_equals: pair("a", "b"),
            context_subset: pair("c", "d"),
            issuer: "i".to_owned(),
            created_ms: 5,
        };
        let encoded = grant.encode();
        let key_to_subset = "1210222222222222222222222222222222221a016e220167\
             2a01723207446563727970743207456e63727970743a060a01611201624206\
             0a0163120164";
        assert_eq!(
            hex::encode(encoded.expose()),
            format!("0a1011111111111111111111111111111111{key_to_subset}4a01695005")
        );
        assert_eq!(hex::encode(grant.asked()), key_to_subset);
        assert_eq!(GrantRecord::decode(&encoded).unwrap(), grant);
    }
}
