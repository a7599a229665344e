//! Who may do what: the only place that says yes. Whatever is not in [`Action::roles`] is denied.
//!
//! Which records a yes or no rests on is not seen to here: the principal was read through `Reads`,
//! so its record, or its absence, is a guard of the decision already.

use crate::action::Action;
use crate::fields::{GrantOperation, Role};
use crate::records::{GrantRecord, PrincipalRecord};

impl Action {
    /// Who may.
    pub fn roles(self) -> &'static [Role] {
        use Role::{Auditor, KeyAdministrator, KeyUser, Operator};
        match self {
            Self::AddNodes
            | Self::RemoveNode
            | Self::SealNode
            | Self::DrainNode
            | Self::UndrainNode
            | Self::RotateRoot
            | Self::ExcludeNode
            | Self::DealOperatorShares
            | Self::RotateDomainKey => &[Operator],
            Self::CreatePrincipal | Self::DeletePrincipal => &[Operator],
            Self::ListPrincipals => &[Operator, Auditor],
            Self::CreateKey
            | Self::EnableKey
            | Self::DisableKey
            | Self::ScheduleKeyDeletion
            | Self::CancelKeyDeletion
            | Self::RotateKeyOnDemand
            | Self::EnableKeyRotation
            | Self::DisableKeyRotation => &[KeyAdministrator],
            Self::GetKeyRotationStatus | Self::ListKeyRotations | Self::GetKeyTombstone => {
                &[KeyAdministrator, Auditor]
            }
            // Nobody asks for it: its time comes.
            Self::RotateKey
            | Self::DeleteExpiredKeyMaterial
            | Self::DestroyKey
            | Self::DeleteGrantsOfDestroyedKey => &[],
            Self::GetParametersForImport
            | Self::ImportKeyMaterial
            | Self::DeleteImportedKeyMaterial => &[KeyAdministrator],
            Self::DescribeKey | Self::ListKeys | Self::GetPublicKey | Self::GetKeyLastUsage => {
                &[KeyAdministrator, KeyUser, Auditor]
            }
            Self::PutKeyPolicy | Self::CreateGrant | Self::RevokeGrant => &[KeyAdministrator],
            Self::GetKeyPolicy | Self::ListKeyPolicies | Self::ListGrants => {
                &[KeyAdministrator, Auditor]
            }
            Self::ListRetirableGrants => &[KeyAdministrator, KeyUser, Auditor],
            // Of which grants is said in `may_retire`.
            Self::RetireGrant => &[KeyAdministrator, KeyUser],
            Self::Encrypt
            | Self::Decrypt
            | Self::ReEncrypt
            | Self::GenerateDataKey
            | Self::GenerateDataKeyWithoutPlaintext
            | Self::GenerateDataKeyPair
            | Self::GenerateDataKeyPairWithoutPlaintext
            | Self::GenerateRandom
            | Self::Sign
            | Self::Verify
            | Self::GenerateMac
            | Self::VerifyMac
            | Self::DeriveSharedSecret
            | Self::Encapsulate
            | Self::Decapsulate => &[KeyUser],
            Self::ListAudit | Self::ExportAudit => &[Auditor],
            Self::CreateAlias
            | Self::UpdateAlias
            | Self::DeleteAlias
            | Self::TagResource
            | Self::UntagResource
            | Self::UpdateKeyDescription
            | Self::ReplicateKey
            | Self::UpdatePrimaryRegion
            | Self::CreateCustomKeyStore
            | Self::ConnectCustomKeyStore
            | Self::DisconnectCustomKeyStore
            | Self::UpdateCustomKeyStore
            | Self::DeleteCustomKeyStore => &[KeyAdministrator],
            Self::ListAliases | Self::ListResourceTags | Self::DescribeCustomKeyStores => {
                &[KeyAdministrator, KeyUser, Auditor]
            }
        }
    }
}

/// What was found, and by which of the principal's roles.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Verdict {
    Allowed {
        by: Vec<Role>,
    },
    /// Nobody asked: its time has come.
    Due,
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
            Self::Due => vec!["schedule".to_owned()],
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

/// Whether `principal`, whose ARN this is, may retire `grant`: its retiring principal may, its grantee if
/// the grant says so, and whoever could revoke it.
pub(crate) fn may_retire(principal: &PrincipalRecord, arn: &str, grant: &GrantRecord) -> bool {
    let retires = grant.retiring.as_deref() == Some(arn);
    let gives_up = grant.grantee == arn && grant.operations.contains(GrantOperation::RetireGrant);
    let revokes =
        matches!(authorize(Some(principal), Action::RevokeGrant), Verdict::Allowed { .. });
    retires || gives_up || revokes
}
