//! Each node in turn is stopped in order and started again under load: nobody needs more than one
//! retry, and nobody waits long.

#![allow(clippy::unwrap_used, clippy::print_stderr, reason = "a test fails where this does")]

mod harness;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use conclave_client::Client;
use harness::load::{self, Action, Answer, Op, Outcome, send};
use harness::{Cluster, LONG, count_from, figures_count, run, wait_for};
use tokio::runtime::Runtime;

const CLIENTS: usize = 16;
const PACE: Duration = Duration::from_millis(20);
/// For one attempt: longer than a node takes to say that it could not.
const PATIENCE: Duration = Duration::from_secs(20);
/// Unless `CONCLAVE_ROUNDS` says otherwise.
const ROUNDS: usize = 1;
/// Longest time without a success that is promised.
const GAP_MAX: Duration = Duration::from_millis(300);

#[test]
fn a_rolling_restart_costs_nobody_more_than_one_retry() {
    let mut cluster = Cluster::start(3);
    let load = Load::start(&cluster);
    let ids: Vec<String> = cluster.nodes.iter().map(|node| node.id.clone()).collect();
    let began = Instant::now();
    for _ in 0..count_from("CONCLAVE_ROUNDS", ROUNDS) {
        for id in &ids {
            load.wait_for_more();
            eprintln!("stopping {id}; {} leads", cluster.leader());
            cluster.terminate(id);
            load.wait_for_more();
            cluster.restart(id);
            cluster.unseal(id);
        }
    }
    load.wait_for_more();
    load.judge(began);
}

#[test]
fn draining_the_leader_costs_nobody_more_than_one_retry() {
    let cluster = Cluster::start(3);
    let load = Load::start(&cluster);
    let began = Instant::now();
    for _ in 0..count_from("CONCLAVE_ROUNDS", ROUNDS) * 3 {
        load.wait_for_more();
        let leader = cluster.leader();
        run(cluster.cli().args(["node", "drain", &leader]));
        assert_ne!(cluster.leader(), leader);
        load.wait_for_more();
        run(cluster.cli().args(["node", "undrain", &leader]));
    }
    load.wait_for_more();
    load.judge(began);
}

struct Load {
    runtime: Runtime,
    shared: Arc<Shared>,
    clients: Vec<tokio::task::JoinHandle<Vec<Tried>>>,
}

#[derive(Default)]
struct Shared {
    stop: AtomicBool,
    done: AtomicUsize,
}

/// One operation: the first attempt, and the one retry if it needed one.
struct Tried {
    first: Op,
    retry: Option<Op>,
}

impl Tried {
    fn last(&self) -> &Op {
        self.retry.as_ref().unwrap_or(&self.first)
    }
}

impl Load {
    fn start(cluster: &Cluster) -> Self {
        let runtime = Runtime::new().unwrap();
        let entered = runtime.enter();
        let shared = Arc::<Shared>::default();
        let clients = (0..CLIENTS)
            .map(|number| {
                // Every one has connections of its own to every node, and begins at another.
                let client = load::client(cluster, number, PATIENCE);
                runtime.spawn(one_client(client, Arc::clone(&shared)))
            })
            .collect();
        drop(entered);
        Self { runtime, shared, clients }
    }

    fn wait_for_more(&self) {
        let goal = self.shared.done.load(Ordering::Relaxed) + 64;
        wait_for("more operations", LONG, || {
            (self.shared.done.load(Ordering::Relaxed) >= goal).then_some(())
        });
    }

    /// Ends it, and holds what was seen since `began` against the promise.
    fn judge(self, began: Instant) {
        self.shared.stop.store(true, Ordering::Relaxed);
        let tried: Vec<Tried> = self
            .runtime
            .block_on(futures::future::join_all(self.clients))
            .into_iter()
            .flat_map(Result::unwrap)
            .collect();
        let failed: Vec<_> = tried
            .iter()
            .filter(|tried| tried.last().acknowledged().is_none())
            .map(|tried| (&tried.first, &tried.retry))
            .collect();
        assert!(failed.is_empty(), "one retry did not heal {}: {:#?}", failed.len(), failed[0]);
        let mut ends: Vec<Instant> =
            tried.iter().map(|tried| tried.last().ended).filter(|end| *end >= began).collect();
        ends.sort_unstable();
        let gap = ends.windows(2).map(|two| two[1] - two[0]).max().unwrap();
        let slowest = tried.iter().map(|tried| tried.last().ended - tried.first.began).max();
        let retried = tried.iter().filter(|tried| tried.retry.is_some()).count();
        eprintln!(
            "{} operations, {retried} retried once; longest time without a success {} ms; slowest {} ms",
            tried.len(),
            gap.as_millis(),
            slowest.unwrap().as_millis()
        );
        if figures_count() {
            assert!(gap <= GAP_MAX, "no success for {gap:?}");
        }
    }
}

/// Makes a key, then encrypts and decrypts, one attempt at a node at a time.
async fn one_client(client: Client, shared: Arc<Shared>) -> Vec<Tried> {
    let nodes: Vec<Client> =
        client.endpoints().map(|endpoint| client.at(endpoint).unwrap()).collect();
    let (mut at, mut tried) = (0, Vec::new());
    let mut key: Option<String> = None;
    let mut sealed: Option<Vec<u8>> = None;
    while !shared.stop.load(Ordering::Relaxed) {
        let action = match (&key, sealed.take()) {
            (None, _) => Action::CreateKey,
            (Some(key), None) => {
                Action::Encrypt { key: key.clone(), plaintext: b"rolling".to_vec() }
            }
            (Some(key), Some(ciphertext)) => Action::Decrypt { key: key.clone(), ciphertext },
        };
        let first = send(&nodes[at], action.clone()).await;
        let mut one = Tried { first, retry: None };
        if !matches!(one.first.outcome, Outcome::Acknowledged { .. }) {
            at = (at + 1) % nodes.len();
            one.retry = Some(send(&nodes[at], action).await);
        }
        match one.last().acknowledged() {
            Some((_, Answer::Key { arn, .. })) => key = Some(arn.clone()),
            Some((_, Answer::Ciphertext(ciphertext))) => sealed = Some(ciphertext.clone()),
            Some((_, Answer::Plaintext(plaintext))) => assert_eq!(plaintext, b"rolling"),
            None => {}
        }
        shared.done.fetch_add(1, Ordering::Relaxed);
        tried.push(one);
        tokio::time::sleep(PACE).await;
    }
    tried
}
