//! What the algorithms cost, one at a time. `cargo bench -p conclave-crypto`
#![allow(missing_docs, reason = "criterion's macro makes a public function")]

use std::hint::black_box;

use conclave_crypto::{
    HpkePrivateKey, Key, SeededEntropy, SigningKey, aead, hmac_sha256, hpke_open, hpke_seal, sha256,
};
use criterion::{Criterion, criterion_group, criterion_main};

/// Bytes of plaintext: what `conclave bench` encrypts.
const PLAINTEXT: [u8; 1024] = [b'x'; 1024];

fn algorithms(c: &mut Criterion) {
    let mut entropy = SeededEntropy::from_number(1);
    let key = Key::generate(&mut entropy);
    let sealed = aead::seal(&key, &mut entropy, b"context", &PLAINTEXT);
    c.bench_function("seal 1 KiB", |b| {
        b.iter(|| aead::seal(&key, &mut entropy, b"context", black_box(&PLAINTEXT)));
    });
    c.bench_function("open 1 KiB", |b| b.iter(|| aead::open(&key, b"context", black_box(&sealed))));

    let wrapped = aead::seal(&key, &mut entropy, b"wrap", &[1; 32]);
    c.bench_function("unwrap a key", |b| b.iter(|| aead::open(&key, b"wrap", black_box(&wrapped))));

    c.bench_function("SHA-256 of 1 KiB", |b| b.iter(|| sha256(&[black_box(&PLAINTEXT)])));
    c.bench_function("HMAC of 64 bytes", |b| b.iter(|| hmac_sha256(&key, &[black_box(&[1; 64])])));
}

fn keys_and_signatures(c: &mut Criterion) {
    let mut entropy = SeededEntropy::from_number(2);
    let signing = SigningKey::from_seed(&Key::generate(&mut entropy));
    let (verifying, signature) = (signing.verifying_key(), signing.sign(&PLAINTEXT));
    c.bench_function("Ed25519 sign", |b| b.iter(|| signing.sign(black_box(&PLAINTEXT))));
    c.bench_function("Ed25519 verify", |b| {
        b.iter(|| verifying.verify(black_box(&PLAINTEXT), &signature));
    });

    let private = HpkePrivateKey::generate(&mut entropy);
    let sealed = hpke_seal(&private.public(), b"info", b"", &[1; 32], &mut entropy);
    let sealed = sealed.expect("a fresh key is not weak");
    c.bench_function("HPKE open 32 bytes", |b| {
        b.iter(|| hpke_open(&private, b"info", b"", black_box(&sealed)));
    });
}

criterion_group!(benches, algorithms, keys_and_signatures);
criterion_main!(benches);
