//! Which records there are, by digest, and the state digest over all of them.
//!
//! The digest is a Merkle tree of two levels: records fall into buckets by kind and the first twelve
//! bits of their id, which is a contiguous range in order of id, and only buckets that changed are
//! hashed again. It is never a sum of independent hashes, whose collisions can be computed.

use std::collections::{BTreeMap, BTreeSet};

use conclave_crypto::sha256;

use crate::{BlobDigest, Kind, RecordId};

const BUCKET_TAG: &[u8] = b"conclave/store/bucket/v1";
const STATE_TAG: &[u8] = b"conclave/store/state/v1";

#[derive(Clone, Debug, Default)]
pub(crate) struct Records {
    digests: BTreeMap<RecordId, BlobDigest>,
    /// Hashes of all buckets that are not empty, as of when they last were not dirty.
    buckets: BTreeMap<Bucket, [u8; 32]>,
    dirty: BTreeSet<Bucket>,
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
        use std::ops::Bound::{Excluded, Included};
        let (first, last) = (RecordId::singleton(kind), RecordId::new(kind, [0xff; 16]));
        let start = match after {
            Some(after) if *after >= last => return Vec::new(),
            Some(after) if *after >= first => Excluded(*after),
            _ => Included(first),
        };
        self.digests.range((start, Included(last))).take(limit).map(|(id, _)| *id).collect()
    }

    pub(crate) fn set(&mut self, id: RecordId, digest: Option<BlobDigest>) {
        match digest {
            Some(digest) => self.digests.insert(id, digest),
            None => self.digests.remove(&id),
        };
        self.dirty.insert(Bucket::of(&id));
    }

    /// Digest over all records; remembers the hashes of the buckets that had changed.
    pub(crate) fn digest(&mut self) -> [u8; 32] {
        self.buckets = self.hash_dirty();
        self.dirty.clear();
        combine(&self.buckets)
    }

    /// The same without remembering.
    pub(crate) fn peek_digest(&self) -> [u8; 32] {
        combine(&self.hash_dirty())
    }

    fn hash_dirty(&self) -> BTreeMap<Bucket, [u8; 32]> {
        let mut buckets = self.buckets.clone();
        for bucket in &self.dirty {
            match self.hash_bucket(*bucket) {
                Some(hash) => buckets.insert(*bucket, hash),
                None => buckets.remove(bucket),
            };
        }
        buckets
    }

    fn hash_bucket(&self, bucket: Bucket) -> Option<[u8; 32]> {
        let mut bytes = Vec::new();
        for (id, digest) in self.digests.range(bucket.range()) {
            bytes.extend_from_slice(&id.to_bytes());
            bytes.extend_from_slice(&digest.0);
        }
        (!bytes.is_empty()).then(|| sha256(&[BUCKET_TAG, &bytes]))
    }

    /// Every record's bucket is hashed or waits to be, and every clean hash is the bucket's.
    pub(crate) fn validate(&self) {
        for id in self.digests.keys() {
            let bucket = Bucket::of(id);
            assert!(self.dirty.contains(&bucket) || self.buckets.contains_key(&bucket));
        }
        for (bucket, hash) in self.buckets.iter().filter(|(b, _)| !self.dirty.contains(b)) {
            assert_eq!(Some(*hash), self.hash_bucket(*bucket), "a write missed the dirty set");
        }
    }
}

fn combine(buckets: &BTreeMap<Bucket, [u8; 32]>) -> [u8; 32] {
    let mut bytes = Vec::with_capacity(buckets.len() * 36);
    for (bucket, hash) in buckets {
        bytes.extend_from_slice(&bucket.0.to_be_bytes());
        bytes.extend_from_slice(hash);
    }
    sha256(&[STATE_TAG, &bytes])
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

    fn range(self) -> std::ops::RangeInclusive<RecordId> {
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
                    assert_eq!(Bucket::of(&id).range().contains(&other), same);
                }
            }
        }
    }

    #[test]
    fn listing_stays_within_its_kind_and_limit() {
        let mut records = Records::default();
        for number in 0..5 {
            records.set(RecordId::numbered(Kind::AuditKey, number), Some(BlobDigest([0; 32])));
        }
        records.set(RecordId::new(Kind::IntakeKey, [0xff; 16]), Some(BlobDigest([0; 32])));
        records.set(RecordId::singleton(Kind::AuditSigningKey), Some(BlobDigest([0; 32])));
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
