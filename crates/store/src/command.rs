//! Reads a replicated command into checked types, before anything is changed by it.
//!
//! Three ways to be wrong, kept apart: a txn that is misshapen is refused, alone, the same on every
//! replica; a registration that is misshapen has no effect; what this version does not understand
//! is [`Fatal`], because another version may, and skipping it would part the replicas for ever.
//! A leader calls [`check_command`] before it appends, so that nothing fatal enters the log.

use conclave_proto::store as proto;
use prost::Message;

use crate::body::{Sealed, Shape, check_shape, check_writes};
use crate::guard::Guard;
use crate::limits::{MAX_BATCH_BYTES, MAX_TXNS_PER_BATCH};
use crate::write::{OpRef, Touch, WriteRef};
use crate::{BodyError, FEATURE_LEVEL, Family, GuardDigest, RecordId, RecordIdError, TxnId};

/// The node must stop: applying this would part it from the others.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fatal {
    /// A newer version wrote this.
    #[error(
        "the log needs feature level {needed}, this version supports {FEATURE_LEVEL}; upgrade this node"
    )]
    FeatureLevel {
        /// What the command names.
        needed: u32,
    },
    /// A command whose operation this version does not know.
    #[error("the log holds an operation unknown to this version; upgrade this node")]
    UnknownOperation,
    /// A write whose operation this version does not know.
    #[error("the log holds a kind of write unknown to this version; upgrade this node")]
    UnknownWrite,
    /// A record of a kind this version does not know.
    #[error("the log holds records of kind {kind}, unknown to this version; upgrade this node")]
    UnknownKind {
        /// Its byte.
        kind: u8,
    },
    /// The records of a membership change cannot be written, yet the change itself is in the log.
    #[error("the log holds a misshapen membership change")]
    MemberChange(#[source] BodyError),
    /// The replica skipped or repeated a log entry.
    #[error("log entry {index} follows {applied}: the replica lost its place; rebuild this node")]
    OutOfOrder {
        /// What was given.
        index: u64,
        /// The last entry applied.
        applied: u64,
    },
}

/// Whether `command` may enter the log. Does not tell whether its txns will commit.
pub fn check_command(command: &proto::Command) -> Result<(), Fatal> {
    parse(command).map(|_| ())
}

pub(crate) enum Op<'a> {
    Batch(Vec<Txn<'a>>),
    /// `None`: the nonce or the id is misshapen, and nothing is registered.
    Register(Option<(u64, [u8; 16])>),
    Checkpoint,
    MemberChange {
        writes: Vec<WriteRef<'a>>,
        audit: Sealed<'a>,
    },
}

pub(crate) struct Txn<'a> {
    pub(crate) id: TxnId,
    pub(crate) content: Result<Content<'a>, BodyError>,
}

pub(crate) struct Content<'a> {
    pub(crate) now_ms: u64,
    pub(crate) guards: Vec<Guard>,
    pub(crate) writes: Vec<WriteRef<'a>>,
    pub(crate) touches: Vec<Touch>,
    pub(crate) audit: Sealed<'a>,
    pub(crate) token: Option<[u8; 32]>,
    pub(crate) answer: &'a [u8],
}

pub(crate) fn parse(command: &proto::Command) -> Result<Op<'_>, Fatal> {
    use proto::command::Op as Wire;
    if command.feature_level > FEATURE_LEVEL {
        return Err(Fatal::FeatureLevel { needed: command.feature_level });
    }
    Ok(match command.op.as_ref().ok_or(Fatal::UnknownOperation)? {
        Wire::Batch(batch) => Op::Batch(parse_batch(batch)?),
        Wire::RegisterWriter(register) => {
            let nonce = register.nonce.as_slice().try_into().ok();
            Op::Register(nonce.filter(|_| register.raft_id != 0).map(|n| (register.raft_id, n)))
        }
        Wire::Checkpoint(_) => Op::Checkpoint,
        Wire::MemberChange(change) => parse_member_change(change)?,
    })
}

fn parse_batch(batch: &proto::Batch) -> Result<Vec<Txn<'_>>, Fatal> {
    let guards = batch.guards.iter().map(parse_guard).collect::<Result<Vec<_>, Fatal>>()?;
    let (txns, bytes) = (batch.txns.len(), batch.encoded_len());
    let fits = txns <= MAX_TXNS_PER_BATCH && bytes <= MAX_BATCH_BYTES;
    let parse_one = |txn| {
        let content = match parse_txn(txn, &guards) {
            Err(Fault::Fatal(fatal)) => return Err(fatal),
            _ if !fits => Err(BodyError::Batch { txns, bytes }),
            Err(Fault::Malformed(error)) => Err(error),
            Ok(content) => Ok(content),
        };
        Ok(Txn { id: TxnId { writer: txn.writer, sequence: txn.sequence }, content })
    };
    batch.txns.iter().map(parse_one).collect()
}

/// `None`: misshapen, which refuses the txns that name it.
fn parse_guard(guard: &proto::Guard) -> Result<Option<Guard>, Fatal> {
    use proto::guard::Family as Wire;
    let Some(on_family) = &guard.family else {
        let Some(record) = parse_record(&guard.record)? else { return Ok(None) };
        return Ok(parse_digest(&guard.digest).map(|digest| Guard::Record(record, digest)));
    };
    let family = match on_family {
        Wire::Scan(scan) => parse_family(scan.family.as_ref())?,
        Wire::Fewer(fewer) => parse_family(fewer.family.as_ref())?,
    };
    let Some(family) = family else { return Ok(None) };
    if !guard.record.is_empty() || !guard.digest.is_empty() {
        return Ok(None);
    }
    Ok(match on_family {
        Wire::Scan(scan) => parse_digest(&scan.digest).map(|digest| Guard::Scan(family, digest)),
        Wire::Fewer(fewer) => (fewer.than > 0).then_some(Guard::Fewer(family, fewer.than)),
    })
}

/// `None`: of another length than 16 bytes or none.
fn parse_digest(bytes: &[u8]) -> Option<Option<GuardDigest>> {
    match bytes {
        [] => Some(None),
        digest => GuardDigest::parse(digest).ok().map(Some),
    }
}

/// `None`: absent, or its parent has another length than 17 bytes.
fn parse_family(family: Option<&proto::Family>) -> Result<Option<Family>, Fatal> {
    let Some(family) = family else { return Ok(None) };
    unless_unknown(Family::parse(family))
}

fn parse_txn<'a>(txn: &'a proto::Txn, guards: &[Option<Guard>]) -> Result<Content<'a>, Fault> {
    let (writes, touches) = (parse_writes(&txn.writes), parse_touches(&txn.touches));
    // Both are looked at before either is refused, so that what is unknown is never passed over.
    let (writes, touches) = match (writes, touches) {
        (Err(Fault::Fatal(fatal)), _) | (_, Err(Fault::Fatal(fatal))) => return Err(fatal.into()),
        (writes, touches) => (writes?, touches?),
    };
    let audit = check_shape(&Shape {
        guards: txn.guards.len(),
        writes: writes.len(),
        touches: touches.len(),
        audit: txn.audit.as_ref(),
        token_bytes: txn.token.len(),
        answer_bytes: txn.answer.len(),
    })?;
    check_writes(writes.iter().copied())?;
    let guard = |&number: &u32| {
        let guard = usize::try_from(number).ok().and_then(|at| guards.get(at).copied().flatten());
        guard.ok_or(BodyError::Guard { number })
    };
    Ok(Content {
        now_ms: txn.now_ms,
        guards: txn.guards.iter().map(guard).collect::<Result<_, _>>()?,
        writes,
        touches,
        audit,
        token: txn.token.as_slice().try_into().ok(),
        answer: &txn.answer,
    })
}

fn parse_member_change(change: &proto::MemberChange) -> Result<Op<'_>, Fatal> {
    let parse = || {
        let bytes = change.encoded_len();
        if bytes > MAX_BATCH_BYTES {
            return Err(BodyError::TooLarge { bytes }.into());
        }
        let writes = parse_writes(&change.writes)?;
        let audit = check_shape(&Shape {
            guards: 0,
            writes: writes.len(),
            touches: 0,
            audit: change.audit.as_ref(),
            token_bytes: 0,
            answer_bytes: 0,
        })?;
        check_writes(writes.iter().copied())?;
        Ok(Op::MemberChange { writes, audit })
    };
    parse().map_err(|fault| match fault {
        Fault::Fatal(fatal) => fatal,
        Fault::Malformed(error) => Fatal::MemberChange(error),
    })
}

/// Looks at every write before it refuses any, so that what is unknown is never passed over.
fn parse_writes(writes: &[proto::Write]) -> Result<Vec<WriteRef<'_>>, Fault> {
    use proto::write::Op as Wire;
    let mut parsed = Vec::with_capacity(writes.len());
    let mut malformed = None;
    for (position, write) in writes.iter().enumerate() {
        let record = parse_record(&write.record)?;
        let parent = match write.parent.as_slice() {
            [] => Some(None),
            bytes => parse_record(bytes)?.map(Some),
        };
        let op = match (write.op.as_ref().ok_or(Fatal::UnknownWrite)?, parent) {
            (Wire::Put(blob), Some(parent)) => Some(OpRef::Put { blob, parent }),
            (Wire::Delete(true), Some(None)) => Some(OpRef::Delete),
            _ => None,
        };
        match (record, op) {
            (Some(record), Some(op)) => parsed.push(WriteRef { record, op }),
            _ => malformed = malformed.or(Some(BodyError::Write { position })),
        }
    }
    malformed.map_or(Ok(parsed), |error| Err(error.into()))
}

/// Looks at every touch before it refuses any, as with writes.
fn parse_touches(touches: &[proto::Touch]) -> Result<Vec<Touch>, Fault> {
    let mut parsed = Vec::with_capacity(touches.len());
    let mut malformed = None;
    for (position, touch) in touches.iter().enumerate() {
        match parse_record(&touch.record)? {
            Some(record) => parsed.push(Touch { record, operation: touch.operation }),
            None => malformed = malformed.or(Some(BodyError::Touch { position })),
        }
    }
    malformed.map_or(Ok(parsed), |error| Err(error.into()))
}

/// `None`: not 17 bytes.
fn parse_record(bytes: &[u8]) -> Result<Option<RecordId>, Fatal> {
    unless_unknown(RecordId::parse(bytes))
}

fn unless_unknown<T>(parsed: Result<T, RecordIdError>) -> Result<Option<T>, Fatal> {
    match parsed {
        Ok(parsed) => Ok(Some(parsed)),
        Err(RecordIdError::Length { .. }) => Ok(None),
        Err(RecordIdError::UnknownKind { kind }) => Err(Fatal::UnknownKind { kind }),
    }
}

enum Fault {
    Fatal(Fatal),
    Malformed(BodyError),
}

impl From<Fatal> for Fault {
    fn from(fatal: Fatal) -> Self {
        Fault::Fatal(fatal)
    }
}

impl From<BodyError> for Fault {
    fn from(error: BodyError) -> Self {
        Fault::Malformed(error)
    }
}
