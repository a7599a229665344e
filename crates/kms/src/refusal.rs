//! Every way in which the service says no, under the names that AWS KMS gives them.
//!
//! A refusal is an outcome, not an error of ours: it is audited, and its message goes to the caller.
//! Each is mapped to its exception here, and here only; what an exception becomes is in
//! `exception.rs`.

use conclave_policy::PolicyError;
use conclave_proto::audit;

use crate::action::Action;
use crate::exception::{Exception, Fault, GrpcCode};
use crate::invalid::{Invalid, InvalidTags};
use crate::material::WrongMaterial;

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
    /// An alias that would change what the callers who use it do with its key.
    #[error(
        "Alias {alias} cannot be associated with key {key}, a key of type {new}: the key that it names \
         now is of type {old}. Choose a key of that type, or delete the alias and create it again"
    )]
    AliasOfOtherType {
        /// The alias's ARN.
        alias: String,
        /// The new key's ARN.
        key: String,
        /// Kind and usage of the new key.
        new: String,
        /// Of the one it names.
        old: String,
    },
    /// The domain has as many keys as it may have.
    #[error(
        "The domain has {max} keys, the most that it may have; delete keys, or have its operators raise \
         limits.keys"
    )]
    KeyLimit {
        /// How many.
        max: u32,
    },
    /// The key has as many aliases as it can have.
    #[error("Key {arn} has {max} aliases, the most that a key can have; delete one first")]
    AliasLimit {
        /// The key's ARN.
        arn: String,
        /// How many it can have.
        max: u32,
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
    /// The key has no material, or none any more.
    #[error("{arn} is pending import.")]
    PendingImport {
        /// The key's ARN.
        arn: String,
    },
    /// The key is for something else.
    #[error("{arn} key usage is {usage} which is not valid for {}.", .action.name())]
    KeyUsage {
        /// The key's ARN.
        arn: String,
        /// What it is for.
        usage: &'static str,
        /// What was asked of it.
        action: Action,
    },
    /// The key's material is of no use to the algorithm.
    #[error("Algorithm {algorithm} is incompatible with key spec {spec}.")]
    AlgorithmOfSpec {
        /// As asked for.
        algorithm: &'static str,
        /// The key's.
        spec: &'static str,
    },
    /// Keys of this kind keep the material they have.
    #[error("")]
    NoRotation,
    /// Imported material is rotated to what was imported for that.
    #[error("No available key material pending rotation for the key: {arn}.")]
    NothingToRotateTo {
        /// The key's ARN.
        arn: String,
    },
    /// Somebody else has done it, or its date was moved.
    #[error("Nothing of {arn} is due by the records as they stand.")]
    NotDue {
        /// The key's ARN.
        arn: String,
    },
    /// A key that was never destroyed here.
    #[error("Key '{arn}' was not destroyed here: it exists, or never did")]
    NotDestroyed {
        /// The key's ARN.
        arn: String,
    },
    /// Only such a key has replicas, or becomes one.
    #[error("{arn} is not a multi-region primary key.")]
    NotPrimary {
        /// The key's ARN.
        arn: String,
    },
    /// There are no custom key stores.
    #[error("Custom key store '{given}' does not exist: there are none here")]
    UnknownCustomKeyStore {
        /// Its id or name, as given.
        given: String,
    },
    /// Key material is imported only into keys that are made for it.
    #[error("{arn} origin is {origin} which is not valid for this operation.")]
    Origin {
        /// The key's ARN.
        arn: String,
        /// Where its material comes from.
        origin: &'static str,
    },
    /// Key material that is too long for the way it was to be wrapped.
    #[error(
        "Wrapping algorithm {algorithm} with wrapping key spec {wrapping_spec} has no room for key \
         material of key spec {spec}; use RSA_AES_KEY_WRAP_SHA_256"
    )]
    WrappingOfSpec {
        /// As asked for.
        algorithm: &'static str,
        /// As asked for.
        wrapping_spec: &'static str,
        /// The key's.
        spec: &'static str,
    },
    /// Keys of other kinds have one material for good.
    #[error("{member} is supported for symmetric encryption keys only; leave it out")]
    OnlyOfSymmetric {
        /// The request's member.
        member: &'static str,
    },
    /// The import token is another key's, or was altered.
    #[error("the import token is none of this key's; ask for new parameters for import")]
    InvalidImportToken,
    /// The import token is too old.
    #[error("the import token has expired; ask for new parameters for import")]
    ExpiredImportToken,
    /// What was wrapped is no material of such a key.
    #[error(transparent)]
    WrongMaterial(#[from] WrongMaterial),
    /// Not the material that was imported before.
    #[error("the key material is not the one that was imported into this key before")]
    OtherKeyMaterial,
    /// The material was imported before.
    #[error(
        "the key material is associated with this key already; import it as EXISTING_KEY_MATERIAL"
    )]
    KnownKeyMaterial,
    /// One new material at a time.
    #[error(
        "New key material (id: {new}) cannot be imported into KMS key {key}, because another key \
         material (id: {pending}) is pending rotation."
    )]
    OtherMaterialPending {
        /// The id of what was to be imported.
        new: String,
        /// The key's id.
        key: String,
        /// The id of what waits.
        pending: String,
    },
    /// No material of the key has this id.
    #[error("Key material '{id}' of key '{arn}' does not exist")]
    UnknownKeyMaterial {
        /// The key's ARN.
        arn: String,
        /// As asked for.
        id: String,
    },
    /// AWS KMS has it, this service does not.
    #[error("{what} is not offered here, see docs/aws-compatibility.md")]
    NotOffered {
        /// As the subject of a sentence.
        what: String,
    },
    /// The key policy breaks a rule.
    #[error(transparent)]
    Policy(#[from] PolicyError),
    /// Whoever gives the key this policy could not give it another.
    #[error("The new key policy will not allow you to update the key policy in the future.")]
    PolicyLockout,
    /// Keys have one policy, which is called default.
    #[error("No such policy exists: a key's one policy is called 'default'")]
    UnknownPolicy,
    /// Not the name or ARN of a principal of this domain.
    #[error(
        "ARN does not refer to a valid principal: '{given}'; give a principal's name or \
         arn:aws:iam::ACCOUNT:user/NAME"
    )]
    InvalidPrincipal {
        /// What was given, shortened.
        given: String,
    },
    /// Not what CreateGrant answered.
    #[error("The grant token is not one that CreateGrant gave")]
    InvalidGrantToken,
    /// Not 32 hex digits.
    #[error("Invalid grant id '{given}'")]
    InvalidGrantId {
        /// What was given, shortened.
        given: String,
    },
    /// No such grant, or of another key.
    #[error("Grant '{id}' of {arn} does not exist")]
    UnknownGrant {
        /// The grant's id.
        id: String,
        /// The key's ARN.
        arn: String,
    },
    /// The key has as many grants as it can have.
    #[error("You have reached the limit of {max} grants for {arn}")]
    GrantLimit {
        /// The key's ARN.
        arn: String,
        /// How many.
        max: u32,
    },
    /// The signature is not that of the message, or of another key.
    #[error("")]
    InvalidSignature,
    /// The same, of a MAC.
    #[error("")]
    InvalidMac,
    /// It would have been done.
    #[error("The request would have succeeded, but the DryRun option is set.")]
    DryRun,
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
    /// The domain keys lie under two root keys, of which a node may have one.
    #[error(
        "a share epoch is pending; wait until all nodes have their shares, or leave out who will \
         not come back (`conclave node exclude`)"
    )]
    ShareEpochPending,
    /// What a ceremony's step rests on is not as the ceremony read it.
    #[error("what this rests on has changed meanwhile; begin again")]
    Overtaken,
    /// The records have to be sealed again first.
    #[error(
        "{older} older domain keys are still in use, as many as there can be; \
         wait until records are sealed again, see `conclave status`"
    )]
    TooManyDomainKeys {
        /// How many.
        older: usize,
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

impl Refusal {
    /// The exception that AWS KMS would raise.
    pub fn exception(&self) -> Exception {
        match self {
            Self::Invalid(_) | Self::AliasOfOtherType { .. } => Exception::Validation,
            Self::Tags(_) => Exception::Tag,
            Self::AliasReserved | Self::AliasCharacters => Exception::InvalidAliasName,
            Self::InvalidMarker => Exception::InvalidMarker,
            Self::InvalidKeyRef { .. }
            | Self::ForeignArn { .. }
            | Self::UnknownKey { .. }
            | Self::UnknownAlias { .. }
            | Self::NotDestroyed { .. }
            | Self::UnknownPrincipal { .. }
            | Self::UnknownKeyMaterial { .. }
            | Self::UnknownPolicy
            | Self::UnknownGrant { .. } => Exception::NotFound,
            Self::Policy(PolicyError::TooLong { .. }) | Self::GrantLimit { .. } => {
                Exception::LimitExceeded
            }
            Self::Policy(_) | Self::PolicyLockout => Exception::MalformedPolicyDocument,
            Self::InvalidPrincipal { .. } => Exception::InvalidArn,
            Self::InvalidGrantToken => Exception::InvalidGrantToken,
            Self::InvalidGrantId { .. } => Exception::InvalidGrantId,
            Self::AliasExists { .. } | Self::KeyExists { .. } | Self::PrincipalExists { .. } => {
                Exception::AlreadyExists
            }
            Self::Denied { .. } | Self::OwnPrincipal { .. } => Exception::AccessDenied,
            Self::Disabled { .. } => Exception::Disabled,
            Self::PendingDeletion { .. }
            | Self::PendingImport { .. }
            | Self::NothingToRotateTo { .. }
            | Self::NotPendingDeletion { .. }
            | Self::NotDue { .. }
            | Self::OtherMaterialPending { .. }
            | Self::ShareEpochPending => Exception::InvalidState,
            Self::Overtaken => Exception::Conflict,
            Self::RotationLimit { .. }
            | Self::TooManyDomainKeys { .. }
            | Self::KeyLimit { .. }
            | Self::AliasLimit { .. } => Exception::LimitExceeded,
            Self::InvalidCiphertext | Self::WrongMaterial(_) => Exception::InvalidCiphertext,
            Self::IncorrectKey => Exception::IncorrectKey,
            Self::KeyUsage { .. } | Self::AlgorithmOfSpec { .. } => Exception::InvalidKeyUsage,
            Self::NoRotation
            | Self::NotPrimary { .. }
            | Self::NotOffered { .. }
            | Self::Origin { .. }
            | Self::WrappingOfSpec { .. }
            | Self::OnlyOfSymmetric { .. } => Exception::UnsupportedOperation,
            Self::InvalidImportToken => Exception::InvalidImportToken,
            Self::ExpiredImportToken => Exception::ExpiredImportToken,
            Self::OtherKeyMaterial | Self::KnownKeyMaterial => Exception::IncorrectKeyMaterial,
            Self::UnknownCustomKeyStore { .. } => Exception::CustomKeyStoreNotFound,
            Self::InvalidSignature => Exception::InvalidSignature,
            Self::InvalidMac => Exception::InvalidMac,
            Self::DryRun => Exception::DryRun,
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
    pub fn reason(&self) -> String {
        match self.message() {
            message if message.is_empty() => self.name().to_owned(),
            message => format!("{}: {message}", self.name()),
        }
    }
}
