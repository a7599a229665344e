//! Exports: JSON lines that an auditor can read, keep and verify without this cluster.
//!
//! The first line says which log this is, then one line stands for each entry with everything that
//! is hashed, the last holds the signed checkpoint. A line has exactly one spelling: members in the
//! order below, no spaces, as `serde_json` writes them; [`Line::parse`] refuses any other. There
//! are no maps, so nothing depends on an order that JSON does not keep.
//!
//! Whether the lines are *true* is not decided here: see [`verify`](crate::verify).

use conclave_proto::audit::{Entry, Outcome, Pair};
use conclave_proto::v1::{ExportHeader, ExportedStep};
use serde::{Deserialize, Serialize};

use crate::entry::{self, EntryError, SALT_LEN};
use crate::note::{VerifierKey, VerifierKeyError};
use crate::{DomainId, Hash, StepData};

mod json;
use json::{Bytes, Text};

/// Most bytes of a line: the largest entry with every byte escaped, and its hashes.
pub const MAX_LINE: usize = 512 * 1024;

/// The format that this version writes, and the only one so far.
pub const FORMAT: u32 = 1;

/// One line of an export.
pub enum Line {
    /// The first.
    Header(Header),
    /// One for each entry.
    Step(Box<Step>),
    /// The last: a signed note.
    Checkpoint(String),
}

/// Which log an export is of. What it says is a claim, until the checkpoint has been verified
/// with a key that the auditor had before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    /// The log's audit key, whose name is the log's origin.
    pub audit_key: VerifierKey,
    /// The domain, which the chain begins with.
    pub domain: DomainId,
}

/// An entry with its place in the chain and everything that the chain's hash is taken over.
#[derive(Clone, PartialEq)]
pub struct Step {
    /// Place in the log, from 0.
    pub index: u64,
    /// What the chain binds; the commitment as claimed.
    pub data: StepData,
    /// What is committed to.
    pub entry: Entry,
    /// What makes the commitment hide it.
    pub salt: [u8; SALT_LEN],
    /// The chain's hash after this step, as claimed.
    pub hash: Hash,
}

impl Line {
    /// The line's bytes, with the newline that ends it.
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = match self {
            Self::Header(header) => to_json(&HeaderLine::from(header)),
            Self::Step(step) => to_json(&StepLine::from(step.as_ref())),
            Self::Checkpoint(note) => to_json(&CheckpointLine { checkpoint: note.clone() }),
        };
        bytes.push(b'\n');
        bytes
    }

    /// Reads a line, with the newline that ends it.
    ///
    /// # Errors
    /// [`LineError`], also for any spelling but the one that [`Line::encode`] gives.
    pub fn parse(bytes: &[u8]) -> Result<Self, LineError> {
        let line = if bytes.starts_with(br#"{"index":"#) {
            Self::Step(Box::new(from_json::<StepLine>(bytes)?.try_into()?))
        } else if bytes.starts_with(br#"{"checkpoint":"#) {
            Self::Checkpoint(from_json::<CheckpointLine>(bytes)?.checkpoint)
        } else {
            Self::Header(from_json::<HeaderLine>(bytes)?.try_into()?)
        };
        if line.encode() == bytes { Ok(line) } else { Err(LineError::NotCanonical) }
    }
}

impl TryFrom<&ExportHeader> for Header {
    type Error = LineError;

    /// A header as a node sends it.
    fn try_from(header: &ExportHeader) -> Result<Self, LineError> {
        let audit_key: VerifierKey = header.audit_verifier_key.parse()?;
        if audit_key.name() != header.origin {
            return Err(LineError::Origin);
        }
        let domain = header.domain_id.as_slice().try_into().map_err(|_| LineError::Domain)?;
        Ok(Self { audit_key, domain })
    }
}

impl TryFrom<&ExportedStep> for Step {
    type Error = LineError;

    /// A step as a node sends it. Its commitment is computed, since none is sent.
    fn try_from(step: &ExportedStep) -> Result<Self, LineError> {
        let salt = digest("salt", &step.salt)?;
        Ok(Self {
            index: step.index,
            data: StepData {
                time_ms: step.time_ms,
                writer: step.writer,
                sequence: step.sequence,
                log_index: step.log_index,
                position: step.position,
                key: step.key,
                commitment: entry::commitment(&salt, &step.entry),
                sealed_sha256: digest("sealed_sha256", &step.sealed_sha256)?,
            },
            entry: entry::decode_entry(&step.entry)?,
            salt,
            hash: digest("hash", &step.hash)?,
        })
    }
}

fn digest(field: &'static str, bytes: &[u8]) -> Result<[u8; 32], LineError> {
    bytes.try_into().map_err(|_| LineError::Digest { field })
}

fn to_json(line: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(line).expect("plain structs of texts and numbers always are JSON")
}

fn from_json<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> Result<T, LineError> {
    serde_json::from_slice(bytes).map_err(|error| LineError::Json { column: error.column() })
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct HeaderLine {
    conclave_export: u32,
    origin: String,
    domain_id: Bytes<16>,
    first: u64,
    audit_key: Text<VerifierKey>,
}

impl From<&Header> for HeaderLine {
    fn from(header: &Header) -> Self {
        Self {
            conclave_export: FORMAT,
            origin: header.audit_key.name().to_owned(),
            domain_id: Bytes(header.domain),
            first: 0,
            audit_key: Text(header.audit_key.clone()),
        }
    }
}

impl TryFrom<HeaderLine> for Header {
    type Error = LineError;

    fn try_from(line: HeaderLine) -> Result<Self, LineError> {
        if line.conclave_export != FORMAT {
            return Err(LineError::Format { found: line.conclave_export });
        }
        if line.first != 0 {
            return Err(LineError::First { found: line.first });
        }
        if line.origin != line.audit_key.0.name() {
            return Err(LineError::Origin);
        }
        Ok(Self { audit_key: line.audit_key.0, domain: line.domain_id.0 })
    }
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct CheckpointLine {
    checkpoint: String,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct StepLine {
    index: u64,
    time_ms: u64,
    writer: u64,
    sequence: u64,
    revision: Revision,
    key: u32,
    entry: EntryObject,
    salt: Bytes<32>,
    commitment: Bytes<32>,
    sealed_sha256: Bytes<32>,
    hash: Bytes<32>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Revision {
    log_index: u64,
    position: u32,
}

impl From<&Step> for StepLine {
    fn from(step: &Step) -> Self {
        let data = &step.data;
        Self {
            index: step.index,
            time_ms: data.time_ms,
            writer: data.writer,
            sequence: data.sequence,
            revision: Revision { log_index: data.log_index, position: data.position },
            key: data.key,
            entry: EntryObject::from(&step.entry),
            salt: Bytes(step.salt),
            commitment: Bytes(data.commitment),
            sealed_sha256: Bytes(data.sealed_sha256),
            hash: Bytes(step.hash),
        }
    }
}

impl TryFrom<StepLine> for Step {
    type Error = LineError;

    fn try_from(line: StepLine) -> Result<Self, LineError> {
        let entry = Entry::from(line.entry);
        entry::check_entry(&entry)?;
        Ok(Self {
            index: line.index,
            data: StepData {
                time_ms: line.time_ms,
                writer: line.writer,
                sequence: line.sequence,
                log_index: line.revision.log_index,
                position: line.revision.position,
                key: line.key,
                commitment: line.commitment.0,
                sealed_sha256: line.sealed_sha256.0,
            },
            entry,
            salt: line.salt.0,
            hash: line.hash.0,
        })
    }
}

/// All of an entry's fields by their names in `audit.proto`, empty ones included.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct EntryObject {
    time_ms: u64,
    request_id: String,
    retry_of: String,
    principal: String,
    certificate_serial: String,
    source_address: String,
    node: String,
    region: String,
    action: String,
    resources: Vec<String>,
    parameters: Vec<PairObject>,
    encryption_context: Vec<PairObject>,
    outcome: OutcomeName,
    reason: String,
    decided_by: Vec<String>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct PairObject {
    name: String,
    value: String,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum OutcomeName {
    Unspecified,
    Success,
    Denied,
    Refused,
}

impl From<&Entry> for EntryObject {
    fn from(entry: &Entry) -> Self {
        let entry = entry.clone();
        Self {
            outcome: match entry.outcome() {
                Outcome::Unspecified => OutcomeName::Unspecified,
                Outcome::Success => OutcomeName::Success,
                Outcome::Denied => OutcomeName::Denied,
                Outcome::Refused => OutcomeName::Refused,
            },
            time_ms: entry.time_ms,
            request_id: entry.request_id,
            retry_of: entry.retry_of,
            principal: entry.principal,
            certificate_serial: entry.certificate_serial,
            source_address: entry.source_address,
            node: entry.node,
            region: entry.region,
            action: entry.action,
            resources: entry.resources,
            parameters: entry.parameters.into_iter().map(PairObject::from).collect(),
            encryption_context: entry
                .encryption_context
                .into_iter()
                .map(PairObject::from)
                .collect(),
            reason: entry.reason,
            decided_by: entry.decided_by,
        }
    }
}

impl From<EntryObject> for Entry {
    fn from(object: EntryObject) -> Self {
        let outcome = match object.outcome {
            OutcomeName::Unspecified => Outcome::Unspecified,
            OutcomeName::Success => Outcome::Success,
            OutcomeName::Denied => Outcome::Denied,
            OutcomeName::Refused => Outcome::Refused,
        };
        Self {
            time_ms: object.time_ms,
            request_id: object.request_id,
            retry_of: object.retry_of,
            principal: object.principal,
            certificate_serial: object.certificate_serial,
            source_address: object.source_address,
            node: object.node,
            region: object.region,
            action: object.action,
            resources: object.resources,
            parameters: object.parameters.into_iter().map(Pair::from).collect(),
            encryption_context: object.encryption_context.into_iter().map(Pair::from).collect(),
            outcome: outcome.into(),
            reason: object.reason,
            decided_by: object.decided_by,
        }
    }
}

impl From<Pair> for PairObject {
    fn from(pair: Pair) -> Self {
        Self { name: pair.name, value: pair.value }
    }
}

impl From<PairObject> for Pair {
    fn from(pair: PairObject) -> Self {
        Self { name: pair.name, value: pair.value }
    }
}

/// Why bytes are no line of an export, or a step cannot be exported.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum LineError {
    /// Not JSON, or not a line's members.
    #[error("not a line of an export (at column {column})")]
    Json {
        /// Where, from 1.
        column: usize,
    },
    /// Another spelling of a line than the one that is exported.
    #[error("not spelled as it was exported")]
    NotCanonical,
    /// Longer than [`MAX_LINE`].
    #[error("longer than {MAX_LINE} bytes")]
    TooLong,
    /// Another version's export.
    #[error("export format {found}, this version reads {FORMAT}; use a newer version")]
    Format {
        /// The format found.
        found: u32,
    },
    /// A part of a log has no root of its own to check.
    #[error("the export begins at entry {found}; only whole logs, from entry 0, can be verified")]
    First {
        /// Where it begins.
        found: u64,
    },
    /// The header contradicts itself.
    #[error("the audit key in the header is not named as the log is")]
    Origin,
    /// The header's audit key cannot be read.
    #[error(transparent)]
    AuditKey(#[from] VerifierKeyError),
    /// A domain id of another length.
    #[error("the domain id is not 16 bytes")]
    Domain,
    /// A digest or salt of another length.
    #[error("{field} is not 32 bytes")]
    Digest {
        /// Which.
        field: &'static str,
    },
    /// What the line holds is no entry.
    #[error(transparent)]
    Entry(#[from] EntryError),
}
