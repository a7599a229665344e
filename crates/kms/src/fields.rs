//! The checked members of requests. Each is parsed once, bounded as AWS KMS bounds it, and can be
//! nothing else afterwards; key names have `key_ref.rs` to themselves.

use std::fmt;

use conclave_crypto::Secret;
use conclave_proto::{record, v1};

use crate::key_ref::shown;
use crate::refusal::{Invalid, InvalidTags, Refusal};

/// Longest plaintext, in bytes.
pub const PLAINTEXT_BYTES_MAX: usize = 4096;
/// Longest ciphertext, in bytes.
pub const CIPHERTEXT_BYTES_MAX: usize = 6144;
/// Longest description, in bytes.
pub const DESCRIPTION_BYTES_MAX: usize = 8192;
/// All names and values of one encryption context together, in bytes.
pub const CONTEXT_BYTES_MAX: usize = 8192;
/// Pairs of one encryption context: an audit entry holds 256 parameters, and the destination's
/// context of a ReEncrypt is among them.
pub const CONTEXT_PAIRS_MAX: usize = 250;
/// One name of an encryption context, in bytes, since audit entries bound names too.
pub const CONTEXT_NAME_BYTES_MAX: usize = 1024;
/// Tags of one key.
pub const TAGS_MAX: usize = 50;
/// All tags of one key together, in bytes: with description and versions they fit into a record.
pub const TAGS_BYTES_MAX: usize = 32 << 10;
const TAG_KEY_CHARS_MAX: usize = 128;
const TAG_VALUE_CHARS_MAX: usize = 256;
/// What GenerateDataKey and GenerateRandom give at most, in bytes.
pub const RANDOM_BYTES_MAX: u32 = 1024;
const PAGE_MAX: u32 = 1000;
const PRINCIPAL_BYTES_MAX: usize = 63;
const REQUEST_ID_BYTES_MAX: usize = 128;

/// What to encrypt: 1 to 4096 bytes.
#[derive(Debug)]
pub struct Plaintext(Secret);

impl Plaintext {
    /// Takes `bytes` over.
    ///
    /// # Errors
    /// [`Invalid`] for a length out of bounds; the bytes are wiped then too.
    pub fn parse(bytes: Vec<u8>) -> Result<Self, Refusal> {
        let secret = Secret::from_vec(bytes);
        let hint = "; encrypt larger data under a data key (GenerateDataKey, envelope encryption)";
        check_len("plaintext", secret.len(), 1, PLAINTEXT_BYTES_MAX, hint)?;
        Ok(Self(secret))
    }

    pub(crate) fn secret(&self) -> &Secret {
        &self.0
    }
}

/// What to decrypt: 1 to 6144 bytes. Whether they are one of our ciphertexts is found out later,
/// since saying no to that is audited.
#[derive(Clone, PartialEq, Eq)]
pub struct CiphertextBlob(Vec<u8>);

impl CiphertextBlob {
    /// Takes `bytes` over.
    ///
    /// # Errors
    /// [`Invalid`] for a length out of bounds.
    pub fn parse(bytes: Vec<u8>) -> Result<Self, Refusal> {
        check_len("ciphertextBlob", bytes.len(), 1, CIPHERTEXT_BYTES_MAX, "")?;
        Ok(Self(bytes))
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for CiphertextBlob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[ciphertext of {} bytes]", self.0.len())
    }
}

/// An encryption context: pairs sorted by name, each name once, names not empty, at most 8192 bytes.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct EncryptionContext(Vec<(String, String)>);

impl EncryptionContext {
    /// Sorts `pairs`.
    ///
    /// # Errors
    /// [`Invalid`] for a repeated or empty name, or too many bytes.
    pub fn parse(pairs: impl IntoIterator<Item = (String, String)>) -> Result<Self, Refusal> {
        const MEMBER: &str = "encryptionContext";
        let mut pairs: Vec<_> = pairs.into_iter().collect();
        check_len(MEMBER, pairs.len(), 0, CONTEXT_PAIRS_MAX, "")?;
        let bytes = pairs.iter().map(|(name, value)| name.len() + value.len()).sum();
        check_len(MEMBER, bytes, 0, CONTEXT_BYTES_MAX, "")?;
        for (name, _) in &pairs {
            check_len("encryptionContext.name", name.len(), 1, CONTEXT_NAME_BYTES_MAX, "")?;
        }
        pairs.sort();
        if pairs.windows(2).any(|pair| pair[0].0 == pair[1].0) {
            return Err(Invalid::Repeated { member: MEMBER }.into());
        }
        Ok(Self(pairs))
    }

    pub(crate) fn parse_proto(pairs: Vec<v1::ContextPair>) -> Result<Self, Refusal> {
        Self::parse(pairs.into_iter().map(|pair| (pair.name, pair.value)))
    }

    pub(crate) fn pairs(&self) -> &[(String, String)] {
        &self.0
    }
}

impl fmt::Debug for EncryptionContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[context of {} pairs]", self.0.len())
    }
}

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

/// How long a key waits for its deletion: 7 to 30 days.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Days(u32);

impl Days {
    /// 0 stands for 30.
    ///
    /// # Errors
    /// [`Invalid`] out of bounds.
    pub fn parse(days: u32) -> Result<Self, Refusal> {
        Ok(Self(check_number("pendingWindowInDays", if days == 0 { 30 } else { days }, 7, 30)?))
    }

    pub(crate) fn get(self) -> u32 {
        self.0
    }

    pub(crate) fn ms(self) -> u64 {
        u64::from(self.0) * 86_400_000
    }
}

/// The length of a data key: 1 to 1024 bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DataKeyBytes(u32);

impl DataKeyBytes {
    /// 0 stands for 32, an AES-256 key.
    ///
    /// # Errors
    /// [`Invalid`] out of bounds.
    pub fn parse(bytes: u32) -> Result<Self, Refusal> {
        let bytes = if bytes == 0 { 32 } else { bytes };
        Ok(Self(check_number("numberOfBytes", bytes, 1, RANDOM_BYTES_MAX)?))
    }

    pub(crate) fn get(self) -> u32 {
        self.0
    }
}

/// How much randomness: 1 to 1024 bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RandomBytes(u32);

impl RandomBytes {
    /// There is no default.
    ///
    /// # Errors
    /// [`Invalid`] out of bounds.
    pub fn parse(bytes: u32) -> Result<Self, Refusal> {
        Ok(Self(check_number("numberOfBytes", bytes, 1, RANDOM_BYTES_MAX)?))
    }

    pub(crate) fn get(self) -> u32 {
        self.0
    }
}

/// How much one page of a list holds: 1 to 1000.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PageLimit(u32);

impl PageLimit {
    /// 0 stands for 100.
    ///
    /// # Errors
    /// [`Invalid`] out of bounds.
    pub fn parse(limit: u32) -> Result<Self, Refusal> {
        Ok(Self(check_number("limit", if limit == 0 { 100 } else { limit }, 1, PAGE_MAX)?))
    }

    pub(crate) fn get(self) -> usize {
        self.0 as usize
    }
}

/// The name of a principal, by the rule of the certificates that carry it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PrincipalName(String);

impl PrincipalName {
    /// 1 to 63 of a-z, 0-9, '.', '_' and '-', beginning with a letter or digit.
    ///
    /// # Errors
    /// [`Invalid::PrincipalName`] for anything else.
    pub fn parse(text: &str) -> Result<Self, Refusal> {
        let alphanumeric = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
        let follows_rule = text.len() <= PRINCIPAL_BYTES_MAX
            && text.bytes().next().is_some_and(alphanumeric)
            && text.bytes().all(|byte| alphanumeric(byte) || b"._-".contains(&byte));
        if !follows_rule {
            return Err(Invalid::PrincipalName { given: shown(text) }.into());
        }
        Ok(Self(text.to_owned()))
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

/// What one request, and its retries, are known by: 1 to 128 visible ASCII characters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestId(String);

impl RequestId {
    /// # Errors
    /// [`Invalid::RequestId`] for anything else.
    pub fn parse(text: &str) -> Result<Self, Refusal> {
        let fits = (1..=REQUEST_ID_BYTES_MAX).contains(&text.len());
        if fits && text.bytes().all(|byte| byte.is_ascii_graphic()) {
            Ok(Self(text.to_owned()))
        } else {
            Err(Invalid::RequestId.into())
        }
    }

    /// The id itself.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// What a principal may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// Nodes and principals.
    Operator,
    /// The life of keys, not their use.
    KeyAdministrator,
    /// The use of keys.
    KeyUser,
    /// Reading what was done.
    Auditor,
}

impl Role {
    /// Every role.
    pub const ALL: [Self; 4] =
        [Self::Operator, Self::KeyAdministrator, Self::KeyUser, Self::Auditor];

    /// As requests and listings spell it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Operator => "operator",
            Self::KeyAdministrator => "key-administrator",
            Self::KeyUser => "key-user",
            Self::Auditor => "auditor",
        }
    }

    pub(crate) fn to_proto(self) -> record::Role {
        match self {
            Self::Operator => record::Role::Operator,
            Self::KeyAdministrator => record::Role::KeyAdministrator,
            Self::KeyUser => record::Role::KeyUser,
            Self::Auditor => record::Role::Auditor,
        }
    }

    pub(crate) fn from_proto(role: i32) -> Option<Self> {
        Self::ALL.into_iter().find(|known| known.to_proto() as i32 == role)
    }
}

/// A principal's roles: sorted, each once, at least one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Roles(Vec<Role>);

impl Roles {
    /// Reads the names of roles.
    ///
    /// # Errors
    /// [`Invalid`] for a name that is none, or if there is none at all.
    pub fn parse(names: &[String]) -> Result<Self, Refusal> {
        check_len("roles", names.len(), 1, Role::ALL.len(), "")?;
        let known = |name: &String| {
            let role = Role::ALL.into_iter().find(|role| role.name() == name);
            role.ok_or_else(|| Invalid::Role { given: shown(name) })
        };
        Ok(Self::new(names.iter().map(known).collect::<Result<_, _>>()?))
    }

    pub(crate) fn new(mut roles: Vec<Role>) -> Self {
        roles.sort_unstable();
        roles.dedup();
        Self(roles)
    }

    pub(crate) fn as_slice(&self) -> &[Role] {
        &self.0
    }
}

/// `len` in whatever the member is counted in.
fn check_len(
    member: &'static str,
    len: usize,
    min: usize,
    max: usize,
    hint: &'static str,
) -> Result<(), Invalid> {
    if len > max {
        return Err(Invalid::TooLong { member, max, hint });
    }
    if len < min {
        return Err(Invalid::TooShort { member, min });
    }
    Ok(())
}

fn check_number(member: &'static str, value: u32, min: u32, max: u32) -> Result<u32, Invalid> {
    if value > max {
        return Err(Invalid::TooLarge { member, value, max });
    }
    if value < min {
        return Err(Invalid::TooSmall { member, value, min });
    }
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told<T>(result: Result<T, Refusal>) -> String {
        match result {
            Ok(_) => "ok".to_owned(),
            Err(refusal) => refusal.reason(),
        }
    }

    fn pairs(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        pairs.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect()
    }

    /// Promised in the README: the limit is AWS's, and the refusal says what to do.
    #[test]
    fn a_plaintext_has_at_most_4096_bytes() {
        assert_eq!(told(Plaintext::parse(vec![0; 4096])), "ok");
        assert_eq!(
            told(Plaintext::parse(vec![0; 4097])),
            "ValidationException: 1 validation error detected: Value at 'plaintext' failed to \
             satisfy constraint: Member must have length less than or equal to 4096; encrypt \
             larger data under a data key (GenerateDataKey, envelope encryption)"
        );
        assert!(told(Plaintext::parse(Vec::new())).ends_with("greater than or equal to 1"));
    }

    #[test]
    fn numbers_have_bounds_and_defaults() {
        assert_eq!(Days::parse(0).unwrap(), Days(30));
        assert!(told(Days::parse(6)).contains("Value '6' at 'pendingWindowInDays'"));
        assert!(Days::parse(7).is_ok() && Days::parse(31).is_err());
        assert_eq!(DataKeyBytes::parse(0).unwrap(), DataKeyBytes(32));
        assert!(DataKeyBytes::parse(1024).is_ok() && DataKeyBytes::parse(1025).is_err());
        assert!(told(RandomBytes::parse(0)).ends_with("greater than or equal to 1"));
        assert!(told(RandomBytes::parse(1025)).ends_with("less than or equal to 1024"));
        assert_eq!(PageLimit::parse(0).unwrap(), PageLimit(100));
        assert!(PageLimit::parse(1000).is_ok() && PageLimit::parse(1001).is_err());
    }

    #[test]
    fn a_context_is_sorted_distinct_and_bounded() {
        let context = EncryptionContext::parse(pairs(&[("b", "1"), ("a", "2")])).unwrap();
        assert_eq!(context.pairs(), pairs(&[("a", "2"), ("b", "1")]));
        assert!(told(EncryptionContext::parse(pairs(&[("a", "1"), ("a", "2")]))).contains("twice"));
        assert!(EncryptionContext::parse(pairs(&[("", "1")])).is_err());
        let long = "v".repeat(CONTEXT_BYTES_MAX);
        assert!(EncryptionContext::parse(pairs(&[("n", &long)])).is_err());
        assert!(EncryptionContext::parse(pairs(&[("n", &long[1..])])).is_ok());
    }

    #[test]
    fn tags_follow_the_rules_of_aws() {
        let many = |n: usize| (0..n).map(|i| (i.to_string(), String::new()));
        assert_eq!(told(Tags::parse(many(50))), "ok");
        assert_eq!(told(Tags::parse(many(51))), "TagException: Too many tags");
        let twice = pairs(&[("a", "1"), ("a", "2")]);
        assert_eq!(told(Tags::parse(twice)), "TagException: Duplicate tag keys");
        let reserved = "TagException: Tags beginning with aws: are reserved";
        assert_eq!(told(Tags::parse(pairs(&[("aWs:x", "")]))), reserved);
        assert_eq!(told(Tags::parse(pairs(&[("äöü", "")]))), "ok");
        assert!(told(Tags::parse(pairs(&[("", "")]))).starts_with("ValidationException"));
        assert!(Tags::parse(pairs(&[(&"k".repeat(129), "")])).is_err());
        assert!(Tags::parse(pairs(&[("k", &"v".repeat(257))])).is_err());
    }

    #[test]
    fn roles_are_known_names() {
        let parse = |names: &[&str]| {
            Roles::parse(&names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>())
        };
        assert_eq!(parse(&["key-user", "operator", "key-user"]).unwrap().0.len(), 2);
        assert!(parse(&[]).is_err());
        assert!(told(parse(&["root"])).contains("'root' is no role"));
        for role in Role::ALL {
            assert_eq!(Role::from_proto(role.to_proto() as i32), Some(role));
        }
        assert_eq!(Role::from_proto(0), None);
    }
}
