//! The algorithms Conclave is built from, each behind the smallest interface that its callers need.
//!
//! Pure: no I/O, no clock. Randomness comes in as an [`Entropy`]; the one implementation that asks
//! the operating system, [`SystemEntropy`], is the shell's choice and is used by nothing in here.
//!
//! This crate knows bytes, not meanings: which key wraps what, labels, associated data and stored
//! formats belong to its callers. Each module names the specification it follows; the vectors that
//! hold it to that specification are in `tests/`.
//!
//! Start reading at [`secret`], the types that every key and every opened plaintext lives in.

pub mod aead;
pub mod digest;
pub mod ed25519;
pub mod entropy;
pub mod hkdf;
pub mod hmac;
pub mod hpke;
pub mod secret;
pub mod self_test;
pub mod sharing;
mod source;

pub use aead::OpenError;
pub use digest::sha256;
pub use ed25519::{SigningKey, VerifyingKey};
pub use entropy::{Entropy, SeededEntropy, SystemEntropy};
pub use hmac::hmac_sha256;
pub use hpke::{HpkePrivateKey, HpkePublicKey, hpke_open, hpke_seal};
pub use secret::{Key, Secret};
pub use sharing::Share;
