//! What grants are named by, and what they are bound to.

use std::collections::BTreeMap;
use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use conclave_proto::v1;

use crate::fields::bounds::check_len;
use crate::fields::payload::EncryptionContext;
use crate::invalid::Invalid;
use crate::key_ref::{KeyId, shown};
use crate::refusal::Refusal;

/// A grant's id: 16 bytes, shown as 32 hex digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GrantId([u8; 16]);

impl GrantId {
    /// The id of these bytes.
    pub const fn new(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// As it stands in record ids and tokens.
    pub fn bytes(&self) -> &[u8; 16] {
        &self.0
    }

    /// Reads the one form that is shown, in either case.
    ///
    /// # Errors
    /// [`Refusal::InvalidGrantId`] for anything else, [`Invalid`] for nothing at all.
    pub fn parse(text: &str) -> Result<Self, Refusal> {
        if text.is_empty() {
            return Err(Invalid::Missing { member: "grantId" }.into());
        }
        Self::from_hex(text).ok_or_else(|| Refusal::InvalidGrantId { given: shown(text) })
    }

    /// Where a list goes on, after the grant of this id.
    ///
    /// # Errors
    /// [`Refusal::InvalidMarker`] for anything else.
    pub(crate) fn parse_marker(text: &str) -> Result<Option<Self>, Refusal> {
        match text {
            "" => Ok(None),
            marker => Self::from_hex(marker).map(Some).ok_or(Refusal::InvalidMarker),
        }
    }

    fn from_hex(text: &str) -> Option<Self> {
        let mut id = [0; 16];
        hex::decode_to_slice(text, &mut id).ok().map(|()| Self(id))
    }
}

impl fmt::Display for GrantId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

/// A grant's name: 1 to 256 of a-z, A-Z, 0-9, `:`, `/`, `_` and `-`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GrantName(String);

impl GrantName {
    /// None if nothing is given.
    ///
    /// # Errors
    /// [`Invalid`] for a longer name or other characters.
    pub fn parse(text: String) -> Result<Option<Self>, Refusal> {
        const CHARS_MAX: usize = 256;
        if text.is_empty() {
            return Ok(None);
        }
        check_len("name", text.len(), 1, CHARS_MAX, "")?;
        if !text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b":/_-".contains(&byte)) {
            let (value, pattern) = (shown(&text), "^[a-zA-Z0-9:/_-]+$");
            return Err(Invalid::Pattern { member: "name", value, pattern }.into());
        }
        Ok(Some(Self(text)))
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

/// What finds a grant, and does no more: whoever has it may nothing by it. Base64 of a format byte,
/// the key's id and the grant's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GrantToken {
    /// The grant's key.
    pub key: KeyId,
    /// The grant.
    pub grant: GrantId,
}

impl GrantToken {
    const FORMAT: u8 = 1;

    /// Reads the one form that is shown.
    ///
    /// # Errors
    /// [`Refusal::InvalidGrantToken`] for anything else.
    pub fn parse(text: &str) -> Result<Self, Refusal> {
        let bytes = STANDARD.decode(text).map_err(|_| Refusal::InvalidGrantToken)?;
        let (format, ids) = bytes.split_first().ok_or(Refusal::InvalidGrantToken)?;
        let ids: &[u8; 32] = ids.try_into().map_err(|_| Refusal::InvalidGrantToken)?;
        if *format != Self::FORMAT {
            return Err(Refusal::InvalidGrantToken);
        }
        let (mut key, mut grant) = ([0; 16], [0; 16]);
        key.copy_from_slice(&ids[..16]);
        grant.copy_from_slice(&ids[16..]);
        Ok(Self { key: KeyId::new(key), grant: GrantId(grant) })
    }
}

impl fmt::Display for GrantToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes = [&[Self::FORMAT][..], self.key.bytes(), self.grant.bytes()].concat();
        f.write_str(&STANDARD.encode(bytes))
    }
}

/// Grants that came too late to be known everywhere: here each is, so they are looked at and no more.
#[derive(Debug, Clone, Copy)]
pub struct GrantTokens;

impl GrantTokens {
    /// At most ten, of 1 to 8192 characters each.
    ///
    /// # Errors
    /// [`Invalid`] out of bounds, [`Refusal::InvalidGrantToken`] for what is none.
    pub fn parse(tokens: &[String]) -> Result<Self, Refusal> {
        check_len("grantTokens", tokens.len(), 0, 10, "")?;
        for token in tokens {
            check_len("grantTokens.member", token.len(), 1, 8192, "")?;
            GrantToken::parse(token)?;
        }
        Ok(Self)
    }
}

/// What the encryption context has to be of whatever a grant allows. Both hold where both are given.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct GrantConstraints {
    /// These pairs and no others; empty: anything.
    pub(crate) equals: EncryptionContext,
    /// These pairs among others.
    pub(crate) subset: EncryptionContext,
}

impl GrantConstraints {
    /// At most 8 pairs of each, values of at most 384 characters.
    ///
    /// # Errors
    /// [`Invalid`] out of bounds, [`Refusal::NotOffered`] for a source ARN.
    pub fn parse(sent: Option<v1::GrantConstraints>) -> Result<Self, Refusal> {
        let Some(sent) = sent else { return Ok(Self::default()) };
        if sent.source_arn.is_some_and(|arn| !arn.is_empty()) {
            return Err(Refusal::NotOffered { what: "SourceArn".to_owned() });
        }
        Ok(Self {
            equals: context("constraints.encryptionContextEquals", sent.encryption_context_equals)?,
            subset: context("constraints.encryptionContextSubset", sent.encryption_context_subset)?,
        })
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.equals.pairs().is_empty() && self.subset.pairs().is_empty()
    }
}

fn context(
    member: &'static str,
    pairs: BTreeMap<String, String>,
) -> Result<EncryptionContext, Refusal> {
    const PAIRS_MAX: usize = 8;
    const VALUE_CHARS_MAX: usize = 384;
    check_len(member, pairs.len(), 0, PAIRS_MAX, "")?;
    for value in pairs.values() {
        check_len(member, value.chars().count(), 0, VALUE_CHARS_MAX, "")?;
    }
    EncryptionContext::parse(pairs)
}
