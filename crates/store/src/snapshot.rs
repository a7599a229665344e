//! Writes the whole state as a stream of items, the same bytes on every replica.
//!
//! Order: header, records by id with parent and last use, the chains of families, writers by id, tokens
//! by commit, trailer. A writer whose window is long spans several items in a row, each with its id, Raft id, nonce and floor. The trailer counts
//! the items before it. [`crate::restore`] reads this back; how items are framed and stored is the
//! replica's affair.

use conclave_proto::store as proto;
use conclave_proto::store::SnapshotItem;
use conclave_proto::store::snapshot_item::Item;

use crate::limits::OUTCOMES_PER_ITEM;
use crate::tokens::{Taken, Token};
use crate::writers::Writer;
use crate::{BlobDigest, LastUse, RecordId, State, TxnId};

/// The format written, and the only one so far.
pub const FORMAT: u32 = 1;

impl State {
    /// The items of a snapshot of this state. `raft` passes through the header; `blobs` gives each
    /// record's blob as of this state, and is checked against the record's digest.
    pub fn snapshot_items<'a, E: 'a>(
        &'a self,
        raft: Vec<u8>,
        mut blobs: impl FnMut(&RecordId) -> Result<Vec<u8>, E> + 'a,
    ) -> impl Iterator<Item = Result<SnapshotItem, SnapshotError<E>>> + 'a {
        let header = std::iter::once_with(move || Item::Header(self.snapshot_header(raft)));
        let records = self.records.iter().map(move |(id, digest)| {
            let blob = blobs(id).map_err(|source| SnapshotError::Blob { record: *id, source })?;
            if BlobDigest::of(&blob) != *digest {
                return Err(SnapshotError::Damaged { record: *id });
            }
            let parent = self.parent(id).map(|parent| parent.to_bytes().to_vec());
            Ok(Item::Record(proto::SnapshotRecord {
                id: id.to_bytes().to_vec(),
                blob,
                parent: parent.unwrap_or_default(),
                last_use: self.last_use(id).map(last_use_to_proto),
            }))
        });
        let families = self.records.families().chains().map(|(family, chain)| {
            let (family, chain) = (Some(family.to_proto()), chain.digest.0.to_vec());
            Item::Family(proto::SnapshotFamily { family, chain })
        });
        let writers = self.writers.iter().flat_map(|(id, writer)| writer_items(id, writer));
        let tokens = self.tokens.iter().map(|(token, taken)| token_item(token, taken));
        let rest = families.chain(writers).chain(tokens);
        let items = header.map(Ok).chain(records).chain(rest.map(Ok));
        let mut count = 0;
        items.map(Some).chain(std::iter::once(None)).map(move |item| {
            let item = match item {
                Some(item) => item?,
                None => Item::Trailer(proto::SnapshotTrailer { items: count }),
            };
            count += 1;
            Ok(SnapshotItem { item: Some(item) })
        })
    }

    fn snapshot_header(&self, raft: Vec<u8>) -> proto::SnapshotHeader {
        proto::SnapshotHeader {
            format: FORMAT,
            domain_id: self.domain_id.to_vec(),
            applied_index: self.applied.0,
            feature_level: self.feature_level,
            time_ms: self.time.0,
            audit_size: self.head.size,
            audit_hash: self.head.hash.to_vec(),
            audit_frontier: self.head.frontier().iter().map(|node| node.to_vec()).collect(),
            state_digest: self.records.peek_digest().to_vec(),
            records: self.records.len() as u64,
            writers: self.writers.len() as u64,
            tokens: self.tokens.len() as u64,
            raft,
            segment: self.segment.number,
            segment_first: self.segment.first,
            segment_bytes: self.segment.bytes,
            token_horizon_ms: self.token_horizon_ms(),
            families: self.records.families().len() as u64,
        }
    }
}

fn last_use_to_proto(last: LastUse) -> proto::LastUse {
    let LastUse { time, operation, audit_index } = last;
    proto::LastUse { time_ms: time.0, operation, audit_index }
}

fn writer_items(id: u64, writer: &Writer) -> impl Iterator<Item = Item> + '_ {
    let items = writer.window.len().div_ceil(OUTCOMES_PER_ITEM).max(1);
    let mut outcomes = writer.window.iter();
    (0..items).map(move |_| {
        let outcomes = outcomes.by_ref().take(OUTCOMES_PER_ITEM);
        Item::Writer(proto::SnapshotWriter {
            writer: id,
            raft_id: writer.raft_id,
            nonce: writer.nonce.to_vec(),
            outcomes: outcomes
                .map(|(sequence, outcome)| outcome.to_proto(TxnId { writer: id, sequence }))
                .collect(),
            floor: writer.window.floor(),
        })
    })
}

fn token_item(token: &Token, taken: &Taken) -> Item {
    Item::Token(proto::SnapshotToken {
        token: token.to_vec(),
        revision: Some(taken.revision.into()),
        answer: taken.answer.to_vec(),
        time_ms: taken.time.0,
    })
}

/// Why a snapshot could not be written. The node's own disk is at fault.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SnapshotError<E> {
    /// The blob could not be had.
    #[error("the blob of record {record} could not be read for a snapshot")]
    Blob {
        /// Whose blob it is.
        record: RecordId,
        /// What the reader said.
        source: E,
    },
    /// The blob is not the one that was applied.
    #[error("the blob of record {record} is damaged on this node's disk; rebuild the node")]
    Damaged {
        /// Whose blob it is.
        record: RecordId,
    },
}
