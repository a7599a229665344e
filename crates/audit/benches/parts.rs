//! What the audit log costs: a step of the chain, and verifying an export. `cargo bench -p conclave-audit`
#![allow(missing_docs, reason = "criterion's macro makes a public function")]

use std::hint::black_box;

use conclave_audit::export::{Header, Line, Step};
use conclave_audit::{
    Checkpoint, Head, Origin, StepData, Verifier, VerifierKey, commitment, encode_entry,
};
use conclave_crypto::{Key, SeededEntropy, SigningKey};
use conclave_proto::audit::{Entry, Outcome};
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};

const DOMAIN: [u8; 16] = [7; 16];
const ENTRIES: u64 = 1000;

fn entry() -> Entry {
    Entry {
        time_ms: 1_700_000_000_000,
        request_id: "0c0ffee0-1234-4234-9234-123456789012".to_owned(),
        principal: "app".to_owned(),
        certificate_serial: "4cf10f7fc0bc4f21d12d50058c53eaf0".to_owned(),
        source_address: "192.0.2.1:4711".to_owned(),
        node: "n1".to_owned(),
        region: "eu".to_owned(),
        action: "Encrypt".to_owned(),
        resources: vec![
            "arn:aws:kms:eu:000000000001:key/0c0ffee0-1234-4234-9234-123456789012".to_owned(),
        ],
        outcome: Outcome::Success.into(),
        decided_by: vec!["key-user".to_owned()],
        ..Default::default()
    }
}

fn data(index: u64, commitment: [u8; 32]) -> StepData {
    StepData {
        time_ms: 1_700_000_000_000 + index,
        writer: 1,
        sequence: index + 1,
        log_index: index + 2,
        position: 0,
        key: 1,
        commitment,
        sealed_sha256: [4; 32],
    }
}

fn chain(c: &mut Criterion) {
    let mut head = Head::genesis(&DOMAIN);
    c.bench_function("chain step", |b| {
        b.iter(|| head.append(black_box(&data(head.size, [1; 32]))))
    });
    let entry = entry();
    c.bench_function("commit to an entry", |b| {
        b.iter(|| commitment(&[1; 32], &encode_entry(black_box(&entry))));
    });
}

fn export() -> (Vec<u8>, VerifierKey) {
    let signing = SigningKey::from_seed(&Key::generate(&mut SeededEntropy::from_number(1)));
    let origin = Origin::new("test", "eu").expect("names without spaces");
    let key = VerifierKey::new(origin.as_str(), signing.verifying_key()).expect("a name");
    let mut head = Head::genesis(&DOMAIN);
    let mut export = Line::Header(Header { audit_key: key.clone(), domain: DOMAIN }).encode();
    for index in 0..ENTRIES {
        let (entry, salt) = (entry(), [index as u8; 32]);
        let data = data(index, commitment(&salt, &encode_entry(&entry)));
        let hash = head.append(&data);
        export.extend(Line::Step(Box::new(Step { index, data, entry, salt, hash })).encode());
    }
    let note = Checkpoint::of(origin, &head, 1_700_000_000_000).sign(&signing);
    export.extend(Line::Checkpoint(note).encode());
    (export, key)
}

fn verify(c: &mut Criterion) {
    let (export, key) = export();
    let mut group = c.benchmark_group("export");
    group.throughput(Throughput::Elements(ENTRIES));
    group.sample_size(20);
    group.bench_function("verify 1,000 entries", |b| {
        let verifier = || Verifier::new(Some(key.clone()), Vec::new());
        let run = |mut verifier: Verifier| {
            verifier.push(&export).expect("the export is good");
            verifier.finish().expect("the export is good")
        };
        b.iter_batched(verifier, run, BatchSize::SmallInput);
    });
    group.finish();
}

criterion_group!(benches, chain, verify);
criterion_main!(benches);
