//! One decision in the making: what it reads, what it will write, what its audit entry will say.

use std::sync::Arc;

use conclave_audit::new_entry;
use conclave_crypto::{Entropy, Secret};
use conclave_proto::{audit, record};
use conclave_seal::Keyring;
use conclave_store::{RecordId, Touch, TxnBody, Write};
use prost::Message;

use crate::action::Action;
use crate::answer::{Answer, Kept};
use crate::audit_entry::Told;
use crate::authorize::Verdict;
use crate::computation::Computation;
use crate::ctx::{Caller, Ctx};
use crate::decide::Performed;
use crate::key_ref::{DomainInfo, KeyId, KeyName, KeyRef};
use crate::keys::check_usable;
use crate::material::{Material, Pair};
use crate::operation::{Asked, Request};
use crate::plan::{DecideError, Plan};
use crate::reads::{DOMAIN, Guards, Reads, due_record_id, key_record_id};
use crate::records::{BackingKey, KeyRecord, StoredKey};
use crate::refusal::Refusal;
use crate::spec::KeyUsage;

pub(crate) struct Work<'a> {
    pub(crate) reads: Reads<'a>,
    pub(crate) keyring: &'a Keyring,
    pub(crate) entropy: &'a mut dyn Entropy,
    pub(crate) now_ms: u64,
    pub(crate) domain: &'a DomainInfo,
    pub(crate) keys_max: u32,
    pub(crate) caller: &'a Caller,
    node: &'a str,
    region: &'a str,
    /// What the operation turned out to be about; empty as long as that is only what was asked for.
    resources: Vec<String>,
    writes: Vec<Write>,
    /// Keys that are used, if it comes to that.
    touches: Vec<Touch>,
    /// The answer holds something sealed that will be opened again.
    seals_answer: bool,
}

fn is_sealed_write(write: &Write) -> bool {
    write.blob().is_some() && !write.record.kind().is_public()
}

/// Why an operation did not come to a response.
pub(crate) enum Stop {
    /// An outcome: the plan goes on without writes.
    Refused(Refusal),
    /// No plan.
    Failed(DecideError),
    /// No plan before this is computed.
    Unfinished(Computation),
}

impl From<Computation> for Stop {
    fn from(computation: Computation) -> Self {
        Self::Unfinished(computation)
    }
}

impl From<Refusal> for Stop {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

impl From<DecideError> for Stop {
    fn from(error: DecideError) -> Self {
        Self::Failed(error)
    }
}

impl<'a> Work<'a> {
    pub(crate) fn new(ctx: &'a mut Ctx<'_>) -> Self {
        Self {
            reads: Reads::new(ctx.view, ctx.keyring, ctx.cache, &ctx.domain.account),
            keyring: ctx.keyring,
            entropy: ctx.entropy,
            now_ms: ctx.now_ms,
            domain: ctx.domain,
            keys_max: ctx.keys_max,
            caller: ctx.caller,
            node: ctx.node,
            region: ctx.region,
            resources: Vec::new(),
            writes: Vec::new(),
            touches: Vec::new(),
            seals_answer: false,
        }
    }

    /// The key that a request names, whatever its state.
    pub(crate) fn find_key(&mut self, named: &KeyRef) -> Result<Arc<KeyRecord>, Stop> {
        let unknown = |arn| Refusal::UnknownKey { arn };
        if let Some(home) = named.home.as_ref().filter(|home| *home != self.domain) {
            return Err(if home.name == self.domain.name {
                unknown(named.arn(self.domain)).into()
            } else {
                Refusal::ForeignArn { region: home.name.clone() }.into()
            });
        }
        let id = match &named.name {
            KeyName::Id(id) => *id,
            KeyName::Alias(alias) => match self.reads.alias(alias)? {
                Some(alias) => alias.key,
                None => return Err(Refusal::UnknownAlias { arn: named.arn(self.domain) }.into()),
            },
        };
        let key = self.reads.key(id)?.ok_or_else(|| unknown(self.domain.key_arn(id)))?;
        self.concerns_key(key.id);
        Ok(key)
    }

    /// The key that a request names, if it can now be used for `action`.
    pub(crate) fn usable_key(
        &mut self,
        named: &KeyRef,
        usage: KeyUsage,
        action: Action,
    ) -> Result<Arc<KeyRecord>, Stop> {
        let key = self.find_key(named)?;
        self.check_use(&key, usage, action)?;
        Ok(key)
    }

    /// Whether a key is there for `action`, and can be used now.
    pub(crate) fn check_use(
        &mut self,
        key: &KeyRecord,
        usage: KeyUsage,
        action: Action,
    ) -> Result<(), Stop> {
        let arn = self.domain.key_arn(key.id);
        check_usable(key.state, &arn)?;
        if key.usage != usage {
            return Err(Refusal::KeyUsage { arn, usage: key.usage.name(), action }.into());
        }
        if let Some(operation) = action.use_number() {
            self.touches.push(Touch { record: key_record_id(key.id), operation });
        }
        Ok(())
    }

    /// The current version of a key that is usable, and its number.
    pub(crate) fn current<'k>(&self, key: &'k KeyRecord) -> Result<(u32, &'k BackingKey), Stop> {
        let pending_import = || Refusal::PendingImport { arn: self.domain.key_arn(key.id) };
        key.current().ok_or_else(|| pending_import().into())
    }

    /// The key pair of a version that has its material.
    pub(crate) fn pair<'k>(
        &self,
        key: &KeyRecord,
        version: &'k BackingKey,
    ) -> Result<&'k Pair, Stop> {
        let what = || format!("A key pair of {}", key.spec.name());
        let pair = version.material.as_ref().and_then(Material::pair);
        pair.ok_or_else(|| Refusal::NotOffered { what: what() }.into())
    }

    /// The last of all checks: what is only tried ends here.
    pub(crate) fn unless_dry_run(&self, dry_run: bool) -> Result<(), Stop> {
        if dry_run { Err(Refusal::DryRun.into()) } else { Ok(()) }
    }

    /// Names a key as what the operation is about.
    pub(crate) fn concerns_key(&mut self, id: KeyId) {
        self.concerns(self.domain.key_arn(id));
    }

    /// Names what the operation is about.
    pub(crate) fn concerns(&mut self, resource: String) {
        if !self.resources.contains(&resource) {
            self.resources.push(resource);
        }
    }

    /// Writes the record of a key that was not there before.
    pub(crate) fn put_new_key(&mut self, id: KeyId, key: &StoredKey) {
        self.put_under(DOMAIN, key_record_id(id), &key.encode());
        self.put_due(id, key);
    }

    /// Writes a key's record.
    pub(crate) fn put_key(&mut self, key: &StoredKey) {
        let id = KeyId::new(key.id.as_slice().try_into().expect("16 bytes"));
        self.put(key_record_id(id), &key.encode());
        self.put_due(id, key);
    }

    /// Writes when something is next to happen to a key: each that has such a time has exactly one
    /// record of it.
    fn put_due(&mut self, id: KeyId, key: &StoredKey) {
        let (was_due, is_due) = (key.was_due_ms, key.due_ms());
        if was_due == is_due {
            return;
        }
        if let Some(at_ms) = was_due {
            let record = due_record_id(at_ms, id);
            self.reads.guard(record);
            self.delete(record);
        }
        if let Some(at_ms) = is_due {
            let record = due_record_id(at_ms, id);
            self.reads.guard(record);
            let due = record::Due { key_id: id.bytes().to_vec() };
            self.put(record, &Secret::from_vec(due.encode_to_vec()));
        }
    }

    /// Writes a sealed kind of record.
    pub(crate) fn put(&mut self, record: RecordId, plaintext: &Secret) {
        let blob = self.keyring.seal_record(&record, plaintext.expose(), self.entropy);
        self.writes.push(Write::put(record, blob));
    }

    /// The same, listed under another record.
    pub(crate) fn put_under(&mut self, parent: RecordId, record: RecordId, plaintext: &Secret) {
        let blob = self.keyring.seal_record(&record, plaintext.expose(), self.entropy);
        self.writes.push(Write::put(record, blob).under(parent));
    }

    pub(crate) fn delete(&mut self, record: RecordId) {
        self.writes.push(Write::delete(record));
    }

    /// Seals an import token for the key `id`. It goes to the caller, and comes back.
    pub(crate) fn seal_import_token(&mut self, id: KeyId, content: &Secret) -> Vec<u8> {
        self.seals_answer = true;
        self.keyring.seal_import_token(id.bytes(), content, self.entropy)
    }

    /// Takes over writes that a ceremony has made.
    pub(crate) fn write_all(&mut self, writes: &[Write]) {
        self.writes.extend_from_slice(writes);
    }

    /// What a mutation by this caller under this request id is known by.
    pub(crate) fn token(&self) -> [u8; 32] {
        self.keyring.token(&self.caller.principal, self.caller.request_id.as_str())
    }

    /// Seals the audit entry and, for a change, the answer that its retry will get.
    ///
    /// A refused change has token and answer too. Without them its retry could be decided over a
    /// state that its own first attempt had made, and be told "exists already" of a success; or a
    /// first attempt that was overtaken by its retry could still take effect.
    pub(crate) fn finish(
        mut self,
        request: &Request,
        verdict: &Verdict,
        reply: Result<Performed, Refusal>,
    ) -> Result<Plan, DecideError> {
        if reply.is_err() {
            self.writes.clear();
            self.touches.clear();
            self.seals_answer = false;
        }
        let (token, answer) = match &request.0 {
            Asked::Use(_) | Asked::List(_) | Asked::Due(_) => (None, Vec::new()),
            Asked::Change(_, fingerprint) => {
                let token = self.token();
                let nothing = Kept::nothing(self.now_ms);
                let kept = reply.as_ref().map(|(_, kept)| kept.as_ref().unwrap_or(&nothing));
                let answer = Answer::of(*fingerprint, self.now_ms, kept);
                (Some(token), answer.seal(self.keyring, &token, self.entropy)?)
            }
        };
        if token.is_some() || self.seals_answer || self.writes.iter().any(is_sealed_write) {
            // A stale keyring must not bring anything back under a domain key that is on its way out.
            self.reads.adopt(&Guards::from([self.keyring.domain_keys_guard()]))?;
        }
        // Checked before it is sealed: nobody could read one later that breaks the format's rules.
        let entry = new_entry(self.entry(request, verdict, reply.as_ref().err()))?;
        let (guards, scans, fewer) = self.reads.into_guards();
        let body = TxnBody {
            guards,
            scans,
            fewer,
            writes: self.writes,
            touches: self.touches,
            token,
            answer,
            ..TxnBody::new(self.now_ms, self.keyring.seal_entry(&entry, self.entropy))
        };
        body.validate()?;
        Ok(Plan { body, reply: reply.map(|(response, _)| response) })
    }

    fn entry(
        &mut self,
        request: &Request,
        verdict: &Verdict,
        refusal: Option<&Refusal>,
    ) -> audit::Entry {
        let told = Told::by(request.operation(), self.domain);
        let mut resources = std::mem::take(&mut self.resources);
        if resources.is_empty() {
            resources = told.resources;
        }
        let outcome = refusal.map_or(audit::Outcome::Success, Refusal::outcome);
        audit::Entry {
            time_ms: self.now_ms,
            request_id: self.caller.request_id.as_str().to_owned(),
            retry_of: self.caller.retry_of.as_ref().map_or("", |id| id.as_str()).to_owned(),
            principal: self.caller.principal.clone(),
            certificate_serial: self.caller.certificate_serial.clone(),
            source_address: self.caller.source_address.clone(),
            node: self.node.to_owned(),
            region: self.region.to_owned(),
            action: request.action().name().to_owned(),
            resources,
            parameters: told.parameters,
            encryption_context: told.context,
            outcome: outcome as i32,
            reason: refusal.map(Refusal::reason).unwrap_or_default(),
            decided_by: verdict.decided_by(),
        }
    }
}
