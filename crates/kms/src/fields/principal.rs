//! Who asks, in which roles, and by which id the request is known.

use conclave_policy::{UserArn, is_principal_name};
use conclave_proto::record;

use crate::fields::bounds::check_len;
use crate::invalid::Invalid;
use crate::key_ref::{DomainInfo, shown};
use crate::refusal::Refusal;

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
        if !is_principal_name(text) {
            return Err(Invalid::PrincipalName { given: shown(text) }.into());
        }
        Ok(Self(text.to_owned()))
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

/// How a request names a principal: by its name, or by its ARN, `arn:aws:iam::ACCOUNT:user/NAME`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PrincipalRef {
    /// The ARN's; none when only the name was given.
    account: Option<String>,
    name: String,
}

impl PrincipalRef {
    /// Reads either form from the request's `member`.
    ///
    /// # Errors
    /// [`Refusal::InvalidPrincipal`] for anything else.
    pub fn parse(member: &'static str, text: &str) -> Result<Self, Refusal> {
        if text.is_empty() {
            return Err(Invalid::Missing { member }.into());
        }
        if is_principal_name(text) {
            return Ok(Self { account: None, name: text.to_owned() });
        }
        let arn = UserArn::parse(text);
        let arn = arn.ok_or_else(|| Refusal::InvalidPrincipal { given: shown(text) })?;
        let account = Some(arn.account().as_str().to_owned());
        Ok(Self { account, name: arn.name().to_owned() })
    }

    /// The same, where it may be left out.
    pub(crate) fn parse_optional(
        member: &'static str,
        text: &str,
    ) -> Result<Option<Self>, Refusal> {
        if text.is_empty() { Ok(None) } else { Self::parse(member, text).map(Some) }
    }

    /// The one form that is kept and shown: its ARN.
    ///
    /// # Errors
    /// [`Refusal::InvalidPrincipal`] for a principal of another account.
    pub(crate) fn arn(&self, domain: &DomainInfo) -> Result<String, Refusal> {
        match &self.account {
            Some(account) if *account != domain.account => {
                Err(Refusal::InvalidPrincipal { given: self.told() })
            }
            _ => Ok(domain.principal_arn(&self.name)),
        }
    }

    /// As it was given.
    pub(crate) fn told(&self) -> String {
        match &self.account {
            Some(account) => format!("arn:aws:iam::{account}:user/{}", self.name),
            None => self.name.clone(),
        }
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
