//! How a txn ended, as a checked type and on the wire.

use std::sync::Arc;

use conclave_proto::store as proto;
pub use conclave_proto::store::Rejection;

use crate::limits::MAX_ANSWER;
use crate::{Family, Guarded, LogIndex, RecordId, Revision, TxnId};

/// How a txn ended. Whoever asks again about the same txn gets the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It took effect.
    Committed(Revision),
    /// It had no effect: what it was decided by has changed.
    Conflict {
        /// Once this is applied, decide again.
        log_index: LogIndex,
        /// The first guard that failed; `None`: the decision's time was too far from its batch's.
        on: Option<Guarded>,
    },
    /// It had no effect: its token was already taken by a txn that committed.
    Known {
        /// Where that one took effect.
        revision: Revision,
        /// Its sealed answer.
        answer: Arc<[u8]>,
    },
    /// It had no effect and never will.
    Rejected(Rejection),
}

impl Outcome {
    /// The message that tells `txn`'s proposer.
    pub fn to_proto(&self, txn: TxnId) -> proto::Outcome {
        use proto::outcome::Result;
        let result = match self {
            Outcome::Committed(revision) => Result::Committed((*revision).into()),
            Outcome::Conflict { log_index, on } => {
                Result::Conflict(conflict_to_proto(*log_index, *on))
            }
            Outcome::Known { revision, answer } => Result::Known(proto::Known {
                revision: Some((*revision).into()),
                answer: answer.to_vec(),
            }),
            Outcome::Rejected(rejection) => Result::Rejected(*rejection as u32),
        };
        proto::Outcome { writer: txn.writer, sequence: txn.sequence, result: Some(result) }
    }

    /// Reads a message of [`Outcome::to_proto`].
    pub fn from_proto(message: &proto::Outcome) -> Result<(TxnId, Outcome), OutcomeError> {
        use proto::outcome::Result;
        let outcome = match message.result.as_ref().ok_or(OutcomeError::Empty)? {
            Result::Committed(revision) => Outcome::Committed((*revision).into()),
            Result::Conflict(conflict) => Outcome::Conflict {
                log_index: LogIndex(conflict.log_index),
                on: conflict_on(conflict)?,
            },
            Result::Known(known) => {
                if known.answer.len() > MAX_ANSWER {
                    return Err(OutcomeError::AnswerTooLong { bytes: known.answer.len() });
                }
                Outcome::Known {
                    revision: known.revision.ok_or(OutcomeError::Empty)?.into(),
                    answer: known.answer.as_slice().into(),
                }
            }
            Result::Rejected(code) => {
                let unknown = OutcomeError::UnknownRejection { code: *code };
                match i32::try_from(*code).map(Rejection::try_from) {
                    Ok(Ok(Rejection::Unspecified)) | Ok(Err(_)) | Err(_) => return Err(unknown),
                    Ok(Ok(rejection)) => Outcome::Rejected(rejection),
                }
            }
        };
        Ok((TxnId { writer: message.writer, sequence: message.sequence }, outcome))
    }
}

fn conflict_to_proto(log_index: LogIndex, on: Option<Guarded>) -> proto::Conflict {
    let mut conflict = proto::Conflict { log_index: log_index.0, ..Default::default() };
    match on {
        None => {}
        Some(Guarded::Record(record)) => conflict.record = record.to_bytes().to_vec(),
        Some(Guarded::Scan(family)) => conflict.scan = Some(family.to_proto()),
        Some(Guarded::Fewer(family)) => conflict.fewer = Some(family.to_proto()),
    }
    conflict
}

fn conflict_on(conflict: &proto::Conflict) -> Result<Option<Guarded>, OutcomeError> {
    let family = |family| Family::parse(family).map_err(|_| OutcomeError::Conflict);
    Ok(match (conflict.record.as_slice(), &conflict.scan, &conflict.fewer) {
        ([], None, None) => None,
        (bytes, None, None) => {
            let record = RecordId::parse(bytes).map_err(|_| OutcomeError::Conflict)?;
            Some(Guarded::Record(record))
        }
        ([], Some(scan), None) => Some(Guarded::Scan(family(scan)?)),
        ([], None, Some(fewer)) => Some(Guarded::Fewer(family(fewer)?)),
        _ => return Err(OutcomeError::Conflict),
    })
}

impl From<Revision> for proto::Revision {
    fn from(revision: Revision) -> Self {
        proto::Revision { log_index: revision.log_index.0, position: revision.position }
    }
}

impl From<proto::Revision> for Revision {
    fn from(revision: proto::Revision) -> Self {
        Revision { log_index: LogIndex(revision.log_index), position: revision.position }
    }
}

/// A message that is no outcome. Whoever sent it is at fault.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OutcomeError {
    /// Nothing in it.
    #[error("the outcome is empty")]
    Empty,
    /// What a conflict was on is no record and no family, or several.
    #[error("the conflict names something else than one record or family")]
    Conflict,
    /// More than an answer may hold.
    #[error("the answer has {bytes} bytes, more than {MAX_ANSWER}")]
    AnswerTooLong {
        /// Its length.
        bytes: usize,
    },
    /// A code this version does not know.
    #[error("rejection code {code} is unknown to this version")]
    UnknownRejection {
        /// As sent.
        code: u32,
    },
}
