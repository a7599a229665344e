//! What a batch costs on its way to bytes and back. `cargo bench -p conclave-proto`
#![allow(missing_docs, reason = "criterion's macro makes a public function")]

use std::hint::black_box;

use conclave_proto::audit::SealedEntry;
use conclave_proto::store::{Batch, Command, Guard, Txn, command::Op};
use criterion::{Criterion, criterion_group, criterion_main};
use prost::Message;

/// As 64 clients make it: each txn guards its principal and its key, and carries one entry.
fn batch() -> Command {
    let guard = |number: u8| Guard {
        record: vec![number; 17],
        digest: vec![number; 16],
        ..Default::default()
    };
    let txn = |sequence| Txn {
        writer: 1,
        sequence,
        now_ms: 1_700_000_000_000,
        guards: vec![0, 1],
        audit: Some(SealedEntry { key: 1, commitment: vec![1; 32], sealed: vec![2; 420] }),
        ..Default::default()
    };
    let batch = Batch {
        proposer_index: 1,
        proposer_head: vec![3; 32],
        guards: vec![guard(1), guard(2)],
        txns: (1..=64).map(txn).collect(),
    };
    Command { feature_level: 1, time_ms: 1_700_000_000_000, op: Some(Op::Batch(batch)) }
}

fn codec(c: &mut Criterion) {
    let command = batch();
    let bytes = command.encode_to_vec();
    c.bench_function("encode a batch of 64", |b| b.iter(|| black_box(&command).encode_to_vec()));
    c.bench_function("decode a batch of 64", |b| b.iter(|| Command::decode(black_box(&*bytes))));
}

criterion_group!(benches, codec);
criterion_main!(benches);
