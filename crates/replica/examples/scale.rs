//! What size costs: one replica of its own with many records and a long audit history. Prints how
//! fast they came, what a snapshot delays, how long a start takes until the replica is proven, and
//! the memory at each point.
//!
//!     cargo run --release -p conclave-replica --example scale -- 100000 5000000 [DIR]

#![allow(clippy::print_stdout, reason = "what it measures is for a person to read")]

use std::collections::BTreeMap;
use std::error::Error;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use conclave_proto::audit::SealedEntry;
use conclave_replica::{Decided, PeerDialer, PeerNode, Replica, ReplicaConfig, Standing};
use conclave_store::{Kind, RecordId, TxnBody, Write};
use tonic::transport::{Channel, Endpoint};

/// A blob and a sealed entry as they usually are, in bytes.
const BLOB: usize = 500;
const ENTRY: usize = 600;
/// Txns on their way at once.
const LANES: u64 = 4_000;
const PATIENCE: Duration = Duration::from_secs(60);

/// As a node has it.
#[global_allocator]
static HEAP: conclave_memory::Heap = conclave_memory::HEAP;

type Failure = Box<dyn Error + Send + Sync>;

/// There is nobody to dial.
struct Nobody;

impl PeerDialer for Nobody {
    fn dial(&self, _: &str, _: &str) -> Channel {
        Endpoint::from_static("http://127.0.0.1:1").connect_lazy()
    }
}

fn config(dir: &Path) -> ReplicaConfig {
    ReplicaConfig::new(dir, "scale", [7; 16], 1, "alone")
}

fn body(record: Option<u64>, number: u64, now_ms: u64) -> TxnBody {
    let mut commitment = vec![0; 32];
    commitment[..8].copy_from_slice(&number.to_be_bytes());
    let write =
        record.map(|record| Write::put(RecordId::numbered(Kind::Key, record), vec![7; BLOB]));
    let audit = SealedEntry { key: 1, commitment, sealed: vec![0xa5; ENTRY] };
    TxnBody { writes: write.into_iter().collect(), ..TxnBody::new(now_ms, audit) }
}

async fn commit(node: &Replica, record: Option<u64>, number: u64) -> Result<(), Failure> {
    loop {
        let now_ms = node.now_ms().unwrap_or_else(|| node.own_clock_ms());
        match node.propose(body(record, number, now_ms), Instant::now() + PATIENCE).await? {
            Decided::Committed(_) => return Ok(()),
            Decided::Conflict { .. } => {}
            Decided::Known { .. } => return Err("a txn without a token was known".into()),
        }
    }
}

/// Commits `count` txns, the first `records` of them with a record of their own.
async fn fill(node: &Replica, records: u64, count: u64) -> Result<Duration, Failure> {
    let begun = Instant::now();
    let next = Arc::new(AtomicU64::new(0));
    let lanes = (0..LANES).map(|_| {
        let (node, next) = (node.clone(), next.clone());
        tokio::spawn(async move {
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= count {
                    return Ok::<_, Failure>(());
                }
                commit(&node, (number < records).then_some(number), number).await?;
            }
        })
    });
    for lane in lanes.collect::<Vec<_>>() {
        lane.await??;
    }
    Ok(begun.elapsed())
}

/// Commits one after another until a snapshot of all this is there; the longest that one took.
async fn during_a_snapshot(node: &Replica) -> Result<(Duration, Duration), Failure> {
    let before = node.counters().snapshots_built.get();
    let begun = Instant::now();
    node.trigger_snapshot().await?;
    let mut longest = Duration::ZERO;
    while node.counters().snapshots_built.get() == before {
        let asked = Instant::now();
        commit(node, Some(1), 0).await?;
        longest = longest.max(asked.elapsed());
    }
    Ok((longest, begun.elapsed()))
}

fn memory_mib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
    kib.unwrap_or(0) / 1024
}

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let mut arguments = std::env::args().skip(1);
    let records: u64 = arguments.next().ok_or("how many records?")?.parse()?;
    let entries: u64 = arguments.next().ok_or("how many audit entries?")?.parse()?;
    let kept = arguments.next().map(PathBuf::from);
    let scratch = tempfile::tempdir()?;
    let dir = kept.unwrap_or_else(|| scratch.path().join("replica"));

    let node = Replica::start(config(&dir), Arc::new(Nobody)).await?;
    let own = PeerNode { name: "alone".into(), peer: "127.0.0.1:1".into() };
    node.initialize(BTreeMap::from([(1, own)])).await?;
    let took = fill(&node, records, entries.max(records)).await?;
    let rate = entries.max(records) as f64 / took.as_secs_f64();
    println!("{records} records, {entries} entries: {rate:.0} txns/s, {} MiB", memory_mib());
    let (longest, took) = during_a_snapshot(&node).await?;
    println!("a snapshot took {took:.2?}; the longest commit meanwhile {longest:.2?}");
    node.shutdown().await;
    drop(node);

    let begun = Instant::now();
    let node = loop {
        match Replica::start(config(&dir), Arc::new(Nobody)).await {
            Ok(node) => break node,
            // The log closes a moment after its replica.
            Err(_) if begun.elapsed() < Duration::from_secs(2) => {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            Err(error) => return Err(error.into()),
        }
    };
    while node.standing() != Standing::Proven {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    commit(&node, Some(1), 1).await?;
    println!("ready {:.2?} after the start, {} MiB", begun.elapsed(), memory_mib());
    node.shutdown().await;
    Ok(())
}
