//! An entry's one canonical encoding, and the commitment that the chain runs over.
//!
//! The encoding is prost's: fields in order of their numbers, defaults left out, no maps. That is
//! canonical for writing; a reader gets the same guarantee by encoding again and comparing.

use conclave_crypto::sha256;
use conclave_proto::audit::{Entry, Outcome, Pair};
use prost::Message;

use crate::Hash;

/// Most bytes of an encoded entry: with its salt, its framing and the seal's overhead it stays
/// within [`MAX_SEALED`](crate::MAX_SEALED).
pub const MAX_ENTRY: usize = 63 * 1024;

/// Most bytes of each single text (names, ids, addresses, the reason); only values of pairs may be
/// longer, since a key policy is one.
pub const MAX_TEXT: usize = 2048;

/// Most items of each list: far above what any request can name.
pub const MAX_ITEMS: usize = 256;

/// Length of the salt that makes a commitment hide a guessable entry.
pub const SALT_LEN: usize = 32;

/// A new entry, ready to be committed to: sorts its pairs, then checks it as [`check_entry`] does.
///
/// # Errors
/// As [`check_entry`].
pub fn new_entry(mut entry: Entry) -> Result<Entry, EntryError> {
    entry.parameters.sort_by(|a, b| a.name.cmp(&b.name));
    entry.encryption_context.sort_by(|a, b| a.name.cmp(&b.name));
    check_entry(&entry)?;
    Ok(entry)
}

/// Checks that `entry` is bounded, has an outcome, and names each pair once, in order.
///
/// # Errors
/// [`EntryError`], naming the field.
pub fn check_entry(entry: &Entry) -> Result<(), EntryError> {
    let texts = [
        ("request_id", &entry.request_id),
        ("retry_of", &entry.retry_of),
        ("principal", &entry.principal),
        ("certificate_serial", &entry.certificate_serial),
        ("source_address", &entry.source_address),
        ("node", &entry.node),
        ("region", &entry.region),
        ("action", &entry.action),
        ("reason", &entry.reason),
    ];
    for (field, text) in texts {
        check_text(field, text)?;
    }
    for (field, list) in [("resources", &entry.resources), ("decided_by", &entry.decided_by)] {
        check_count(field, list.len())?;
        list.iter().try_for_each(|text| check_text(field, text))?;
    }
    check_pairs("parameters", &entry.parameters)?;
    check_pairs("encryption_context", &entry.encryption_context)?;
    match Outcome::try_from(entry.outcome) {
        Ok(Outcome::Success | Outcome::Denied | Outcome::Refused) => {}
        Ok(Outcome::Unspecified) | Err(_) => {
            return Err(EntryError::Outcome { found: entry.outcome });
        }
    }
    match entry.encoded_len() {
        len if len > MAX_ENTRY => Err(EntryError::TooLong { field: "entry", len, max: MAX_ENTRY }),
        _ => Ok(()),
    }
}

/// The canonical encoding of `entry`.
pub fn encode_entry(entry: &Entry) -> Vec<u8> {
    entry.encode_to_vec()
}

/// Reads an entry, refusing every encoding but the canonical one and everything that
/// [`check_entry`] refuses.
///
/// # Errors
/// [`EntryError`].
pub fn decode_entry(bytes: &[u8]) -> Result<Entry, EntryError> {
    if bytes.len() > MAX_ENTRY {
        return Err(EntryError::TooLong { field: "entry", len: bytes.len(), max: MAX_ENTRY });
    }
    let entry = Entry::decode(bytes).map_err(|_| EntryError::NotAnEntry)?;
    if encode_entry(&entry) != bytes {
        return Err(EntryError::NotCanonical);
    }
    check_entry(&entry)?;
    Ok(entry)
}

/// What the chain holds of an entry: `SHA-256(salt ‖ entry)`.
pub fn commitment(salt: &[u8; SALT_LEN], entry: &[u8]) -> Hash {
    sha256(&[salt, entry])
}

fn check_pairs(field: &'static str, pairs: &[Pair]) -> Result<(), EntryError> {
    check_count(field, pairs.len())?;
    pairs.iter().try_for_each(|pair| check_text(field, &pair.name))?;
    match pairs.windows(2).all(|two| two[0].name < two[1].name) {
        true => Ok(()),
        false => Err(EntryError::Order { field }),
    }
}

fn check_count(field: &'static str, count: usize) -> Result<(), EntryError> {
    match count {
        0..=MAX_ITEMS => Ok(()),
        _ => Err(EntryError::TooMany { field, count }),
    }
}

fn check_text(field: &'static str, text: &str) -> Result<(), EntryError> {
    match text.len() {
        0..=MAX_TEXT => Ok(()),
        len => Err(EntryError::TooLong { field, len, max: MAX_TEXT }),
    }
}

/// Why something is no audit entry. Shows sizes and field names, never what an entry says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum EntryError {
    /// A text, or the whole, is over its limit.
    #[error("audit entry: {field} has {len} bytes, at most {max} are allowed")]
    TooLong {
        /// Which field, or "entry".
        field: &'static str,
        /// Bytes found.
        len: usize,
        /// Bytes allowed.
        max: usize,
    },
    /// A list is over [`MAX_ITEMS`].
    #[error("audit entry: {field} has {count} items, at most {MAX_ITEMS} are allowed")]
    TooMany {
        /// Which field.
        field: &'static str,
        /// Items found.
        count: usize,
    },
    /// The pairs' names must be distinct, and are kept in order.
    #[error("audit entry: the names in {field} are not sorted and distinct; give each name once")]
    Order {
        /// Which field.
        field: &'static str,
    },
    /// Every entry says how its operation ended.
    #[error("audit entry: {found} is no outcome")]
    Outcome {
        /// The number found.
        found: i32,
    },
    /// Not an `Entry` message.
    #[error("these bytes are not an audit entry")]
    NotAnEntry,
    /// Another encoding of an entry than the one that is committed to.
    #[error("these bytes are not an audit entry's canonical encoding (or a newer version's entry)")]
    NotCanonical,
}
