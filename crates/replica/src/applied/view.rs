//! One consistent reading of applied state.

use std::sync::{Arc, RwLockReadGuard};

use conclave_store::{
    BlobDigest, Family, GuardDigest, Kind, LastUse, LogIndex, ReadError, RecordId, State, View,
};

use super::Content;

/// A reading of this node's applied state. Apply waits while one is held, so hold it for one
/// decision and no longer; it cannot be held across an await in a task that moves threads.
pub struct AppliedView<'a> {
    pub(super) content: RwLockReadGuard<'a, Content>,
}

impl AppliedView<'_> {
    /// The state itself: audit head, cluster time, feature level.
    pub fn state(&self) -> &State {
        &self.content.state
    }
}

impl View for AppliedView<'_> {
    fn digest(&self, id: &RecordId) -> Option<BlobDigest> {
        self.content.state.digest(id)
    }

    fn blob(&self, id: &RecordId) -> Result<Option<Arc<[u8]>>, ReadError> {
        let digest = self.content.state.digest(id);
        digest.map(|digest| self.content.index.blob(id, digest)).transpose()
    }

    fn list(&self, kind: Kind, after: Option<&RecordId>, limit: usize) -> Vec<RecordId> {
        self.content.state.list(kind, after, limit)
    }

    fn family(&self, family: &Family, after: Option<&RecordId>, limit: usize) -> Vec<RecordId> {
        self.content.state.family(family, after, limit)
    }

    fn count(&self, family: &Family) -> u32 {
        self.content.state.count(family)
    }

    fn scan_guard(&self, family: &Family) -> Option<GuardDigest> {
        self.content.state.scan_guard(family)
    }

    fn last_use(&self, id: &RecordId) -> Option<LastUse> {
        self.content.state.last_use(id)
    }

    fn applied(&self) -> LogIndex {
        self.content.state.applied()
    }
}
