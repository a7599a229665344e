//! What callers write on imported key material, and the ids that they know it by.

use crate::fields::bounds::check_len;
use crate::invalid::Invalid;
use crate::key_ref::shown;
use crate::refusal::Refusal;

const DESCRIPTION_CHARS_MAX: usize = 256;
const DESCRIPTION_PATTERN: &str = r"^[a-zA-Z0-9:/_\s.-]+$";
const ID_LEN: usize = 64;
const ID_PATTERN: &str = "^[a-f0-9]+$";

/// At most 256 of a-z, A-Z, 0-9, `:`, `/`, `_`, `.`, `-` and white space.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MaterialDescription(String);

impl MaterialDescription {
    /// None if it is empty.
    ///
    /// # Errors
    /// [`Invalid`] for other characters, or too many.
    pub fn parse_optional(text: String) -> Result<Option<Self>, Refusal> {
        const MEMBER: &str = "keyMaterialDescription";
        let plain = |b: u8| b.is_ascii_alphanumeric() || b":/_.- \t\n\x0b\x0c\r".contains(&b);
        if text.is_empty() {
            return Ok(None);
        }
        check_len(MEMBER, text.len(), 0, DESCRIPTION_CHARS_MAX, "")?;
        if !text.bytes().all(plain) {
            let value = shown(&text);
            let pattern = DESCRIPTION_PATTERN;
            return Err(Invalid::Pattern { member: MEMBER, value, pattern }.into());
        }
        Ok(Some(Self(text)))
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

/// The id of a key material, as it is shown: 64 lower-case hex digits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MaterialIdText(String);

impl MaterialIdText {
    /// None if it is empty.
    ///
    /// # Errors
    /// [`Invalid`] for anything else.
    pub fn parse_optional(text: &str) -> Result<Option<Self>, Refusal> {
        const MEMBER: &str = "keyMaterialId";
        if text.is_empty() {
            return Ok(None);
        }
        check_len(MEMBER, text.len(), ID_LEN, ID_LEN, "")?;
        if !text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b)) {
            let (value, pattern) = (shown(text), ID_PATTERN);
            return Err(Invalid::Pattern { member: MEMBER, value, pattern }.into());
        }
        Ok(Some(Self(text.to_owned())))
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}
