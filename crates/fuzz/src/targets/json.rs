//! What clients send over the AWS KMS protocol: a JSON body, by way of the message it stands for, to a
//! checked request.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use conclave_kms::{Refusal, Request};
use conclave_proto::json::Object;
use conclave_proto::v1;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::wire::is_request;
use super::{choose, chosen};
use crate::Target;

pub(super) const JSON_REQUEST: Target =
    Target { name: "json_request", run: json_request, valid: json_requests, brief: 24_000 };

/// As `server::api::aws` reads it.
fn read<M: DeserializeOwned>(body: &[u8]) -> Option<M> {
    let mut json = serde_json::Deserializer::from_slice(body);
    let message = M::deserialize(Object(&mut json)).ok()?;
    json.end().ok().map(|()| message)
}

fn take<M: DeserializeOwned + Serialize + PartialEq>(body: &[u8]) -> bool
where
    Request: TryFrom<M, Error = Refusal>,
{
    let Some(message) = read::<M>(body) else { return false };
    let written = serde_json::to_vec(&message).expect("a message can be written");
    let again = read::<M>(&written).expect("what was written can be read");
    assert!(again == message, "a message changed when it was written");
    is_request(message)
}

macro_rules! requests {
    ($($request:ident $body:literal)*) => {
        /// A good body of each; `CIPHERTEXT` stands for one.
        const BODIES: &[(&str, &str)] = &[$((stringify!($request), $body)),*];

        fn json_request(input: &[u8]) -> bool {
            const TAKE: &[fn(&[u8]) -> bool] = &[$(take::<v1::$request>),*];
            let (which, body) = choose(input);
            TAKE[usize::from(which) % TAKE.len()](body)
        }
    };
}
requests! {
    CreateKeyRequest r#"{"KeySpec": "RSA_2048", "KeyUsage": "SIGN_VERIFY", "Description": "a key", "MultiRegion": false,
        "Origin": "AWS_KMS", "Tags": [{"TagKey": "team", "TagValue": "blue"}]}"#
    DescribeKeyRequest r#"{"KeyId": "alias/demo", "GrantTokens": []}"#
    ListKeysRequest r#"{"Limit": 10, "Marker": null}"#
    EnableKeyRequest r#"{"KeyId": "0c0ffee0-1234-4234-9234-123456789012"}"#
    DisableKeyRequest r#"{"KeyId": "arn:aws:kms:eu:000000000001:key/0c0ffee0-1234-4234-9234-123456789012"}"#
    ScheduleKeyDeletionRequest r#"{"KeyId": "0c0ffee0-1234-4234-9234-123456789012", "PendingWindowInDays": 7}"#
    CancelKeyDeletionRequest r#"{"KeyId": "0c0ffee0-1234-4234-9234-123456789012"}"#
    GetPublicKeyRequest r#"{"KeyId": "alias/demo", "GrantTokens": []}"#
    GetKeyLastUsageRequest r#"{"KeyId": "0c0ffee0-1234-4234-9234-123456789012"}"#
    RotateKeyOnDemandRequest r#"{"KeyId": "0c0ffee0-1234-4234-9234-123456789012"}"#
    EnableKeyRotationRequest r#"{"KeyId": "0c0ffee0-1234-4234-9234-123456789012", "RotationPeriodInDays": 90}"#
    DisableKeyRotationRequest r#"{"KeyId": "0c0ffee0-1234-4234-9234-123456789012"}"#
    GetKeyRotationStatusRequest r#"{"KeyId": "0c0ffee0-1234-4234-9234-123456789012"}"#
    ListKeyRotationsRequest r#"{"KeyId": "0c0ffee0-1234-4234-9234-123456789012", "IncludeKeyMaterial": "ALL_KEY_MATERIAL", "Limit": 10}"#
    CreateAliasRequest r#"{"AliasName": "alias/demo", "TargetKeyId": "0c0ffee0-1234-4234-9234-123456789012"}"#
    UpdateAliasRequest r#"{"AliasName": "alias/demo", "TargetKeyId": "0c0ffee0-1234-4234-9234-123456789012"}"#
    DeleteAliasRequest r#"{"AliasName": "alias/demo"}"#
    ListAliasesRequest r#"{"KeyId": "0c0ffee0-1234-4234-9234-123456789012", "Limit": 10}"#
    TagResourceRequest r#"{"KeyId": "0c0ffee0-1234-4234-9234-123456789012", "Tags": [{"TagKey": "team", "TagValue": "blue"}]}"#
    UntagResourceRequest r#"{"KeyId": "0c0ffee0-1234-4234-9234-123456789012", "TagKeys": ["team"]}"#
    ListResourceTagsRequest r#"{"KeyId": "0c0ffee0-1234-4234-9234-123456789012", "Limit": 10}"#
    UpdateKeyDescriptionRequest r#"{"KeyId": "0c0ffee0-1234-4234-9234-123456789012", "Description": "a key"}"#
    GetKeyPolicyRequest r#"{"KeyId": "0c0ffee0-1234-4234-9234-123456789012", "PolicyName": "default"}"#
    PutKeyPolicyRequest r#"{"KeyId": "0c0ffee0-1234-4234-9234-123456789012", "BypassPolicyLockoutSafetyCheck": true, "Policy":
        "{\"Statement\": {\"Effect\": \"Allow\", \"Principal\": \"*\", \"Action\": \"kms:*\", \"Resource\": \"*\"}}"}"#
    ListKeyPoliciesRequest r#"{"KeyId": "0c0ffee0-1234-4234-9234-123456789012"}"#
    CreateGrantRequest r#"{"KeyId": "0c0ffee0-1234-4234-9234-123456789012", "GranteePrincipal": "uma", "Operations": ["Encrypt"], "Name": "a-name",
        "Constraints": {"EncryptionContextSubset": {"tenant": "a"}}}"#
    ListGrantsRequest r#"{"KeyId": "0c0ffee0-1234-4234-9234-123456789012", "Limit": 10, "GranteePrincipal": "uma"}"#
    ListRetirableGrantsRequest r#"{"RetiringPrincipal": "arn:aws:iam::000000000001:user/ada"}"#
    RetireGrantRequest r#"{"KeyId": "0c0ffee0-1234-4234-9234-123456789012", "GrantId": "0123456789abcdef0123456789abcdef"}"#
    RevokeGrantRequest r#"{"KeyId": "0c0ffee0-1234-4234-9234-123456789012", "GrantId": "0123456789abcdef0123456789abcdef", "DryRun": true}"#
    GetParametersForImportRequest r#"{"KeyId": "0c0ffee0-1234-4234-9234-123456789012", "WrappingAlgorithm": "RSAES_OAEP_SHA_256", "WrappingKeySpec": "RSA_3072"}"#
    ImportKeyMaterialRequest r#"{"KeyId": "0c0ffee0-1234-4234-9234-123456789012", "ImportToken": "AQID", "EncryptedKeyMaterial": "BAUG",
        "ValidTo": 1800000000.5, "ExpirationModel": "KEY_MATERIAL_EXPIRES", "ImportType": "EXISTING_KEY_MATERIAL"}"#
    DeleteImportedKeyMaterialRequest r#"{"KeyId": "0c0ffee0-1234-4234-9234-123456789012"}"#
    ReplicateKeyRequest r#"{"KeyId": "0c0ffee0-1234-4234-9234-123456789012", "ReplicaRegion": "us", "Description": "a replica"}"#
    UpdatePrimaryRegionRequest r#"{"KeyId": "0c0ffee0-1234-4234-9234-123456789012", "PrimaryRegion": "us"}"#
    CreateCustomKeyStoreRequest r#"{"CustomKeyStoreName": "a-store"}"#
    DescribeCustomKeyStoresRequest r#"{"Limit": 10}"#
    ConnectCustomKeyStoreRequest r#"{"CustomKeyStoreId": "cks-1234567890abcdef0"}"#
    DisconnectCustomKeyStoreRequest r#"{"CustomKeyStoreId": "cks-1234567890abcdef0"}"#
    UpdateCustomKeyStoreRequest r#"{"CustomKeyStoreId": "cks-1234567890abcdef0"}"#
    DeleteCustomKeyStoreRequest r#"{"CustomKeyStoreId": "cks-1234567890abcdef0"}"#
    EncryptRequest r#"{"KeyId": "alias/demo", "Plaintext": "AQID", "EncryptionContext": {"purpose": "test", "tenant": "a"},
        "EncryptionAlgorithm": "SYMMETRIC_DEFAULT", "DryRun": true}"#
    DecryptRequest r#"{"CiphertextBlob": "CIPHERTEXT", "EncryptionContext": {"purpose": "test"}, "GrantTokens": []}"#
    ReEncryptRequest r#"{"CiphertextBlob": "CIPHERTEXT", "SourceEncryptionContext": {"purpose": "test"},
        "DestinationKeyId": "alias/demo", "DestinationEncryptionContext": {"tenant": "\u00e9\n"}}"#
    GenerateDataKeyRequest r#"{"KeyId": "alias/demo", "NumberOfBytes": 32, "EncryptionContext": {}}"#
    GenerateDataKeyWithoutPlaintextRequest r#"{"KeyId": "alias/demo", "KeySpec": "AES_256"}"#
    GenerateDataKeyPairRequest r#"{"KeyId": "alias/demo", "KeyPairSpec": "ECC_NIST_P256", "DryRun": false}"#
    GenerateDataKeyPairWithoutPlaintextRequest r#"{"KeyId": "alias/demo", "KeyPairSpec": "RSA_2048"}"#
    GenerateRandomRequest r#"{"NumberOfBytes": 1024}"#
    SignRequest r#"{"KeyId": "alias/demo", "Message": "AQID", "MessageType": "RAW", "SigningAlgorithm": "ECDSA_SHA_256"}"#
    VerifyRequest r#"{"KeyId": "alias/demo", "Message": "AQID", "Signature": "BAUG", "SigningAlgorithm": "ED25519_SHA_512"}"#
    GenerateMacRequest r#"{"KeyId": "alias/demo", "Message": "AQID", "MacAlgorithm": "HMAC_SHA_256"}"#
    VerifyMacRequest r#"{"KeyId": "alias/demo", "Message": "AQID", "Mac": "BAUG", "MacAlgorithm": "HMAC_SHA_512"}"#
    DeriveSharedSecretRequest r#"{"KeyId": "alias/demo", "KeyAgreementAlgorithm": "ECDH", "PublicKey": "AQID"}"#
    EncapsulateRequest r#"{"KeyId": "alias/demo", "EncapsulationAlgorithm": "ML_KEM"}"#
    DecapsulateRequest r#"{"KeyId": "alias/demo", "EncapsulationAlgorithm": "ML_KEM", "SharedSecretCiphertextBlob": "AQID"}"#
}

fn json_requests() -> Vec<Vec<u8>> {
    let ciphertext = STANDARD.encode(super::share::ciphertext_of(&[("purpose", "test")]));
    let bodies = BODIES.iter().map(|(_, body)| body.replace("CIPHERTEXT", &ciphertext));
    bodies.zip(0_u8..).map(|(body, which)| chosen(which, body.as_bytes())).collect()
}

/// By the table that is compared with what nodes answer.
#[test]
fn every_operation_that_is_offered_has_a_body() {
    let compatible = include_str!("../../../../docs/aws-compatibility.md");
    let rows =
        compatible.lines().filter_map(|line| line.strip_prefix("| ")?.split_once(" | offered |"));
    for (operation, _) in rows {
        let request = format!("{operation}Request");
        assert!(
            BODIES.iter().any(|(name, _)| *name == request),
            "a good body of {request} is missing here"
        );
    }
}
