//! Clients under load, what each of them was told, and the audit log it is judged by.
//!
//! Every operation has a request id of its own and ends in one of four outcomes. Judging is linear
//! in the number of operations, because each decided one carries the revision at which it took
//! effect.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::time::{Duration, Instant, SystemTime};

use conclave_audit::export::Line;
use conclave_client::{Client, ClientConfig, ClientError, Endpoint, Reply, RequestId};
use conclave_pki::{Kind, TlsFiles, TlsMaterial};
use conclave_proto::audit::{Entry, Outcome as Audited};
use conclave_proto::v1;

use super::{Cluster, run};

/// Log index and position.
pub type Revision = (u64, u32);

/// A client with all four roles and connections of its own, that begins at the node `first`
/// (counted from 0, modulo the number of nodes) and tries the others after it.
pub fn client(cluster: &Cluster, first: usize, timeout: Duration) -> Client {
    let env = cluster.env();
    let files = TlsFiles {
        ca: env["CONCLAVE_CA_CERT"].clone().into(),
        cert: env["CONCLAVE_CLIENT_CERT"].clone().into(),
        key: env["CONCLAVE_CLIENT_KEY"].clone().into(),
    };
    let tls = TlsMaterial::load(&files, &[Kind::Client], SystemTime::now()).unwrap();
    let mut endpoints: Vec<Endpoint> =
        cluster.nodes.iter().map(|node| node.api.parse().unwrap()).collect();
    let count = endpoints.len();
    endpoints.rotate_left(first % count);
    Client::new(ClientConfig { endpoints, tls, timeout }).unwrap()
}

/// What is asked for. Keys are named by ARN, as the audit log names them.
#[derive(Clone, Debug)]
pub enum Action {
    CreateKey,
    DisableKey { key: String },
    EnableKey { key: String },
    Encrypt { key: String, plaintext: Vec<u8> },
    Decrypt { key: String, ciphertext: Vec<u8> },
}

impl Action {
    pub fn name(&self) -> &'static str {
        match self {
            Self::CreateKey => "CreateKey",
            Self::DisableKey { .. } => "DisableKey",
            Self::EnableKey { .. } => "EnableKey",
            Self::Encrypt { .. } => "Encrypt",
            Self::Decrypt { .. } => "Decrypt",
        }
    }

    pub fn is_mutation(&self) -> bool {
        matches!(self, Self::CreateKey | Self::DisableKey { .. } | Self::EnableKey { .. })
    }

    pub fn key(&self) -> Option<&str> {
        match self {
            Self::CreateKey => None,
            Self::DisableKey { key }
            | Self::EnableKey { key }
            | Self::Encrypt { key, .. }
            | Self::Decrypt { key, .. } => Some(key),
        }
    }
}

/// What an acknowledged operation was answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    Key { arn: String, state: String },
    Ciphertext(Vec<u8>),
    Plaintext(Vec<u8>),
}

/// What a client knows of an operation.
#[derive(Clone, Debug)]
pub enum Outcome {
    Acknowledged {
        revision: Revision,
        answer: Answer,
    },
    /// Decided, and no.
    Refused {
        name: String,
        revision: Option<Revision>,
    },
    /// The client was told that nothing was done.
    NotDone,
    /// It may have been done, once, or may yet be.
    Unknown,
}

/// One operation, all its attempts together.
#[derive(Clone, Debug)]
pub struct Op {
    pub action: Action,
    pub request_id: RequestId,
    pub began: Instant,
    pub ended: Instant,
    pub outcome: Outcome,
}

impl Op {
    pub fn acknowledged(&self) -> Option<(Revision, &Answer)> {
        match &self.outcome {
            Outcome::Acknowledged { revision, answer } => Some((*revision, answer)),
            _ => None,
        }
    }

    /// Where it was decided, if the client was told.
    pub fn revision(&self) -> Option<Revision> {
        match &self.outcome {
            Outcome::Acknowledged { revision, .. } => Some(*revision),
            Outcome::Refused { revision, .. } => *revision,
            Outcome::NotDone | Outcome::Unknown => None,
        }
    }

    pub fn is_refused_as(&self, expected: &str) -> bool {
        matches!(&self.outcome, Outcome::Refused { name, .. } if name == expected)
    }
}

/// Sends one operation under a new request id, as often as the client library does.
pub async fn send(client: &Client, action: Action) -> Op {
    let request_id = RequestId::random();
    let client = client.with_request_id(request_id.clone());
    let began = Instant::now();
    let result = ask(&client, &action).await;
    let ended = Instant::now();
    let at = |it: conclave_client::Revision| (it.log_index, it.position);
    let outcome = match result {
        Ok(reply) => Outcome::Acknowledged {
            revision: reply.revision.map(at).expect("every answer carries its revision"),
            answer: reply.value,
        },
        Err(ClientError::Refused(refusal)) => {
            Outcome::Refused { revision: refusal.revision.map(at), name: refusal.name }
        }
        Err(ClientError::Unreachable { .. }) => Outcome::NotDone,
        Err(ClientError::OutcomeUnknown { .. }) => Outcome::Unknown,
        Err(error) => panic!("{} could not be sent: {error}", action.name()),
    };
    Op { action, request_id, began, ended, outcome }
}

async fn ask(client: &Client, action: &Action) -> Result<Reply<Answer>, ClientError> {
    let changed = |key: Option<v1::KeyChange>| {
        let key = key.unwrap_or_default();
        Answer::Key { arn: key.arn, state: key.key_state }
    };
    match action.clone() {
        Action::CreateKey => {
            let reply = client.create_key(v1::CreateKeyRequest::default()).await?;
            let created = |key: v1::KeyMetadata| Answer::Key { arn: key.arn, state: key.key_state };
            Ok(reply.map(|value| created(value.key_metadata.unwrap_or_default())))
        }
        Action::DisableKey { key } => {
            let reply = client.disable_key(v1::DisableKeyRequest { key_id: key }).await?;
            Ok(reply.map(|value| changed(value.key)))
        }
        Action::EnableKey { key } => {
            let reply = client.enable_key(v1::EnableKeyRequest { key_id: key }).await?;
            Ok(reply.map(|value| changed(value.key)))
        }
        Action::Encrypt { key, plaintext } => {
            let request = v1::EncryptRequest { key_id: key, plaintext, ..Default::default() };
            Ok(client
                .encrypt(request)
                .await?
                .map(|value| Answer::Ciphertext(value.ciphertext_blob)))
        }
        Action::Decrypt { key, ciphertext } => {
            let request = v1::DecryptRequest {
                ciphertext_blob: ciphertext,
                key_id: key,
                ..Default::default()
            };
            Ok(client.decrypt(request).await?.map(|value| Answer::Plaintext(value.plaintext)))
        }
    }
}

/// The audit log as an auditor receives it, once `audit verify` has accepted it.
pub struct AuditLog {
    entries: Vec<(Revision, Entry)>,
    /// Cluster time as each revision was stamped, milliseconds since 1970.
    stamps_ms: HashMap<Revision, u64>,
    /// What each entry is committed to by, in order, with the index of its log entry.
    commitments: Vec<(u64, [u8; 32])>,
}

impl AuditLog {
    /// Exports the log as the auditor and verifies the export.
    pub fn export(cluster: &Cluster) -> Self {
        let file = cluster.dir.path().join("export.jsonl");
        run(cluster.cli_as("auditor").args(["audit", "export", "--out"]).arg(&file));
        run(cluster.cli_as("auditor").args(["audit", "verify", "--in"]).arg(&file));
        let text = fs::read(&file).unwrap();
        let (mut entries, mut stamps_ms, mut commitments) =
            (Vec::new(), HashMap::new(), Vec::new());
        for line in text.split_inclusive(|byte| *byte == b'\n') {
            if let Line::Step(step) = Line::parse(line).unwrap() {
                let revision = (step.data.log_index, step.data.position);
                stamps_ms.insert(revision, step.data.time_ms);
                commitments.push((step.data.log_index, step.data.commitment));
                entries.push((revision, step.entry));
            }
        }
        Self { entries, stamps_ms, commitments }
    }

    /// The cluster time that was stamped on a revision, milliseconds since 1970.
    pub fn stamp_ms(&self, revision: Revision) -> Option<u64> {
        self.stamps_ms.get(&revision).copied()
    }

    /// The commitments of all audit entries, with the index of the log entry that holds each: bytes
    /// by which a log entry is found in a file.
    pub fn commitments(&self) -> &[(u64, [u8; 32])] {
        &self.commitments
    }

    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Every operation stands in the log as its client was told, and no mutation stands in it twice.
    pub fn assert_tells(&self, ops: &[Op]) {
        let by_revision: HashMap<Revision, &Entry> =
            self.entries.iter().map(|(revision, entry)| (*revision, entry)).collect();
        assert_eq!(by_revision.len(), self.entries.len(), "a revision names two entries");
        let mut by_request: HashMap<&str, Vec<&Entry>> = HashMap::new();
        for (_, entry) in &self.entries {
            by_request.entry(&entry.request_id).or_default().push(entry);
        }

        for op in ops {
            let entries =
                by_request.get(op.request_id.as_str()).map(Vec::as_slice).unwrap_or_default();
            let done = entries.iter().filter(|entry| entry.outcome() == Audited::Success).count();
            let at = op.revision().map(|revision| {
                let entry = by_revision.get(&revision);
                let entry = entry.unwrap_or_else(|| panic!("no entry at {revision:?}: {op:?}"));
                assert_eq!(entry.request_id, op.request_id.as_str(), "{op:?}");
                assert_eq!(entry.action, op.action.name(), "{op:?}");
                *entry
            });
            match (&op.outcome, at) {
                (Outcome::Acknowledged { answer, .. }, Some(entry)) => {
                    assert_eq!(entry.outcome(), Audited::Success, "{op:?}");
                    let key = match (answer, op.action.key()) {
                        (Answer::Key { arn, .. }, _) => arn,
                        (_, key) => key.unwrap(),
                    };
                    assert_eq!(entry.resources, [key], "{op:?}");
                }
                (Outcome::Refused { name, .. }, Some(entry)) => {
                    assert_eq!(entry.outcome(), Audited::Refused, "{op:?}");
                    assert!(entry.reason.starts_with(name), "{op:?}: {}", entry.reason);
                }
                (Outcome::Refused { .. }, None) => panic!("refused and not audited: {op:?}"),
                (Outcome::NotDone, _) => {
                    assert!(entries.is_empty(), "told that nothing was done: {op:?}\n{entries:?}");
                }
                (Outcome::Unknown, _) => {}
                (Outcome::Acknowledged { .. }, None) => unreachable!("its revision is looked up"),
            }
            if op.action.is_mutation() {
                let told = op.acknowledged().is_some();
                let refused = matches!(op.outcome, Outcome::Refused { .. });
                assert!(done <= usize::from(!refused), "done {done} times: {op:?}\n{entries:?}");
                assert!(!told || done == 1, "acknowledged and not done: {op:?}");
                assert!(entries.len() <= 1, "decided more than once: {op:?}\n{entries:?}");
            }
        }
    }

    /// In the order of revisions, no disabled key is used, and no enabled one refused as disabled.
    /// Gives for each key that was created in this log whether it ends enabled.
    pub fn replay(&self) -> BTreeMap<String, bool> {
        let mut keys = BTreeMap::new();
        let mut last = (0, 0);
        for (revision, entry) in &self.entries {
            assert!(last < *revision, "the log's order is not that of revisions: {revision:?}");
            last = *revision;
            let Some(key) = entry.resources.first() else { continue };
            let disabled = entry.reason.starts_with("DisabledException");
            match (entry.action.as_str(), entry.outcome()) {
                ("CreateKey" | "EnableKey", Audited::Success) => {
                    keys.insert(key.clone(), true);
                }
                ("DisableKey", Audited::Success) => {
                    keys.insert(key.clone(), false);
                }
                ("Encrypt" | "Decrypt", Audited::Success) => {
                    assert!(keys[key], "used while disabled, at {revision:?}: {entry:?}");
                }
                ("Encrypt" | "Decrypt", Audited::Refused) if disabled => {
                    assert!(!keys[key], "refused while enabled, at {revision:?}: {entry:?}");
                }
                _ => {}
            }
        }
        keys
    }
}

/// What ended before something else began also stands before it in the log.
pub fn assert_real_time(ops: &[Op]) {
    let decided = || ops.iter().filter_map(|op| op.revision().map(|revision| (op, revision)));
    let mut by_end: Vec<_> = decided().collect();
    by_end.sort_by_key(|(op, _)| op.ended);
    let mut by_begin: Vec<_> = decided().collect();
    by_begin.sort_by_key(|(op, _)| op.began);

    let mut ended = by_end.into_iter().peekable();
    let mut latest: Option<(&Op, Revision)> = None;
    for (op, revision) in by_begin {
        while let Some(earlier) = ended.next_if(|(earlier, _)| earlier.ended < op.began) {
            latest = latest.filter(|known| known.1 > earlier.1).or(Some(earlier));
        }
        if let Some((earlier, at)) = latest {
            assert!(at < revision, "{earlier:?}\nwas over before this began: {op:?}");
        }
    }
}
