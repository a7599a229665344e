//! Who may do what: the only place that says yes. Whatever is not in [`Action::roles`] is denied.
//!
//! Which records a yes or no rests on is not seen to here: the principal was read through `Reads`,
//! so its record, or its absence, is a guard of the decision already.

use crate::fields::Role;
use crate::records::PrincipalRecord;

/// What authorisation and audit know a request by. The names are AWS KMS's where it has one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names say it")]
pub enum Action {
    AddNodes,
    RemoveNode,
    SealNode,
    CreatePrincipal,
    DeletePrincipal,
    ListPrincipals,
    CreateKey,
    DescribeKey,
    ListKeys,
    EnableKey,
    DisableKey,
    RotateKeyOnDemand,
    ScheduleKeyDeletion,
    CancelKeyDeletion,
    Encrypt,
    Decrypt,
    ReEncrypt,
    GenerateDataKey,
    GenerateDataKeyWithoutPlaintext,
    GenerateRandom,
    ListAudit,
    ExportAudit,
}

impl Action {
    /// Every action.
    pub const ALL: [Self; 22] = [
        Self::AddNodes,
        Self::RemoveNode,
        Self::SealNode,
        Self::CreatePrincipal,
        Self::DeletePrincipal,
        Self::ListPrincipals,
        Self::CreateKey,
        Self::DescribeKey,
        Self::ListKeys,
        Self::EnableKey,
        Self::DisableKey,
        Self::RotateKeyOnDemand,
        Self::ScheduleKeyDeletion,
        Self::CancelKeyDeletion,
        Self::Encrypt,
        Self::Decrypt,
        Self::ReEncrypt,
        Self::GenerateDataKey,
        Self::GenerateDataKeyWithoutPlaintext,
        Self::GenerateRandom,
        Self::ListAudit,
        Self::ExportAudit,
    ];

    /// Who may.
    pub fn roles(self) -> &'static [Role] {
        use Role::{Auditor, KeyAdministrator, KeyUser, Operator};
        match self {
            Self::AddNodes | Self::RemoveNode | Self::SealNode => &[Operator],
            Self::CreatePrincipal | Self::DeletePrincipal => &[Operator],
            Self::ListPrincipals => &[Operator, Auditor],
            Self::CreateKey
            | Self::EnableKey
            | Self::DisableKey
            | Self::RotateKeyOnDemand
            | Self::ScheduleKeyDeletion
            | Self::CancelKeyDeletion => &[KeyAdministrator],
            Self::DescribeKey | Self::ListKeys => &[KeyAdministrator, KeyUser, Auditor],
            Self::Encrypt
            | Self::Decrypt
            | Self::ReEncrypt
            | Self::GenerateDataKey
            | Self::GenerateDataKeyWithoutPlaintext
            | Self::GenerateRandom => &[KeyUser],
            Self::ListAudit | Self::ExportAudit => &[Auditor],
        }
    }

    /// As audit entries spell it.
    pub fn name(self) -> &'static str {
        match self {
            Self::AddNodes => "AddNodes",
            Self::RemoveNode => "RemoveNode",
            Self::SealNode => "SealNode",
            Self::CreatePrincipal => "CreatePrincipal",
            Self::DeletePrincipal => "DeletePrincipal",
            Self::ListPrincipals => "ListPrincipals",
            Self::CreateKey => "CreateKey",
            Self::DescribeKey => "DescribeKey",
            Self::ListKeys => "ListKeys",
            Self::EnableKey => "EnableKey",
            Self::DisableKey => "DisableKey",
            Self::RotateKeyOnDemand => "RotateKeyOnDemand",
            Self::ScheduleKeyDeletion => "ScheduleKeyDeletion",
            Self::CancelKeyDeletion => "CancelKeyDeletion",
            Self::Encrypt => "Encrypt",
            Self::Decrypt => "Decrypt",
            Self::ReEncrypt => "ReEncrypt",
            Self::GenerateDataKey => "GenerateDataKey",
            Self::GenerateDataKeyWithoutPlaintext => "GenerateDataKeyWithoutPlaintext",
            Self::GenerateRandom => "GenerateRandom",
            Self::ListAudit => "ListAudit",
            Self::ExportAudit => "ExportAudit",
        }
    }
}

/// What was found, and by which of the principal's roles.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Verdict {
    Allowed {
        by: Vec<Role>,
    },
    /// The principal has no role that may, or there is no such principal.
    Denied {
        known: bool,
    },
}

impl Verdict {
    /// As the audit entry's `decided_by`.
    pub(crate) fn decided_by(&self) -> Vec<String> {
        match self {
            Self::Allowed { by } => by.iter().map(|role| format!("role:{}", role.name())).collect(),
            Self::Denied { known: true } => vec!["default:deny".to_owned()],
            Self::Denied { known: false } => vec!["principal:unknown".to_owned()],
        }
    }
}

/// Whether `principal`, as its record stands, may do `action`.
pub(crate) fn authorize(principal: Option<&PrincipalRecord>, action: Action) -> Verdict {
    let Some(principal) = principal else { return Verdict::Denied { known: false } };
    let by: Vec<_> = principal
        .roles
        .as_slice()
        .iter()
        .copied()
        .filter(|role| action.roles().contains(role))
        .collect();
    if by.is_empty() { Verdict::Denied { known: true } } else { Verdict::Allowed { by } }
}
