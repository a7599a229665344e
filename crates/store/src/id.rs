//! The small named numbers and identifiers of the store.

use std::fmt;
use std::ops::Bound;

/// What a record is. Kinds below 32 are public: they stand in clear under fixed ids, and sealed
/// nodes read them. The blobs of all others are sealed by their proposer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Kind {
    /// Name, regions and parameters of the domain.
    Domain = 1,
    /// The members: names, regions, zones, addresses.
    Members = 2,
    /// Nodes admitted but not yet members.
    Admissions = 3,
    /// Verification keys and check value of a share epoch.
    ShareEpoch = 4,
    /// The number of the newest share epoch.
    ShareCounter = 5,
    /// A generation of the operator key.
    OperatorKey = 6,
    /// Wraps of the domain keys under the root key.
    DomainKeys = 7,
    /// Public halves of the root, intake and audit keys.
    PublicKeys = 8,
    /// The key that record ids of names are derived under.
    IndexKey = 32,
    /// The private half of the intake key.
    IntakeKey = 33,
    /// A numbered key that audit entries are sealed under.
    AuditKey = 34,
    /// The private half of the key that audit checkpoints are signed with.
    AuditSigningKey = 35,
    /// A node's seal root.
    NodeSealRoot = 36,
    /// A key of the service, with its backing keys.
    Key = 64,
    /// An alias of a key.
    Alias = 65,
    /// A principal and its policies.
    Principal = 66,
    /// The policy of a key, under it.
    KeyPolicy = 67,
    /// A grant, under its key.
    Grant = 68,
    /// Something that is to happen at a time: see [`RecordId::due`].
    Due = 69,
    /// What is left of something that was destroyed.
    Tombstone = 70,
}

impl Kind {
    /// Every kind, in order of its byte.
    pub const ALL: [Kind; 20] = [
        Kind::Domain,
        Kind::Members,
        Kind::Admissions,
        Kind::ShareEpoch,
        Kind::ShareCounter,
        Kind::OperatorKey,
        Kind::DomainKeys,
        Kind::PublicKeys,
        Kind::IndexKey,
        Kind::IntakeKey,
        Kind::AuditKey,
        Kind::AuditSigningKey,
        Kind::NodeSealRoot,
        Kind::Key,
        Kind::Alias,
        Kind::Principal,
        Kind::KeyPolicy,
        Kind::Grant,
        Kind::Due,
        Kind::Tombstone,
    ];

    /// Whether records of this kind stand in clear.
    pub const fn is_public(self) -> bool {
        self.byte() < 32
    }

    /// The kind's byte, first of a record id.
    pub const fn byte(self) -> u8 {
        self as u8
    }

    /// The kind of a byte; `None` if this version does not know it.
    pub fn from_byte(byte: u8) -> Option<Kind> {
        Kind::ALL.into_iter().find(|kind| kind.byte() == byte)
    }

    /// The ids of this kind that come after `after`, of whatever kind that is; `None`: there are none.
    pub(crate) fn ids_after(
        self,
        after: Option<&RecordId>,
    ) -> Option<(Bound<RecordId>, Bound<RecordId>)> {
        let (first, last) = (RecordId::singleton(self), RecordId::new(self, [0xff; 16]));
        let start = match after {
            Some(after) if *after >= last => return None,
            Some(after) if *after >= first => Bound::Excluded(*after),
            _ => Bound::Included(first),
        };
        Some((start, Bound::Included(last)))
    }
}

/// Names one record: its kind and 16 bytes. Ordered as its 17 bytes are.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RecordId {
    kind: Kind,
    id: [u8; 16],
}

impl RecordId {
    /// Length of an encoded record id.
    pub const LEN: usize = 17;

    /// A record of `kind` under `id`.
    pub const fn new(kind: Kind, id: [u8; 16]) -> RecordId {
        RecordId { kind, id }
    }

    /// The one record of its kind: sixteen zero bytes.
    pub const fn singleton(kind: Kind) -> RecordId {
        RecordId { kind, id: [0; 16] }
    }

    /// A record known by a number, big-endian in the last eight bytes.
    pub fn numbered(kind: Kind, number: u64) -> RecordId {
        let mut id = [0; 16];
        id[8..].copy_from_slice(&number.to_be_bytes());
        RecordId { kind, id }
    }

    /// Something due at a time, told from what else is due then by `what`. Of all records of kind
    /// [`Kind::Due`] the first in order of id is the first that is due.
    pub fn due(at: TimeMs, what: [u8; 8]) -> RecordId {
        let mut id = [0; 16];
        id[..8].copy_from_slice(&at.0.to_be_bytes());
        id[8..].copy_from_slice(&what);
        RecordId { kind: Kind::Due, id }
    }

    /// The time of a [`RecordId::due`] record; `None` for any other kind.
    pub fn due_at(&self) -> Option<TimeMs> {
        let at = self.id.first_chunk().filter(|_| self.kind == Kind::Due)?;
        Some(TimeMs(u64::from_be_bytes(*at)))
    }

    /// Reads kind byte ‖ id.
    pub fn parse(bytes: &[u8]) -> Result<RecordId, RecordIdError> {
        let (&kind, id) = bytes.split_first().ok_or(RecordIdError::Length { length: 0 })?;
        let id = id.try_into().map_err(|_| RecordIdError::Length { length: bytes.len() })?;
        let kind = Kind::from_byte(kind).ok_or(RecordIdError::UnknownKind { kind })?;
        Ok(RecordId { kind, id })
    }

    /// What the record is.
    pub const fn kind(&self) -> Kind {
        self.kind
    }

    /// The sixteen bytes after the kind.
    pub const fn id(&self) -> &[u8; 16] {
        &self.id
    }

    /// The number of a [`RecordId::numbered`] record; `None` if it cannot be one.
    pub fn number(&self) -> Option<u64> {
        let number = u128::from_be_bytes(self.id);
        u64::try_from(number).ok()
    }

    /// Kind byte ‖ id.
    pub fn to_bytes(self) -> [u8; RecordId::LEN] {
        let mut bytes = [0; RecordId::LEN];
        bytes[0] = self.kind.byte();
        bytes[1..].copy_from_slice(&self.id);
        bytes
    }
}

impl fmt::Display for RecordId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}/", self.kind)?;
        self.id.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for RecordId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Bytes that are not a record id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RecordIdError {
    /// Whoever sent this is at fault.
    #[error("a record id has 17 bytes, not {length}")]
    Length {
        /// How many there were.
        length: usize,
    },
    /// This version is too old for what it reads.
    #[error("record kind {kind} is unknown to this version; upgrade this node")]
    UnknownKind {
        /// The byte that names no kind here.
        kind: u8,
    },
}

/// Milliseconds since the Unix epoch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TimeMs(pub u64);

/// Position in the Raft log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LogIndex(pub u64);

impl fmt::Display for LogIndex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Where a txn took effect: a Raft log entry, and the txn's position within its batch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Revision {
    /// The log entry.
    pub log_index: LogIndex,
    /// Counted from 0 within it.
    pub position: u32,
}

impl fmt::Display for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.log_index, self.position)
    }
}

/// Names one txn for ever: a writer uses each of its sequence numbers once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TxnId {
    /// Index of the log entry that registered the writer.
    pub writer: u64,
    /// From 1.
    pub sequence: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn record_ids_read_back_and_sort_as_their_bytes_do() {
        let ids = [
            RecordId::singleton(Kind::Domain),
            RecordId::numbered(Kind::AuditKey, 7),
            RecordId::numbered(Kind::AuditKey, 256),
            RecordId::new(Kind::Key, [0xff; 16]),
            RecordId::new(Kind::Alias, [0; 16]),
        ];
        for pair in ids.windows(2) {
            assert!(pair[0] < pair[1] && pair[0].to_bytes() < pair[1].to_bytes());
        }
        for id in ids {
            assert_eq!(RecordId::parse(&id.to_bytes()), Ok(id));
        }
        assert_eq!(ids[1].number(), Some(7));
        assert_eq!(ids[3].number(), None);
        assert_eq!(ids[4].to_string(), "Alias/00000000000000000000000000000000");
    }

    /// What is due first comes first, which is what the kind is for.
    #[test]
    fn due_records_sort_by_time() {
        let due = |at, what| RecordId::due(TimeMs(at), [what; 8]);
        let ids = [due(0, 9), due(255, 0), due(256, 0), due(256, 1), due(u64::MAX, 0)];
        assert!(ids.is_sorted());
        assert_eq!(ids.map(|id| id.due_at().unwrap().0), [0, 255, 256, 256, u64::MAX]);
        assert_eq!(RecordId::numbered(Kind::Key, 7).due_at(), None);
    }

    #[test]
    fn what_is_no_record_id_says_whose_fault_it_is() {
        assert_eq!(RecordId::parse(&[]), Err(RecordIdError::Length { length: 0 }));
        assert_eq!(RecordId::parse(&[1; 18]), Err(RecordIdError::Length { length: 18 }));
        assert_eq!(RecordId::parse(&[200; 17]), Err(RecordIdError::UnknownKind { kind: 200 }));
    }

    #[test]
    fn only_kinds_below_32_are_public() {
        for kind in Kind::ALL {
            assert_eq!(kind.is_public(), kind.byte() < 32);
            assert_eq!(Kind::from_byte(kind.byte()), Some(kind));
        }
        assert!(Kind::ALL.is_sorted());
    }
}
