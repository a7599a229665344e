//! What one decision asks of the store: guards, writes, touches, one audit entry.
//!
//! The proposer gives it a [`TxnId`](crate::TxnId) and sends it in a [batch](crate::batch).

use std::collections::{BTreeMap, BTreeSet};

use conclave_audit::{StepError, check_sealed};
use conclave_proto::audit::SealedEntry;
use conclave_proto::store as proto;
use prost::Message;

use crate::guard::Guard;
use crate::limits::{
    MAX_ANSWER, MAX_BATCH_BYTES, MAX_BLOB_BYTES, MAX_GUARDS_PER_TXN, MAX_TOUCHES_PER_TXN,
    MAX_WRITES_PER_TXN,
};
use crate::write::{OpRef, Touch, Write, WriteRef};
use crate::{Family, GuardDigest, RecordId};

/// A txn before its proposer numbers it.
#[derive(Clone, Debug, PartialEq)]
pub struct TxnBody {
    /// When it was decided, in milliseconds of cluster time.
    pub now_ms: u64,
    /// Every record the decision read, as it was read; `None`: absent.
    pub guards: BTreeMap<RecordId, Option<GuardDigest>>,
    /// Every family whose members the decision listed, as it was; `None`: it had none.
    pub scans: BTreeMap<Family, Option<GuardDigest>>,
    /// Quotas: the txn conflicts if the family has this many members or more. They are counted before
    /// the txn's own writes and after those of the txns before it, in its batch too: one that adds
    /// `n` members to a family that may have `most` asks for fewer than `most - n + 1`. At least 1.
    pub fewer: BTreeMap<Family, u32>,
    /// Each record at most once.
    pub writes: Vec<Write>,
    /// Uses to note, after the writes: what the txn itself creates is there, what it deletes is not.
    /// The later one of a record stands.
    pub touches: Vec<Touch>,
    /// The one audit entry.
    pub audit: SealedEntry,
    /// A mutation's idempotency token.
    pub token: Option<[u8; 32]>,
    /// With a token: the sealed answer that a retry gets. Empty without one.
    pub answer: Vec<u8>,
}

impl TxnBody {
    /// A txn that is audited and does nothing else.
    pub const fn new(now_ms: u64, audit: SealedEntry) -> TxnBody {
        TxnBody {
            now_ms,
            guards: BTreeMap::new(),
            scans: BTreeMap::new(),
            fewer: BTreeMap::new(),
            writes: Vec::new(),
            touches: Vec::new(),
            audit,
            token: None,
            answer: Vec::new(),
        }
    }

    /// Whether a replica would accept its shape. What passes here is never `MALFORMED` later.
    pub fn validate(&self) -> Result<(), BodyError> {
        check_shape(&Shape {
            guards: self.guard_count(),
            writes: self.writes.len(),
            touches: self.touches.len(),
            audit: Some(&self.audit),
            token_bytes: self.token.map_or(0, |token| token.len()),
            answer_bytes: self.answer.len(),
        })?;
        check_writes(self.writes.iter().map(Write::borrowed))?;
        if let Some((&family, _)) = self.fewer.iter().find(|(_, than)| **than == 0) {
            return Err(BodyError::FewerThanNone { family });
        }
        let bytes = BATCH_BYTES + self.bytes_max() + self.guard_count() * GUARD_BYTES;
        if bytes > MAX_BATCH_BYTES { Err(BodyError::TooLarge { bytes }) } else { Ok(()) }
    }

    /// In the order in which they are checked.
    pub(crate) fn all_guards(&self) -> impl Iterator<Item = Guard> + '_ {
        let records = self.guards.iter().map(|(id, digest)| Guard::Record(*id, *digest));
        let scans = self.scans.iter().map(|(family, digest)| Guard::Scan(*family, *digest));
        let fewer = self.fewer.iter().map(|(family, than)| Guard::Fewer(*family, *than));
        records.chain(scans).chain(fewer)
    }

    fn guard_count(&self) -> usize {
        self.guards.len() + self.scans.len() + self.fewer.len()
    }

    /// An upper bound of what the txn adds to a batch's encoding, its guards' digests aside.
    pub(crate) fn bytes_max(&self) -> usize {
        let blobs: usize = self.writes.iter().map(|it| it.blob().map_or(0, <[u8]>::len)).sum();
        TXN_BYTES
            + self.guard_count() * GUARD_NUMBER_BYTES
            + self.writes.len() * WRITE_BYTES
            + self.touches.len() * TOUCH_BYTES
            + blobs
            + self.audit.commitment.len()
            + self.audit.sealed.len()
            + self.answer.len()
    }
}

// Upper bounds of encoded sizes: tags and lengths at their longest, plus the fixed fields.
/// A batch without txns: the proposer's index and head.
pub(crate) const BATCH_BYTES: usize = 64;
/// A guard: record id, kind and digest.
pub(crate) const GUARD_BYTES: usize = 48;
const GUARD_NUMBER_BYTES: usize = 3;
/// Two record ids.
const WRITE_BYTES: usize = 48;
const TOUCH_BYTES: usize = 28;
const TXN_BYTES: usize = 128;

/// The checked writes and audit entry that go with a change of Raft's membership.
pub fn member_change(
    writes: &[Write],
    audit: SealedEntry,
) -> Result<proto::MemberChange, BodyError> {
    let shape = Shape {
        guards: 0,
        writes: writes.len(),
        touches: 0,
        audit: Some(&audit),
        token_bytes: 0,
        answer_bytes: 0,
    };
    check_shape(&shape)?;
    check_writes(writes.iter().map(Write::borrowed))?;
    let writes = writes.iter().map(Write::to_proto).collect();
    let change = proto::MemberChange { writes, audit: Some(audit) };
    let bytes = change.encoded_len();
    if bytes > MAX_BATCH_BYTES { Err(BodyError::TooLarge { bytes }) } else { Ok(change) }
}

/// The counts and lengths that have bounds.
pub(crate) struct Shape<'a> {
    pub(crate) guards: usize,
    pub(crate) writes: usize,
    pub(crate) touches: usize,
    pub(crate) audit: Option<&'a SealedEntry>,
    pub(crate) token_bytes: usize,
    pub(crate) answer_bytes: usize,
}

pub(crate) fn check_shape<'a>(shape: &Shape<'a>) -> Result<Sealed<'a>, BodyError> {
    if shape.guards > MAX_GUARDS_PER_TXN {
        return Err(BodyError::TooManyGuards { count: shape.guards });
    }
    if shape.writes > MAX_WRITES_PER_TXN {
        return Err(BodyError::TooManyWrites { count: shape.writes });
    }
    if shape.touches > MAX_TOUCHES_PER_TXN {
        return Err(BodyError::TooManyTouches { count: shape.touches });
    }
    if !matches!(shape.token_bytes, 0 | 32) {
        return Err(BodyError::TokenLength { bytes: shape.token_bytes });
    }
    if shape.answer_bytes > MAX_ANSWER {
        return Err(BodyError::AnswerTooLong { bytes: shape.answer_bytes });
    }
    if shape.answer_bytes > 0 && shape.token_bytes == 0 {
        return Err(BodyError::AnswerWithoutToken);
    }
    let entry = shape.audit.ok_or(BodyError::NoAudit)?;
    Ok(Sealed { entry, commitment: check_sealed(entry)? })
}

/// An audit entry that can enter the chain.
#[derive(Clone, Copy)]
pub(crate) struct Sealed<'a> {
    pub(crate) entry: &'a SealedEntry,
    pub(crate) commitment: [u8; 32],
}

pub(crate) fn check_writes<'a>(
    writes: impl Iterator<Item = WriteRef<'a>>,
) -> Result<(), BodyError> {
    let mut seen = BTreeSet::new();
    for WriteRef { record, op } in writes {
        if let OpRef::Put { blob, parent } = op {
            let bytes = blob.len();
            if bytes > MAX_BLOB_BYTES {
                return Err(BodyError::BlobTooLarge { record, bytes });
            }
            if parent == Some(record) {
                return Err(BodyError::UnderItself { record });
            }
        }
        if !seen.insert(record) {
            return Err(BodyError::WrittenTwice { record });
        }
    }
    Ok(())
}

/// Why a txn would be refused as malformed. The proposer is at fault.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BodyError {
    /// It depends on too much.
    #[error("a txn may have {MAX_GUARDS_PER_TXN} guards, not {count}")]
    TooManyGuards {
        /// How many it has.
        count: usize,
    },
    /// It changes too much.
    #[error("a txn may write {MAX_WRITES_PER_TXN} records, not {count}")]
    TooManyWrites {
        /// How many it has.
        count: usize,
    },
    /// It notes too many uses.
    #[error("a txn may note {MAX_TOUCHES_PER_TXN} uses, not {count}")]
    TooManyTouches {
        /// How many it has.
        count: usize,
    },
    /// A quota that nothing could ever meet.
    #[error("no family has fewer than no members, as is asked of {family}")]
    FewerThanNone {
        /// Which one.
        family: Family,
    },
    /// One record is too large.
    #[error("the blob of {record} has {bytes} bytes, more than {MAX_BLOB_BYTES}")]
    BlobTooLarge {
        /// Whose blob it is.
        record: RecordId,
        /// Its length.
        bytes: usize,
    },
    /// Two writes for one record.
    #[error("a txn writes {record} twice")]
    WrittenTwice {
        /// The record.
        record: RecordId,
    },
    /// A record whose parent would be itself.
    #[error("a txn puts {record} under itself")]
    UnderItself {
        /// The record.
        record: RecordId,
    },
    /// Neither none nor 32 bytes.
    #[error("a token has 32 bytes, not {bytes}")]
    TokenLength {
        /// Its length.
        bytes: usize,
    },
    /// Too long to be kept.
    #[error("an answer may have {MAX_ANSWER} bytes, not {bytes}")]
    AnswerTooLong {
        /// Its length.
        bytes: usize,
    },
    /// Nothing to remember the answer by.
    #[error("an answer is kept under a token, and there is none")]
    AnswerWithoutToken,
    /// Nothing happens unaudited.
    #[error("a txn carries exactly one audit entry")]
    NoAudit,
    /// The audit entry is out of its bounds.
    #[error(transparent)]
    Audit(#[from] StepError),
    /// Its encoding fits no batch.
    #[error("the txn may encode to {bytes} bytes, more than the {MAX_BATCH_BYTES} of a batch")]
    TooLarge {
        /// Upper bound of its encoding.
        bytes: usize,
    },
    /// It names a guard that its batch does not have, or one that is no guard.
    #[error("guard {number} of the batch is missing or misshapen")]
    Guard {
        /// Position in the batch's list.
        number: u32,
    },
    /// A write that names no record.
    #[error("write {position} is misshapen")]
    Write {
        /// Position in the txn.
        position: usize,
    },
    /// A touch that names no record.
    #[error("touch {position} is misshapen")]
    Touch {
        /// Position in the txn.
        position: usize,
    },
    /// The batch around it is out of bounds.
    #[error("the batch has {txns} txns and {bytes} bytes")]
    Batch {
        /// How many txns.
        txns: usize,
        /// Encoded size.
        bytes: usize,
    },
}
