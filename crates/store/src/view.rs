//! Reading the applied state, as every decision above the store does.

use std::error::Error;
use std::sync::Arc;

use crate::{BlobDigest, Family, GuardDigest, Kind, LastUse, LogIndex, RecordId};

/// One consistent reading of applied state.
///
/// Whoever decides by what it reads here names it as a guard of its txn, so that a reading may be
/// stale but never silently so.
pub trait View {
    /// Digest of the record's blob; `None` if there is no such record.
    fn digest(&self, id: &RecordId) -> Option<BlobDigest>;

    /// The record's blob, checked against its digest; `None` if there is no such record.
    fn blob(&self, id: &RecordId) -> Result<Option<Arc<[u8]>>, ReadError>;

    /// At most `limit` records of `kind` in order of id, from the first one after `after`.
    fn list(&self, kind: Kind, after: Option<&RecordId>, limit: usize) -> Vec<RecordId>;

    /// At most `limit` members of the family in order of id, from the first one after `after`.
    fn family(&self, family: &Family, after: Option<&RecordId>, limit: usize) -> Vec<RecordId>;

    /// How many members the family has.
    fn count(&self, family: &Family) -> u32;

    /// What a guard on the family's members as listed here holds; `None`: that it has none.
    fn scan_guard(&self, family: &Family) -> Option<GuardDigest>;

    /// When the record was last used; `None` if it was not since it was made, or is not there.
    fn last_use(&self, id: &RecordId) -> Option<LastUse>;

    /// The last log entry this reading contains.
    fn applied(&self) -> LogIndex;

    /// What a guard on the record as read here holds; `None`: that it is absent.
    fn guard(&self, id: &RecordId) -> Option<GuardDigest> {
        self.digest(id).map(|digest| digest.guard())
    }
}

/// The state holds a record whose blob cannot be had. The node must stop serving: its disk is at fault.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The blob is gone from the node's disk.
    #[error("the blob of record {record} is missing from this node's disk; rebuild the node")]
    Missing {
        /// Whose blob it is.
        record: RecordId,
    },
    /// The blob is not the one that was applied.
    #[error("the blob of record {record} is damaged on this node's disk; rebuild the node")]
    Damaged {
        /// Whose blob it is.
        record: RecordId,
    },
    /// The disk refused.
    #[error("the blob of record {record} could not be read")]
    Storage {
        /// Whose blob it is.
        record: RecordId,
        /// What the storage said.
        source: Box<dyn Error + Send + Sync>,
    },
}
