//! When each record was last used, and for what.
//!
//! Noted for every use and read by few, so it is kept out of everything that a txn is guarded on,
//! and nothing is hashed before the next state digest.

use std::collections::BTreeMap;

use crate::buckets::{Ids, Tree};
use crate::{RecordId, TimeMs};

/// A record's last use: of the newest committed txn that touched it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LastUse {
    /// Cluster time at which it was applied.
    pub time: TimeMs,
    /// The service's number of what was done.
    pub operation: u32,
    /// Index of the txn's step in the audit chain.
    pub audit_index: u64,
}

#[derive(Clone, Debug)]
pub(crate) struct Uses {
    by_record: BTreeMap<RecordId, LastUse>,
    tree: Tree,
}

impl Default for Uses {
    fn default() -> Self {
        Uses {
            by_record: BTreeMap::new(),
            tree: Tree::new("conclave/store/uses-bucket/v1", "conclave/store/uses/v1"),
        }
    }
}

impl Uses {
    pub(crate) fn get(&self, id: &RecordId) -> Option<LastUse> {
        self.by_record.get(id).copied()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.by_record.is_empty()
    }

    /// Notes a use of a record that was used before; else false.
    pub(crate) fn renew(&mut self, id: &RecordId, last: LastUse) -> bool {
        let Some(noted) = self.by_record.get_mut(id) else { return false };
        *noted = last;
        self.tree.changed(id);
        true
    }

    pub(crate) fn set(&mut self, id: RecordId, last: LastUse) {
        self.by_record.insert(id, last);
        self.tree.changed(&id);
    }

    pub(crate) fn remove(&mut self, id: &RecordId) {
        if self.by_record.remove(id).is_some() {
            self.tree.changed(id);
        }
    }

    pub(crate) fn records(&self) -> impl Iterator<Item = &RecordId> {
        self.by_record.keys()
    }

    /// Over all last uses; remembers what had changed.
    pub(crate) fn root(&mut self) -> [u8; 32] {
        let by_record = &self.by_record;
        self.tree.root(|ids| leaves(by_record, ids))
    }

    /// The same without remembering.
    pub(crate) fn peek_root(&self) -> [u8; 32] {
        self.tree.peek_root(|ids| leaves(&self.by_record, ids))
    }

    pub(crate) fn validate(&self) {
        self.tree.validate(self.by_record.keys(), |ids| leaves(&self.by_record, ids));
    }
}

fn leaves(by_record: &BTreeMap<RecordId, LastUse>, ids: Ids) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (id, last) in by_record.range(ids) {
        bytes.extend_from_slice(&id.to_bytes());
        bytes.extend_from_slice(&last.time.0.to_be_bytes());
        bytes.extend_from_slice(&last.operation.to_be_bytes());
        bytes.extend_from_slice(&last.audit_index.to_be_bytes());
    }
    bytes
}
