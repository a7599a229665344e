//! From a request to a plan: authorise, perform, audit, in that order, for every request alike.

use conclave_audit::EntryError;
use conclave_crypto::Entropy;
use conclave_seal::Keyring;
use conclave_seal::keyring::AnswerError;
use conclave_store::{BodyError, ReadError, RecordId, TxnBody, View};

use crate::administration::{admin, read_audit};
use crate::audit_entry::requested_resources;
use crate::authorize::{Verdict, authorize};
use crate::cache::Cache;
use crate::fields::RequestId;
use crate::key_ref::DomainInfo;
use crate::keys::{change_key, create_key, describe_key, list_keys};
use crate::principals::{create_principal, delete_principal, list_principals};
use crate::records::RecordError;
use crate::refusal::Refusal;
use crate::request::Request;
use crate::response::Response;
use crate::usage::{decrypt, encrypt, generate_data_key, generate_random, re_encrypt};
use crate::work::{Stop, Work};

/// Everything a decision may look at.
pub struct Ctx<'a> {
    /// The applied state, possibly stale: the plan is guarded on what it showed.
    pub view: &'a dyn View,
    /// The domain's keys.
    pub keyring: &'a Keyring,
    /// Decoded records of this domain.
    pub cache: &'a Cache,
    /// For nonces, key material and salts.
    pub entropy: &'a mut dyn Entropy,
    /// This node's view of cluster time.
    pub now_ms: u64,
    /// This node's name.
    pub node: &'a str,
    /// This node's region.
    pub region: &'a str,
    /// How ARNs of this domain look.
    pub domain: &'a DomainInfo,
    /// Who asks.
    pub caller: &'a Caller,
}

/// Who asks, as the listener established it.
#[derive(Debug, Clone)]
pub struct Caller {
    /// The name in the client certificate.
    pub principal: String,
    /// That certificate's serial number in lower-case hex.
    pub certificate_serial: String,
    /// host:port as the node saw it.
    pub source_address: String,
    /// Chosen by the client, kept by its retries; else by the node.
    pub request_id: RequestId,
    /// The request id that this attempt repeats, if it is a retry.
    pub retry_of: Option<RequestId>,
}

/// What to commit, and what to say once it has.
#[derive(Debug)]
pub struct Plan {
    /// Guards, writes and the audit entry; on a conflict, decide again over a fresher view.
    pub body: TxnBody,
    /// Not to be released before the body has committed. If the body's token turns out to be known,
    /// the reply is the one of [`replay`](crate::replay) instead.
    pub reply: Result<Response, Refusal>,
}

/// Decides one request.
///
/// # Errors
/// [`DecideError`] if the node cannot decide: nothing is to be committed, and the caller is told of an
/// internal error.
pub fn decide(ctx: &mut Ctx<'_>, request: &Request) -> Result<Plan, DecideError> {
    let mut work = Work::new(ctx);
    let principal = work.reads.principal(&work.caller.principal)?;
    let verdict = authorize(principal.as_deref(), request.action());
    let done = match &verdict {
        Verdict::Allowed { .. } => perform(&mut work, request),
        Verdict::Denied { .. } => Err(denied(&work, request).into()),
    };
    let reply = match done {
        Ok(response) => Ok(response),
        Err(Stop::Refused(refusal)) => Err(refusal),
        Err(Stop::Failed(error)) => return Err(error),
    };
    work.finish(request, &verdict, reply)
}

fn perform(work: &mut Work<'_>, request: &Request) -> Result<Response, Stop> {
    match request {
        Request::CreateKey(create) => create_key(work, create),
        Request::DescribeKey { key } => describe_key(work, key),
        Request::ListKeys { limit, after } => Ok(list_keys(work, *limit, *after)),
        Request::ChangeKey { key, change } => change_key(work, key, *change),
        Request::Encrypt { key, plaintext, context } => {
            encrypt(work, key, plaintext.secret(), context).map(Response::Encrypted)
        }
        Request::Decrypt { ciphertext, context, key } => {
            decrypt(work, ciphertext, context, key.as_ref()).map(Response::Decrypted)
        }
        Request::ReEncrypt(re) => re_encrypt(work, re),
        Request::GenerateDataKey(wanted) => generate_data_key(work, wanted).map(Response::DataKey),
        Request::GenerateDataKeyWithoutPlaintext(wanted) => {
            let made = generate_data_key(work, wanted)?;
            Ok(Response::DataKeyWithoutPlaintext(made.without_plaintext()))
        }
        Request::GenerateRandom { bytes } => Ok(generate_random(work, *bytes)),
        Request::CreatePrincipal { name, roles } => create_principal(work, name, roles),
        Request::ListPrincipals { limit, after } => list_principals(work, *limit, *after),
        Request::DeletePrincipal { name } => delete_principal(work, name),
        Request::Admin(ceremony) => admin(work, ceremony),
        Request::ReadAudit(_) => Ok(read_audit()),
    }
}

fn denied(work: &Work<'_>, request: &Request) -> Refusal {
    let resource = requested_resources(request, work.domain).into_iter().next();
    Refusal::Denied {
        principal: work.caller.principal.clone(),
        action: request.action(),
        resource: resource.unwrap_or_else(|| "*".to_owned()),
    }
}

/// Why a node could not decide. All of these are the node's own trouble: the caller is told of an
/// internal error, and the log of this.
#[derive(Debug, thiserror::Error)]
pub enum DecideError {
    /// Its disk.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// A view that is not one consistent reading.
    #[error("record {record} vanished while it was read; try again")]
    Vanished {
        /// Which.
        record: RecordId,
    },
    /// A ceremony read one state and this decision another.
    #[error("record {record} changed between the ceremony's reading and this one; try again")]
    ReadTwice {
        /// Which.
        record: RecordId,
    },
    /// A blob that this domain's keys do not open.
    #[error("a record does not open: {source}")]
    Open {
        /// What the keyring said; it names the record.
        #[from]
        source: conclave_seal::keyring::RecordError,
    },
    /// A blob that opened to something else.
    #[error("record {record} is unusable: {source}")]
    Record {
        /// Which.
        record: RecordId,
        /// What is wrong with it.
        source: RecordError,
    },
    /// A kept answer that does not open, or one too long to be kept.
    #[error(transparent)]
    Answer(#[from] AnswerError),
    /// A kept answer that opened to something else than its request's.
    #[error("the kept answer of an earlier attempt is none that this version understands")]
    AnswerContent,
    /// An audit entry that breaks its rules: a ceremony's parameters do, or a limit is set wrong.
    #[error(transparent)]
    Entry(#[from] EntryError),
    /// The plan is larger than a txn may be.
    #[error("the decision does not fit into a txn: {0}")]
    Body(#[from] BodyError),
}
