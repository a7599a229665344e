//! What one operation costs with a key that is kept parsed. `cargo bench -p conclave-crypto --bench keys`
#![allow(missing_docs, reason = "criterion's macro makes a public function")]

use std::hint::black_box;

use conclave_crypto::ec::Curve;
use conclave_crypto::hmac::{MacAlgorithm, MacKey};
use conclave_crypto::rsa::{Oaep, Scheme, Size};
use conclave_crypto::{SeededEntropy, SigningKey, ToSign, ecdh, ecdsa, ml_dsa, ml_kem, rsa};
use criterion::{Criterion, criterion_group, criterion_main};

/// What is signed: what a caller sends who lets the node digest it.
const MESSAGE: [u8; 256] = [b'x'; 256];
const OVER: ToSign<'_> = ToSign::Message(&MESSAGE);

fn macs(c: &mut Criterion) {
    for algorithm in MacAlgorithm::ALL {
        let secret = algorithm.generate(&mut SeededEntropy::from_number(1));
        let key = MacKey::new(algorithm, &secret);
        let tag = key.mac(&MESSAGE);
        c.bench_function(&format!("{algorithm:?} make"), |b| {
            b.iter(|| key.mac(black_box(&MESSAGE)))
        });
        c.bench_function(&format!("{algorithm:?} verify"), |b| {
            b.iter(|| key.verify(black_box(&MESSAGE), &tag));
        });
    }
}

fn rsa_keys(c: &mut Criterion) {
    for size in Size::ALL {
        let name = size.name();
        let signing = rsa::SigningKey::generate(size).expect("a key");
        let pkcs8 = signing.to_pkcs8();
        let decrypting = rsa::DecryptingKey::from_pkcs8(size, pkcs8.expose()).expect("a key");
        let public = signing.public();
        for scheme in [Scheme::ALL[0], Scheme::ALL[3]] {
            let how = format!("{name} {:?}", scheme.padding);
            let signature = signing.sign(scheme, OVER).expect("a signature");
            c.bench_function(&format!("{how} sign"), |b| b.iter(|| signing.sign(scheme, OVER)));
            c.bench_function(&format!("{how} verify"), |b| {
                b.iter(|| public.verify(scheme, OVER, &signature));
            });
        }
        let sealed = decrypting.public().encrypt(Oaep::Sha256, &[1; 32]).expect("a ciphertext");
        c.bench_function(&format!("{name} OAEP encrypt"), |b| {
            b.iter(|| decrypting.public().encrypt(Oaep::Sha256, &[1; 32]));
        });
        c.bench_function(&format!("{name} OAEP decrypt"), |b| {
            b.iter(|| decrypting.decrypt(Oaep::Sha256, &sealed));
        });
        c.bench_function(&format!("{name} parse"), |b| {
            b.iter(|| rsa::SigningKey::from_pkcs8(size, pkcs8.expose()));
        });
    }
}

fn curves(c: &mut Criterion) {
    for curve in Curve::ALL {
        let key = ecdsa::SigningKey::generate(curve).expect("a key");
        let signature = key.sign(OVER).expect("a signature");
        c.bench_function(&format!("ECDSA {curve} sign"), |b| b.iter(|| key.sign(OVER)));
        c.bench_function(&format!("ECDSA {curve} verify"), |b| {
            b.iter(|| key.public().verify(OVER, &signature));
        });
        c.bench_function(&format!("ECDSA {curve} parse"), |b| {
            b.iter(|| ecdsa::SigningKey::from_pkcs8(curve, key.to_pkcs8().expose()));
        });
        if let Ok(key) = ecdh::PrivateKey::generate(curve) {
            c.bench_function(&format!("ECDH {curve}"), |b| b.iter(|| key.agree(key.public())));
        }
    }
    let key = SigningKey::generate(&mut SeededEntropy::from_number(2)).expect("a key");
    c.bench_function("Ed25519ph sign", |b| b.iter(|| key.sign_prehashed(OVER)));
}

fn lattices(c: &mut Criterion) {
    let mut entropy = SeededEntropy::from_number(3);
    for parameters in ml_dsa::Parameters::ALL {
        let name = parameters.name();
        let key = ml_dsa::SigningKey::generate(parameters, &mut entropy).expect("a key");
        for (how, over) in [("message", OVER), ("µ", ToSign::Digest(&[1; ml_dsa::MU_LEN]))] {
            let signature = key.sign(over).expect("a signature");
            c.bench_function(&format!("{name} {how} sign"), |b| b.iter(|| key.sign(over)));
            c.bench_function(&format!("{name} {how} verify"), |b| {
                b.iter(|| key.public().verify(over, &signature));
            });
        }
        c.bench_function(&format!("{name} parse"), |b| {
            b.iter(|| ml_dsa::SigningKey::from_pkcs8(parameters, key.to_pkcs8().expose()));
        });
    }
    for parameters in ml_kem::Parameters::ALL {
        let name = parameters.name();
        let key = ml_kem::DecapsulationKey::generate(parameters, &mut entropy).expect("a key");
        let sent = key.public().encapsulate().expect("a ciphertext");
        c.bench_function(&format!("{name} encapsulate"), |b| b.iter(|| key.public().encapsulate()));
        c.bench_function(&format!("{name} decapsulate"), |b| {
            b.iter(|| key.decapsulate(&sent.ciphertext));
        });
    }
}

criterion_group!(benches, macs, rsa_keys, curves, lattices);
criterion_main!(benches);
