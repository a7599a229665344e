//! What a decision comes to: a plan, or the node's own trouble that kept it from one.

use conclave_audit::EntryError;
use conclave_crypto::ml_kem::EncapsulateError;
use conclave_crypto::rsa::EncryptError;
use conclave_crypto::{GenerateError, SignError};
use conclave_seal::keyring::AnswerError;
use conclave_seal::keyring::rotation::DomainKeyError;
use conclave_store::{BodyError, ReadError, RecordId, TxnBody};

use crate::records::RecordError;
use crate::refusal::Refusal;
use crate::response::Response;

/// What to commit, and what to say once it has.
#[derive(Debug)]
pub struct Plan {
    /// Guards, writes and the audit entry; on a conflict, decide again over a fresher view.
    pub body: TxnBody,
    /// Not to be released before the body has committed. If the body's token turns out to be known,
    /// the reply is the one of [`replay`](crate::replay) instead.
    pub reply: Result<Response, Refusal>,
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
    /// Domain keys that do not rotate here and now.
    #[error(transparent)]
    DomainKeys(#[from] DomainKeyError),
    /// A key pair that did not pass its consistency test.
    #[error(transparent)]
    Generate(#[from] GenerateError),
    /// A signature that could not be made.
    #[error(transparent)]
    Sign(#[from] SignError),
    /// Nor a ciphertext.
    #[error(transparent)]
    Encrypt(#[from] EncryptError),
    /// Nor a shared secret.
    #[error(transparent)]
    Encapsulate(#[from] EncapsulateError),
    /// An audit entry that breaks its rules: a ceremony's parameters do, or a limit is set wrong.
    #[error(transparent)]
    Entry(#[from] EntryError),
    /// The plan is larger than a txn may be.
    #[error("the decision does not fit into a txn: {0}")]
    Body(#[from] BodyError),
}
