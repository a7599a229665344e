//! What a batch is made of: changes to the log, one after another, each with its own checksum.
//!
//! [`Head`] is what they add up to, bar the entries themselves. The writer and the reader of a log
//! advance it by the same [`Head::apply`], so a log that was written can be read.

use bytes::Bytes;
use conclave_proto::raft as proto;
use prost::Message;

use super::error::Damage;
use super::sector::Chain;
use crate::codec::{
    CodecError, append_entry, decode_entry, entry_len, log_id_from_proto, log_id_to_proto,
    vote_from_proto, vote_to_proto,
};
use crate::types::{Entry, LogId, Vote};

/// Kind [1], length of the body [4], checksum over both and the body [4].
const FRAME: usize = 9;

/// One change to the log.
pub(super) enum Change {
    /// An entry after the last one.
    Append(Entry),
    /// Nothing after this entry is part of the log any more.
    Truncate(Option<LogId>),
    /// Nothing up to this entry, which may lie beyond the end, is needed any more.
    Purge(LogId),
    Vote(Vote),
    Committed(Option<LogId>),
}

/// Where the log begins and ends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Bounds {
    /// The last entry that was purged.
    pub(super) purged: Option<LogId>,
    /// The index of the first entry; without meaning when there is none.
    pub(super) first: u64,
    /// The last entry, or `purged` if there is none.
    pub(super) last: Option<LogId>,
}

impl Bounds {
    /// The index after the last entry, or 0 if the log never held one.
    pub(super) fn end(&self) -> u64 {
        self.last.map_or(0, |last| last.index.saturating_add(1))
    }

    /// Whether no entry is left.
    pub(super) fn is_empty(&self) -> bool {
        self.last.map(|id| id.index) == self.purged.map(|id| id.index)
    }

    /// Whether an entry leaves no hole and goes not back in terms. A log that never held any entry
    /// may begin anywhere.
    pub(super) fn continues_with(&self, id: LogId) -> bool {
        self.last.is_none_or(|last| id.index == self.end() && id.leader_id >= last.leader_id)
    }

    /// Counts in an entry that continues the log.
    pub(super) fn append(&mut self, id: LogId) {
        if self.is_empty() {
            self.first = id.index;
        }
        self.last = Some(id);
    }

    /// Removes all after `last`, but nothing purged.
    fn truncate_after(&mut self, last: Option<LogId>) {
        let keep_end = last.map_or(0, |last| last.index.saturating_add(1));
        if keep_end < self.end() {
            let is_kept = !self.is_empty() && keep_end > self.first;
            self.last = if is_kept { last } else { self.purged };
        }
    }

    fn purge(&mut self, upto: LogId) {
        if self.purged.is_some_and(|purged| upto.index <= purged.index) {
            return;
        }
        let is_left = upto.index.saturating_add(1) < self.end();
        self.purged = Some(upto);
        self.first = upto.index.saturating_add(1);
        if !is_left {
            self.last = Some(upto);
        }
    }
}

/// The log's state, bar its entries.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) bounds: Bounds,
    pub(super) vote: Option<Vote>,
    pub(super) committed: Option<LogId>,
}

impl Head {
    /// Advances by one change; an entry's place must have been checked.
    pub(super) fn apply(&mut self, change: &Change) {
        match change {
            Change::Append(entry) => self.bounds.append(entry.log_id),
            Change::Truncate(last) => self.bounds.truncate_after(*last),
            Change::Purge(upto) => self.bounds.purge(*upto),
            Change::Vote(vote) => self.vote = Some(*vote),
            Change::Committed(committed) => self.committed = *committed,
        }
    }
}

/// What begins a segment: all that the segments before it say, so that they can go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Opening {
    pub(super) head: Head,
    /// Over the segments before; 0 in the first one.
    pub(super) chain: Chain,
}

/// One record, as read back.
pub(super) enum Record {
    Opening(Opening),
    Change(Change),
}

const END: u8 = 0;
const ENTRY: u8 = 1;
const TRUNCATE: u8 = 2;
const PURGE: u8 = 3;
const VOTE: u8 = 4;
const COMMITTED: u8 = 5;
const OPENING: u8 = 6;

/// Bytes that an entry takes in a batch.
pub(super) fn framed_len(entry: &Entry) -> usize {
    FRAME + entry_len(entry)
}

/// The most that any other change, or an opening, takes.
pub(super) const SMALL_FRAME_MAX: usize = FRAME + 160;

/// Appends a change to a batch.
pub(super) fn encode_change(change: &Change, out: &mut Vec<u8>) {
    match change {
        Change::Append(entry) => frame(ENTRY, out, |out| append_entry(entry, out)),
        Change::Truncate(last) => frame_message(TRUNCATE, out, &Position::of(last.as_ref())),
        Change::Purge(upto) => frame_message(PURGE, out, &Position::of(Some(upto))),
        Change::Vote(vote) => frame_message(VOTE, out, &vote_to_proto(vote)),
        Change::Committed(id) => frame_message(COMMITTED, out, &Position::of(id.as_ref())),
    }
}

/// Appends an opening to a batch.
pub(super) fn encode_opening(opening: &Opening, out: &mut Vec<u8>) {
    let Opening { head: Head { bounds, vote, committed }, chain } = opening;
    let message = OpeningRecord {
        purged: bounds.purged.as_ref().map(log_id_to_proto),
        first: bounds.first,
        last: bounds.last.as_ref().map(log_id_to_proto),
        vote: vote.as_ref().map(vote_to_proto),
        committed: committed.as_ref().map(log_id_to_proto),
        chain: chain.0,
    };
    frame_message(OPENING, out, &message);
}

fn frame_message(kind: u8, out: &mut Vec<u8>, message: &impl Message) {
    frame(kind, out, |out| out.extend_from_slice(&message.encode_to_vec()));
}

/// Appends a record of any kind.
pub(super) fn frame(kind: u8, out: &mut Vec<u8>, body: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    out.extend_from_slice(&[0; FRAME]);
    body(out);
    let length = (out.len() - start - FRAME) as u32;
    out[start] = kind;
    out[start + 1..start + 5].copy_from_slice(&length.to_be_bytes());
    let sum = crc32c::crc32c(&out[start..start + 5]);
    let sum = crc32c::crc32c_append(sum, &out[start + FRAME..]);
    out[start + 5..start + FRAME].copy_from_slice(&sum.to_be_bytes());
}

/// Takes the first record off a batch's payload, with the bytes it takes. None: the batch ends here,
/// in nothing but zeros.
pub(super) fn decode(payload: &Bytes) -> Result<Option<(Record, usize)>, RecordFault> {
    if payload.first().is_none_or(|kind| *kind == END) {
        let is_blank = payload.iter().all(|byte| *byte == 0);
        return if is_blank { Ok(None) } else { Err(RecordFault::Checksum) };
    }
    let (kind, body) = unframe(payload).ok_or(RecordFault::Checksum)?;
    let len = FRAME + body.len();
    let record = match kind {
        ENTRY => Record::Change(Change::Append(decode_entry(body).map_err(RecordFault::Entry)?)),
        TRUNCATE => Record::Change(Change::Truncate(position(body)?)),
        PURGE => Record::Change(Change::Purge(position(body)?.ok_or(RecordFault::Content)?)),
        VOTE => {
            let vote = proto::Vote::decode(body).map_err(|_| RecordFault::Content)?;
            Record::Change(Change::Vote(vote_from_proto(&vote)))
        }
        COMMITTED => Record::Change(Change::Committed(position(body)?)),
        OPENING => Record::Opening(opening(body)?),
        unknown => return Err(RecordFault::Kind(unknown)),
    };
    Ok(Some((record, len)))
}

/// The entry with this index, from the bytes of its record.
pub(super) fn decode_entry_record(index: u64, record: Bytes) -> Result<Entry, Damage> {
    let framed = unframe(&record)
        .filter(|(kind, body)| *kind == ENTRY && body.len() + FRAME == record.len());
    let (_, body) = framed.ok_or(Damage::Checksum { index })?;
    let entry = decode_entry(body).map_err(|source| Damage::Entry { index, source })?;
    let found = entry.log_id.index;
    if found == index { Ok(entry) } else { Err(Damage::Misplaced { index, found }) }
}

fn unframe(payload: &Bytes) -> Option<(u8, Bytes)> {
    let (frame, rest) = payload.split_first_chunk::<FRAME>()?;
    let [kind, l0, l1, l2, l3, s0, s1, s2, s3] = *frame;
    let length = u32::from_be_bytes([l0, l1, l2, l3]) as usize;
    let body = rest.get(..length)?;
    let sum = crc32c::crc32c_append(crc32c::crc32c(&frame[..5]), body);
    (sum == u32::from_be_bytes([s0, s1, s2, s3]))
        .then(|| (kind, payload.slice(FRAME..FRAME + length)))
}

/// What is wrong with a record whose sectors are sound.
pub(super) enum RecordFault {
    Checksum,
    Content,
    Kind(u8),
    Entry(CodecError),
}

#[derive(Clone, PartialEq, prost::Message)]
struct Position {
    #[prost(message, optional, tag = "1")]
    id: Option<proto::LogId>,
}

impl Position {
    fn of(id: Option<&LogId>) -> Self {
        Self { id: id.map(log_id_to_proto) }
    }
}

fn position(body: Bytes) -> Result<Option<LogId>, RecordFault> {
    let position = Position::decode(body).map_err(|_| RecordFault::Content)?;
    Ok(position.id.as_ref().map(log_id_from_proto))
}

#[derive(Clone, PartialEq, prost::Message)]
struct OpeningRecord {
    #[prost(message, optional, tag = "1")]
    purged: Option<proto::LogId>,
    #[prost(uint64, tag = "2")]
    first: u64,
    #[prost(message, optional, tag = "3")]
    last: Option<proto::LogId>,
    #[prost(message, optional, tag = "4")]
    vote: Option<proto::Vote>,
    #[prost(message, optional, tag = "5")]
    committed: Option<proto::LogId>,
    #[prost(fixed32, tag = "6")]
    chain: u32,
}

fn opening(body: Bytes) -> Result<Opening, RecordFault> {
    let record = OpeningRecord::decode(body).map_err(|_| RecordFault::Content)?;
    let bounds = Bounds {
        purged: record.purged.as_ref().map(log_id_from_proto),
        first: record.first,
        last: record.last.as_ref().map(log_id_from_proto),
    };
    let head = Head {
        bounds,
        vote: record.vote.as_ref().map(vote_from_proto),
        committed: record.committed.as_ref().map(log_id_from_proto),
    };
    Ok(Opening { head, chain: Chain(record.chain) })
}
