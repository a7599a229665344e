//! The hash chain: one step for each entry, each over the step before it.
//!
//! `apply` extends it on every replica, sealed ones included, since a step holds nothing but a
//! commitment and the digest of the sealed bytes.

use conclave_crypto::sha256;
use conclave_proto::audit::{SealedEntry, Step};

use crate::tree::Frontier;
use crate::{DomainId, Hash};

/// Most bytes of a sealed entry. One transaction carries one, so this bounds how fast a log grows.
pub const MAX_SEALED: usize = 64 * 1024;

/// Most entries that a chain can have: beyond what any domain writes, and far from overflow.
pub const MAX_SIZE: u64 = 1 << 62;

const GENESIS_TAG: &[u8] = b"conclave/audit/genesis/v1";
const STEP_TAG: &[u8] = b"conclave/audit/step/v1";

/// What a step binds besides the steps before it and its own index.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StepData {
    /// Cluster time of the batch, milliseconds since the Unix epoch.
    pub time_ms: u64,
    /// Half of the txn's id: who proposed it.
    pub writer: u64,
    /// Half of the txn's id: the proposer's own count.
    pub sequence: u64,
    /// Revision: the Raft log index.
    pub log_index: u64,
    /// Revision: the place within that log entry.
    pub position: u32,
    /// Number of the audit key the entry is sealed under; 0 is the intake key.
    pub key: u32,
    /// `SHA-256(salt ‖ entry)`.
    pub commitment: Hash,
    /// Digest of the sealed bytes.
    pub sealed_sha256: Hash,
}

impl StepData {
    /// What `step` says, apart from its index and its hash.
    ///
    /// # Errors
    /// [`StepError`] if it has no entry or one that [`check_sealed`] refuses.
    pub fn from_proto(step: &Step) -> Result<Self, StepError> {
        let entry = step.entry.as_ref().ok_or(StepError::NoEntry { index: step.index })?;
        Ok(Self {
            time_ms: step.time_ms,
            writer: step.writer,
            sequence: step.sequence,
            log_index: step.log_index,
            position: step.position,
            key: entry.key,
            commitment: check_sealed(entry)?,
            sealed_sha256: sha256(&[&entry.sealed]),
        })
    }
}

/// The commitment of a sealed entry that can enter the chain.
///
/// # Errors
/// [`StepError`] if the commitment is no digest, or the sealed bytes are none or too many.
pub fn check_sealed(entry: &SealedEntry) -> Result<Hash, StepError> {
    if entry.sealed.is_empty() || entry.sealed.len() > MAX_SEALED {
        return Err(StepError::SealedLength { len: entry.sealed.len() });
    }
    let len = entry.commitment.len();
    entry.commitment.as_slice().try_into().map_err(|_| StepError::CommitmentLength { len })
}

/// The chain's hash after a step: SHA-256 over the tag, the hash before and everything the step
/// binds, integers big-endian at their full width.
pub fn step_hash(prev: &Hash, index: u64, data: &StepData) -> Hash {
    sha256(&[
        STEP_TAG,
        prev,
        &index.to_be_bytes(),
        &data.time_ms.to_be_bytes(),
        &data.writer.to_be_bytes(),
        &data.sequence.to_be_bytes(),
        &data.log_index.to_be_bytes(),
        &data.position.to_be_bytes(),
        &data.key.to_be_bytes(),
        &data.commitment,
        &data.sealed_sha256,
    ])
}

/// Checks that `step` is the one at `expected` after `prev`, and returns the hash after it.
///
/// # Errors
/// [`StepError`] if it is malformed, stands elsewhere, or its hash is another.
pub fn check_step(prev: &Hash, expected: u64, step: &Step) -> Result<Hash, StepError> {
    if step.index != expected {
        return Err(StepError::Index { expected, found: step.index });
    }
    let hash = step_hash(prev, expected, &StepData::from_proto(step)?);
    match step.hash == hash {
        true => Ok(hash),
        false => Err(StepError::Hash { index: expected }),
    }
}

/// The end of a chain: how many steps it has, the hash after the last, and the tree over all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head {
    /// Number of steps so far; the next one's index.
    pub size: u64,
    /// The hash after the last step, or of the genesis.
    pub hash: Hash,
    frontier: Frontier,
}

impl Head {
    /// The head of a domain's empty chain.
    pub fn genesis(domain: &DomainId) -> Self {
        Self { size: 0, hash: sha256(&[GENESIS_TAG, domain]), frontier: Frontier::default() }
    }

    /// A head as a snapshot kept it. That it is the right one is for checkpoints to say.
    ///
    /// # Errors
    /// [`HeadError`] if no chain can have such a head.
    pub fn from_parts(size: u64, hash: &[u8], frontier: &[Vec<u8>]) -> Result<Self, HeadError> {
        if size > MAX_SIZE {
            return Err(HeadError::Size { size });
        }
        let digest = |bytes: &[u8]| -> Result<Hash, HeadError> {
            bytes.try_into().map_err(|_| HeadError::DigestLength { len: bytes.len() })
        };
        let nodes = frontier.iter().map(|node| digest(node)).collect::<Result<Vec<_>, _>>()?;
        let found = nodes.len();
        let frontier =
            Frontier::from_parts(size, nodes).ok_or(HeadError::Frontier { size, found })?;
        Ok(Self { size, hash: digest(hash)?, frontier })
    }

    /// The roots of the tree's perfect subtrees, largest first: with size and hash, all that
    /// [`Head::from_parts`] needs.
    pub fn frontier(&self) -> &[Hash] {
        self.frontier.nodes()
    }

    /// Takes the step that comes next, and returns the hash after it.
    pub fn append(&mut self, data: &StepData) -> Hash {
        self.hash = step_hash(&self.hash, self.size, data);
        self.frontier.push(self.size, &self.hash);
        self.size += 1;
        self.hash
    }

    /// Takes a step that somebody else made, if it is the one that comes next.
    ///
    /// # Errors
    /// [`StepError`] as from [`check_step`]; the head is then unchanged.
    pub fn follow(&mut self, step: &Step) -> Result<Hash, StepError> {
        self.hash = check_step(&self.hash, self.size, step)?;
        self.frontier.push(self.size, &self.hash);
        self.size += 1;
        Ok(self.hash)
    }

    /// The RFC 6962 root over the steps' hashes.
    pub fn root(&self) -> Hash {
        self.frontier.root()
    }
}

/// Why a step does not belong into the chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum StepError {
    /// A step without a sealed entry.
    #[error("step {index} of the audit chain has no entry")]
    NoEntry {
        /// Its index.
        index: u64,
    },
    /// A commitment is a SHA-256 digest.
    #[error("the commitment of an audit entry is 32 bytes, this one has {len}")]
    CommitmentLength {
        /// Bytes found.
        len: usize,
    },
    /// Nothing sealed, or more than [`MAX_SEALED`].
    #[error("a sealed audit entry has 1 to {MAX_SEALED} bytes, this one has {len}")]
    SealedLength {
        /// Bytes found.
        len: usize,
    },
    /// Another step than the one that comes next.
    #[error("step {expected} of the audit chain was expected, {found} was found")]
    Index {
        /// The index that comes next.
        expected: u64,
        /// The index found.
        found: u64,
    },
    /// The step, or one before it, is not what was committed.
    #[error("step {index} of the audit chain does not hash to what stands beside it")]
    Hash {
        /// Its index.
        index: u64,
    },
}

/// Why parts make no head.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum HeadError {
    /// Larger than [`MAX_SIZE`].
    #[error("an audit chain of {size} entries cannot be")]
    Size {
        /// The size found.
        size: u64,
    },
    /// Hash and frontier consist of SHA-256 digests.
    #[error("a digest in an audit head is 32 bytes, this one has {len}")]
    DigestLength {
        /// Bytes found.
        len: usize,
    },
    /// The frontier is another tree's.
    #[error("a tree of {size} leaves has {} subtrees, not {found}", size.count_ones())]
    Frontier {
        /// The size given.
        size: u64,
        /// Nodes found.
        found: usize,
    },
}
