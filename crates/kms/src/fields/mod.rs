//! The checked members of requests. Each is parsed once, bounded as AWS KMS bounds it, and can be
//! nothing else afterwards; key names have `key_ref.rs` to themselves.

mod bounds;
mod elsewhere;
mod grant;
mod grant_operation;
mod imported;
mod labels;
mod numbers;
mod payload;
mod policy;
mod principal;
#[cfg(test)]
mod tests;

pub(crate) use elsewhere::check_policy;
pub use elsewhere::{KeyStoreName, RegionName};
pub use grant::{GrantConstraints, GrantId, GrantName, GrantToken, GrantTokens};
pub use grant_operation::{GrantOperation, GrantOperations};
pub use imported::{MaterialDescription, MaterialIdText};
pub use labels::{
    DESCRIPTION_BYTES_MAX, Description, TAGS_BYTES_MAX, TAGS_MAX, TagKey, TagKeys, Tags,
};
pub(crate) use numbers::after_days;
pub use numbers::{
    DataKeyBytes, DataKeySpec, Days, PageLimit, RANDOM_BYTES_MAX, RandomBytes, RotationPeriod,
};
pub use payload::{
    CIPHERTEXT_BYTES_MAX, CONTEXT_BYTES_MAX, CONTEXT_NAME_BYTES_MAX, CONTEXT_PAIRS_MAX,
    CiphertextBlob, EncryptionContext, PLAINTEXT_BYTES_MAX, Plaintext, SignedMessage, Tagged,
};
pub use policy::{PolicyDocument, PolicyName};
pub use principal::{PrincipalName, PrincipalRef, RequestId, Role, Roles};
