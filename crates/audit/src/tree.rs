//! The Merkle tree hash of RFC 6962, section 2.1, kept as a frontier so that it can only grow.
//!
//! The leaves' data are the chain's step hashes. No proofs are made here yet: both kinds need the
//! steps themselves, which the segment files keep.

use conclave_crypto::sha256;

use crate::Hash;

/// The hash of a leaf holding `data`.
pub fn leaf_hash(data: &[u8]) -> Hash {
    sha256(&[&[0], data])
}

/// The hash of an inner node.
pub fn node_hash(left: &Hash, right: &Hash) -> Hash {
    sha256(&[&[1], left, right])
}

/// The roots of the perfect subtrees that a tree's leaves fall into, largest first: one for each
/// bit set in the number of leaves.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Frontier(Vec<Hash>);

impl Frontier {
    /// The frontier of a tree of `size` leaves, or nothing if a tree of that size has another
    /// number of subtrees.
    pub fn from_parts(size: u64, nodes: Vec<Hash>) -> Option<Self> {
        (nodes.len() == size.count_ones() as usize).then_some(Self(nodes))
    }

    /// The subtrees' roots, largest first.
    pub fn nodes(&self) -> &[Hash] {
        &self.0
    }

    /// Adds a leaf to a tree that has `size` leaves so far.
    pub fn push(&mut self, size: u64, data: &[u8]) {
        let mut node = leaf_hash(data);
        // Each trailing one bit of the size is a subtree that the new one now pairs up with.
        for _ in 0..size.trailing_ones() {
            if let Some(left) = self.0.pop() {
                node = node_hash(&left, &node);
            }
        }
        self.0.push(node);
    }

    /// The tree's root; that of no leaves is `SHA-256("")`.
    pub fn root(&self) -> Hash {
        let folded = self.0.iter().copied().rev().reduce(|right, left| node_hash(&left, &right));
        folded.unwrap_or_else(|| sha256(&[]))
    }
}
