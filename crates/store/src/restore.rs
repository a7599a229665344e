//! Reads a snapshot's items back into a state, trusting none of them.
//!
//! Order, counts and bounds are checked item by item, and at the end the state digest that follows
//! from the blobs against the one in the header. That the snapshot is of the right log position is
//! for Raft to say, and that its audit head is the true one for the next checkpoint.

use conclave_audit::segment::{FRAME_OVERHEAD, MAX_PAYLOAD};
use conclave_audit::{Head, HeadError};
use conclave_proto::store as proto;
use conclave_proto::store::SnapshotItem;
use conclave_proto::store::snapshot_item::Item;

use crate::limits::{MAX_ANSWER, MAX_BLOB_BYTES, MAX_WRITERS, SEGMENT_BYTES, WRITER_WINDOW};
use crate::snapshot::FORMAT;
use crate::tokens::Taken;
use crate::writers::{Window, Writer};
use crate::{
    BlobDigest, FEATURE_LEVEL, Family, GuardDigest, LastUse, LogIndex, Outcome, RecordId,
    RecordIdError, Rejection, Revision, SegmentPosition, State, TimeMs,
};

/// Most bytes of what the replica keeps in a snapshot's header.
pub const MAX_RAFT_BYTES: usize = 64 << 10;

/// A snapshot being read.
#[derive(Debug)]
pub struct Restorer {
    state: State,
    header: Option<proto::SnapshotHeader>,
    stage: Stage,
    items: u64,
    last_record: Option<RecordId>,
    last_family: Option<Family>,
    families: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Stage {
    Header,
    Records,
    Families,
    Writers,
    Tokens,
    Complete,
}

impl Restorer {
    /// Expects a snapshot of this domain.
    pub fn new(domain_id: [u8; 16]) -> Restorer {
        Restorer::with_segment_bytes(domain_id, SEGMENT_BYTES)
    }

    /// With audit segments of another size, as [`State::with_segment_bytes`].
    pub fn with_segment_bytes(domain_id: [u8; 16], bytes_max: u64) -> Restorer {
        Restorer {
            state: State::with_segment_bytes(domain_id, bytes_max),
            header: None,
            stage: Stage::Header,
            items: 0,
            last_record: None,
            last_family: None,
            families: 0,
        }
    }

    /// Whose table of tokens is small enough for a test to fill.
    #[cfg(test)]
    pub(crate) fn with_token_window(domain_id: [u8; 16], window: usize) -> Restorer {
        let mut restorer = Restorer::new(domain_id);
        restorer.state.tokens = crate::tokens::Tokens::with_window(window);
        restorer
    }

    /// Takes the next item; gives back a record's blob, to be stored. After an error: start over.
    pub fn push(
        &mut self,
        item: SnapshotItem,
    ) -> Result<Option<(RecordId, Vec<u8>)>, RestoreError> {
        let item = item.item.ok_or(RestoreError::UnknownItem)?;
        self.enter(&item)?;
        let mut blob = None;
        match item {
            Item::Header(header) => self.take_header(header)?,
            Item::Record(record) => blob = Some(self.take_record(record)?),
            Item::Family(family) => self.take_family(&family)?,
            Item::Writer(writer) => self.take_writer(&writer)?,
            Item::Token(token) => self.take_token(&token)?,
            Item::Trailer(trailer) => self.check_count("items", trailer.items, self.items)?,
        }
        self.items += 1;
        Ok(blob)
    }

    /// The replica's bytes from the header, once that was read.
    pub fn raft(&self) -> Option<&[u8]> {
        self.header.as_ref().map(|header| header.raft.as_slice())
    }

    /// The state, if the snapshot was whole and its blobs are those of its state digest.
    pub fn finish(mut self) -> Result<State, RestoreError> {
        let header = self.header.take().ok_or(RestoreError::Incomplete)?;
        if self.stage != Stage::Complete {
            return Err(RestoreError::Incomplete);
        }
        self.check_count("records", header.records, self.state.records.len() as u64)?;
        // Each is there once and has members: so many chains leave no family without its own.
        self.check_count("families", header.families, self.families)?;
        self.check_count("families", header.families, self.state.records.families().len() as u64)?;
        self.check_count("writers", header.writers, self.state.writers.len() as u64)?;
        self.check_count("tokens", header.tokens, self.state.tokens.len() as u64)?;
        if header.state_digest != self.state.state_digest() {
            return Err(RestoreError::StateDigest);
        }
        Ok(self.state)
    }

    fn enter(&mut self, item: &Item) -> Result<(), RestoreError> {
        let (needs, name, next) = match item {
            Item::Header(_) => (Stage::Header, "header", Stage::Records),
            Item::Record(_) => (Stage::Records, "record", Stage::Records),
            Item::Family(_) => (Stage::Families, "family", Stage::Families),
            Item::Writer(_) => (Stage::Writers, "writer", Stage::Writers),
            Item::Token(_) => (Stage::Tokens, "token", Stage::Tokens),
            Item::Trailer(_) => (Stage::Tokens, "trailer", Stage::Complete),
        };
        let begun = self.stage != Stage::Header;
        let fits = if needs == Stage::Header { !begun } else { begun && self.stage <= needs };
        if !fits {
            return Err(RestoreError::Order { item: name });
        }
        self.stage = next;
        Ok(())
    }

    fn take_header(&mut self, header: proto::SnapshotHeader) -> Result<(), RestoreError> {
        let within = |holds: bool, field| {
            if holds { Ok(()) } else { Err(RestoreError::Header { field }) }
        };
        if header.format != FORMAT {
            return Err(RestoreError::Format { found: header.format });
        }
        if header.feature_level > FEATURE_LEVEL {
            return Err(RestoreError::FeatureLevel { needed: header.feature_level });
        }
        if header.domain_id != self.state.domain_id {
            return Err(RestoreError::OtherDomain);
        }
        within(header.feature_level >= 1, "feature_level")?;
        within(header.state_digest.len() == 32, "state_digest")?;
        within(header.writers <= MAX_WRITERS as u64, "writers")?;
        let token_window = self.state.tokens.window() as u64;
        within(header.tokens <= token_window, "tokens")?;
        // Only a full table forgets, and it stays full.
        let forgets = header.token_horizon_ms.is_some();
        within(!forgets || header.tokens == token_window, "token_horizon_ms")?;
        within(header.raft.len() <= MAX_RAFT_BYTES, "raft")?;
        let bytes_max = self.state.segment.bytes_max;
        let segment_bytes_max = bytes_max.max((FRAME_OVERHEAD + MAX_PAYLOAD) as u64);
        let empty = header.segment_first == header.audit_size;
        within(header.segment >= 1, "segment")?;
        within(header.segment_first <= header.audit_size, "segment_first")?;
        within(header.segment_bytes <= segment_bytes_max, "segment_bytes")?;
        within((header.segment_bytes == 0) == empty, "segment_bytes")?;

        self.state.applied = LogIndex(header.applied_index);
        self.state.feature_level = header.feature_level;
        self.state.time = TimeMs(header.time_ms);
        self.state.head =
            Head::from_parts(header.audit_size, &header.audit_hash, &header.audit_frontier)?;
        self.state.segment = SegmentPosition {
            number: header.segment,
            first: header.segment_first,
            bytes: header.segment_bytes,
            bytes_max,
        };
        self.state.tokens.restore_horizon(header.token_horizon_ms.map(TimeMs));
        self.header = Some(header);
        Ok(())
    }

    fn take_record(
        &mut self,
        record: proto::SnapshotRecord,
    ) -> Result<(RecordId, Vec<u8>), RestoreError> {
        let id = RecordId::parse(&record.id)?;
        let bytes = record.blob.len();
        if bytes > MAX_BLOB_BYTES {
            return Err(RestoreError::BlobTooLarge { record: id, bytes });
        }
        if self.last_record.is_some_and(|last| id <= last) {
            return Err(RestoreError::Order { item: "record" });
        }
        self.last_record = Some(id);
        let parent = match record.parent.as_slice() {
            [] => None,
            bytes => Some(RecordId::parse(bytes)?),
        };
        if parent == Some(id) {
            return Err(RestoreError::UnderItself { record: id });
        }
        self.state.records.put(id, BlobDigest::of(&record.blob), parent);
        if let Some(proto::LastUse { time_ms, operation, audit_index }) = record.last_use {
            let time = TimeMs(time_ms);
            if time > self.state.time || audit_index >= self.state.head.size {
                return Err(RestoreError::LastUse { record: id });
            }
            self.state.records.touch(id, LastUse { time, operation, audit_index });
        }
        Ok((id, record.blob))
    }

    /// The members are there already; what only their history tells is here.
    fn take_family(&mut self, item: &proto::SnapshotFamily) -> Result<(), RestoreError> {
        let wrong = |what| RestoreError::Family { what };
        let family = item.family.as_ref().ok_or_else(|| wrong("name"))?;
        let family = Family::parse(family)?;
        if self.last_family.is_some_and(|last| family <= last) {
            return Err(RestoreError::Order { item: "family" });
        }
        self.last_family = Some(family);
        self.families += 1;
        let chain = GuardDigest::parse(&item.chain).map_err(|_| wrong("chain"))?;
        let has_members = self.state.records.families_mut().restore_chain(&family, chain);
        if has_members { Ok(()) } else { Err(wrong("members")) }
    }

    fn take_writer(&mut self, item: &proto::SnapshotWriter) -> Result<(), RestoreError> {
        let wrong = |what| RestoreError::Writer { writer: item.writer, what };
        let nonce = item.nonce.as_slice().try_into().map_err(|_| wrong("nonce"))?;
        let continued = self.state.writers.last_id() == Some(item.writer);
        if continued {
            if item.outcomes.is_empty() {
                return Err(wrong("empty continuation"));
            }
        } else {
            if self.state.writers.last_id().is_some_and(|last| item.writer < last) {
                return Err(wrong("order"));
            }
            if item.writer == 0 || item.writer > self.state.applied.0 {
                return Err(wrong("id"));
            }
            if item.raft_id == 0 || self.state.writers.has_raft_id(item.raft_id) {
                return Err(wrong("Raft id"));
            }
            if self.state.writers.len() == MAX_WRITERS {
                return Err(wrong("number"));
            }
            let window = Window::at(item.floor);
            self.state.writers.insert(item.writer, Writer { raft_id: item.raft_id, nonce, window });
        }
        let applied = self.state.applied;
        let writer = self.state.writers.get_mut(item.writer).ok_or_else(|| wrong("id"))?;
        if (writer.raft_id, writer.nonce, writer.window.floor())
            != (item.raft_id, nonce, item.floor)
        {
            return Err(wrong("continuation"));
        }
        for message in &item.outcomes {
            let (txn, outcome) = Outcome::from_proto(message).map_err(|_| wrong("outcome"))?;
            let after = writer.window.last().unwrap_or(item.floor);
            if txn.writer != item.writer || txn.sequence <= after || !remembered(&outcome, applied)
            {
                return Err(wrong("outcome"));
            }
            if writer.window.len() == WRITER_WINDOW {
                return Err(wrong("number of outcomes"));
            }
            writer.window.remember(txn.sequence, outcome);
        }
        Ok(())
    }

    fn take_token(&mut self, item: &proto::SnapshotToken) -> Result<(), RestoreError> {
        let wrong = |what| RestoreError::Token { what };
        let token = item.token.as_slice().try_into().map_err(|_| wrong("length"))?;
        let revision: Revision = item.revision.ok_or_else(|| wrong("revision"))?.into();
        let time = TimeMs(item.time_ms);
        let tokens = &self.state.tokens;
        let newest = tokens.newest();
        if revision.log_index > self.state.applied
            || newest.is_some_and(|newest| revision <= newest.revision)
        {
            return Err(wrong("revision"));
        }
        let earliest = newest.map(|newest| newest.time).or(tokens.horizon());
        if time > self.state.time || earliest.is_some_and(|earliest| time < earliest) {
            return Err(wrong("time"));
        }
        if item.answer.len() > MAX_ANSWER {
            return Err(wrong("answer"));
        }
        if tokens.get(&token).is_some() || tokens.len() == tokens.window() {
            return Err(wrong("number"));
        }
        let answer = item.answer.as_slice().into();
        self.state.tokens.take(token, Taken { revision, time, answer });
        Ok(())
    }

    fn check_count(
        &self,
        what: &'static str,
        promised: u64,
        found: u64,
    ) -> Result<(), RestoreError> {
        let equal = promised == found;
        if equal { Ok(()) } else { Err(RestoreError::Count { what, promised, found }) }
    }
}

/// Whether a window can hold this outcome.
fn remembered(outcome: &Outcome, applied: LogIndex) -> bool {
    match outcome {
        Outcome::Committed(revision) | Outcome::Known { revision, .. } => {
            revision.log_index <= applied
        }
        Outcome::Conflict { log_index, .. } => *log_index <= applied,
        Outcome::Rejected(rejection) => *rejection == Rejection::Malformed,
    }
}

/// Why a snapshot is refused. Take another: from another member, or an older backup.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RestoreError {
    /// A newer version wrote it.
    #[error("the snapshot has format {found}, this version reads {FORMAT}; upgrade this node")]
    Format {
        /// As written.
        found: u32,
    },
    /// The state needs a newer version.
    #[error(
        "the snapshot needs feature level {needed}, this version supports {FEATURE_LEVEL}; upgrade this node"
    )]
    FeatureLevel {
        /// As written.
        needed: u32,
    },
    /// A record of a kind this version does not know, or no record id at all.
    #[error("the snapshot holds something else than a known record")]
    Record(#[from] RecordIdError),
    /// Empty, or of a kind this version does not know.
    #[error("the snapshot holds an item unknown to this version; upgrade this node")]
    UnknownItem,
    /// Not this one.
    #[error("the snapshot is of another domain; take one of this domain")]
    OtherDomain,
    /// A field of the header is out of bounds.
    #[error("the snapshot's header is damaged: {field}; take another snapshot")]
    Header {
        /// Its name.
        field: &'static str,
    },
    /// The audit head cannot be one.
    #[error("the snapshot's audit head is damaged; take another snapshot")]
    Head(#[from] HeadError),
    /// Items must be in order, each kind after the one before.
    #[error("the snapshot has a {item} out of order; take another snapshot")]
    Order {
        /// What it was.
        item: &'static str,
    },
    /// No replica could have applied this.
    #[error("the snapshot's blob of {record} has {bytes} bytes, more than {MAX_BLOB_BYTES}")]
    BlobTooLarge {
        /// Whose blob it is.
        record: RecordId,
        /// Its length.
        bytes: usize,
    },
    /// No replica could have applied this.
    #[error("the snapshot has {record} under itself; take another snapshot")]
    UnderItself {
        /// Which.
        record: RecordId,
    },
    /// A last use of the future.
    #[error("the snapshot's last use of {record} is damaged; take another snapshot")]
    LastUse {
        /// Of what.
        record: RecordId,
    },
    /// A family's item contradicts itself or the records.
    #[error("a family of the snapshot is damaged: {what}; take another snapshot")]
    Family {
        /// The part at fault.
        what: &'static str,
    },
    /// A writer's item contradicts itself or another.
    #[error("the snapshot's writer {writer} is damaged: {what}; take another snapshot")]
    Writer {
        /// Its id.
        writer: u64,
        /// The part at fault.
        what: &'static str,
    },
    /// A token's item contradicts itself or another.
    #[error("a token of the snapshot is damaged: {what}; take another snapshot")]
    Token {
        /// The part at fault.
        what: &'static str,
    },
    /// Some are missing, or there are too many.
    #[error("the snapshot promises {promised} {what} and has {found}; take another snapshot")]
    Count {
        /// Of what.
        what: &'static str,
        /// By header or trailer.
        promised: u64,
        /// In truth.
        found: u64,
    },
    /// The trailer was not reached.
    #[error("the snapshot was cut short; take another")]
    Incomplete,
    /// Blobs, families, last uses or header were altered.
    #[error("the snapshot's records are not those of its state digest; take another snapshot")]
    StateDigest,
}
