//! What an audit entry says about a request: what it asked for, without its secrets.

use conclave_proto::audit::Pair;

use crate::ciphertext::Envelope;
use crate::fields::EncryptionContext;
use crate::key_ref::{AliasName, DomainInfo, KeyId, KeyName, KeyRef};
use crate::operation::Operation;

/// What a request says of itself: ARNs, or names of what is not a key; parameters in any order; the
/// encryption context.
pub(crate) struct Told<'a> {
    domain: &'a DomainInfo,
    pub(crate) resources: Vec<String>,
    pub(crate) parameters: Vec<Pair>,
    pub(crate) context: Vec<Pair>,
}

impl<'a> Told<'a> {
    pub(crate) fn by(operation: &dyn Operation, domain: &'a DomainInfo) -> Self {
        let (resources, parameters, context) = Default::default();
        let mut told = Self { domain, resources, parameters, context };
        operation.tell(&mut told);
        told
    }

    /// What is asked for, by a name that is no key's.
    pub(crate) fn resource(&mut self, name: String) {
        self.resources.push(name);
    }

    /// The key that is asked for. As it was named it is a parameter only where that says more.
    pub(crate) fn key(&mut self, key: &KeyRef) {
        let arn = key.arn(self.domain);
        if matches!(key.name, KeyName::Alias(_)) {
            self.put("KeyId", &arn);
        }
        self.resources.push(arn);
    }

    /// The key that it is about, by itself.
    pub(crate) fn key_id(&mut self, id: KeyId) {
        self.resources.push(self.domain.key_arn(id));
    }

    /// The alias that is made, moved or deleted.
    pub(crate) fn alias(&mut self, alias: &AliasName) {
        self.resources.push(self.domain.alias_arn(alias));
        self.put("AliasName", alias.as_str());
    }

    /// A key that is named beside what is asked for.
    pub(crate) fn other_key(&mut self, name: &str, key: &KeyRef) {
        self.put(name, &key.arn(self.domain));
    }

    /// The key that a ciphertext says it is under.
    pub(crate) fn ciphertext(&mut self, bytes: &[u8]) {
        if let Some(envelope) = Envelope::parse(bytes) {
            self.key_id(envelope.header.key);
        }
    }

    pub(crate) fn put(&mut self, name: &str, value: &str) {
        self.parameters.push(Pair { name: name.to_owned(), value: value.to_owned() });
    }

    /// Where nothing is told of what was not given.
    pub(crate) fn put_given(&mut self, name: &str, value: &str) {
        if !value.is_empty() {
            self.put(name, value);
        }
    }

    pub(crate) fn dry_run(&mut self, dry_run: bool) {
        if dry_run {
            self.put("DryRun", "true");
        }
    }

    /// Each under its own name with this one before it.
    pub(crate) fn put_all(&mut self, prefix: &str, given: &[(String, String)]) {
        for (name, value) in given {
            self.put(&format!("{prefix}{name}"), value);
        }
    }

    pub(crate) fn context(&mut self, context: &EncryptionContext) {
        let pair =
            |(name, value): &(String, String)| Pair { name: name.clone(), value: value.clone() };
        self.context = context.pairs().iter().map(pair).collect();
    }
}
