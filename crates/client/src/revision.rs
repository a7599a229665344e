//! Where in a domain's log a request took effect: clients order what they saw by it.

use std::{fmt, str::FromStr};

use thiserror::Error;

/// The point at which a request took effect: `domain:log_index:position`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Revision {
    /// The domain's name.
    pub domain: String,
    /// Index of the Raft log entry.
    pub log_index: u64,
    /// Position within that entry.
    pub position: u32,
}

impl FromStr for Revision {
    type Err = RevisionError;

    fn from_str(text: &str) -> Result<Self, RevisionError> {
        let mut parts = text.rsplitn(3, ':');
        let position = parts.next().and_then(|part| part.parse().ok()).ok_or(RevisionError)?;
        let log_index = parts.next().and_then(|part| part.parse().ok()).ok_or(RevisionError)?;
        let domain = parts.next().filter(|domain| !domain.is_empty()).ok_or(RevisionError)?;
        Ok(Self { domain: domain.to_owned(), log_index, position })
    }
}

impl fmt::Display for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.domain, self.log_index, self.position)
    }
}

/// A text that is no revision.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("a revision is written DOMAIN:INDEX:POSITION; give one as a response carried it")]
pub struct RevisionError;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_revision_reads_back_as_written() {
        let revision = Revision { domain: "eu".to_owned(), log_index: 42, position: 7 };
        assert_eq!(revision.to_string(), "eu:42:7");
        assert_eq!("eu:42:7".parse::<Revision>().unwrap(), revision);
        for bad in ["", "eu", "eu:1", ":1:2", "eu:x:1", "eu:1:-1", "eu:1:99999999999"] {
            assert!(bad.parse::<Revision>().is_err(), "{bad}");
        }
    }
}
