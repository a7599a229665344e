//! What every operation has in common, and the list of all of them.
//!
//! An operation is one type in one file: its checked members, how the protocol's message becomes it,
//! what its audit entry says, and what it does. Here is only how the two faces' messages find it.

use std::fmt;

use conclave_crypto::{Entropy, sha256};
use conclave_proto::v1;
use prost::Message;

use crate::action::Action;
use crate::administration::{Admin, ReadAudit, RotateDomainKey};
use crate::answer::Kept;
use crate::audit_entry::Told;
use crate::custom_key_stores::{CreateCustomKeyStore, DescribeCustomKeyStores, UseCustomKeyStore};
use crate::grants::{CreateGrant, ListGrants, ListRetirableGrants, RetireGrant, RevokeGrant};
use crate::importing::{DeleteImportedKeyMaterial, GetParametersForImport, ImportKeyMaterial};
use crate::key_ref::DomainInfo;
use crate::keys::{
    ChangeKey, ChangeRotation, CreateKey, DescribeKey, GetKeyLastUsage, GetKeyRotationStatus,
    GetKeyTombstone, GetPublicKey, ListKeyRotations, ListKeys,
};
use crate::keys::{
    CreateAlias, DeleteAlias, ListAliases, ListResourceTags, ReplicateKey, TagResource,
    UntagResource, UpdateAlias, UpdateKeyDescription, UpdatePrimaryRegion,
};
use crate::material::ToMake;
use crate::policies::{GetKeyPolicy, ListKeyPolicies, PutKeyPolicy};
use crate::principals::{CreatePrincipal, DeletePrincipal, ListPrincipals};
use crate::refusal::Refusal;
use crate::response::Response;
use crate::usage::{
    Decapsulate, Decrypt, DeriveSharedSecret, Encapsulate, Encrypt, GenerateDataKey,
    GenerateDataKeyPair, GenerateDataKeyPairWithoutPlaintext, GenerateDataKeyWithoutPlaintext,
    GenerateMac, GenerateRandom, ReEncrypt, Sign, Verify, VerifyMac,
};
use crate::work::{Stop, Work};

/// What authorisation and audit need to know of a request.
pub(crate) trait Operation: fmt::Debug + Send + Sync {
    fn action(&self) -> Action;

    /// What it asks for, without its secrets.
    fn tell(&self, told: &mut Told<'_>);

    /// Key material that it makes.
    fn slow(&self) -> Option<&ToMake> {
        None
    }
}

/// An operation that changes no record. Retried, it is done again.
pub(crate) trait Use: Operation {
    fn perform(&self, work: &mut Work<'_>) -> Result<Response, Stop>;
}

/// An operation that changes records. Retried, it is not done again: its answer is made anew from the
/// little that is kept of it, in the same way as the first time.
pub(crate) trait Change: Operation {
    fn perform(&self, work: &mut Work<'_>) -> Result<Kept, Stop>;

    fn response(&self, kept: &Kept, domain: &DomainInfo) -> Response;
}

/// One request, as it is decided.
#[derive(Debug)]
pub struct Request(pub(crate) Asked);

#[derive(Debug)]
pub(crate) enum Asked {
    Use(Box<dyn Use>),
    /// Not guarded by what it shows.
    List(Box<dyn Use>),
    /// Asked for by nobody.
    Due(Box<dyn Use>),
    /// With what tells it from any other that comes under the same request id.
    Change(Box<dyn Change>, [u8; 16]),
}

impl Request {
    pub(crate) fn operation(&self) -> &dyn Operation {
        match &self.0 {
            Asked::Use(operation) | Asked::List(operation) | Asked::Due(operation) => &**operation,
            Asked::Change(operation, _) => &**operation,
        }
    }

    /// What authorisation and audit call it.
    pub fn action(&self) -> Action {
        self.operation().action()
    }

    /// Whether [`prepare`](Self::prepare) has much to do.
    pub fn is_slow(&self) -> bool {
        self.operation().slow().is_some_and(ToMake::is_slow)
    }

    /// Makes what takes long to make, ahead of the decision and where nobody waits. Not doing so
    /// leaves it to the decision.
    pub fn prepare(&self, entropy: &mut dyn Entropy) {
        if let Some(material) = self.operation().slow() {
            // If it fails the decision finds out.
            let _ = material.get(entropy);
        }
    }

    /// Whether it changes records, so that a retry must not do it again. Such a request has a token
    /// and a kept answer. Ceremonies see to that themselves.
    pub fn is_mutation(&self) -> bool {
        matches!(self.0, Asked::Change(..))
    }

    /// Whether the shell must make sure that its view is fresh before this is decided: lists are
    /// not guarded by what they show.
    pub fn needs_read_index(&self) -> bool {
        matches!(self.0, Asked::List(_))
    }
}

impl From<Admin> for Request {
    fn from(ceremony: Admin) -> Self {
        Self(Asked::Use(Box::new(ceremony)))
    }
}

impl From<ReadAudit> for Request {
    fn from(reading: ReadAudit) -> Self {
        Self(Asked::List(Box::new(reading)))
    }
}

macro_rules! asked {
    (Change, $sent:ident, $operation:ty) => {{
        let canonical = $sent.encode_to_vec();
        let operation = <$operation>::try_from($sent)?;
        let hash = sha256(&[FINGERPRINT, operation.action().name().as_bytes(), b"\0", &canonical]);
        let mut fingerprint = [0; 16];
        fingerprint.copy_from_slice(&hash[..16]);
        Asked::Change(Box::new(operation), fingerprint)
    }};
    ($kind:ident, $sent:ident, $operation:ty) => {
        Asked::$kind(Box::new(<$operation>::try_from($sent)?))
    };
}

/// The messages' own encoding is canonical enough: two requests under one id are told apart by it, and
/// a client's retry sends the same.
const FINGERPRINT: &[u8] = b"conclave/kms/request/v2";

macro_rules! requests {
    ($($kind:ident: $($message:ident => $operation:ty,)*;)*) => {$($(
        impl TryFrom<v1::$message> for Request {
            type Error = Refusal;

            fn try_from(sent: v1::$message) -> Result<Self, Refusal> {
                Ok(Self(asked!($kind, sent, $operation)))
            }
        }
    )*)*};
}
requests! {
    Use:
        DescribeKeyRequest => DescribeKey,
        GetKeyRotationStatusRequest => GetKeyRotationStatus,
        ListKeyRotationsRequest => ListKeyRotations,
        GetKeyTombstoneRequest => GetKeyTombstone,
        GetParametersForImportRequest => GetParametersForImport,
        EncryptRequest => Encrypt,
        DecryptRequest => Decrypt,
        ReEncryptRequest => ReEncrypt,
        GenerateDataKeyRequest => GenerateDataKey,
        GenerateDataKeyWithoutPlaintextRequest => GenerateDataKeyWithoutPlaintext,
        GenerateDataKeyPairRequest => GenerateDataKeyPair,
        GenerateDataKeyPairWithoutPlaintextRequest => GenerateDataKeyPairWithoutPlaintext,
        GenerateRandomRequest => GenerateRandom,
        GetPublicKeyRequest => GetPublicKey,
        SignRequest => Sign,
        VerifyRequest => Verify,
        GenerateMacRequest => GenerateMac,
        VerifyMacRequest => VerifyMac,
        DeriveSharedSecretRequest => DeriveSharedSecret,
        EncapsulateRequest => Encapsulate,
        DecapsulateRequest => Decapsulate,
        GetKeyPolicyRequest => GetKeyPolicy,
        ListKeyPoliciesRequest => ListKeyPolicies,
    ;
    List:
        GetKeyLastUsageRequest => GetKeyLastUsage,
        ListKeysRequest => ListKeys,
        ListPrincipalsRequest => ListPrincipals,
        ListGrantsRequest => ListGrants,
        ListRetirableGrantsRequest => ListRetirableGrants,
    ;
    Change:
        CreateKeyRequest => CreateKey,
        EnableKeyRequest => ChangeKey,
        DisableKeyRequest => ChangeKey,
        ScheduleKeyDeletionRequest => ChangeKey,
        CancelKeyDeletionRequest => ChangeKey,
        RotateKeyOnDemandRequest => ChangeKey,
        EnableKeyRotationRequest => ChangeRotation,
        DisableKeyRotationRequest => ChangeRotation,
        ImportKeyMaterialRequest => ImportKeyMaterial,
        DeleteImportedKeyMaterialRequest => DeleteImportedKeyMaterial,
        CreatePrincipalRequest => CreatePrincipal,
        DeletePrincipalRequest => DeletePrincipal,
        RotateDomainKeyRequest => RotateDomainKey,
        PutKeyPolicyRequest => PutKeyPolicy,
        CreateGrantRequest => CreateGrant,
        RetireGrantRequest => RetireGrant,
        RevokeGrantRequest => RevokeGrant,
    ;
    Change:
        CreateAliasRequest => CreateAlias,
        UpdateAliasRequest => UpdateAlias,
        DeleteAliasRequest => DeleteAlias,
        TagResourceRequest => TagResource,
        UntagResourceRequest => UntagResource,
        UpdateKeyDescriptionRequest => UpdateKeyDescription,
    ;
    List:
        ListAliasesRequest => ListAliases,
    ;
    Use:
        ListResourceTagsRequest => ListResourceTags,
        ReplicateKeyRequest => ReplicateKey,
        UpdatePrimaryRegionRequest => UpdatePrimaryRegion,
        CreateCustomKeyStoreRequest => CreateCustomKeyStore,
        DescribeCustomKeyStoresRequest => DescribeCustomKeyStores,
        ConnectCustomKeyStoreRequest => UseCustomKeyStore,
        DisconnectCustomKeyStoreRequest => UseCustomKeyStore,
        UpdateCustomKeyStoreRequest => UseCustomKeyStore,
        DeleteCustomKeyStoreRequest => UseCustomKeyStore,
    ;
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A kept format: a retry is told from another request by it, on nodes of other versions too.
    #[test]
    fn golden_fingerprints() {
        let of = |request: Request| match request.0 {
            Asked::Change(_, fingerprint) => hex::encode(fingerprint),
            Asked::Use(_) | Asked::List(_) | Asked::Due(_) => "none".to_owned(),
        };
        let key_id = "12345678-1234-4234-9234-123456789012".to_owned();
        let deletion = v1::ScheduleKeyDeletionRequest {
            key_id: key_id.clone(),
            pending_window_in_days: Some(7),
        };
        let creation = v1::CreateKeyRequest {
            description: "a key".to_owned(),
            tags: vec![v1::Tag { tag_key: "a".to_owned(), tag_value: "b".to_owned() }],
            key_spec: "ECC_NIST_P256".to_owned(),
            key_usage: "SIGN_VERIFY".to_owned(),
            ..Default::default()
        };
        let enabling = v1::EnableKeyRequest { key_id: key_id.clone() };
        let disabling = v1::DisableKeyRequest { key_id };
        let fingerprints = [
            of(deletion.try_into().unwrap()),
            of(creation.try_into().unwrap()),
            // The messages are alike to the byte: the action tells them apart.
            of(enabling.try_into().unwrap()),
            of(disabling.try_into().unwrap()),
            of(v1::GenerateRandomRequest { number_of_bytes: Some(1), ..Default::default() }
                .try_into()
                .unwrap()),
        ];
        // Computed by another implementation.
        assert_eq!(
            fingerprints,
            [
                "c84943868f67765a427cba7593dd39eb",
                "c0fb616bb62fdcc973428b6be6a25dea",
                "b4976d5b9cc2ef8a751b883fba275643",
                "e6428372fb0622014016d42f356de023",
                "none",
            ]
        );
    }
}
