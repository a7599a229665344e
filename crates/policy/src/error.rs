//! What can be wrong with a document, and where.

use crate::document::POLICY_BYTES_MAX;

/// Why something is no policy. `Display` is for whoever wrote it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PolicyError {
    /// More than a policy may have.
    #[error("The policy has {bytes} bytes; at most {POLICY_BYTES_MAX} are allowed")]
    TooLong {
        /// How many it has.
        bytes: usize,
    },
    /// A character outside of Latin-1, or a control character.
    #[error(
        "The policy contains the character U+{code:04X}; write what is not tab, line end or \
         U+0020 to U+00FF as \\u escapes"
    )]
    Character {
        /// Unicode's number for it.
        code: u32,
    },
    /// No JSON, an object that names a member twice, or too deep.
    #[error("This policy contains invalid Json: {reason}")]
    Json {
        /// What the parser said, with line and column.
        reason: String,
    },
    /// A principal that is not of this domain, or none at all.
    #[error(
        "Policy contains a statement with one or more invalid principals. {at} names '{value}'"
    )]
    Principal {
        /// Where it stands.
        at: String,
        /// What was given, shortened.
        value: String,
    },
    /// An element that breaks its rules.
    #[error("{at}: {fault}")]
    Element {
        /// Where it stands: `Statement[0].Action`.
        at: String,
        /// What is wrong with it.
        fault: Fault,
    },
}

/// What is wrong with an element of a policy.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// JSON of another type.
    #[error("expected {wanted}, found {found}")]
    Type {
        /// What it has to be.
        wanted: &'static str,
        /// What it is.
        found: &'static str,
    },
    /// A member that there is not.
    #[error("has the unknown member '{member}'; there are {known}")]
    Unknown {
        /// Its name, shortened.
        member: String,
        /// Those there are.
        known: &'static str,
    },
    /// A member that has to be there.
    #[error("{member} is missing")]
    Missing {
        /// Its name.
        member: &'static str,
    },
    /// Two members that exclude each other.
    #[error("has both {one} and {other}; give one of them")]
    Both {
        /// The one.
        one: &'static str,
        /// The other.
        other: &'static str,
    },
    /// A list or text without anything in it.
    #[error("is empty")]
    Empty,
    /// A list with too much in it.
    #[error("has more than {max} elements")]
    TooMany {
        /// The most it may have.
        max: usize,
    },
    /// A text that is none of those it can be.
    #[error("'{value}' is not {wanted}")]
    Value {
        /// What was given, shortened.
        value: String,
        /// What it has to be.
        wanted: &'static str,
    },
}

impl Fault {
    pub(crate) fn at(self, at: &str) -> PolicyError {
        PolicyError::Element { at: at.to_owned(), fault: self }
    }

    pub(crate) fn value(value: &str, wanted: &'static str) -> Self {
        Self::Value { value: shown(value), wanted }
    }
}

/// How much of what was given an error repeats.
pub(crate) fn shown(text: &str) -> String {
    const CHARS_MAX: usize = 64;
    text.chars().take(CHARS_MAX).collect()
}
