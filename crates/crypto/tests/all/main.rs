//! Everything that holds this crate to its specifications, in one binary: published vectors,
//! independent second implementations, properties. Each module has the name of what it tests.

#![allow(clippy::unwrap_used, reason = "clippy takes helpers of tests for none")]

mod aead;
mod ecdh;
mod ecdsa;
mod ed25519;
mod entropy;
mod hashes;
mod hpke;
mod imports;
mod key_wrap;
mod macs;
mod ml_dsa;
mod ml_kem;
mod rsa;
mod rsa_aes_wrap;
mod secrets;
mod self_test;
mod shake;
mod sharing;

use conclave_crypto::{Entropy, Key};

/// Entropy that a published vector prescribes. Asking for more of it fails the test.
struct Prescribed(Vec<u8>);

impl Entropy for Prescribed {
    fn fill(&mut self, out: &mut [u8]) {
        assert!(out.len() <= self.0.len(), "the vector prescribes less entropy than is drawn");
        let rest = self.0.split_off(out.len());
        out.copy_from_slice(&self.0);
        self.0 = rest;
    }
}

fn key(byte: u8) -> Key {
    Key::from_array(Box::new([byte; 32]))
}
