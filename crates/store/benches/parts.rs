//! What applying costs, and the state digest at a checkpoint. `cargo bench -p conclave-store`
#![allow(missing_docs, reason = "criterion's macro makes a public function")]
#![allow(clippy::unwrap_used, reason = "a benchmark may end")]

use std::hint::black_box;

use conclave_proto::store::Command;
use conclave_store::{Kind, RecordId, State, check_command};
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};

#[path = "../tests/common/mod.rs"]
mod common;

use common::{DOMAIN, T, batch, register, txn};

/// Records that there are before anything is measured.
const RECORDS: u64 = 10_000;
/// Txns in a batch: what 64 clients make of it.
const TXNS: u64 = 64;

fn record(number: u64) -> RecordId {
    let mut id = [0; 16];
    id[..8].copy_from_slice(&number.wrapping_mul(0x9E37_79B9_7F4A_7C15).to_be_bytes());
    RecordId::new(Kind::Key, id)
}

/// A state with records, and the next log index.
fn stage() -> (State, u64) {
    let mut state = State::new(DOMAIN);
    state.apply(1, &register(1)).unwrap();
    let mut index = 2;
    for first in (0..RECORDS).step_by(1000) {
        let puts: Vec<T> =
            (first..first + 1000).map(|n| txn(n + 1).puts(record(n), "blob")).collect();
        state.apply(index, &batch(&puts)).unwrap();
        index += 1;
    }
    state.state_digest();
    (state, index)
}

fn uses(first: u64) -> Command {
    batch(&(0..TXNS).map(|n| txn(first + n).reads(record(n), "blob")).collect::<Vec<_>>())
}

/// As a use is: its key is touched.
fn touches(first: u64) -> Command {
    let touch = |n| txn(first + n).reads(record(n), "blob").touches(record(n), 1);
    batch(&(0..TXNS).map(touch).collect::<Vec<_>>())
}

/// Everybody uses the same key.
fn one_key(first: u64) -> Command {
    let touch = |n| txn(first + n).reads(record(1), "blob").touches(record(1), 1);
    batch(&(0..TXNS).map(touch).collect::<Vec<_>>())
}

fn writes(first: u64) -> Command {
    batch(&(0..TXNS).map(|n| txn(first + n).puts(record(n * 97), "new")).collect::<Vec<_>>())
}

/// What makes the batch of a number.
type Make = fn(u64) -> Command;

fn apply(c: &mut Criterion) {
    let (mut state, mut index) = stage();
    let mut group = c.benchmark_group("apply a batch of 64");
    group.throughput(Throughput::Elements(TXNS));
    let kinds: [(&str, Make); 4] =
        [("uses", uses), ("touches", touches), ("touches of one key", one_key), ("writes", writes)];
    for (number, (name, make)) in (0u64..).zip(kinds) {
        let mut sequence = RECORDS + 1 + (number << 40);
        group.bench_function(name, |b| {
            let next = || {
                sequence += TXNS;
                make(sequence)
            };
            let run = |command: Command| {
                let applied = state.apply(index, &command).unwrap();
                index += 1;
                applied
            };
            b.iter_batched(next, run, BatchSize::SmallInput);
        });
    }
    group.finish();
    let command = uses(1);
    c.bench_function("check a batch of 64", |b| b.iter(|| check_command(black_box(&command))));
}

fn digest(c: &mut Criterion) {
    let kinds: [(&str, Make); 2] = [("changed", writes), ("touched", touches)];
    for (name, make) in kinds {
        let (mut state, mut index) = stage();
        let mut sequence = RECORDS + 1;
        // The clone that each measurement needs would hide what is measured: what changed is applied
        // outside of the clock instead.
        c.bench_function(&format!("state digest, 64 of 10,000 {name}"), |b| {
            b.iter_custom(|rounds| {
                let mut took = std::time::Duration::ZERO;
                for _ in 0..rounds {
                    sequence += TXNS;
                    state.apply(index, &make(sequence)).unwrap();
                    index += 1;
                    let began = std::time::Instant::now();
                    black_box(state.state_digest());
                    took += began.elapsed();
                }
                took
            });
        });
    }
}

criterion_group!(benches, apply, digest);
criterion_main!(benches);
