//! What can be asked of the service, in checked types. Nothing here is decided; where the protocol's
//! messages become these, see `parse.rs`.

use std::collections::BTreeMap;

use conclave_crypto::sha256;
use conclave_store::{GuardDigest, RecordId, Write};

use crate::action::Action;
use crate::fields::{
    CiphertextBlob, DataKeyBytes, Days, Description, EncryptionContext, PageLimit, Plaintext,
    PrincipalName, RandomBytes, Roles, Tags,
};
use crate::key_ref::{AliasName, KeyId, KeyName, KeyRef};

/// One request, as it is decided.
#[derive(Debug)]
#[allow(missing_docs, reason = "each variant is the operation of that name, see the protocol")]
pub enum Request {
    CreateKey(CreateKey),
    DescribeKey { key: KeyRef },
    ListKeys { limit: PageLimit, after: Option<KeyId> },
    ChangeKey { key: KeyRef, change: Change },
    Encrypt { key: KeyRef, plaintext: Plaintext, context: EncryptionContext },
    Decrypt { ciphertext: CiphertextBlob, context: EncryptionContext, key: Option<KeyRef> },
    ReEncrypt(ReEncrypt),
    GenerateDataKey(GenerateDataKey),
    GenerateDataKeyWithoutPlaintext(GenerateDataKey),
    GenerateRandom { bytes: RandomBytes },
    CreatePrincipal { name: PrincipalName, roles: Roles },
    ListPrincipals { limit: PageLimit, after: Option<RecordId> },
    DeletePrincipal { name: PrincipalName },
    RotateDomainKey,
    Admin(Admin),
    ReadAudit(ReadAudit),
}

/// A key to be made.
#[derive(Debug)]
#[allow(missing_docs, reason = "the fields say it")]
pub struct CreateKey {
    pub description: Description,
    pub tags: Tags,
    pub alias: Option<AliasName>,
}

/// What to do to a key that is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// Make it usable.
    Enable,
    /// Make it unusable for now.
    Disable,
    /// Give it a new version.
    Rotate,
    /// Make it unusable, and let it be destroyed when the days are over.
    ScheduleDeletion(Days),
    /// Keep it after all, disabled.
    CancelDeletion,
}

/// From one key, or context, to another.
#[derive(Debug)]
#[allow(missing_docs, reason = "the fields say it")]
pub struct ReEncrypt {
    pub ciphertext: CiphertextBlob,
    pub source_context: EncryptionContext,
    pub source_key: Option<KeyRef>,
    pub destination_key: KeyRef,
    pub destination_context: EncryptionContext,
}

/// A data key to be made.
#[derive(Debug)]
#[allow(missing_docs, reason = "the fields say it")]
pub struct GenerateDataKey {
    pub key: KeyRef,
    pub bytes: DataKeyBytes,
    pub context: EncryptionContext,
}

/// A step of a ceremony that the shell has worked out: it is authorised and audited here, and its
/// writes go into the same txn.
#[derive(Debug)]
pub struct Admin {
    /// What for.
    pub action: AdminAction,
    /// For the audit entry: the nodes.
    pub resources: Vec<String>,
    /// For the audit entry: names and values, in any order.
    pub parameters: Vec<(String, String)>,
    /// What the ceremony read.
    pub guards: BTreeMap<RecordId, Option<GuardDigest>>,
    /// What it writes. Sealed kinds are sealed already.
    pub writes: Vec<Write>,
}

/// The ceremonies that an operator's certificate authorises.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names say it")]
pub enum AdminAction {
    AddNodes,
    RemoveNode,
    SealNode,
    DrainNode,
    UndrainNode,
    RotateRoot,
    ExcludeNode,
    DealOperatorShares,
}

/// A reading of the audit log: authorised and audited here, streamed by the shell.
#[derive(Debug)]
pub struct ReadAudit {
    /// Whether it is an export, which proves itself, or a listing.
    pub export: bool,
    /// For the audit entry: filters and bounds, in any order.
    pub parameters: Vec<(String, String)>,
}

impl Request {
    /// What authorisation and audit call it.
    pub fn action(&self) -> Action {
        match self {
            Self::CreateKey(_) => Action::CreateKey,
            Self::DescribeKey { .. } => Action::DescribeKey,
            Self::ListKeys { .. } => Action::ListKeys,
            Self::ChangeKey { change: Change::Enable, .. } => Action::EnableKey,
            Self::ChangeKey { change: Change::Disable, .. } => Action::DisableKey,
            Self::ChangeKey { change: Change::Rotate, .. } => Action::RotateKeyOnDemand,
            Self::ChangeKey { change: Change::ScheduleDeletion(_), .. } => {
                Action::ScheduleKeyDeletion
            }
            Self::ChangeKey { change: Change::CancelDeletion, .. } => Action::CancelKeyDeletion,
            Self::Encrypt { .. } => Action::Encrypt,
            Self::Decrypt { .. } => Action::Decrypt,
            Self::ReEncrypt(_) => Action::ReEncrypt,
            Self::GenerateDataKey(_) => Action::GenerateDataKey,
            Self::GenerateDataKeyWithoutPlaintext(_) => Action::GenerateDataKeyWithoutPlaintext,
            Self::GenerateRandom { .. } => Action::GenerateRandom,
            Self::CreatePrincipal { .. } => Action::CreatePrincipal,
            Self::ListPrincipals { .. } => Action::ListPrincipals,
            Self::DeletePrincipal { .. } => Action::DeletePrincipal,
            Self::RotateDomainKey => Action::RotateDomainKey,
            Self::Admin(admin) => match admin.action {
                AdminAction::AddNodes => Action::AddNodes,
                AdminAction::RemoveNode => Action::RemoveNode,
                AdminAction::SealNode => Action::SealNode,
                AdminAction::DrainNode => Action::DrainNode,
                AdminAction::UndrainNode => Action::UndrainNode,
                AdminAction::RotateRoot => Action::RotateRoot,
                AdminAction::ExcludeNode => Action::ExcludeNode,
                AdminAction::DealOperatorShares => Action::DealOperatorShares,
            },
            Self::ReadAudit(ReadAudit { export: true, .. }) => Action::ExportAudit,
            Self::ReadAudit(ReadAudit { export: false, .. }) => Action::ListAudit,
        }
    }

    /// Whether it changes records, so that a retry must not do it again. Such a request has a token
    /// and a kept answer. Ceremonies see to that themselves.
    pub fn is_mutation(&self) -> bool {
        self.fingerprint().is_some()
    }

    /// Whether the shell must make sure that its view is fresh before this is decided: lists are
    /// not guarded by what they show.
    pub fn needs_read_index(&self) -> bool {
        matches!(self, Self::ListKeys { .. } | Self::ListPrincipals { .. } | Self::ReadAudit(_))
    }

    /// Of a mutation: what tells it from any other that comes under the same request id.
    pub(crate) fn fingerprint(&self) -> Option<[u8; 16]> {
        let mut canonical = Canonical::new(self.action());
        match self {
            Self::CreateKey(create) => {
                canonical.put(create.description.as_str());
                canonical.put(create.alias.as_ref().map_or("", AliasName::as_str));
                for (key, value) in create.tags.pairs() {
                    canonical.put(key);
                    canonical.put(value);
                }
            }
            Self::ChangeKey { key, change } => {
                let home = key.home.as_ref();
                canonical.put(home.map_or("", |home| &home.name));
                canonical.put(home.map_or("", |home| &home.account));
                match &key.name {
                    KeyName::Id(id) => canonical.put(&id.to_string()),
                    KeyName::Alias(alias) => canonical.put(alias.as_str()),
                }
                if let Change::ScheduleDeletion(days) = change {
                    canonical.put(&days.get().to_string());
                }
            }
            Self::CreatePrincipal { name, roles } => {
                canonical.put(name.as_str());
                roles.as_slice().iter().for_each(|role| canonical.put(role.name()));
            }
            Self::DeletePrincipal { name } => canonical.put(name.as_str()),
            Self::RotateDomainKey => {}
            Self::DescribeKey { .. }
            | Self::ListKeys { .. }
            | Self::Encrypt { .. }
            | Self::Decrypt { .. }
            | Self::ReEncrypt(_)
            | Self::GenerateDataKey(_)
            | Self::GenerateDataKeyWithoutPlaintext(_)
            | Self::GenerateRandom { .. }
            | Self::ListPrincipals { .. }
            | Self::Admin(_)
            | Self::ReadAudit(_) => return None,
        }
        Some(canonical.fingerprint())
    }
}

/// A request's members one after another, each with its length, so that no two requests read alike.
struct Canonical(Vec<u8>);

impl Canonical {
    fn new(action: Action) -> Self {
        let mut canonical = Self(b"conclave/kms/request/v1".to_vec());
        canonical.put(action.name());
        canonical
    }

    fn put(&mut self, text: &str) {
        self.0.extend_from_slice(&(text.len() as u64).to_be_bytes());
        self.0.extend_from_slice(text.as_bytes());
    }

    fn fingerprint(self) -> [u8; 16] {
        let mut first = [0; 16];
        first.copy_from_slice(&sha256(&[&self.0])[..16]);
        first
    }
}
