//! Whom a statement is about. A principal of the service is a *user* of IAM here: whoever a client
//! certificate names NAME is `arn:aws:iam::ACCOUNT:user/NAME`.

use std::fmt;

use crate::document::{Listed, VALUES_MAX};
use crate::error::{Fault, PolicyError, shown};
use crate::json::Json;
use crate::parts::{Members, one_or_many, text};

const ARN_PREFIX: &str = "arn:aws:iam::";
const NAME_BYTES_MAX: usize = 63;
const ROLE_BYTES_MAX: usize = 576;

/// Whether a certificate could carry the name: 1 to 63 of a-z, 0-9, '.', '_' and '-', beginning with a
/// letter or digit.
pub fn is_principal_name(text: &str) -> bool {
    let alphanumeric = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    text.len() <= NAME_BYTES_MAX
        && text.bytes().next().is_some_and(alphanumeric)
        && text.bytes().all(|byte| alphanumeric(byte) || b"._-".contains(&byte))
}

/// An account: 12 digits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccountId(String);

impl AccountId {
    /// Reads 12 digits; `None` for anything else.
    pub fn parse(text: &str) -> Option<Self> {
        let digits = text.len() == 12 && text.bytes().all(|byte| byte.is_ascii_digit());
        digits.then(|| Self(text.to_owned()))
    }

    /// The digits.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A principal of the service by its ARN.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UserArn {
    account: AccountId,
    name: String,
}

impl UserArn {
    /// Reads `arn:aws:iam::ACCOUNT:user/NAME`; `None` for anything else.
    pub fn parse(text: &str) -> Option<Self> {
        let (account, name) = text.strip_prefix(ARN_PREFIX)?.split_once(":user/")?;
        let account = AccountId::parse(account)?;
        is_principal_name(name).then(|| Self { account, name: name.to_owned() })
    }

    /// Whose it is.
    pub fn account(&self) -> &AccountId {
        &self.account
    }

    /// As the certificate has it.
    pub fn name(&self) -> &str {
        &self.name
    }
}

impl fmt::Display for UserArn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{ARN_PREFIX}{}:user/{}", self.account.0, self.name)
    }
}

/// Whom a statement names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Principal {
    /// `*`
    Everyone,
    /// An account, by its digits or as `arn:aws:iam::ACCOUNT:root`: every principal, by its roles.
    Account(AccountId),
    /// One principal.
    User(UserArn),
    /// A role of IAM. Nobody takes one on here, so it is nobody's name; documents may have it.
    Role {
        /// Whose it is.
        account: AccountId,
        /// With its path.
        name: String,
    },
}

impl Principal {
    fn parse(text: &str) -> Option<Self> {
        if text == "*" {
            return Some(Self::Everyone);
        }
        if let Some(account) = AccountId::parse(text) {
            return Some(Self::Account(account));
        }
        if let Some(user) = UserArn::parse(text) {
            return Some(Self::User(user));
        }
        let (account, rest) = text.strip_prefix(ARN_PREFIX)?.split_once(':')?;
        let account = AccountId::parse(account)?;
        match rest.strip_prefix("role/") {
            Some(name) if is_role(name) => Some(Self::Role { account, name: name.to_owned() }),
            Some(_) => None,
            None => (rest == "root").then_some(Self::Account(account)),
        }
    }

    /// Whose it is; nobody's if it is everyone.
    pub fn account(&self) -> Option<&AccountId> {
        match self {
            Self::Everyone => None,
            Self::Account(account) | Self::Role { account, .. } => Some(account),
            Self::User(user) => Some(&user.account),
        }
    }

    pub(crate) fn is(&self, account: &str, name: &str) -> bool {
        match self {
            Self::Everyone => true,
            Self::Account(named) => named.0 == account,
            Self::User(user) => user.account.0 == account && user.name == name,
            Self::Role { .. } => false,
        }
    }
}

impl fmt::Display for Principal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Everyone => f.write_str("*"),
            Self::Account(account) => write!(f, "{ARN_PREFIX}{}:root", account.0),
            Self::User(user) => user.fmt(f),
            Self::Role { account, name } => write!(f, "{ARN_PREFIX}{}:role/{name}", account.0),
        }
    }
}

fn is_role(name: &str) -> bool {
    (1..=ROLE_BYTES_MAX).contains(&name.len())
        && !name.starts_with('/')
        && !name.ends_with('/')
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+=,.@_-/".contains(&byte))
}

/// The principals of a statement: `"*"`, or an object of lists by type, of which there is one.
pub(crate) fn principals(statement: &mut Members) -> Result<Listed<Principal>, PolicyError> {
    let (json, member, except) = statement.either("Principal", "NotPrincipal")?;
    let at = statement.at(member);
    let list = match json {
        Json::Text(text) if text == "*" => {
            return Ok(Listed { except, of: vec![Principal::Everyone] });
        }
        Json::Text(text) => {
            return Err(Fault::value(&text, "'*' or an object with AWS in it").at(&at));
        }
        Json::Object(_) => {
            let mut types = Members::of(at, json)?;
            let named = types.require("AWS")?;
            let at = types.at("AWS");
            // A service, a federated or a canonical user has no certificate.
            types.end("AWS alone: no principal of this service is of another type")?;
            (at, named)
        }
        other => {
            let fault = Fault::Type { wanted: "'*' or an object", found: other.kind() };
            return Err(fault.at(&at));
        }
    };
    let (at, named) = list;
    let principal = |json| {
        let named = text(&at, json)?;
        let invalid = || PolicyError::Principal { at: at.clone(), value: shown(&named) };
        Principal::parse(&named).ok_or_else(invalid)
    };
    let of = one_or_many(&at, named, VALUES_MAX)?.into_iter().map(principal);
    Ok(Listed { except, of: of.collect::<Result<_, _>>()? })
}
