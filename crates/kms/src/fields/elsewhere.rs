//! Names of what there is in AWS KMS and not here: bounded, audited, and found nowhere.

use crate::fields::bounds::check_len;
use crate::invalid::Invalid;
use crate::refusal::Refusal;

/// The name of a domain, 1 to 32 bytes, as ARNs show it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RegionName(String);

impl RegionName {
    /// Takes `text` over from the request's `member`.
    ///
    /// # Errors
    /// [`Invalid`] if it is missing or too long.
    pub fn parse(member: &'static str, text: String) -> Result<Self, Refusal> {
        if text.is_empty() {
            return Err(Invalid::Missing { member }.into());
        }
        check_len(member, text.len(), 1, 32, "")?;
        Ok(Self(text))
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

/// The id of a custom key store, up to 64 bytes, or its name, up to 256.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyStoreName(String);

impl KeyStoreName {
    /// Takes an id over, if one is given.
    ///
    /// # Errors
    /// [`Invalid`] if it is too long.
    pub fn parse_id(text: String) -> Result<Option<Self>, Refusal> {
        Self::parse("customKeyStoreId", text, 64)
    }

    /// Takes a name over, if one is given.
    ///
    /// # Errors
    /// [`Invalid`] if it is too long.
    pub fn parse_name(text: String) -> Result<Option<Self>, Refusal> {
        Self::parse("customKeyStoreName", text, 256)
    }

    fn parse(member: &'static str, text: String, max: usize) -> Result<Option<Self>, Refusal> {
        check_len(member, text.len(), 0, max, "")?;
        Ok(Some(Self(text)).filter(|given| !given.0.is_empty()))
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

/// Longest key policy that AWS KMS reads, in characters.
const POLICY_CHARS_MAX: usize = 131_072;

/// Bounds the policy of a key that there will not be.
///
/// # Errors
/// [`Invalid`] if it is too long.
pub(crate) fn check_policy(text: &str) -> Result<(), Refusal> {
    Ok(check_len("policy", text.chars().count(), 0, POLICY_CHARS_MAX, "")?)
}
