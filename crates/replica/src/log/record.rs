//! The values that lie on disk: a checksum, then an entry or one of the log's few records.
//!
//! A checksum covers what its value is filed under, so a value in another's place is found out.

use bytes::Bytes;
use conclave_proto::raft as proto;
use prost::Message;

use super::error::Damage;
use crate::codec::{decode_entry, log_id_from_proto, log_id_to_proto};
use crate::types::{Entry, LogId};

/// Where the log begins and ends. Entries at or below `purged` may still lie on disk: they are
/// waste that later commits remove.
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
    /// The index after the last entry, or 0 if the log is empty.
    pub(super) fn end(&self) -> u64 {
        self.last.map_or(0, |last| last.index.saturating_add(1))
    }

    /// Whether any entry is left.
    pub(super) fn is_empty(&self) -> bool {
        self.last.map(|id| id.index) == self.purged.map(|id| id.index)
    }

    /// Whether a log can have these bounds.
    pub(super) fn are_possible(&self) -> bool {
        let joins = self.purged.is_none_or(|id| self.first == id.index.saturating_add(1));
        self.is_empty() || (joins && self.first < self.end())
    }
}

/// An entry as it lies on disk.
pub(super) fn frame_entry(index: u64, encoded: &[u8]) -> Vec<u8> {
    frame(&index.to_be_bytes(), encoded)
}

/// A value as it lies on disk.
pub(super) fn frame(key: &[u8], body: &[u8]) -> Vec<u8> {
    let sum = crc32c::crc32c_append(crc32c::crc32c(key), body);
    [&sum.to_be_bytes(), body].concat()
}

/// The value, if its checksum fits.
pub(super) fn unframe(key: &[u8], frame: &[u8]) -> Option<Bytes> {
    let (sum, body) = frame.split_first_chunk::<4>()?;
    let sound = u32::from_be_bytes(*sum) == crc32c::crc32c_append(crc32c::crc32c(key), body);
    sound.then(|| Bytes::copy_from_slice(body))
}

/// The entry that lies under an index.
pub(super) fn parse_entry(index: u64, frame: &[u8]) -> Result<Entry, Damage> {
    let body = unframe(&index.to_be_bytes(), frame).ok_or(Damage::Checksum { index })?;
    let entry = decode_entry(body).map_err(|source| Damage::Entry { index, source })?;
    if entry.log_id.index != index {
        return Err(Damage::Misplaced { index, found: entry.log_id.index });
    }
    Ok(entry)
}

#[derive(Clone, PartialEq, prost::Message)]
struct BoundsRecord {
    #[prost(message, optional, tag = "1")]
    purged: Option<proto::LogId>,
    #[prost(uint64, tag = "2")]
    first: u64,
    #[prost(message, optional, tag = "3")]
    last: Option<proto::LogId>,
}

pub(super) fn encode_bounds(bounds: &Bounds) -> Vec<u8> {
    BoundsRecord {
        purged: bounds.purged.as_ref().map(log_id_to_proto),
        first: bounds.first,
        last: bounds.last.as_ref().map(log_id_to_proto),
    }
    .encode_to_vec()
}

pub(super) fn decode_bounds(body: Bytes) -> Option<Bounds> {
    let record = BoundsRecord::decode(body).ok()?;
    Some(Bounds {
        purged: record.purged.as_ref().map(log_id_from_proto),
        first: record.first,
        last: record.last.as_ref().map(log_id_from_proto),
    })
}

/// Empty for none, else 1 and the log id: an all-zero log id has no bytes of its own.
pub(super) fn encode_committed(committed: Option<&LogId>) -> Vec<u8> {
    match committed {
        Some(id) => [vec![1], log_id_to_proto(id).encode_to_vec()].concat(),
        None => Vec::new(),
    }
}

pub(super) fn decode_committed(body: Bytes) -> Option<Option<LogId>> {
    if body.is_empty() {
        return Some(None);
    }
    let id = proto::LogId::decode(body.slice(1..)).ok()?;
    Some(Some(log_id_from_proto(&id)))
}
