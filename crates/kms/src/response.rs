//! What the service answers: the protocol's own messages, one variant for each operation.
//!
//! Secrets are in these values and nowhere else. The messages cannot wipe themselves; the allocator
//! overwrites all that is given back to it.

use conclave_proto::v1;

/// A response asked to be another operation's message: a mistake in the face, never the caller's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the response is not one of {wanted}")]
pub struct WrongResponse {
    /// The message asked for.
    pub wanted: &'static str,
}

macro_rules! responses {
    ($($name:ident = $message:ident,)*) => {
        /// The answer to one request.
        #[derive(Debug)]
        #[allow(missing_docs, reason = "each variant answers the operation of its name")]
        pub enum Response {
            $($name(v1::$message),)*
            /// A ceremony's step, or leave to read the audit log.
            Done,
        }

        $(
            impl From<v1::$message> for Response {
                fn from(message: v1::$message) -> Self {
                    Self::$name(message)
                }
            }

            impl TryFrom<Response> for v1::$message {
                type Error = WrongResponse;

                fn try_from(response: Response) -> Result<Self, WrongResponse> {
                    match response {
                        Response::$name(message) => Ok(message),
                        _ => Err(WrongResponse { wanted: stringify!($message) }),
                    }
                }
            }
        )*
    };
}
responses! {
    CreateKey = CreateKeyResponse,
    DescribeKey = DescribeKeyResponse,
    ListKeys = ListKeysResponse,
    EnableKey = EnableKeyResponse,
    DisableKey = DisableKeyResponse,
    ScheduleKeyDeletion = ScheduleKeyDeletionResponse,
    CancelKeyDeletion = CancelKeyDeletionResponse,
    RotateKeyOnDemand = RotateKeyOnDemandResponse,
    GetParametersForImport = GetParametersForImportResponse,
    ImportKeyMaterial = ImportKeyMaterialResponse,
    DeleteImportedKeyMaterial = DeleteImportedKeyMaterialResponse,
    Encrypt = EncryptResponse,
    Decrypt = DecryptResponse,
    ReEncrypt = ReEncryptResponse,
    GenerateDataKey = GenerateDataKeyResponse,
    GenerateDataKeyWithoutPlaintext = GenerateDataKeyWithoutPlaintextResponse,
    GenerateDataKeyPair = GenerateDataKeyPairResponse,
    GenerateDataKeyPairWithoutPlaintext = GenerateDataKeyPairWithoutPlaintextResponse,
    GenerateRandom = GenerateRandomResponse,
    GetPublicKey = GetPublicKeyResponse,
    GetKeyLastUsage = GetKeyLastUsageResponse,
    Sign = SignResponse,
    Verify = VerifyResponse,
    GenerateMac = GenerateMacResponse,
    VerifyMac = VerifyMacResponse,
    DeriveSharedSecret = DeriveSharedSecretResponse,
    Encapsulate = EncapsulateResponse,
    Decapsulate = DecapsulateResponse,
    CreatePrincipal = CreatePrincipalResponse,
    ListPrincipals = ListPrincipalsResponse,
    DeletePrincipal = DeletePrincipalResponse,
    RotateDomainKey = RotateDomainKeyResponse,
}
