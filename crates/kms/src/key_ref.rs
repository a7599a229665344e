//! How keys and aliases are named: ids, ARNs and alias names, parsed once and written in one form.
//!
//! It resolves nothing: which key an alias stands for is a record, read in `work.rs`.

use std::fmt;

use uuid::Uuid;

use crate::invalid::Invalid;
use crate::refusal::Refusal;

/// The longest text that names a key, in bytes: no ARN of ours is longer, nor is one that we audit.
const KEY_REF_BYTES_MAX: usize = 512;
const ALIAS_PREFIX: &str = "alias/";
const ALIAS_RESERVED: &str = "alias/aws/";
/// What may follow the prefix of an alias, in characters.
const ALIAS_CHARS_MAX: usize = 250;

/// How a domain shows itself in names: the region and account parts of its ARNs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DomainInfo {
    /// The domain's name, shown as a region.
    pub name: String,
    /// 12 digits.
    pub account: String,
}

impl DomainInfo {
    /// `arn:aws:kms:<domain>:<account>:key/<uuid>`.
    pub fn key_arn(&self, id: KeyId) -> String {
        format!("arn:aws:kms:{}:{}:key/{id}", self.name, self.account)
    }

    /// `arn:aws:iam::<account>:user/<name>`: a principal.
    pub fn principal_arn(&self, name: &str) -> String {
        format!("arn:aws:iam::{}:user/{name}", self.account)
    }

    /// `arn:aws:iam::<account>:root`: every principal, by its roles.
    pub fn root_arn(&self) -> String {
        format!("arn:aws:iam::{}:root", self.account)
    }

    /// `arn:aws:kms:<domain>:<account>:alias/<name>`.
    pub fn alias_arn(&self, alias: &AliasName) -> String {
        self.named_arn(alias.as_str())
    }

    /// The same, of a name as it is stored.
    pub(crate) fn named_arn(&self, alias: &str) -> String {
        format!("arn:aws:kms:{}:{}:{alias}", self.name, self.account)
    }
}

/// A key's id: a UUID, 16 bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyId([u8; 16]);

impl KeyId {
    /// The id of these bytes.
    pub const fn new(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// As it stands in record ids and ciphertexts.
    pub fn bytes(&self) -> &[u8; 16] {
        &self.0
    }

    /// Reads the one form that is shown: 36 characters with hyphens, in either case.
    pub fn parse(text: &str) -> Option<Self> {
        let hyphenated = text.len() == 36;
        Uuid::try_parse(text).ok().filter(|_| hyphenated).map(|id| Self(id.into_bytes()))
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Uuid::from_bytes(self.0).hyphenated().fmt(f)
    }
}

/// The name of an alias, with its prefix: `alias/` and 1 to 250 of a-z, A-Z, 0-9, `/`, `_` and `-`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AliasName(String);

impl AliasName {
    /// Reads the name of an alias that is to be created, moved or deleted.
    ///
    /// # Errors
    /// [`Invalid`] for none or one without the prefix; [`Refusal`] for one with other characters, or of
    /// AWS's own.
    pub fn parse(text: &str) -> Result<Self, Refusal> {
        if text.is_empty() {
            return Err(Invalid::Missing { member: "aliasName" }.into());
        }
        if !text.starts_with(ALIAS_PREFIX) {
            return Err(Invalid::AliasPrefix.into());
        }
        if text.starts_with(ALIAS_RESERVED) {
            return Err(Refusal::AliasReserved);
        }
        Self::well_formed(text).ok_or(Refusal::AliasCharacters)
    }

    fn well_formed(text: &str) -> Option<Self> {
        let rest = text.strip_prefix(ALIAS_PREFIX)?;
        let fits = (1..=ALIAS_CHARS_MAX).contains(&rest.len());
        let plain = rest.bytes().all(|b| b.is_ascii_alphanumeric() || b"/_-".contains(&b));
        (fits && plain).then(|| Self(text.to_owned()))
    }

    /// The name, prefix included.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for AliasName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// How a request names a key: by id, by alias, or by the ARN of either.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyRef {
    /// The ARN's region and account; none when only id or alias was given.
    pub(crate) home: Option<DomainInfo>,
    pub(crate) name: KeyName,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum KeyName {
    Id(KeyId),
    Alias(AliasName),
}

impl KeyRef {
    /// By its id.
    pub(crate) fn of(key: KeyId) -> Self {
        Self { home: None, name: KeyName::Id(key) }
    }

    /// Reads any of the four forms.
    ///
    /// # Errors
    /// [`Refusal::InvalidKeyRef`] for anything else.
    pub fn parse(text: &str) -> Result<Self, Refusal> {
        if text.is_empty() {
            return Err(Invalid::Missing { member: "keyId" }.into());
        }
        let parsed = if text.len() > KEY_REF_BYTES_MAX { None } else { Self::any_form(text) };
        parsed.ok_or_else(|| Refusal::InvalidKeyRef { given: shown(text) })
    }

    /// The same, where the protocol takes no alias: where a key is changed, not used.
    pub(crate) fn parse_key(text: &str) -> Result<Self, Refusal> {
        Self::parse_key_as("keyId", text)
    }

    /// The same, in another member of the request.
    pub(crate) fn parse_key_as(member: &'static str, text: &str) -> Result<Self, Refusal> {
        if text.is_empty() {
            return Err(Invalid::Missing { member }.into());
        }
        let parsed = Self::parse(text)?;
        match parsed.name {
            KeyName::Id(_) => Ok(parsed),
            KeyName::Alias(_) => Err(Refusal::InvalidKeyRef { given: shown(text) }),
        }
    }

    /// The same, where the protocol lets a key go unnamed.
    pub(crate) fn parse_optional(text: &str) -> Result<Option<Self>, Refusal> {
        if text.is_empty() { Ok(None) } else { Self::parse(text).map(Some) }
    }

    fn any_form(text: &str) -> Option<Self> {
        let Some(arn) = text.strip_prefix("arn:aws:kms:") else {
            let name = match KeyId::parse(text) {
                Some(id) => KeyName::Id(id),
                None => KeyName::Alias(AliasName::well_formed(text)?),
            };
            return Some(Self { home: None, name });
        };
        let mut parts = arn.splitn(3, ':');
        let (region, account, resource) = (parts.next()?, parts.next()?, parts.next()?);
        let name = match resource.strip_prefix("key/") {
            Some(id) => KeyName::Id(KeyId::parse(id)?),
            None => KeyName::Alias(AliasName::well_formed(resource)?),
        };
        let home = DomainInfo { name: region.to_owned(), account: account.to_owned() };
        Some(Self { home: Some(home), name })
    }

    /// As an ARN: of the place it names, else of `domain`.
    pub(crate) fn arn(&self, domain: &DomainInfo) -> String {
        let home = self.home.as_ref().unwrap_or(domain);
        match &self.name {
            KeyName::Id(id) => home.key_arn(*id),
            KeyName::Alias(alias) => home.alias_arn(alias),
        }
    }
}

/// How much of a refused name an error repeats: enough to recognise it, too little to flood a log.
pub(crate) fn shown(text: &str) -> String {
    const CHARS_MAX: usize = 128;
    text.chars().take(CHARS_MAX).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "01234567-89ab-4def-8123-456789abcdef";

    #[test]
    fn every_form_of_a_key_ref_is_read_and_written() {
        let eu = DomainInfo { name: "eu".into(), account: "000000000001".into() };
        for (given, arn) in [
            (ID, "arn:aws:kms:eu:000000000001:key/01234567-89ab-4def-8123-456789abcdef"),
            ("alias/a", "arn:aws:kms:eu:000000000001:alias/a"),
            ("arn:aws:kms:us:000000000002:alias/a/b", "arn:aws:kms:us:000000000002:alias/a/b"),
        ] {
            assert_eq!(KeyRef::parse(given).unwrap().arn(&eu), arn);
        }
        let arn = eu.key_arn(KeyId::parse(ID).unwrap());
        assert_eq!(KeyRef::parse(&arn).unwrap().arn(&eu), arn);
    }

    #[test]
    fn what_names_no_key_is_refused_as_aws_does() {
        for bad in [
            "fake-key-id",
            "0123456789ab4def8123456789abcdef",
            "mrk-fake",
            "alias/",
            "alias/ä",
            "arn:aws:kms:eu:1",
        ] {
            let refusal = KeyRef::parse(bad).unwrap_err();
            assert_eq!(refusal.name(), "NotFoundException");
            assert_eq!(refusal.message(), format!("Invalid keyId '{bad}'"));
        }
        let long = KeyRef::parse(&"x".repeat(100_000)).unwrap_err().message();
        assert!(long.len() < 200, "{long}");
    }

    #[test]
    fn alias_names_follow_the_rule() {
        assert!(AliasName::parse(&format!("alias/{}", "a".repeat(250))).is_ok());
        for (bad, name) in [
            ("a", "ValidationException"),
            ("alias/aws/x", "InvalidAliasNameException"),
            ("alias/", "InvalidAliasNameException"),
            ("alias/a:b", "InvalidAliasNameException"),
            (&format!("alias/{}", "a".repeat(251)), "InvalidAliasNameException"),
        ] {
            assert_eq!(AliasName::parse(bad).unwrap_err().name(), name, "{bad}");
        }
    }
}
