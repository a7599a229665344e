//! Every way in which the service says no, under the names that AWS KMS gives them.
//!
//! A refusal is an outcome, not an error of ours: it is audited, and its message goes to the caller.
//! This is the one place where refusals are mapped to exception names and to gRPC codes.

use conclave_proto::audit;

use crate::authorize::Action;

/// Why a request was not done. `Display` is the message for the caller, as AWS KMS words it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The request itself is wrong, whatever the state of the service.
    #[error(transparent)]
    Invalid(#[from] Invalid),
    /// The tags break a rule.
    #[error(transparent)]
    Tags(#[from] InvalidTags),
    /// An alias of a prefix that AWS keeps for itself.
    #[error("Alias names beginning with alias/aws/ are reserved")]
    AliasReserved,
    /// An alias with other characters, or too long.
    #[error(
        "The alias contains invalid characters for an alias, or is too long: \
         use 1 to 250 of a-z, A-Z, 0-9, /, _ and - after alias/"
    )]
    AliasCharacters,
    /// A page marker that no earlier page gave.
    #[error("The marker is not one that an earlier page gave; list from the start")]
    InvalidMarker,
    /// Neither key id, alias nor ARN.
    #[error("Invalid keyId '{given}'")]
    InvalidKeyRef {
        /// What was given, shortened.
        given: String,
    },
    /// An ARN of another domain.
    #[error("Invalid arn {region}")]
    ForeignArn {
        /// The region part of the ARN.
        region: String,
    },
    /// No such key.
    #[error("Key '{arn}' does not exist")]
    UnknownKey {
        /// The key's ARN.
        arn: String,
    },
    /// No such alias.
    #[error("Alias {arn} is not found.")]
    UnknownAlias {
        /// The alias's ARN.
        arn: String,
    },
    /// No such principal.
    #[error("Principal '{name}' does not exist")]
    UnknownPrincipal {
        /// The name asked for.
        name: String,
    },
    /// The alias is taken.
    #[error("An alias with the name {arn} already exists")]
    AliasExists {
        /// The alias's ARN.
        arn: String,
    },
    /// A late retry of a creation whose first answer is no longer kept.
    #[error("Key '{arn}' was already created by this request; describe it instead of retrying")]
    KeyExists {
        /// The key's ARN.
        arn: String,
    },
    /// The principal is already there; its roles do not change.
    #[error("Principal '{name}' already exists")]
    PrincipalExists {
        /// Its name.
        name: String,
    },
    /// The principal may not do this.
    #[error("Principal '{principal}' is not authorized to perform: kms:{} on resource: {resource}", .action.name())]
    Denied {
        /// Who asked.
        principal: String,
        /// What for.
        action: Action,
        /// On what; `*` for what concerns no one resource.
        resource: String,
    },
    /// Nobody deletes their own principal, so that an operator always remains.
    #[error("Principal '{principal}' is not authorized to delete itself; another operator can")]
    OwnPrincipal {
        /// Who asked.
        principal: String,
    },
    /// The key is disabled.
    #[error("{arn} is disabled.")]
    Disabled {
        /// The key's ARN.
        arn: String,
    },
    /// The key waits to be destroyed.
    #[error("{arn} is pending deletion.")]
    PendingDeletion {
        /// The key's ARN.
        arn: String,
    },
    /// There is no deletion to cancel.
    #[error("{arn} is not pending deletion.")]
    NotPendingDeletion {
        /// The key's ARN.
        arn: String,
    },
    /// The key has as many versions as it can have.
    #[error(
        "The on-demand rotations limit has been reached for the given keyId. \
         No more on-demand rotations can be performed for this key: {arn}"
    )]
    RotationLimit {
        /// The key's ARN.
        arn: String,
    },
    /// Damaged, of another service, or under another encryption context: nobody can tell which.
    #[error("")]
    InvalidCiphertext,
    /// The ciphertext is not of the key that the request names.
    #[error("The key ID in the request does not identify a CMK that can perform this operation.")]
    IncorrectKey,
    /// What the first attempt of this request was told.
    #[error("{message}")]
    Earlier {
        /// Its exception.
        exception: Exception,
        /// Its message, shortened where it was long.
        message: String,
    },
}

/// What is wrong with a request (`ValidationException`).
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Invalid {
    /// Too many bytes, characters or members.
    #[error(
        "1 validation error detected: Value at '{member}' failed to satisfy constraint: \
         Member must have length less than or equal to {max}{hint}"
    )]
    TooLong {
        /// The request's member.
        member: &'static str,
        /// The most it may have.
        max: usize,
        /// What to do instead, or empty.
        hint: &'static str,
    },
    /// Too few.
    #[error(
        "1 validation error detected: Value at '{member}' failed to satisfy constraint: \
         Member must have length greater than or equal to {min}"
    )]
    TooShort {
        /// The request's member.
        member: &'static str,
        /// The least it must have.
        min: usize,
    },
    /// A number that is too large.
    #[error(
        "1 validation error detected: Value '{value}' at '{member}' failed to satisfy constraint: \
         Member must have value less than or equal to {max}"
    )]
    TooLarge {
        /// The request's member.
        member: &'static str,
        /// What it was.
        value: u32,
        /// The most it may be.
        max: u32,
    },
    /// A number that is too small.
    #[error(
        "1 validation error detected: Value '{value}' at '{member}' failed to satisfy constraint: \
         Member must have value greater than or equal to {min}"
    )]
    TooSmall {
        /// The request's member.
        member: &'static str,
        /// What it was.
        value: u32,
        /// The least it may be.
        min: u32,
    },
    /// One name stands twice in an encryption context.
    #[error("'{member}' names the same pair twice; give each name once")]
    Repeated {
        /// The request's member.
        member: &'static str,
    },
    /// An alias without its prefix.
    #[error(
        "Alias must start with the prefix \"alias/\". Please see \
         https://docs.aws.amazon.com/kms/latest/developerguide/kms-alias.html"
    )]
    AliasPrefix,
    /// A name that no certificate could carry.
    #[error(
        "'{given}' is no principal name: use 1 to 63 of a-z, 0-9, '.', '_' and '-', \
         beginning with a letter or digit"
    )]
    PrincipalName {
        /// What was given, shortened.
        given: String,
    },
    /// A role that is none of the four.
    #[error("'{given}' is no role: use operator, key-administrator, key-user or auditor")]
    Role {
        /// What was given, shortened.
        given: String,
    },
    /// A request id that no header should carry.
    #[error("a request id is 1 to 128 visible ASCII characters")]
    RequestId,
    /// A request id came back with another request.
    #[error("request id {request_id} was already used for another request; use a new one")]
    RequestIdReused {
        /// The id, shortened.
        request_id: String,
    },
}

/// What is wrong with a request's tags (`TagException`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidTags {
    /// One key stands twice.
    #[error("Duplicate tag keys")]
    Repeated,
    /// More than 50.
    #[error("Too many tags")]
    TooMany,
    /// A key that begins with `aws:`, in any case.
    #[error("Tags beginning with aws: are reserved")]
    Reserved,
}

impl Refusal {
    /// The exception that AWS KMS would raise.
    pub fn exception(&self) -> Exception {
        match self {
            Self::Invalid(_) => Exception::Validation,
            Self::Tags(_) => Exception::Tag,
            Self::AliasReserved | Self::AliasCharacters => Exception::InvalidAliasName,
            Self::InvalidMarker => Exception::InvalidMarker,
            Self::InvalidKeyRef { .. }
            | Self::ForeignArn { .. }
            | Self::UnknownKey { .. }
            | Self::UnknownAlias { .. }
            | Self::UnknownPrincipal { .. } => Exception::NotFound,
            Self::AliasExists { .. } | Self::KeyExists { .. } | Self::PrincipalExists { .. } => {
                Exception::AlreadyExists
            }
            Self::Denied { .. } | Self::OwnPrincipal { .. } => Exception::AccessDenied,
            Self::Disabled { .. } => Exception::Disabled,
            Self::PendingDeletion { .. } | Self::NotPendingDeletion { .. } => {
                Exception::InvalidState
            }
            Self::RotationLimit { .. } => Exception::LimitExceeded,
            Self::InvalidCiphertext => Exception::InvalidCiphertext,
            Self::IncorrectKey => Exception::IncorrectKey,
            Self::Earlier { exception, .. } => *exception,
        }
    }

    /// The exception's name, e.g. `NotFoundException`.
    pub fn name(&self) -> &'static str {
        self.exception().name()
    }

    /// For the caller; empty where AWS KMS says nothing.
    pub fn message(&self) -> String {
        self.to_string()
    }

    /// What the caller got wrong.
    pub fn fault(&self) -> Fault {
        self.exception().fault()
    }

    /// The gRPC status code it becomes.
    pub fn grpc_code(&self) -> GrpcCode {
        self.fault().grpc_code()
    }

    /// How its audit entry classes it.
    pub(crate) fn outcome(&self) -> audit::Outcome {
        match self.fault() {
            Fault::Denied => audit::Outcome::Denied,
            _ => audit::Outcome::Refused,
        }
    }

    /// How its audit entry explains it: the name, and the message if there is one.
    pub(crate) fn reason(&self) -> String {
        match self.message() {
            message if message.is_empty() => self.name().to_owned(),
            message => format!("{}: {message}", self.name()),
        }
    }
}

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
            | Self::IncorrectKey => Fault::Request,
            Self::NotFound => Fault::Missing,
            Self::AlreadyExists => Fault::Exists,
            Self::AccessDenied => Fault::Denied,
            Self::Disabled | Self::InvalidState => Fault::State,
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
