//! What an audit entry says about a request: what it asked for, without its secrets.

use conclave_proto::audit::Pair;

use crate::ciphertext::Envelope;
use crate::fields::EncryptionContext;
use crate::key_ref::{AliasName, DomainInfo, KeyName, KeyRef};
use crate::request::{Change, GenerateDataKey, Request};

/// What a request asks for, as far as it says so itself: ARNs, or names of what is not a key.
pub(crate) fn requested_resources(request: &Request, domain: &DomainInfo) -> Vec<String> {
    let named = |key: &KeyRef| vec![key.arn(domain)];
    let in_ciphertext =
        |bytes: &[u8]| Envelope::parse(bytes).map(|envelope| domain.key_arn(envelope.header.key));
    match request {
        Request::DescribeKey { key }
        | Request::ChangeKey { key, .. }
        | Request::Encrypt { key, .. }
        | Request::GenerateDataKey(GenerateDataKey { key, .. })
        | Request::GenerateDataKeyWithoutPlaintext(GenerateDataKey { key, .. }) => named(key),
        Request::Decrypt { ciphertext, .. } => {
            in_ciphertext(ciphertext.bytes()).into_iter().collect()
        }
        Request::ReEncrypt(re) => {
            let source = in_ciphertext(re.ciphertext.bytes());
            source.into_iter().chain(named(&re.destination_key)).collect()
        }
        Request::CreatePrincipal { name, .. } | Request::DeletePrincipal { name } => {
            vec![format!("principal/{}", name.as_str())]
        }
        Request::Admin(admin) => admin.resources.clone(),
        Request::CreateKey(_)
        | Request::ListKeys { .. }
        | Request::GenerateRandom { .. }
        | Request::ListPrincipals { .. }
        | Request::RotateDomainKey
        | Request::ReadAudit(_) => Vec::new(),
    }
}

/// Parameters, in any order, and encryption context. ReEncrypt has two contexts: the source's
/// stands where the only one of other requests does, the destination's among the parameters.
pub(crate) fn describe(request: &Request, domain: &DomainInfo) -> (Vec<Pair>, Vec<Pair>) {
    let mut parameters = Parameters(Vec::new());
    let mut context = &EncryptionContext::default();
    match request {
        Request::CreateKey(create) => {
            if let Some(alias) = &create.alias {
                parameters.put("Alias", AliasName::as_str(alias));
            }
            if !create.description.as_str().is_empty() {
                parameters.put("Description", create.description.as_str());
            }
            for (key, value) in create.tags.pairs() {
                parameters.put(&format!("Tag.{key}"), value);
            }
        }
        Request::DescribeKey { key } => parameters.put_key("KeyId", key, domain),
        Request::ChangeKey { key, change } => {
            parameters.put_key("KeyId", key, domain);
            if let Change::ScheduleDeletion(days) = change {
                parameters.put("PendingWindowInDays", &days.get().to_string());
            }
        }
        Request::ListKeys { limit, after } => {
            parameters.put("Limit", &limit.get().to_string());
            if let Some(after) = after {
                parameters.put("Marker", &after.to_string());
            }
        }
        Request::Encrypt { key, context: given, .. } => {
            parameters.put_key("KeyId", key, domain);
            context = given;
        }
        Request::Decrypt { key, context: given, .. } => {
            if let Some(key) = key {
                parameters.put("KeyId", &key.arn(domain));
            }
            context = given;
        }
        Request::ReEncrypt(re) => {
            if let Some(key) = &re.source_key {
                parameters.put("SourceKeyId", &key.arn(domain));
            }
            parameters.put("DestinationKeyId", &re.destination_key.arn(domain));
            for (name, value) in re.destination_context.pairs() {
                parameters.put(&format!("DestinationEncryptionContext.{name}"), value);
            }
            context = &re.source_context;
        }
        Request::GenerateDataKey(wanted) | Request::GenerateDataKeyWithoutPlaintext(wanted) => {
            parameters.put_key("KeyId", &wanted.key, domain);
            parameters.put("NumberOfBytes", &wanted.bytes.get().to_string());
            context = &wanted.context;
        }
        Request::GenerateRandom { bytes } => {
            parameters.put("NumberOfBytes", &bytes.get().to_string());
        }
        Request::CreatePrincipal { roles, .. } => {
            let names: Vec<_> = roles.as_slice().iter().map(|role| role.name()).collect();
            parameters.put("Roles", &names.join(","));
        }
        Request::ListPrincipals { limit, .. } => parameters.put("Limit", &limit.get().to_string()),
        Request::DeletePrincipal { .. } | Request::RotateDomainKey => {}
        Request::Admin(admin) => parameters.put_all(&admin.parameters),
        Request::ReadAudit(read) => parameters.put_all(&read.parameters),
    }
    (parameters.0, pairs(context.pairs()))
}

struct Parameters(Vec<Pair>);

impl Parameters {
    fn put(&mut self, name: &str, value: &str) {
        self.0.push(Pair { name: name.to_owned(), value: value.to_owned() });
    }

    /// A key as it was named, where that says more than the resource does.
    fn put_key(&mut self, name: &str, key: &KeyRef, domain: &DomainInfo) {
        if matches!(key.name, KeyName::Alias(_)) {
            self.put(name, &key.arn(domain));
        }
    }

    fn put_all(&mut self, given: &[(String, String)]) {
        self.0.extend(pairs(given));
    }
}

fn pairs(given: &[(String, String)]) -> Vec<Pair> {
    given.iter().map(|(name, value)| Pair { name: name.clone(), value: value.clone() }).collect()
}
