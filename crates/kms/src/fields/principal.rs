//! Who asks, in which roles, and by which id the request is known.

use conclave_proto::record;

use crate::fields::bounds::check_len;
use crate::invalid::Invalid;
use crate::key_ref::shown;
use crate::refusal::Refusal;

const PRINCIPAL_BYTES_MAX: usize = 63;
const REQUEST_ID_BYTES_MAX: usize = 128;

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
