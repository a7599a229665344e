//! The audit log: what an entry says, the hash chain over all entries, and the proofs taken from it.
//!
//! Pure: bytes in, bytes and verdicts out. This crate neither opens what is sealed nor reads a
//! file or a clock; the replica keeps the segment files, `seal` opens the entries, the command
//! line reads exports.
//!
//! Bottom up: [`entry`] is what gets committed to, [`tree`] and [`chain`] are the two hashes over
//! all commitments, [`segment`] is how steps lie on disk, [`note`] and [`checkpoint`] are what the
//! domain signs, [`export`] is what an auditor receives and [`verify`] how they check it without
//! trusting whoever handed it over.

pub mod chain;
pub mod checkpoint;
pub mod entry;
pub mod export;
pub mod note;
pub mod segment;
pub mod tree;
pub mod verify;

pub use chain::{
    Head, HeadError, MAX_SEALED, StepData, StepError, check_sealed, check_step, step_hash,
};
pub use checkpoint::{Checkpoint, Origin};
pub use entry::{EntryError, check_entry, commitment, decode_entry, encode_entry, new_entry};
pub use note::{NoteError, VerifierKey};
pub use verify::{Expectation, Finding, Report, Verifier};

/// A SHA-256 digest: of a step, a tree node or a sealed entry.
pub type Hash = [u8; 32];

/// The 16 random bytes that tell a domain from every other, whatever its name.
pub type DomainId = [u8; 16];
