//! The protocol's messages into checked requests. What does not parse is refused before an operation
//! begins, so it is not audited.

use conclave_proto::v1;
use conclave_store::{Kind, RecordId};

use crate::fields::{
    CiphertextBlob, DataKeyBytes, Days, Description, EncryptionContext, PageLimit, Plaintext,
    PrincipalName, RandomBytes, Roles, Tags,
};
use crate::key_ref::{AliasName, KeyId, KeyRef};
use crate::refusal::Refusal;
use crate::request::{Change, CreateKey, GenerateDataKey, ReEncrypt, Request};

impl TryFrom<v1::CreateKeyRequest> for Request {
    type Error = Refusal;

    fn try_from(sent: v1::CreateKeyRequest) -> Result<Self, Refusal> {
        let alias = match sent.alias.as_str() {
            "" => None,
            alias => Some(AliasName::parse(alias)?),
        };
        let tags = Tags::parse(sent.tags.into_iter().map(|tag| (tag.key, tag.value)))?;
        let description = Description::parse(sent.description)?;
        Ok(Self::CreateKey(CreateKey { description, tags, alias }))
    }
}

impl TryFrom<v1::DescribeKeyRequest> for Request {
    type Error = Refusal;

    fn try_from(sent: v1::DescribeKeyRequest) -> Result<Self, Refusal> {
        Ok(Self::DescribeKey { key: KeyRef::parse(&sent.key)? })
    }
}

impl TryFrom<v1::ListKeysRequest> for Request {
    type Error = Refusal;

    fn try_from(sent: v1::ListKeysRequest) -> Result<Self, Refusal> {
        let after = match sent.marker.as_str() {
            "" => None,
            marker => Some(KeyId::parse(marker).ok_or(Refusal::InvalidMarker)?),
        };
        Ok(Self::ListKeys { limit: PageLimit::parse(sent.limit)?, after })
    }
}

macro_rules! change_key {
    ($($message:ident => |$sent:ident| $change:expr;)*) => {$(
        impl TryFrom<v1::$message> for Request {
            type Error = Refusal;

            fn try_from($sent: v1::$message) -> Result<Self, Refusal> {
                Ok(Self::ChangeKey { key: KeyRef::parse(&$sent.key)?, change: $change })
            }
        }
    )*};
}
change_key! {
    EnableKeyRequest => |sent| Change::Enable;
    DisableKeyRequest => |sent| Change::Disable;
    RotateKeyOnDemandRequest => |sent| Change::Rotate;
    ScheduleKeyDeletionRequest => |sent| Change::ScheduleDeletion(Days::parse(sent.days)?);
    CancelKeyDeletionRequest => |sent| Change::CancelDeletion;
}

impl TryFrom<v1::EncryptRequest> for Request {
    type Error = Refusal;

    fn try_from(sent: v1::EncryptRequest) -> Result<Self, Refusal> {
        // First of all, so that a refusal of the rest wipes it too.
        let plaintext = Plaintext::parse(sent.plaintext);
        let key = KeyRef::parse(&sent.key)?;
        let context = EncryptionContext::parse_proto(sent.context)?;
        Ok(Self::Encrypt { key, plaintext: plaintext?, context })
    }
}

impl TryFrom<v1::DecryptRequest> for Request {
    type Error = Refusal;

    fn try_from(sent: v1::DecryptRequest) -> Result<Self, Refusal> {
        Ok(Self::Decrypt {
            ciphertext: CiphertextBlob::parse(sent.ciphertext)?,
            context: EncryptionContext::parse_proto(sent.context)?,
            key: KeyRef::parse_optional(&sent.key)?,
        })
    }
}

impl TryFrom<v1::ReEncryptRequest> for Request {
    type Error = Refusal;

    fn try_from(sent: v1::ReEncryptRequest) -> Result<Self, Refusal> {
        Ok(Self::ReEncrypt(ReEncrypt {
            ciphertext: CiphertextBlob::parse(sent.ciphertext)?,
            source_context: EncryptionContext::parse_proto(sent.source_context)?,
            source_key: KeyRef::parse_optional(&sent.source_key)?,
            destination_key: KeyRef::parse(&sent.destination_key)?,
            destination_context: EncryptionContext::parse_proto(sent.destination_context)?,
        }))
    }
}

impl TryFrom<v1::GenerateDataKeyRequest> for Request {
    type Error = Refusal;

    fn try_from(sent: v1::GenerateDataKeyRequest) -> Result<Self, Refusal> {
        data_key(&sent.key, sent.bytes, sent.context).map(Self::GenerateDataKey)
    }
}

impl TryFrom<v1::GenerateDataKeyWithoutPlaintextRequest> for Request {
    type Error = Refusal;

    fn try_from(sent: v1::GenerateDataKeyWithoutPlaintextRequest) -> Result<Self, Refusal> {
        data_key(&sent.key, sent.bytes, sent.context).map(Self::GenerateDataKeyWithoutPlaintext)
    }
}

fn data_key(
    key: &str,
    bytes: u32,
    context: Vec<v1::ContextPair>,
) -> Result<GenerateDataKey, Refusal> {
    Ok(GenerateDataKey {
        key: KeyRef::parse(key)?,
        bytes: DataKeyBytes::parse(bytes)?,
        context: EncryptionContext::parse_proto(context)?,
    })
}

impl TryFrom<v1::GenerateRandomRequest> for Request {
    type Error = Refusal;

    fn try_from(sent: v1::GenerateRandomRequest) -> Result<Self, Refusal> {
        Ok(Self::GenerateRandom { bytes: RandomBytes::parse(sent.bytes)? })
    }
}

impl TryFrom<v1::CreatePrincipalRequest> for Request {
    type Error = Refusal;

    fn try_from(sent: v1::CreatePrincipalRequest) -> Result<Self, Refusal> {
        let name = PrincipalName::parse(&sent.name)?;
        Ok(Self::CreatePrincipal { name, roles: Roles::parse(&sent.roles)? })
    }
}

impl TryFrom<v1::ListPrincipalsRequest> for Request {
    type Error = Refusal;

    fn try_from(sent: v1::ListPrincipalsRequest) -> Result<Self, Refusal> {
        // The marker is a record id in the shape of a key id: principals are listed by theirs.
        let after = match sent.marker.as_str() {
            "" => None,
            marker => {
                let id = KeyId::parse(marker).ok_or(Refusal::InvalidMarker)?;
                Some(RecordId::new(Kind::Principal, *id.bytes()))
            }
        };
        Ok(Self::ListPrincipals { limit: PageLimit::parse(sent.limit)?, after })
    }
}

impl TryFrom<v1::DeletePrincipalRequest> for Request {
    type Error = Refusal;

    fn try_from(sent: v1::DeletePrincipalRequest) -> Result<Self, Refusal> {
        Ok(Self::DeletePrincipal { name: PrincipalName::parse(&sent.name)? })
    }
}

impl TryFrom<v1::RotateDomainKeyRequest> for Request {
    type Error = Refusal;

    fn try_from(_: v1::RotateDomainKeyRequest) -> Result<Self, Refusal> {
        Ok(Self::RotateDomainKey)
    }
}
