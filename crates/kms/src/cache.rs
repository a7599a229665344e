//! Decoded records, kept by the digest of their blob.
//!
//! Coherent by construction: an entry is used only under the digest that the view gives now, and the
//! decision is guarded on that digest. Nothing ever needs to be invalidated. Sealing a node clears it.

use std::collections::HashMap;
use std::mem;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use conclave_store::{BlobDigest, RecordId};

use crate::records::{AliasRecord, GrantRecord, KeyPolicyRecord, KeyRecord, PrincipalRecord};

/// Most records kept. Ten thousand keys of a few versions each are a few megabytes.
pub const CACHE_ENTRIES_MAX: usize = 10_000;

/// Decoded records of one domain, shared by all of a node's decisions.
#[derive(Debug, Default)]
pub struct Cache(Mutex<Generations>);

/// Two generations: when the young one is full it becomes the old one, and what of the old one was
/// not used meanwhile is dropped. Close enough to least recently used, at one look-up's cost.
#[derive(Debug, Default)]
struct Generations {
    young: HashMap<RecordId, Entry>,
    old: HashMap<RecordId, Entry>,
}

type Entry = (BlobDigest, Decoded);

#[derive(Debug, Clone)]
pub(crate) enum Decoded {
    Key(Arc<KeyRecord>),
    Alias(Arc<AliasRecord>),
    Principal(Arc<PrincipalRecord>),
    KeyPolicy(Arc<KeyPolicyRecord>),
    Grant(Arc<GrantRecord>),
}

impl Cache {
    /// An empty one.
    pub fn new() -> Self {
        Self::default()
    }

    /// Forgets everything; backing keys are wiped once the decisions that hold them are over.
    pub fn clear(&self) {
        *self.generations() = Generations::default();
    }

    pub(crate) fn get(&self, id: &RecordId, digest: &BlobDigest) -> Option<Decoded> {
        let mut generations = self.generations();
        if let Some(found) = hit(&generations.young, id, digest) {
            return Some(found);
        }
        let found = hit(&generations.old, id, digest)?;
        generations.insert(*id, (*digest, found.clone()));
        Some(found)
    }

    pub(crate) fn put(&self, id: RecordId, digest: BlobDigest, decoded: Decoded) {
        self.generations().insert(id, (digest, decoded));
    }

    /// A panic elsewhere leaves whole entries at worst, so a poisoned lock is as good as any.
    fn generations(&self) -> MutexGuard<'_, Generations> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Generations {
    fn insert(&mut self, id: RecordId, entry: Entry) {
        self.old.remove(&id);
        self.young.insert(id, entry);
        if self.young.len() >= CACHE_ENTRIES_MAX / 2 {
            self.old = mem::take(&mut self.young);
        }
    }
}

fn hit(
    generation: &HashMap<RecordId, Entry>,
    id: &RecordId,
    digest: &BlobDigest,
) -> Option<Decoded> {
    generation.get(id).filter(|(of, _)| of == digest).map(|(_, decoded)| decoded.clone())
}

#[cfg(test)]
mod tests {
    use conclave_store::Kind;

    use super::*;
    use crate::key_ref::KeyId;

    fn alias(n: u64) -> (RecordId, Decoded) {
        let key = KeyId::new([0; 16]);
        (
            RecordId::numbered(Kind::Alias, n),
            Decoded::Alias(Arc::new(AliasRecord {
                key,
                name: String::new(),
                created_ms: 0,
                updated_ms: 0,
            })),
        )
    }

    #[test]
    fn only_the_blob_that_was_decoded_is_a_hit() {
        let cache = Cache::new();
        let (id, decoded) = alias(1);
        let (digest, other) = (BlobDigest::of(b"a"), BlobDigest::of(b"b"));
        cache.put(id, digest, decoded);
        assert!(cache.get(&id, &digest).is_some());
        assert!(cache.get(&id, &other).is_none());
        cache.clear();
        assert!(cache.get(&id, &digest).is_none());
    }

    #[test]
    fn it_is_bounded_and_keeps_what_is_used() {
        let cache = Cache::new();
        let digest = BlobDigest::of(b"a");
        let (used, _) = alias(0);
        for n in 0..3 * CACHE_ENTRIES_MAX as u64 {
            let (id, decoded) = alias(n);
            cache.put(id, digest, decoded);
            assert!(cache.get(&used, &digest).is_some(), "after {n}");
            let generations = cache.generations();
            assert!(generations.young.len() + generations.old.len() <= CACHE_ENTRIES_MAX);
        }
    }
}
