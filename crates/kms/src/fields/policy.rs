//! Key policies as requests bring them.

use conclave_crypto::sha256;
use conclave_policy::Policy;

use crate::fields::bounds::check_len;
use crate::invalid::Invalid;
use crate::refusal::Refusal;

/// A policy document: its text, which is kept, and what it says.
#[derive(Debug, Clone, PartialEq)]
pub struct PolicyDocument {
    text: String,
    policy: Policy,
}

impl PolicyDocument {
    /// Takes `text` over.
    ///
    /// # Errors
    /// [`Refusal::Policy`] for what is none, [`Invalid`] for nothing at all.
    pub fn parse(text: String) -> Result<Self, Refusal> {
        if text.is_empty() {
            return Err(Invalid::Missing { member: "policy" }.into());
        }
        let policy = Policy::parse(&text)?;
        Ok(Self { text, policy })
    }

    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    pub(crate) fn policy(&self) -> &Policy {
        &self.policy
    }

    /// SHA-256 of the text in hex: an audit entry has no room for the whole.
    pub(crate) fn digest(&self) -> String {
        hex::encode(sha256(&[self.text.as_bytes()]))
    }
}

/// The name of a key's one policy: `default`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PolicyName;

impl PolicyName {
    /// As it is shown.
    pub const TEXT: &str = "default";

    /// What is meant where none is given.
    ///
    /// # Errors
    /// [`Refusal::UnknownPolicy`] for any other.
    pub fn parse(text: &str) -> Result<Self, Refusal> {
        const CHARS_MAX: usize = 128;
        check_len("policyName", text.len(), 0, CHARS_MAX, "")?;
        if text.is_empty() || text == Self::TEXT { Ok(Self) } else { Err(Refusal::UnknownPolicy) }
    }
}
