//! The names of what can be asked for; who may ask for it is said in `authorize.rs`.

/// What authorisation and audit know a request by. The names are AWS KMS's where it has one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names say it")]
pub enum Action {
    AddNodes,
    RemoveNode,
    SealNode,
    DrainNode,
    UndrainNode,
    RotateDomainKey,
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
    pub const ALL: [Self; 25] = [
        Self::AddNodes,
        Self::RemoveNode,
        Self::SealNode,
        Self::DrainNode,
        Self::UndrainNode,
        Self::RotateDomainKey,
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

    /// As audit entries spell it.
    pub fn name(self) -> &'static str {
        match self {
            Self::AddNodes => "AddNodes",
            Self::RemoveNode => "RemoveNode",
            Self::SealNode => "SealNode",
            Self::DrainNode => "DrainNode",
            Self::UndrainNode => "UndrainNode",
            Self::RotateDomainKey => "RotateDomainKey",
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
