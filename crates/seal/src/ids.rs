//! Numbers and names of the seal, one type each, so that none is taken for another.

use std::fmt;

/// The 16 random bytes that a domain is bound by, in folders, associated data and peer calls.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DomainId(pub [u8; 16]);

impl DomainId {
    /// A domain id off the wire, out of a file or a record.
    ///
    /// # Errors
    /// [`DomainIdError`] unless there are exactly 16 bytes.
    pub fn from_slice(bytes: &[u8]) -> Result<Self, DomainIdError> {
        bytes.try_into().map(Self).map_err(|_| DomainIdError { found: bytes.len() })
    }

    /// The bytes themselves; they are not secret.
    pub fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

impl fmt::Display for DomainId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for DomainId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DomainId({self})")
    }
}

/// Bytes meant as a domain id were of another length.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a domain id is 16 bytes, these are {found}")]
pub struct DomainIdError {
    /// How many bytes there were.
    pub found: usize,
}

macro_rules! number {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub u64);

        impl $name {
            /// As derivations and associated data write it down.
            pub(crate) fn bytes(self) -> [u8; 8] {
                self.0.to_be_bytes()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

number! {
    /// A node's Raft id, made anew for every empty data folder. 0 means none and is never a member's.
    RaftId
}
number! {
    /// The number of a share epoch, from 1; none is ever dealt twice.
    EpochNumber
}
number! {
    /// Which operator key this is, from 1.
    OperatorGeneration
}
