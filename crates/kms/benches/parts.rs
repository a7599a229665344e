//! What deciding and computing a request costs without a cluster. `cargo bench -p conclave-kms`
#![allow(missing_docs, reason = "criterion's macro makes a public function")]
#![allow(clippy::unwrap_used, unreachable_pub, reason = "a benchmark may end")]

use std::hint::black_box;

use conclave_kms::Request;
use criterion::{Criterion, criterion_group, criterion_main};

#[path = "../tests/common/mod.rs"]
mod common;

use common::{Service, decrypt, encrypt};

fn decide(c: &mut Criterion) {
    let mut service = Service::new();
    let key = service.key("alias/bench");
    let ciphertext = service.encrypt(&key, &[b'x'; 1024]);
    let create = conclave_proto::v1::CreateKeyRequest::default();
    let requests: [(&str, &str, Request); 4] = [
        ("encrypt 1 KiB", "uma", encrypt(&key, &[b'x'; 1024]).try_into().unwrap()),
        ("decrypt 1 KiB", "uma", decrypt(&ciphertext).try_into().unwrap()),
        ("create key", "ada", create.try_into().unwrap()),
        ("a denial", "nobody", encrypt(&key, b"x").try_into().unwrap()),
    ];
    let store = service.store.clone();
    for (name, principal, request) in &requests {
        let caller = service.caller(principal);
        c.bench_function(name, |b| {
            b.iter(|| service.decide_over(&store, &caller, black_box(request)));
        });
    }
}

/// The largest single part of a decision.
fn entry(c: &mut Criterion) {
    let mut service = Service::new();
    let key = service.key("alias/bench");
    let entry = service.call("uma", encrypt(&key, b"x")).entry;
    let (keyring, entropy) = (&service.keyring, &mut service.entropy);
    c.bench_function("seal an audit entry", |b| {
        b.iter(|| keyring.seal_entry(black_box(&entry), entropy));
    });
    let sealed = keyring.seal_entry(&entry, entropy);
    c.bench_function("open an audit entry", |b| b.iter(|| keyring.open_entry(black_box(&sealed))));
}

criterion_group!(benches, decide, entry);
criterion_main!(benches);
