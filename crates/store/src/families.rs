//! Which records are under which parent: the sets that a txn can be guarded on as a whole.
//!
//! A family is the records of one kind under one parent, as the aliases of a key are. Beside its
//! members each has a *chain*, a digest over the changes of its membership in order of commit: it
//! tells whether the set still is what somebody listed, whatever became of the members' blobs. A
//! family without members has no chain and is forgotten, so one that fills again starts anew.
//!
//! A parent is but a name here. Nothing checks that there is such a record, and a record that is
//! deleted leaves those under it where they are: the service guards what it wants to hold.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use conclave_crypto::sha256;

use crate::buckets::{Ids, Tree};
use crate::{GuardDigest, Kind, RecordId};

const LINK_TAG: &[u8] = b"conclave/store/chain/v1";
/// What the first link of a chain follows.
const START: GuardDigest = GuardDigest([0; GuardDigest::LEN]);

/// The records of one kind under one parent.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Family {
    /// What they are under.
    pub parent: RecordId,
    /// What they are.
    pub kind: Kind,
}

impl Family {
    /// The records of `kind` under `parent`.
    pub const fn new(parent: RecordId, kind: Kind) -> Family {
        Family { parent, kind }
    }
}

impl fmt::Display for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} under {}", self.kind, self.parent)
    }
}

impl fmt::Debug for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// All families, each way round.
#[derive(Clone, Debug)]
pub(crate) struct Families {
    parents: BTreeMap<RecordId, RecordId>,
    /// Parent, then member.
    members: BTreeSet<(RecordId, RecordId)>,
    chains: BTreeMap<Family, Chain>,
    parents_tree: Tree,
    chains_tree: Tree,
}

/// Of a family that has members.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Chain {
    pub(crate) members: u32,
    pub(crate) digest: GuardDigest,
}

impl Default for Families {
    fn default() -> Self {
        Families {
            parents: BTreeMap::new(),
            members: BTreeSet::new(),
            chains: BTreeMap::new(),
            parents_tree: Tree::new(
                "conclave/store/parents-bucket/v1",
                "conclave/store/parents/v1",
            ),
            chains_tree: Tree::new("conclave/store/chains-bucket/v1", "conclave/store/chains/v1"),
        }
    }
}

impl Families {
    pub(crate) fn parent(&self, member: &RecordId) -> Option<RecordId> {
        self.parents.get(member).copied()
    }

    pub(crate) fn chain(&self, family: &Family) -> Option<Chain> {
        self.chains.get(family).copied()
    }

    /// In order of parent and kind.
    pub(crate) fn chains(&self) -> impl Iterator<Item = (&Family, &Chain)> {
        self.chains.iter()
    }

    pub(crate) fn len(&self) -> usize {
        self.chains.len()
    }

    /// At most `limit` members after `after`, in order of id.
    pub(crate) fn list(
        &self,
        family: &Family,
        after: Option<&RecordId>,
        limit: usize,
    ) -> Vec<RecordId> {
        let Some((start, end)) = family.kind.ids_after(after) else { return Vec::new() };
        let with_parent = |id| (family.parent, id);
        let range = self.members.range((start.map(with_parent), end.map(with_parent)));
        range.take(limit).map(|(_, member)| *member).collect()
    }

    /// Puts a record under a parent, out of wherever it was.
    pub(crate) fn put(&mut self, member: RecordId, parent: RecordId) {
        if self.parents.get(&member) == Some(&parent) {
            return;
        }
        self.remove(&member);
        self.parents.insert(member, parent);
        self.members.insert((parent, member));
        self.parents_tree.changed(&member);
        let family = Family::new(parent, member.kind());
        let chain = self.chains.entry(family).or_insert(Chain { members: 0, digest: START });
        chain.members += 1;
        chain.digest = link(chain.digest, Change::Joined, &member);
        self.chains_tree.changed(&parent);
    }

    /// Takes a record out of its family, if it is in one.
    pub(crate) fn remove(&mut self, member: &RecordId) {
        let Some(parent) = self.parents.remove(member) else { return };
        self.members.remove(&(parent, *member));
        self.parents_tree.changed(member);
        let family = Family::new(parent, member.kind());
        if let Some(chain) = self.chains.get_mut(&family) {
            chain.members -= 1;
            chain.digest = link(chain.digest, Change::Left, member);
            if chain.members == 0 {
                self.chains.remove(&family);
            }
        }
        self.chains_tree.changed(&parent);
    }

    /// Sets the digest that a family's history led to; false if it has no members.
    pub(crate) fn restore_chain(&mut self, family: &Family, digest: GuardDigest) -> bool {
        let Some(chain) = self.chains.get_mut(family) else { return false };
        chain.digest = digest;
        self.chains_tree.changed(&family.parent);
        true
    }

    /// Over who is under whom, and over the chains; remembers what had changed.
    pub(crate) fn roots(&mut self) -> [[u8; 32]; 2] {
        let (parents, chains) = (&self.parents, &self.chains);
        [
            self.parents_tree.root(|ids| parent_leaves(parents, ids)),
            self.chains_tree.root(|ids| chain_leaves(chains, ids)),
        ]
    }

    /// The same without remembering.
    pub(crate) fn peek_roots(&self) -> [[u8; 32]; 2] {
        [
            self.parents_tree.peek_root(|ids| parent_leaves(&self.parents, ids)),
            self.chains_tree.peek_root(|ids| chain_leaves(&self.chains, ids)),
        ]
    }

    pub(crate) fn members(&self) -> impl Iterator<Item = &RecordId> {
        self.parents.keys()
    }

    pub(crate) fn validate(&self) {
        let members: BTreeSet<_> = self.parents.iter().map(|(id, parent)| (*parent, *id)).collect();
        assert_eq!(members, self.members);
        let mut counts = BTreeMap::new();
        for (member, parent) in &self.parents {
            *counts.entry(Family::new(*parent, member.kind())).or_insert(0) += 1;
        }
        let counted = self.chains.iter().map(|(family, chain)| (*family, chain.members));
        assert_eq!(counts, counted.collect());
        self.parents_tree.validate(self.parents.keys(), |ids| parent_leaves(&self.parents, ids));
        let parents = self.chains.keys().map(|family| &family.parent);
        self.chains_tree.validate(parents, |ids| chain_leaves(&self.chains, ids));
    }
}

enum Change {
    Joined = 1,
    Left = 2,
}

fn link(before: GuardDigest, change: Change, member: &RecordId) -> GuardDigest {
    let hash = sha256(&[LINK_TAG, &before.0, &[change as u8], &member.to_bytes()]);
    crate::BlobDigest(hash).guard()
}

fn parent_leaves(parents: &BTreeMap<RecordId, RecordId>, ids: Ids) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (member, parent) in parents.range(ids) {
        bytes.extend_from_slice(&member.to_bytes());
        bytes.extend_from_slice(&parent.to_bytes());
    }
    bytes
}

fn chain_leaves(chains: &BTreeMap<Family, Chain>, parents: Ids) -> Vec<u8> {
    let mut bytes = Vec::new();
    let first = Family::new(*parents.start(), Kind::ALL[0]);
    let of_these = |family: &Family| family.parent <= *parents.end();
    for (family, chain) in chains.range(first..).take_while(|(family, _)| of_these(family)) {
        bytes.extend_from_slice(&family.parent.to_bytes());
        bytes.push(family.kind.byte());
        bytes.extend_from_slice(&chain.members.to_be_bytes());
        bytes.extend_from_slice(&chain.digest.0);
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    const PARENT: RecordId = RecordId::new(Kind::Key, [7; 16]);
    const GRANTS: Family = Family::new(PARENT, Kind::Grant);

    fn grant(number: u64) -> RecordId {
        RecordId::numbered(Kind::Grant, number)
    }

    fn digest(families: &Families) -> Option<GuardDigest> {
        families.validate();
        families.chain(&GRANTS).map(|chain| chain.digest)
    }

    /// The chain tells every change of the set since it last was empty, and nothing else.
    #[test]
    fn a_chain_is_the_history_of_its_set() {
        let mut families = Families::default();
        assert_eq!(digest(&families), None);
        families.put(grant(1), PARENT);
        let one = digest(&families);
        families.put(grant(1), PARENT);
        assert_eq!(digest(&families), one, "it is under this parent already");
        families.put(RecordId::singleton(Kind::Alias), PARENT);
        assert_eq!(digest(&families), one, "another family of the same parent");
        families.put(grant(2), PARENT);
        let both = digest(&families);
        families.remove(&grant(2));
        let left = digest(&families);
        families.put(grant(2), PARENT);
        let back = digest(&families);
        let all = BTreeSet::from([one, both, left, back].map(Option::unwrap));
        assert_eq!(all.len(), 4, "one who left and came back is no reason to forget");
        families.put(grant(1), RecordId::singleton(Kind::Domain));
        families.put(grant(2), RecordId::singleton(Kind::Domain));
        assert_eq!(digest(&families), None);
        families.put(grant(1), PARENT);
        assert_eq!(digest(&families), one, "a set that was empty has no history");
    }

    #[test]
    fn listing_stays_within_the_family() {
        let mut families = Families::default();
        let other = RecordId::new(Kind::Key, [8; 16]);
        (1..=3).for_each(|n| families.put(grant(n), PARENT));
        families.put(grant(4), other);
        families.put(RecordId::new(Kind::KeyPolicy, [0xff; 16]), PARENT);
        families.put(RecordId::singleton(Kind::Due), PARENT);
        let list = |after: Option<RecordId>, limit| families.list(&GRANTS, after.as_ref(), limit);
        assert_eq!(list(None, 9), [1, 2, 3].map(grant));
        assert_eq!(list(Some(grant(1)), 1), [grant(2)]);
        assert_eq!(list(Some(RecordId::singleton(Kind::Alias)), 1), [grant(1)]);
        assert_eq!(list(Some(RecordId::singleton(Kind::Due)), 1), []);
        assert_eq!(families.list(&Family::new(other, Kind::Due), None, 9), []);
        assert_eq!(families.chain(&GRANTS).map(|chain| chain.members), Some(3));
    }
}
