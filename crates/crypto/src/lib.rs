//! The algorithms Conclave is built from, each behind the smallest interface that its callers need.
//!
//! Pure: no I/O, no clock. Randomness comes in as an [`Entropy`]; the one implementation that asks
//! the operating system, [`SystemEntropy`], is the shell's choice and is used by nothing in here.
//! The exception is what aws-lc draws itself, from the operating system, and takes from nobody: new
//! keys of [`rsa`], [`ecdsa`] and [`ecdh`], and the salts, paddings, nonces and blinding of single
//! operations. Keys that are a seed ([`ed25519`], [`ml_dsa`], [`ml_kem`], [`hmac`]) come from an
//! [`Entropy`]. What aws-lc draws never decides what a record of the state machine is: that is
//! made once, by whoever makes the proposal, and travels in it.
//!
//! Keys that callers have are of one family each: `generate`, or `from_pkcs8` and `from_spki`, which
//! say what is wrong with an imported key; `to_pkcs8`, a [`Secret`]; and their operations, which say
//! only that they failed. A new pair has passed a pairwise consistency test. Parsing costs more
//! than most operations, so keys are meant to be kept parsed: they are `Send` and `Sync`, not `Clone`,
//! and print no secret.
//!
//! This crate knows bytes, not meanings: which key wraps what, labels, associated data and stored
//! formats belong to its callers. Each module names the specification it follows; the vectors that
//! hold it to that specification are in `tests/`.
//!
//! Start reading at [`secret`], the types that every key and every opened plaintext lives in.

pub mod aead;
mod der;
pub mod digest;
pub mod ec;
pub mod ecdh;
pub mod ecdsa;
pub mod ed25519;
pub mod entropy;
pub mod hkdf;
pub mod hmac;
pub mod hpke;
pub mod key_wrap;
pub mod keys;
mod lc;
pub mod ml_dsa;
pub mod ml_kem;
pub mod rsa;
pub mod rsa_aes_wrap;
pub mod secret;
pub mod self_test;
pub mod sharing;
pub mod signature;
mod source;

pub use aead::OpenError;
pub use digest::{Hash, sha256};
pub use ed25519::{SigningKey, VerifyingKey};
pub use entropy::{Entropy, SeededEntropy, SystemEntropy};
pub use hmac::hmac_sha256;
pub use hpke::{HpkePrivateKey, HpkePublicKey, hpke_open, hpke_seal};
pub use keys::{GenerateError, KeyError};
pub use secret::{Key, Secret};
pub use sharing::Share;
pub use signature::{SignError, ToSign, VerifyError};
