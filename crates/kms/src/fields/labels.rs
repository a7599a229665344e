//! What people write on a key, for themselves: a description and tags.

use std::collections::BTreeMap;

use conclave_proto::v1;

use crate::fields::bounds::check_len;
use crate::invalid::{Invalid, InvalidTags};
use crate::refusal::Refusal;

/// Longest description, in bytes.
pub const DESCRIPTION_BYTES_MAX: usize = 8192;
/// Tags of one key.
pub const TAGS_MAX: u32 = 50;
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
        if tags.len() > TAGS_MAX as usize {
            return Err(InvalidTags::TooMany.into());
        }
        for ((key, value), number) in tags.iter().zip(1..) {
            let member = |of: &str| format!("tags.{number}.member.{of}");
            check_tag_key(member("tagKey"), key)?;
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

    /// Those that a key has, with these in the place of those of the same key.
    ///
    /// # Errors
    /// [`InvalidTags`] or [`Invalid`] if they are too many, or too long together.
    pub(crate) fn added_to(&self, present: &[(String, String)]) -> Result<Self, Refusal> {
        let all: BTreeMap<_, _> = present.iter().chain(&self.0).cloned().collect();
        Self::parse(all)
    }

    /// Those that a key has, without those of these keys.
    pub(crate) fn without(present: &[(String, String)], keys: &TagKeys) -> Self {
        let stays = |(key, _): &&(String, String)| !keys.0.contains(key);
        Self(present.iter().filter(stays).cloned().collect())
    }

    pub(crate) fn pairs(&self) -> &[(String, String)] {
        &self.0
    }
}

/// Keys of tags, sorted, each once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TagKeys(Vec<String>);

impl TagKeys {
    /// Sorts `keys`. That one stands twice does no harm.
    ///
    /// # Errors
    /// [`InvalidTags`] or [`Invalid`].
    pub fn parse(mut keys: Vec<String>) -> Result<Self, Refusal> {
        if keys.len() > TAGS_MAX as usize {
            return Err(InvalidTags::TooMany.into());
        }
        for (key, number) in keys.iter().zip(1..) {
            check_tag_key(format!("tagKeys.{number}.member"), key)?;
        }
        keys.sort();
        keys.dedup();
        Ok(Self(keys))
    }

    pub(crate) fn as_slice(&self) -> &[String] {
        &self.0
    }
}

/// Where a page of tags ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TagKey(String);

impl TagKey {
    /// A marker of [`TagKey::to_marker`]; `None` of any other.
    pub(crate) fn of_marker(marker: &str) -> Option<Self> {
        // No longer than that of the longest key.
        let bytes = (marker.len() <= 2 * 4 * TAG_KEY_CHARS_MAX).then(|| hex::decode(marker).ok());
        let key = String::from_utf8(bytes.flatten()?).ok()?;
        (1..=TAG_KEY_CHARS_MAX).contains(&key.chars().count()).then_some(Self(key))
    }

    /// In the characters that a marker may have.
    pub(crate) fn to_marker(key: &str) -> String {
        hex::encode(key)
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

fn check_tag_key(member: String, key: &str) -> Result<(), Invalid> {
    check_text(member.clone(), key, TAG_KEY_CHARS_MAX)?;
    check_len(member, key.len(), 1, usize::MAX, "")
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
