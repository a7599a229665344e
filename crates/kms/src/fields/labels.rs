//! What people write on a key, for themselves: a description and tags.

use conclave_proto::v1;

use crate::fields::bounds::check_len;
use crate::invalid::{Invalid, InvalidTags};
use crate::refusal::Refusal;

/// Longest description, in bytes.
pub const DESCRIPTION_BYTES_MAX: usize = 8192;
/// Tags of one key.
pub const TAGS_MAX: usize = 50;
/// All tags of one key together, in bytes: with description and versions they fit into a record.
pub const TAGS_BYTES_MAX: usize = 32 << 10;
const TAG_KEY_CHARS_MAX: usize = 128;
const TAG_VALUE_CHARS_MAX: usize = 256;

/// At most 8192 bytes.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Description(String);

impl Description {
    /// Takes `text` over.
    ///
    /// # Errors
    /// [`Invalid`] if it is too long.
    pub fn parse(text: String) -> Result<Self, Refusal> {
        check_len("description", text.len(), 0, DESCRIPTION_BYTES_MAX, "")?;
        Ok(Self(text))
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

/// A key's tags, sorted by key, each key once.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Tags(Vec<(String, String)>);

impl Tags {
    /// Sorts `tags`, pairs of key and value.
    ///
    /// # Errors
    /// [`InvalidTags`] or [`Invalid`].
    pub fn parse(tags: impl IntoIterator<Item = (String, String)>) -> Result<Self, Refusal> {
        let mut tags: Vec<_> = tags.into_iter().collect();
        if tags.len() > TAGS_MAX {
            return Err(InvalidTags::TooMany.into());
        }
        for ((key, value), number) in tags.iter().zip(1..) {
            let member = |of: &str| format!("tags.{number}.member.{of}");
            check_text(member("tagKey"), key, TAG_KEY_CHARS_MAX)?;
            check_len(member("tagKey"), key.len(), 1, usize::MAX, "")?;
            check_text(member("tagValue"), value, TAG_VALUE_CHARS_MAX)?;
            if key.get(..4).is_some_and(|prefix| prefix.eq_ignore_ascii_case("aws:")) {
                return Err(InvalidTags::Reserved.into());
            }
        }
        let bytes = tags.iter().map(|(key, value)| key.len() + value.len()).sum();
        check_len("tags", bytes, 0, TAGS_BYTES_MAX, "")?;
        tags.sort();
        if tags.windows(2).any(|pair| pair[0].0 == pair[1].0) {
            return Err(InvalidTags::Repeated.into());
        }
        Ok(Self(tags))
    }

    pub(crate) fn parse_proto(tags: Vec<v1::Tag>) -> Result<Self, Refusal> {
        Self::parse(tags.into_iter().map(|tag| (tag.tag_key, tag.tag_value)))
    }

    pub(crate) fn pairs(&self) -> &[(String, String)] {
        &self.0
    }
}

/// `max` characters; more are repeated to the caller as AWS KMS does, up to a length.
fn check_text(member: String, text: &str, max: usize) -> Result<(), Invalid> {
    const SHOWN_MAX: usize = 512;
    if text.chars().count() <= max {
        return Ok(());
    }
    let value = text.chars().take(SHOWN_MAX).collect();
    Err(Invalid::TooLongText { member, value, max })
}
