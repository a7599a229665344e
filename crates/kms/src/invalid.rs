//! What can be wrong with a request by itself, whatever the state of the service.

use std::borrow::Cow;

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
        member: Cow<'static, str>,
        /// The most it may have.
        max: usize,
        /// What to do instead, or empty.
        hint: &'static str,
    },
    /// Too many characters, of what is no secret.
    #[error(
        "1 validation error detected: Value '{value}' at '{member}' failed to satisfy constraint: \
         Member must have length less than or equal to {max}"
    )]
    TooLongText {
        /// The request's member.
        member: String,
        /// What was given, shortened.
        value: String,
        /// The most it may have.
        max: usize,
    },
    /// Too few.
    #[error(
        "1 validation error detected: Value at '{member}' failed to satisfy constraint: \
         Member must have length greater than or equal to {min}"
    )]
    TooShort {
        /// The request's member.
        member: Cow<'static, str>,
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
        value: i32,
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
        value: i32,
        /// The least it may be.
        min: u32,
    },
    /// One name stands twice in an encryption context.
    #[error("'{member}' names the same pair twice; give each name once")]
    Repeated {
        /// The request's member.
        member: &'static str,
    },
    /// A name that is none of those there are.
    #[error(
        "1 validation error detected: Value '{value}' at '{member}' failed to satisfy constraint: \
         Member must satisfy enum value set: [{all}]"
    )]
    NoneOf {
        /// The request's member.
        member: &'static str,
        /// What was given, shortened.
        value: String,
        /// Those there are.
        all: String,
    },
    /// A member that has to be there.
    #[error(
        "1 validation error detected: Value null at '{member}' failed to satisfy constraint: \
         Member must not be null"
    )]
    Missing {
        /// The request's member.
        member: &'static str,
    },
    /// The same, where AWS KMS words it otherwise.
    #[error("NumberOfBytes is required.")]
    NoNumberOfBytes,
    /// Neither or both of two ways to say the length of a data key.
    #[error("Please specify either number of bytes or key spec.")]
    DataKeyLength,
    /// Only keys for symmetric encryption are for what they are taken to be.
    #[error(
        "You must specify a KeyUsage value for all KMS keys except for symmetric encryption keys."
    )]
    NoKeyUsage,
    /// A usage that a key of this kind cannot have.
    #[error("KeyUsage {usage} is not compatible with KeySpec {spec}")]
    UsageOfSpec {
        /// What was asked for.
        usage: &'static str,
        /// Of what.
        spec: &'static str,
    },
    /// Both names of one member.
    #[error("You cannot specify KeySpec and CustomerMasterKeySpec in the same request.")]
    TwoSpecs,
    /// An encryption context where nothing could be bound to it.
    #[error("EncryptionContext is not supported for asymmetric keys; leave it out")]
    ContextOfAsymmetric,
    /// More than the RSA modulus has room for.
    #[error(
        "Algorithm {algorithm} and key spec {spec} cannot encrypt data larger than {max} bytes."
    )]
    RsaPlaintext {
        /// The padding.
        algorithm: &'static str,
        /// The key's kind.
        spec: &'static str,
        /// What fits.
        max: usize,
    },
    /// A digest that is none of the algorithm's.
    #[error("Digest is invalid length for algorithm {algorithm}.")]
    DigestLength {
        /// Whose.
        algorithm: &'static str,
    },
    /// A form of message that the algorithm does not take.
    #[error("MessageType {message_type} is not valid for algorithm {algorithm}.")]
    MessageTypeOf {
        /// As given.
        message_type: &'static str,
        /// Whose.
        algorithm: &'static str,
    },
    /// Data key pairs are of other kinds.
    #[error("There are no data key pairs of key spec {spec}")]
    NoDataKeyPair {
        /// As given.
        spec: &'static str,
    },
    /// A public key that is none of the key's curve.
    #[error("")]
    PublicKey,
    /// An operation of a grant that keys of this kind do not have.
    #[error(
        "Grant operation {operation} is not supported for a key of usage {usage} and spec {spec}."
    )]
    GrantOperationOf {
        /// The operation.
        operation: &'static str,
        /// What the key is for.
        usage: &'static str,
        /// The key's kind.
        spec: &'static str,
    },
    /// An encryption context where a grant's operations have none.
    #[error(
        "Encryption context constraints are only valid for grants on symmetric encryption keys."
    )]
    GrantConstraintsOfAsymmetric,
    /// Neither or both of two ways to name a grant.
    #[error("Please specify either a grant token, or both key id and grant id.")]
    GrantNamedTwice,
    /// A text with other characters than it may have.
    #[error(
        "1 validation error detected: Value '{value}' at '{member}' failed to satisfy constraint: \
         Member must satisfy regular expression pattern: {pattern}"
    )]
    Pattern {
        /// The request's member.
        member: &'static str,
        /// What was given, shortened.
        value: String,
        /// What it has to be like.
        pattern: &'static str,
    },
    /// An alias without its prefix.
    #[error(
        "Alias must start with the prefix \"alias/\". Please see \
         https://docs.aws.amazon.com/kms/latest/developerguide/kms-alias.html"
    )]
    AliasPrefix,
    /// Key material that expires, and no date.
    #[error("A validTo date must be set if the ExpirationModel is KEY_MATERIAL_EXPIRES")]
    NoValidTo,
    /// A date, and key material that does not expire.
    #[error(
        "A validTo date must not be set if the ExpirationModel is KEY_MATERIAL_DOES_NOT_EXPIRE"
    )]
    ValidToOfUnending,
    /// Key material that has expired before it is there.
    #[error("The validTo date must be in the future")]
    ValidToPast,
    /// Key material that expires too late.
    #[error("The validTo date must be at most 365 days ahead")]
    ValidToFar,
    /// What is new has no id yet.
    #[error("You cannot specify KeyMaterialId with ImportType NEW_KEY_MATERIAL.")]
    IdOfNewMaterial,
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
