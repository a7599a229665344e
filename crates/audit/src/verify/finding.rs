//! What can be wrong with an export.

use super::Expectation;
use crate::Hash;
use crate::export::LineError;
use crate::note::{NoteError, VerifierKey};

/// The first thing that is wrong. Whatever came before it in the log is as it was committed only
/// if the log's checkpoint, or an expectation, says so too.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Finding {
    /// Nothing there, or no header first.
    #[error("this is no audit export: it does not begin with a header")]
    NoHeader,
    /// The header cannot be read.
    #[error("the export's header is wrong: {why}")]
    Header {
        /// What is wrong with it.
        why: LineError,
    },
    /// A header in the midst of entries, as when files were joined.
    #[error("a second header stands where entry {index} should: verify each export by itself")]
    SecondHeader {
        /// The entry that should stand there.
        index: u64,
    },
    /// The key's name is no log's, or the checkpoint is another log's.
    #[error("header, audit key and checkpoint do not name one and the same log")]
    Origin,
    /// Another log's export, or one that brings its own key along.
    #[error(
        "the export names the audit key {named}, but the one given is {given}: it is another log's, or forged"
    )]
    OtherKey {
        /// The auditor's.
        given: VerifierKey,
        /// The export's.
        named: VerifierKey,
    },
    /// A line cannot be read.
    #[error("entry {index} (line {line}) is wrong: {why}")]
    Line {
        /// From 1.
        line: u64,
        /// The entry that should stand there, or the log's size if that line is the last.
        index: u64,
        /// What is wrong with it.
        why: LineError,
    },
    /// A step that a node sent cannot be read.
    #[error("entry {index} is wrong: {why}")]
    Step {
        /// The entry that was expected.
        index: u64,
        /// What is wrong with it.
        why: LineError,
    },
    /// Dropped, or put elsewhere.
    #[error("entry {index} is missing or out of order: entry {found} stands in its place")]
    Sequence {
        /// The entry that should stand there.
        index: u64,
        /// The one that does.
        found: u64,
    },
    /// Time goes backwards.
    #[error("entry {index} is older than the one before it")]
    Time {
        /// Which entry.
        index: u64,
    },
    /// Revisions only grow.
    #[error("entry {index} has no later revision than the one before it")]
    Revision {
        /// Which entry.
        index: u64,
    },
    /// The entry or its salt was altered.
    #[error("entry {index} is not what was committed: it does not match its commitment")]
    Commitment {
        /// Which entry.
        index: u64,
    },
    /// Something that the chain binds was altered.
    #[error("entry {index} breaks the chain: its hash does not follow from what it says")]
    Chain {
        /// Which entry.
        index: u64,
    },
    /// The log is not the one that was seen before.
    #[error(
        "at {} entries {} was expected, but the tree root is {}: one of the first {} entries is not what it was",
        expected.size, hex::encode(expected.hash), hex::encode(root), expected.size
    )]
    Expected {
        /// What was expected.
        expected: Expectation,
        /// The root found.
        root: Hash,
    },
    /// Shorter than the log was seen to be.
    #[error("the export is truncated: it ends after {size} entries, but {expected} were expected")]
    Truncated {
        /// The entries that were expected at least.
        expected: u64,
        /// The entries found.
        size: u64,
    },
    /// The last line is missing.
    #[error("the export is truncated: no checkpoint follows its {size} entries")]
    NoCheckpoint {
        /// The entries found.
        size: u64,
    },
    /// Nothing to check the checkpoint with.
    #[error(
        "no audit key was given, and an export cannot vouch for itself: pass the verifier key that `conclave operator init` printed (CONCLAVE_AUDIT_KEY), from where you keep it, not from the export"
    )]
    NoKey,
    /// Nobody whom the auditor trusts signed the checkpoint.
    #[error("the checkpoint is not one that the audit key signed: {why}")]
    CheckpointSignature {
        /// What is wrong with it.
        why: NoteError,
    },
    /// Entries are missing at the end, or more than were signed.
    #[error("the checkpoint was signed for {signed} entries, the export has {size}")]
    CheckpointSize {
        /// The entries signed for.
        signed: u64,
        /// The entries found.
        size: u64,
    },
    /// The entries agree with each other, but not with what was signed.
    #[error("the checkpoint was signed for other entries: its root is not that of these {size}")]
    CheckpointRoot {
        /// The entries found.
        size: u64,
    },
    /// As for the root; both must hold.
    #[error(
        "the checkpoint was signed for another chain: its head is not that of these {size} entries"
    )]
    CheckpointHead {
        /// The entries found.
        size: u64,
    },
    /// The checkpoint is the end.
    #[error("something follows the checkpoint: verify each export by itself")]
    Trailing,
}

impl Finding {
    /// The first bad entry, where the finding is about one.
    pub fn index(&self) -> Option<u64> {
        match self {
            Self::SecondHeader { index }
            | Self::Line { index, .. }
            | Self::Step { index, .. }
            | Self::Sequence { index, .. }
            | Self::Time { index }
            | Self::Revision { index }
            | Self::Commitment { index }
            | Self::Chain { index } => Some(*index),
            Self::Truncated { size, .. } | Self::NoCheckpoint { size } => Some(*size),
            Self::CheckpointSize { signed, size } => Some(*signed.min(size)),
            Self::NoHeader
            | Self::Header { .. }
            | Self::Origin
            | Self::OtherKey { .. }
            | Self::Expected { .. }
            | Self::NoKey
            | Self::CheckpointSignature { .. }
            | Self::CheckpointRoot { .. }
            | Self::CheckpointHead { .. }
            | Self::Trailing => None,
        }
    }
}
