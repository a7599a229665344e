//! The exceptions of AWS KMS that refusals become, and the gRPC codes that those become. This is the
//! one place where names and codes are given.

/// The exceptions of AWS KMS that we raise. The numbers stand in kept answers: never reuse one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, prost::Enumeration)]
#[repr(i32)]
pub enum Exception {
    /// Not an exception: what a kept answer without one decodes to.
    Unspecified = 0,
    /// The request itself is wrong.
    Validation = 1,
    /// Its tags are.
    Tag = 2,
    /// Its alias is.
    InvalidAliasName = 3,
    /// Its marker is.
    InvalidMarker = 4,
    /// It names what is not there.
    NotFound = 5,
    /// It would create what is there.
    AlreadyExists = 6,
    /// The principal may not.
    AccessDenied = 7,
    /// The key is disabled.
    Disabled = 8,
    /// The key's state forbids it.
    InvalidState = 9,
    /// A count is at its limit.
    LimitExceeded = 10,
    /// The ciphertext does not open.
    InvalidCiphertext = 11,
    /// The ciphertext is another key's.
    IncorrectKey = 12,
    /// The key is for something else.
    InvalidKeyUsage = 13,
    /// Not for a key of this kind, or not here.
    UnsupportedOperation = 14,
    /// The signature does not verify.
    InvalidSignature = 15,
    /// The MAC does not verify.
    InvalidMac = 16,
    /// It was asked not to be done.
    DryRun = 17,
    /// The grant token is none.
    InvalidGrantToken = 18,
    /// The grant id is none.
    InvalidGrantId = 19,
    /// The key policy is none.
    MalformedPolicyDocument = 20,
    /// The ARN is none.
    InvalidArn = 21,
    /// The import token is none of the key's.
    InvalidImportToken = 22,
    /// The import token is too old.
    ExpiredImportToken = 23,
    /// Other key material than was imported before.
    IncorrectKeyMaterial = 24,
    /// Another change is under way, or came first.
    Conflict = 25,
    /// The custom key store is none.
    CustomKeyStoreNotFound = 26,
}

impl Exception {
    /// As AWS KMS spells it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Unspecified => "KMSInternalException",
            Self::Validation => "ValidationException",
            Self::Tag => "TagException",
            Self::InvalidAliasName => "InvalidAliasNameException",
            Self::InvalidMarker => "InvalidMarkerException",
            Self::NotFound => "NotFoundException",
            Self::AlreadyExists => "AlreadyExistsException",
            Self::AccessDenied => "AccessDeniedException",
            Self::Disabled => "DisabledException",
            Self::InvalidState => "KMSInvalidStateException",
            Self::LimitExceeded => "LimitExceededException",
            Self::InvalidCiphertext => "InvalidCiphertextException",
            Self::IncorrectKey => "IncorrectKeyException",
            Self::InvalidKeyUsage => "InvalidKeyUsageException",
            Self::UnsupportedOperation => "UnsupportedOperationException",
            Self::InvalidSignature => "KMSInvalidSignatureException",
            Self::InvalidMac => "KMSInvalidMacException",
            Self::DryRun => "DryRunOperationException",
            Self::InvalidGrantToken => "InvalidGrantTokenException",
            Self::InvalidGrantId => "InvalidGrantIdException",
            Self::MalformedPolicyDocument => "MalformedPolicyDocumentException",
            Self::InvalidArn => "InvalidArnException",
            Self::InvalidImportToken => "InvalidImportTokenException",
            Self::ExpiredImportToken => "ExpiredImportTokenException",
            Self::IncorrectKeyMaterial => "IncorrectKeyMaterialException",
            Self::Conflict => "ConflictException",
            Self::CustomKeyStoreNotFound => "CustomKeyStoreNotFoundException",
        }
    }

    /// What the caller got wrong.
    pub fn fault(self) -> Fault {
        match self {
            Self::Unspecified => Fault::Ours,
            Self::Validation
            | Self::Tag
            | Self::InvalidAliasName
            | Self::InvalidMarker
            | Self::InvalidCiphertext
            | Self::IncorrectKey
            | Self::InvalidKeyUsage
            | Self::UnsupportedOperation
            | Self::InvalidSignature
            | Self::InvalidMac
            | Self::InvalidGrantToken
            | Self::InvalidGrantId
            | Self::MalformedPolicyDocument
            | Self::InvalidArn
            | Self::InvalidImportToken
            | Self::ExpiredImportToken
            | Self::IncorrectKeyMaterial => Fault::Request,
            Self::NotFound | Self::CustomKeyStoreNotFound => Fault::Missing,
            Self::AlreadyExists => Fault::Exists,
            Self::AccessDenied => Fault::Denied,
            Self::Disabled | Self::InvalidState | Self::DryRun | Self::Conflict => Fault::State,
            Self::LimitExceeded => Fault::Limit,
        }
    }
}

/// What stands behind a refusal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The request can never succeed as it is.
    Request,
    /// It names what is not there.
    Missing,
    /// It would create what is there.
    Exists,
    /// The principal may not.
    Denied,
    /// The key's state forbids it; another state would not.
    State,
    /// A count is at its limit.
    Limit,
    /// None of the caller's.
    Ours,
}

impl Fault {
    /// The gRPC status code it becomes.
    pub fn grpc_code(self) -> GrpcCode {
        match self {
            Self::Request => GrpcCode::InvalidArgument,
            Self::Missing => GrpcCode::NotFound,
            Self::Exists => GrpcCode::AlreadyExists,
            Self::Denied => GrpcCode::PermissionDenied,
            Self::Limit => GrpcCode::ResourceExhausted,
            Self::State => GrpcCode::FailedPrecondition,
            Self::Ours => GrpcCode::Internal,
        }
    }
}

/// The gRPC status codes that refusals become, by gRPC's own numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(i32)]
pub enum GrpcCode {
    /// INVALID_ARGUMENT
    InvalidArgument = 3,
    /// NOT_FOUND
    NotFound = 5,
    /// ALREADY_EXISTS
    AlreadyExists = 6,
    /// PERMISSION_DENIED
    PermissionDenied = 7,
    /// RESOURCE_EXHAUSTED
    ResourceExhausted = 8,
    /// FAILED_PRECONDITION
    FailedPrecondition = 9,
    /// INTERNAL
    Internal = 13,
}
