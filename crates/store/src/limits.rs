//! Every bound of the replicated state, each with its reason.
//!
//! They are part of the state machine: two replicas with different limits would disagree, so a
//! change of any of them needs a new feature level.

/// Txns in one batch. A batch is one Raft entry, and its outcomes are one answer to its proposer.
pub const MAX_TXNS_PER_BATCH: usize = 1024;

/// Encoded size of one batch, in bytes: keeps a Raft entry well below a peer message's limit.
pub const MAX_BATCH_BYTES: usize = 1 << 20;

/// Size of one record's blob, in bytes. The largest records are policies, a few tens of KiB.
pub const MAX_BLOB_BYTES: usize = 64 << 10;

/// Sealed answer kept beside a token, in bytes: 131,072 of them must fit in memory.
pub const MAX_ANSWER: usize = 256;

/// Records and families one decision may depend on: principal, policies, key, grants.
pub const MAX_GUARDS_PER_TXN: usize = 64;

/// Records one txn may change. Founding a domain writes about twenty.
pub const MAX_WRITES_PER_TXN: usize = 64;

/// Uses one txn may note. Re-encryption uses two keys.
pub const MAX_TOUCHES_PER_TXN: usize = 8;

/// How far a txn's own time may lie from its batch's stamp, in milliseconds.
pub const MAX_DECISION_SKEW_MS: u64 = 5_000;

/// Outcomes remembered per writer. No proposer has more txns in flight.
pub const WRITER_WINDOW: usize = 65_536;

/// Tokens remembered. At 1,000 mutations a second this is two minutes; clients stop after 30 s.
pub const TOKEN_WINDOW: usize = 131_072;

/// Writers remembered. One per Raft id; those of removed nodes are the first to fall out.
pub const MAX_WRITERS: usize = 256;

/// Bytes of one audit segment before it rolls.
pub const SEGMENT_BYTES: u64 = 16 << 20;

/// Outcomes in one snapshot item; a longer window spans several, so that no item outgrows 2 MiB.
pub const OUTCOMES_PER_ITEM: usize = 4_096;
