//! What can be wrong with a request by itself, whatever the state of the service.

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
