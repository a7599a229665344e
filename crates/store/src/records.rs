//! Which records there are, by digest, under which parents, last used when, and the state digest over
//! all of that.

use std::collections::BTreeMap;

use conclave_crypto::sha256;

use crate::buckets::{Ids, Tree};
use crate::families::Families;
use crate::uses::{LastUse, Uses};
use crate::{BlobDigest, Kind, RecordId};

const STATE_TAG: &[u8] = b"conclave/store/state/v2";

#[derive(Clone, Debug)]
pub(crate) struct Records {
    digests: BTreeMap<RecordId, BlobDigest>,
    families: Families,
    uses: Uses,
    tree: Tree,
}

impl Default for Records {
    fn default() -> Self {
        Records {
            digests: BTreeMap::new(),
            families: Families::default(),
            uses: Uses::default(),
            tree: Tree::new("conclave/store/bucket/v1", "conclave/store/state/v1"),
        }
    }
}

impl Records {
    pub(crate) fn get(&self, id: &RecordId) -> Option<BlobDigest> {
        self.digests.get(id).copied()
    }

    pub(crate) fn len(&self) -> usize {
        self.digests.len()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (&RecordId, &BlobDigest)> {
        self.digests.iter()
    }

    /// At most `limit` records of `kind` after `after`.
    pub(crate) fn list(&self, kind: Kind, after: Option<&RecordId>, limit: usize) -> Vec<RecordId> {
        let Some(range) = kind.ids_after(after) else { return Vec::new() };
        self.digests.range(range).take(limit).map(|(id, _)| *id).collect()
    }

    pub(crate) fn families(&self) -> &Families {
        &self.families
    }

    /// For restoring chains; whatever else changes families goes through [`Records::put`].
    pub(crate) fn families_mut(&mut self) -> &mut Families {
        &mut self.families
    }

    pub(crate) fn last_use(&self, id: &RecordId) -> Option<LastUse> {
        self.uses.get(id)
    }

    /// Without a parent it stays where it is.
    pub(crate) fn put(&mut self, id: RecordId, digest: BlobDigest, parent: Option<RecordId>) {
        self.digests.insert(id, digest);
        self.tree.changed(&id);
        if let Some(parent) = parent {
            self.families.put(id, parent);
        }
    }

    pub(crate) fn delete(&mut self, id: &RecordId) {
        self.digests.remove(id);
        self.tree.changed(id);
        self.families.remove(id);
        self.uses.remove(id);
    }

    /// Notes a use, if there is such a record.
    pub(crate) fn touch(&mut self, id: RecordId, last: LastUse) {
        // What was used before is there, so a use of it costs one look.
        if !self.uses.renew(&id, last) && self.digests.contains_key(&id) {
            self.uses.set(id, last);
        }
    }

    /// Digest over everything here; remembers the hashes of what had changed.
    pub(crate) fn digest(&mut self) -> [u8; 32] {
        let digests = &self.digests;
        let records = self.tree.root(|ids| leaves(digests, ids));
        if self.is_plain() {
            return records;
        }
        let [parents, chains] = self.families.roots();
        sha256(&[STATE_TAG, &records, &parents, &chains, &self.uses.root()])
    }

    /// The same without remembering.
    pub(crate) fn peek_digest(&self) -> [u8; 32] {
        let records = self.tree.peek_root(|ids| leaves(&self.digests, ids));
        if self.is_plain() {
            return records;
        }
        let [parents, chains] = self.families.peek_roots();
        sha256(&[STATE_TAG, &records, &parents, &chains, &self.uses.peek_root()])
    }

    /// Whether there are records and nothing else: their root alone is the digest then, as it was
    /// before there were families and last uses. The tags keep the two apart.
    fn is_plain(&self) -> bool {
        self.families.len() == 0 && self.uses.is_empty()
    }

    pub(crate) fn validate(&self) {
        self.tree.validate(self.digests.keys(), |ids| leaves(&self.digests, ids));
        self.families.validate();
        self.uses.validate();
        let known = |id: &RecordId| self.digests.contains_key(id);
        assert!(self.families.members().all(known), "a record that is not there has a parent");
        assert!(self.uses.records().all(known), "a record that is not there has a last use");
    }
}

fn leaves(digests: &BTreeMap<RecordId, BlobDigest>, ids: Ids) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (id, digest) in digests.range(ids) {
        bytes.extend_from_slice(&id.to_bytes());
        bytes.extend_from_slice(&digest.0);
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn listing_stays_within_its_kind_and_limit() {
        let mut records = Records::default();
        let mut put = |id| records.put(id, BlobDigest([0; 32]), None);
        (0..5).for_each(|number| put(RecordId::numbered(Kind::AuditKey, number)));
        put(RecordId::new(Kind::IntakeKey, [0xff; 16]));
        put(RecordId::singleton(Kind::AuditSigningKey));
        let numbers = |after: Option<RecordId>, limit| {
            let listed = records.list(Kind::AuditKey, after.as_ref(), limit);
            listed.iter().map(|id| id.number().unwrap()).collect::<Vec<_>>()
        };
        assert_eq!(numbers(None, 9), [0, 1, 2, 3, 4]);
        assert_eq!(numbers(Some(RecordId::numbered(Kind::AuditKey, 2)), 1), [3]);
        assert_eq!(numbers(Some(RecordId::singleton(Kind::Domain)), 2), [0, 1]);
        assert_eq!(numbers(Some(RecordId::singleton(Kind::Principal)), 2), [0; 0]);
        assert_eq!(numbers(Some(RecordId::new(Kind::AuditKey, [0xff; 16])), 2), [0; 0]);
    }
}
