//! What the service answers. Secrets are in these values and nowhere else, until the protocol's
//! messages, which cannot wipe themselves, take them over on the way out.

use conclave_crypto::Secret;
use conclave_proto::v1;

use crate::fields::Role;
use crate::key_ref::{DomainInfo, KeyId};
use crate::records::{KeyRecord, KeyState};
use crate::request::CreateKey;

/// The answer to one request.
#[derive(Debug)]
#[allow(missing_docs, reason = "each variant answers the operation of its name")]
pub enum Response {
    KeyCreated(KeyMetadata),
    KeyDescribed(KeyMetadata),
    Keys(KeyPage),
    KeyChanged(KeyChange),
    Encrypted(Encrypted),
    Decrypted(Decrypted),
    ReEncrypted(ReEncrypted),
    DataKey(DataKey),
    DataKeyWithoutPlaintext(Encrypted),
    Random(Secret),
    PrincipalCreated(PrincipalInfo),
    Principals(PrincipalPage),
    PrincipalDeleted,
    DomainKeyRotated {
        epoch: u32,
    },
    /// A ceremony's step, or leave to read the audit log.
    Done,
}

/// A key as it is described.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs, reason = "the fields say it")]
pub struct KeyMetadata {
    pub id: KeyId,
    pub arn: String,
    pub state: KeyState,
    pub description: String,
    pub created_ms: u64,
    /// Pairs of key and value, sorted by key.
    pub tags: Vec<(String, String)>,
    pub aliases: Vec<String>,
    /// How many; the last is current.
    pub versions: u32,
}

impl KeyMetadata {
    pub(crate) fn of(domain: &DomainInfo, key: &KeyRecord) -> Self {
        Self {
            id: key.id,
            arn: domain.key_arn(key.id),
            state: key.state,
            description: key.description.clone(),
            created_ms: key.created_ms,
            tags: key.tags.clone(),
            aliases: key.aliases.clone(),
            versions: key.versions(),
        }
    }

    /// As a key stands when it has just been created; a retry is told the same, whatever became of it.
    pub(crate) fn created(
        domain: &DomainInfo,
        id: KeyId,
        created_ms: u64,
        create: &CreateKey,
    ) -> Self {
        Self {
            id,
            arn: domain.key_arn(id),
            state: KeyState::Enabled,
            description: create.description.as_str().to_owned(),
            created_ms,
            tags: create.tags.pairs().to_vec(),
            aliases: create.alias.iter().map(|alias| alias.as_str().to_owned()).collect(),
            versions: 1,
        }
    }
}

/// How a key stands right after a change.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs, reason = "the fields say it")]
pub struct KeyChange {
    pub id: KeyId,
    pub arn: String,
    pub state: KeyState,
    pub versions: u32,
}

/// One page of keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyPage {
    /// Ids and ARNs, in order of id.
    pub keys: Vec<(KeyId, String)>,
    /// What the next page is asked for with; none if this is the last.
    pub next_marker: Option<String>,
    /// The log index that the page was read at.
    pub read_index: u64,
}

/// A ciphertext, and the ARN of the key it is under.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs, reason = "the fields say it")]
pub struct Encrypted {
    pub ciphertext: Vec<u8>,
    pub key: String,
}

/// A plaintext, and the ARN of the key it was under.
#[derive(Debug)]
#[allow(missing_docs, reason = "the fields say it")]
pub struct Decrypted {
    pub plaintext: Secret,
    pub key: String,
}

/// A new ciphertext, and the ARNs of both keys.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs, reason = "the fields say it")]
pub struct ReEncrypted {
    pub ciphertext: Vec<u8>,
    pub key: String,
    pub source_key: String,
}

/// A data key, in clear and encrypted.
#[derive(Debug)]
#[allow(missing_docs, reason = "the fields say it")]
pub struct DataKey {
    pub plaintext: Secret,
    pub encrypted: Encrypted,
}

impl DataKey {
    pub(crate) fn without_plaintext(self) -> Encrypted {
        self.encrypted
    }
}

/// A principal as it is listed.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs, reason = "the fields say it")]
pub struct PrincipalInfo {
    pub name: String,
    pub roles: Vec<Role>,
    pub created_ms: u64,
}

/// One page of principals, in no order of names.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs, reason = "as in KeyPage")]
pub struct PrincipalPage {
    pub principals: Vec<PrincipalInfo>,
    pub next_marker: Option<String>,
    pub read_index: u64,
}

/// A response asked to be another operation's message: a mistake in the face, never the caller's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the response is not one of {wanted}")]
pub struct WrongResponse {
    /// The message asked for.
    pub wanted: &'static str,
}

macro_rules! messages {
    ($($message:ident = $pattern:pat => $value:expr;)*) => {$(
        impl TryFrom<Response> for v1::$message {
            type Error = WrongResponse;

            fn try_from(response: Response) -> Result<Self, WrongResponse> {
                match response {
                    $pattern => Ok($value),
                    _ => Err(WrongResponse { wanted: stringify!($message) }),
                }
            }
        }
    )*};
}
messages! {
    CreateKeyResponse = Response::KeyCreated(key) => Self { key: Some(key.into()) };
    DescribeKeyResponse = Response::KeyDescribed(key) => Self { key: Some(key.into()) };
    ListKeysResponse = Response::Keys(page) => page.into();
    EnableKeyResponse = Response::KeyChanged(key) => Self { key: Some(key.into()) };
    DisableKeyResponse = Response::KeyChanged(key) => Self { key: Some(key.into()) };
    RotateKeyOnDemandResponse = Response::KeyChanged(key) => Self { key: Some(key.into()) };
    ScheduleKeyDeletionResponse = Response::KeyChanged(key) => Self { key: Some(key.into()) };
    CancelKeyDeletionResponse = Response::KeyChanged(key) => Self { key: Some(key.into()) };
    EncryptResponse = Response::Encrypted(Encrypted { ciphertext, key }) =>
        Self { ciphertext, key_id: key };
    DecryptResponse = Response::Decrypted(Decrypted { plaintext, key }) =>
        Self { plaintext: plaintext.expose().to_vec(), key_id: key };
    ReEncryptResponse = Response::ReEncrypted(ReEncrypted { ciphertext, key, source_key }) =>
        Self { ciphertext, key_id: key, source_key_id: source_key };
    GenerateDataKeyResponse = Response::DataKey(DataKey { plaintext, encrypted }) => Self {
        plaintext: plaintext.expose().to_vec(),
        ciphertext: encrypted.ciphertext,
        key_id: encrypted.key,
    };
    GenerateDataKeyWithoutPlaintextResponse =
        Response::DataKeyWithoutPlaintext(Encrypted { ciphertext, key }) =>
        Self { ciphertext, key_id: key };
    GenerateRandomResponse = Response::Random(random) => Self { random: random.expose().to_vec() };
    CreatePrincipalResponse = Response::PrincipalCreated(principal) =>
        Self { principal: Some(principal.into()) };
    ListPrincipalsResponse = Response::Principals(page) => page.into();
    DeletePrincipalResponse = Response::PrincipalDeleted => Self {};
    RotateDomainKeyResponse = Response::DomainKeyRotated { epoch } => Self { domain_key: epoch };
}

impl From<KeyMetadata> for v1::KeyMetadata {
    fn from(key: KeyMetadata) -> Self {
        Self {
            key_id: key.id.to_string(),
            arn: key.arn,
            state: key.state.name().to_owned(),
            description: key.description,
            created_ms: key.created_ms,
            deletion_ms: key.state.deletion_ms(),
            tags: key.tags.into_iter().map(|(key, value)| v1::Tag { key, value }).collect(),
            aliases: key.aliases,
            versions: key.versions,
        }
    }
}

impl From<KeyChange> for v1::KeyChange {
    fn from(key: KeyChange) -> Self {
        Self {
            key_id: key.id.to_string(),
            arn: key.arn,
            state: key.state.name().to_owned(),
            deletion_ms: key.state.deletion_ms(),
            versions: key.versions,
        }
    }
}

impl From<KeyPage> for v1::ListKeysResponse {
    fn from(page: KeyPage) -> Self {
        let entry = |(id, arn): (KeyId, String)| v1::KeyListEntry { key_id: id.to_string(), arn };
        Self {
            keys: page.keys.into_iter().map(entry).collect(),
            truncated: page.next_marker.is_some(),
            next_marker: page.next_marker.unwrap_or_default(),
            read_index: page.read_index,
        }
    }
}

impl From<PrincipalInfo> for v1::PrincipalInfo {
    fn from(principal: PrincipalInfo) -> Self {
        Self {
            name: principal.name,
            roles: principal.roles.into_iter().map(|role| role.name().to_owned()).collect(),
            created_ms: principal.created_ms,
        }
    }
}

impl From<PrincipalPage> for v1::ListPrincipalsResponse {
    fn from(page: PrincipalPage) -> Self {
        Self {
            principals: page.principals.into_iter().map(Into::into).collect(),
            truncated: page.next_marker.is_some(),
            next_marker: page.next_marker.unwrap_or_default(),
            read_index: page.read_index,
        }
    }
}
