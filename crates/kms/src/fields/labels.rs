//! What people write on a key, for themselves: a description and tags.

use crate::fields::bounds::check_len;
use crate::invalid::InvalidTags;
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
        for (key, value) in &tags {
            check_len("tags.member.tagKey", key.chars().count(), 1, TAG_KEY_CHARS_MAX, "")?;
            check_len("tags.member.tagValue", value.chars().count(), 0, TAG_VALUE_CHARS_MAX, "")?;
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

    pub(crate) fn pairs(&self) -> &[(String, String)] {
        &self.0
    }
}
