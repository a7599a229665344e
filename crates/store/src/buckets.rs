//! A Merkle tree of two levels over what is kept by record id, of which only what changed is hashed
//! again.
//!
//! Records fall into buckets by kind and the first twelve bits of their id, which is a contiguous
//! range in order of id. A bucket's hash is over its leaves, the root over the hashes of all buckets
//! that have any. It is never a sum of independent hashes, whose collisions can be computed. The
//! leaves themselves stand elsewhere: whoever asks for a root says how a bucket's are written.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;

use conclave_crypto::sha256;

use crate::{Kind, RecordId};

/// The records of one bucket.
pub(crate) type Ids = RangeInclusive<RecordId>;

#[derive(Clone, Debug)]
pub(crate) struct Tree {
    bucket_tag: &'static str,
    root_tag: &'static str,
    /// Hashes of all buckets that are not empty, as of when they last were not dirty.
    hashes: BTreeMap<Bucket, [u8; 32]>,
    dirty: BTreeSet<Bucket>,
}

impl Tree {
    /// The tags keep what is hashed here apart from everything else that is.
    pub(crate) const fn new(bucket_tag: &'static str, root_tag: &'static str) -> Tree {
        Tree { bucket_tag, root_tag, hashes: BTreeMap::new(), dirty: BTreeSet::new() }
    }

    /// What is kept of this record has changed.
    pub(crate) fn changed(&mut self, id: &RecordId) {
        self.dirty.insert(Bucket::of(id));
    }

    /// The root; remembers the hashes of the buckets that had changed.
    pub(crate) fn root(&mut self, leaves: impl Fn(Ids) -> Vec<u8>) -> [u8; 32] {
        for bucket in std::mem::take(&mut self.dirty) {
            match self.hash(bucket, &leaves) {
                Some(hash) => self.hashes.insert(bucket, hash),
                None => self.hashes.remove(&bucket),
            };
        }
        let mut bytes = Vec::with_capacity(self.hashes.len() * 36);
        for (bucket, hash) in &self.hashes {
            bytes.extend_from_slice(&bucket.0.to_be_bytes());
            bytes.extend_from_slice(hash);
        }
        sha256(&[self.root_tag.as_bytes(), &bytes])
    }

    /// The same without remembering.
    pub(crate) fn peek_root(&self, leaves: impl Fn(Ids) -> Vec<u8>) -> [u8; 32] {
        self.clone().root(leaves)
    }

    fn hash(&self, bucket: Bucket, leaves: impl Fn(Ids) -> Vec<u8>) -> Option<[u8; 32]> {
        let bytes = leaves(bucket.ids());
        (!bytes.is_empty()).then(|| sha256(&[self.bucket_tag.as_bytes(), &bytes]))
    }

    /// The bucket of each of `ids` is hashed or waits to be, and every clean hash is the bucket's.
    pub(crate) fn validate<'a>(
        &self,
        ids: impl Iterator<Item = &'a RecordId>,
        leaves: impl Fn(Ids) -> Vec<u8>,
    ) {
        for bucket in ids.map(Bucket::of) {
            assert!(self.dirty.contains(&bucket) || self.hashes.contains_key(&bucket));
        }
        for (bucket, hash) in self.hashes.iter().filter(|(b, _)| !self.dirty.contains(b)) {
            let now = self.hash(*bucket, &leaves);
            assert_eq!(Some(*hash), now, "a change missed the dirty set");
        }
    }
}

/// Kind byte, then the first twelve bits of the id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Bucket(u32);

impl Bucket {
    fn of(record: &RecordId) -> Bucket {
        let id = record.id();
        let prefix = u32::from(id[0]) << 4 | u32::from(id[1]) >> 4;
        Bucket(u32::from(record.kind().byte()) << 12 | prefix)
    }

    fn ids(self) -> Ids {
        let kind = Kind::from_byte((self.0 >> 12) as u8).expect("made from a record's kind");
        let (mut first, mut last) = ([0; 16], [0xff; 16]);
        first[0] = (self.0 >> 4) as u8;
        first[1] = (self.0 << 4) as u8;
        last[0] = first[0];
        last[1] = first[1] | 0x0f;
        RecordId::new(kind, first)..=RecordId::new(kind, last)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A bucket is a range, so that hashing it reads neither too much nor too little.
    #[test]
    fn a_bucket_is_the_range_of_the_records_in_it() {
        let ids = [[0; 16], [0xff; 16], [0x12; 16], {
            let mut id = [0x12; 16];
            id[1] = 0x1f;
            id
        }];
        for kind in Kind::ALL {
            for id in ids.map(|id| RecordId::new(kind, id)) {
                for other in ids.map(|id| RecordId::new(kind, id)) {
                    let same = Bucket::of(&id) == Bucket::of(&other);
                    assert_eq!(Bucket::of(&id).ids().contains(&other), same);
                }
            }
        }
    }
}
