//! Measures the log alone: durable commits one after another. `cargo run --release --example
//! log_commits DIR BYTES COMMITS` prints commits a second and percentiles.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a measurement, not shipped")]

use std::path::Path;
use std::time::{Duration, Instant};

use conclave_replica::log::{LogStore, Owner};
use conclave_replica::types::{Command, Entry, Flushed, Leader, LogId, Payload, Types};
use openraft::storage::RaftLogStorage;
use openraft::type_config::TypeConfigExt;

fn main() {
    let mut args = std::env::args().skip(1);
    let dir = args.next().unwrap();
    let bytes: usize = args.next().unwrap().parse().unwrap();
    let commits: usize = args.next().unwrap().parse().unwrap();
    let owner = Owner { domain: [1; 16], raft_id: 1 };
    let mut log = LogStore::open(&Path::new(&dir).join("raft"), owner).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let mut times: Vec<Duration> = Vec::with_capacity(commits);
    let begun = Instant::now();
    runtime.block_on(async {
        let next = log.log_state().unwrap().last_log_id.map_or(1, |last| last.index + 1);
        for index in (next..).take(commits) {
            let log_id = LogId::new(Leader { term: 1, node_id: 1 }, index);
            let command = Some(Command(vec![index as u8; bytes].into()));
            let entry = Entry { log_id, payload: Payload { command, membership: None } };
            let (done, answer) = Types::oneshot();
            let begun = Instant::now();
            log.append([entry], Flushed::signal(done)).await.unwrap();
            answer.await.unwrap().unwrap();
            times.push(begun.elapsed());
        }
    });
    let all = begun.elapsed();
    times.sort();
    let at = |share: usize| times[(commits - 1) * share / 1000].as_secs_f64() * 1e3;
    let rate = commits as f64 / all.as_secs_f64();
    let (p50, p90, p99) = (at(500), at(900), at(990));
    println!("{bytes} B: {rate:.0}/s; ms p50 {p50:.3}, p90 {p90:.3}, p99 {p99:.3}");
}
