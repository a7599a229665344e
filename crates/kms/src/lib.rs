//! What the service does with a request: pure decisions over records and keys.
//!
//! [`decide`] takes a checked [`Request`] and a [`Ctx`] (a view of the applied state, the keyring, time,
//! entropy, the caller) and gives a [`Plan`]: the txn to commit, and the reply to release once it has
//! committed. Refusals and denials are plans too, since they are audited. A retry whose first attempt
//! had committed gets its answer from [`replay`].
//!
//! Key pairs, asymmetric signatures and encapsulations draw randomness of aws-lc's own beside the entropy
//! that is lent.
//!
//! It reaches no disk, network or clock, proposes nothing and waits for nothing: that is the server's.
//! It opens and seals records through the keyring and never sees the keys that do so.
//!
//! Start reading at [`decide`](decide()), which every request goes through; then `operation.rs`, what
//! every operation has in common, and one file for each.

mod action;
mod administration;
mod answer;
mod audit_entry;
mod authorize;
mod cache;
pub mod ciphertext;
mod computation;
mod ctx;
mod custom_key_stores;
mod decide;
mod exception;
pub mod fields;
mod grants;
mod importing;
mod invalid;
mod key_ref;
mod keys;
mod material;
mod operation;
mod plan;
mod policies;
mod principals;
mod reads;
mod records;
mod refusal;
mod replay;
mod response;
mod spec;
mod usage;
mod work;

pub use action::Action;
pub use administration::{Admin, AdminAction, ReadAudit};
pub use cache::{CACHE_ENTRIES_MAX, Cache};
pub use computation::Computation;
pub use ctx::{Caller, Ctx};
pub use decide::{Decision, decide, decide_whole, may_ask};
pub use exception::{Exception, Fault, GrpcCode};
pub use invalid::{Invalid, InvalidTags};
pub use key_ref::{AliasName, DomainInfo, KeyId, KeyRef};
pub use keys::ON_DEMAND_ROTATIONS_MAX;
pub use material::WrongMaterial;
pub use operation::Request;
pub use plan::{DecideError, Plan};
pub use reads::{ALIASES_MAX, GRANTS_MAX};
pub use records::{KeyState, RecordError, VERSIONS_MAX, encode_principal};
pub use refusal::Refusal;
pub use replay::replay;
pub use response::{Response, WrongResponse};
pub use spec::{
    EncapsulationAlgorithm, EncryptionAlgorithm, KeyAgreementAlgorithm, KeySpec, KeyUsage,
    MacAlgorithm, Origin, SigningAlgorithm,
};
#[doc(hidden)]
pub use usage::verify_published;
