//! Wycheproof's vectors for all that is offered, through the operations themselves: what comes in is a
//! request, what is looked at is the answer or the refusal. A file for each family. `crates/crypto`
//! holds the algorithms below to the same vectors.
//!
//! Every vector of a family is counted under what became of it, and the counts are literal, so that
//! nothing is left out in silence: what is not offered (another curve, hash function, salt, size) has its
//! number too.

#![allow(clippy::unwrap_used, reason = "clippy takes helpers of tests for none")]

#[path = "../common/mod.rs"]
mod common;
#[path = "../importing/mod.rs"]
mod importing;
#[path = "../../../crypto/tests/all/shake.rs"]
#[allow(dead_code, reason = "the vectors of other families need more of it")]
mod shake;

mod ecdh;
mod ecdsa;
mod ed25519;
mod key_wrap;
mod macs;
mod ml_dsa;
mod ml_kem;
mod oaep;
mod published;
mod rsa;

use std::collections::BTreeMap;

use conclave_kms::{KeySpec, KeyUsage, Refusal, Request, Response};
use conclave_store::MemoryStore;

use crate::common::Service;
use crate::importing::{AES, Wrapped, ask, import, make};

/// A key of a kind in a service of its own, which gets one material after another, each by an import
/// as if it were the first.
struct Imported {
    service: Service,
    key: String,
    wrapped: Wrapped,
    /// Before the import, and after the last one.
    empty: MemoryStore,
    full: MemoryStore,
}

impl Imported {
    fn new(spec: KeySpec, usage: KeyUsage) -> Self {
        let mut service = Service::new();
        let key = make(&mut service, spec, usage);
        let wrapped = Wrapped::new(&mut service, &key, AES);
        let empty = service.store.clone();
        Self { service, key, wrapped, full: empty.clone(), empty }
    }

    /// Takes the material of before away, and imports this.
    fn import(&mut self, material: &[u8]) -> Result<(), String> {
        self.import_wrapped(self.wrapped.wrap(material))
    }

    fn import_wrapped(&mut self, encrypted_key_material: Vec<u8>) -> Result<(), String> {
        self.service.store = self.empty.clone();
        let request = conclave_proto::v1::ImportKeyMaterialRequest {
            encrypted_key_material,
            ..self.wrapped.request(&[1])
        };
        let imported = import(&mut self.service, &request);
        self.full = self.service.store.clone();
        imported.map(drop)
    }

    /// What the operation answers, or the exception with its message. The store forgets it, so that
    /// thousands of vectors cost no more than the first.
    fn ask<R: TryFrom<Response>>(
        &mut self,
        request: impl TryInto<Request, Error = Refusal>,
    ) -> Result<R, String> {
        self.service.store = self.full.clone();
        ask(&mut self.service, "uma", request)
    }
}

/// How many vectors came to what.
#[derive(Default)]
struct Tally(BTreeMap<&'static str, usize>);

impl Tally {
    fn count(&mut self, what: &'static str) {
        self.count_all(what, 1);
    }

    fn count_all(&mut self, what: &'static str, vectors: usize) {
        *self.0.entry(what).or_default() += vectors;
    }

    #[track_caller]
    fn assert(&self, expected: &[(&'static str, usize)]) {
        let counted: Vec<_> = self.0.iter().map(|(what, count)| (*what, *count)).collect();
        assert_eq!(counted, expected);
    }
}

/// An exception that came with no message, or with any.
fn is(refused: &str, exception: &str) -> bool {
    refused.split_once(": ").is_some_and(|(name, _)| name == exception)
}

/// DER for tests: a tag, and content of less than 64 KiB.
fn der(tag: u8, parts: &[&[u8]]) -> Vec<u8> {
    let content = parts.concat();
    let [high, low] = u16::try_from(content.len()).unwrap().to_be_bytes();
    let head = match content.len() {
        0..=0x7f => vec![tag, low],
        0x80..=0xff => vec![tag, 0x81, low],
        _ => vec![tag, 0x82, high, low],
    };
    [head, content].concat()
}

/// PKCS #8 of what an algorithm, by its identifier's content in hex, takes for a private key.
fn pkcs8(algorithm: &str, key: &[u8]) -> Vec<u8> {
    let algorithm = der(0x30, &[&hex::decode(algorithm).unwrap()]);
    der(0x30, &[&[2, 1, 0], &algorithm, &der(4, &[key])])
}

/// SubjectPublicKeyInfo in the same way.
fn spki(algorithm: &str, key: &[u8]) -> Vec<u8> {
    let algorithm = der(0x30, &[&hex::decode(algorithm).unwrap()]);
    der(0x30, &[&algorithm, &der(3, &[&[0], key])])
}
