//! The checked members of requests. Each is parsed once, bounded as AWS KMS bounds it, and can be
//! nothing else afterwards; key names have `key_ref.rs` to themselves.

mod bounds;
mod imported;
mod labels;
mod numbers;
mod payload;
mod principal;
#[cfg(test)]
mod tests;

pub use imported::{MaterialDescription, MaterialIdText};
pub use labels::{DESCRIPTION_BYTES_MAX, Description, TAGS_BYTES_MAX, TAGS_MAX, Tags};
pub use numbers::{DataKeyBytes, DataKeySpec, Days, PageLimit, RANDOM_BYTES_MAX, RandomBytes};
pub use payload::{
    CIPHERTEXT_BYTES_MAX, CONTEXT_BYTES_MAX, CONTEXT_NAME_BYTES_MAX, CONTEXT_PAIRS_MAX,
    CiphertextBlob, EncryptionContext, GrantTokens, PLAINTEXT_BYTES_MAX, Plaintext, SignedMessage,
    Tagged,
};
pub use principal::{PrincipalName, RequestId, Role, Roles};
