//! Sixteen clients that go on through a fault, and what must hold afterwards.
//!
//! Each makes a key, uses it, forbids it, tries it, allows it, uses it; then the next. Nobody else
//! changes its keys, so what it was told decides what must be there in the end.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use conclave_client::Client;
use conclave_proto::v1;
use futures::{StreamExt, future, stream};
use tokio::runtime::Runtime;
use tokio::task::JoinHandle;

use super::load::{self, Action, Answer, AuditLog, Op, Outcome, send};
use super::{Cluster, LONG, wait_for};

const CLIENTS: usize = 16;
/// Operations that must be acknowledged for there to be progress.
const PROGRESS: usize = 64;
/// So few that a debug build elects in time, so many that each fault meets some in flight.
const PACE: Duration = Duration::from_millis(40);
/// Most wait longer than a fault lasts, some do not and are left in doubt.
const PATIENCE: [Duration; 4] = [
    Duration::from_secs(30),
    Duration::from_secs(30),
    Duration::from_secs(30),
    Duration::from_millis(700),
];

/// The clients at work.
pub struct Load {
    runtime: Runtime,
    clients: Vec<JoinHandle<Vec<Op>>>,
    progress: Arc<Progress>,
}

#[derive(Default)]
struct Progress {
    acknowledged: AtomicUsize,
    stop: AtomicBool,
}

impl Load {
    /// Starts them, each at another node first, and waits until they get on.
    pub fn start(cluster: &Cluster) -> Self {
        let runtime = Runtime::new().unwrap();
        let progress = Arc::new(Progress::default());
        let entered = runtime.enter();
        let clients = (0..CLIENTS)
            .map(|number| {
                let client = load::client(cluster, number, PATIENCE[number % PATIENCE.len()]);
                runtime.spawn(one_client(client, number, Arc::clone(&progress)))
            })
            .collect();
        drop(entered);
        let load = Self { runtime, clients, progress };
        load.wait_for_more();
        load
    }

    /// Operations acknowledged so far.
    pub fn acknowledged(&self) -> usize {
        self.progress.acknowledged.load(Ordering::Relaxed)
    }

    /// Waits until more are acknowledged; says how long it took.
    pub fn wait_for_more(&self) -> Duration {
        let began = Instant::now();
        let goal = self.acknowledged() + PROGRESS;
        wait_for("more acknowledged operations", LONG, || {
            (self.acknowledged() >= goal).then_some(())
        });
        began.elapsed()
    }

    /// Ends the load.
    pub fn stop(self) -> Stopped {
        self.progress.stop.store(true, Ordering::Relaxed);
        let ended = self.runtime.block_on(future::join_all(self.clients));
        let ops = ended.into_iter().flat_map(Result::unwrap).collect();
        Stopped { runtime: self.runtime, ops }
    }

    /// Ends the load, and everything that it was told must hold: see [`judge`].
    pub fn stop_and_judge(self, cluster: &Cluster) -> Vec<Op> {
        self.stop().judge(cluster)
    }
}

/// What a load was told.
pub struct Stopped {
    runtime: Runtime,
    ops: Vec<Op>,
}

impl Stopped {
    /// Everything that it was told must hold: see [`judge`].
    pub fn judge(self, cluster: &Cluster) -> Vec<Op> {
        self.runtime.block_on(judge(cluster, &self.ops));
        self.ops
    }
}

async fn one_client(client: Client, number: usize, progress: Arc<Progress>) -> Vec<Op> {
    let mut ops = Vec::new();
    let mut key: Option<String> = None;
    // A plaintext with its ciphertext under that key.
    let mut sealed: Option<(Vec<u8>, Vec<u8>)> = None;
    let mut step = 0;
    while !progress.stop.load(Ordering::Relaxed) {
        let action = match (&key, &sealed, step % 8) {
            (None, ..) | (_, _, 0) => Action::CreateKey,
            (Some(key), _, 3) => Action::DisableKey { key: key.clone() },
            (Some(key), _, 5) => Action::EnableKey { key: key.clone() },
            (Some(key), Some((_, ciphertext)), 2 | 6) => {
                Action::Decrypt { key: key.clone(), ciphertext: ciphertext.clone() }
            }
            (Some(key), ..) => {
                let plaintext = format!("client {number}, step {step}").into_bytes();
                Action::Encrypt { key: key.clone(), plaintext }
            }
        };
        step += 1;
        let op = send(&client, action).await;
        match (&op.action, op.acknowledged()) {
            (Action::CreateKey, acknowledged) => {
                (key, sealed) = (None, None);
                if let Some((_, Answer::Key { arn, .. })) = acknowledged {
                    (key, step) = (Some(arn.clone()), 1);
                }
            }
            (Action::Encrypt { plaintext, .. }, Some((_, Answer::Ciphertext(ciphertext)))) => {
                sealed = Some((plaintext.clone(), ciphertext.clone()));
            }
            (_, Some((_, Answer::Plaintext(opened)))) => {
                assert_eq!(Some(opened), sealed.as_ref().map(|(plaintext, _)| plaintext));
            }
            _ => {}
        }
        let acknowledged = usize::from(op.acknowledged().is_some());
        progress.acknowledged.fetch_add(acknowledged, Ordering::Relaxed);
        ops.push(op);
        tokio::time::sleep(PACE).await;
    }
    ops
}

/// All nodes are open and equal; every acknowledged operation is exactly one audit entry at its
/// revision; every created key is on every node, in the state in which its client left it; every
/// acknowledged ciphertext opens on every node.
async fn judge(cluster: &Cluster, ops: &[Op]) {
    print(ops);
    let acknowledged = ops.iter().filter(|op| op.acknowledged().is_some()).count();
    assert!(acknowledged * 5 >= ops.len() * 2, "most of the load went nowhere: it shows nothing");
    cluster.assert_whole();
    let log = AuditLog::export(cluster);
    log.assert_tells(ops);
    load::assert_real_time(ops);
    let ends_enabled = log.replay();
    assert_last_changes_stand(ops, &ends_enabled);
    assert_keys_and_ciphertexts(cluster, ops, &ends_enabled).await;
    eprintln!("{} audit entries tell {acknowledged} acknowledged operations", log.len());
}

fn assert_last_changes_stand(ops: &[Op], ends_enabled: &BTreeMap<String, bool>) {
    let mut told: BTreeMap<&str, (Instant, bool)> = BTreeMap::new();
    let mut in_doubt = BTreeSet::new();
    for op in ops.iter().filter(|op| op.action.is_mutation()) {
        match (&op.outcome, op.action.key()) {
            (Outcome::Acknowledged { answer: Answer::Key { arn, state }, .. }, _) => {
                let enabled = state == "Enabled";
                assert_eq!(enabled, op.action.name() != "DisableKey", "{op:?}");
                let last = told.entry(arn).or_insert((op.ended, enabled));
                if last.0 <= op.ended {
                    *last = (op.ended, enabled);
                }
            }
            (Outcome::Unknown, Some(key)) => {
                in_doubt.insert(key);
            }
            _ => {}
        }
    }
    assert!(!told.is_empty());
    for (key, (_, enabled)) in told {
        assert!(in_doubt.contains(key) || ends_enabled.get(key) == Some(&enabled), "{key} is lost");
    }
}

async fn assert_keys_and_ciphertexts(
    cluster: &Cluster,
    ops: &[Op],
    ends_enabled: &BTreeMap<String, bool>,
) {
    let client = load::client(cluster, 0, LONG);
    let nodes: Vec<Client> =
        client.endpoints().map(|endpoint| client.at(endpoint).unwrap()).collect();
    let made: BTreeSet<&str> = ops
        .iter()
        .filter_map(|op| match (&op.action, op.acknowledged()?.1) {
            (Action::CreateKey, Answer::Key { arn, .. }) => Some(arn.as_str()),
            _ => None,
        })
        .collect();
    let looks = nodes.iter().flat_map(|node| made.iter().map(move |key| (node, *key)));
    stream::iter(looks)
        .for_each_concurrent(CLIENTS, |(node, key)| async move {
            let request = v1::DescribeKeyRequest { key_id: key.to_owned(), ..Default::default() };
            let described = node.describe_key(request).await.unwrap().value.key_metadata.unwrap();
            assert_eq!(described.key_state == "Enabled", ends_enabled[key], "{key}");
        })
        .await;

    let disabled = made.iter().filter(|key| !ends_enabled[**key]);
    stream::iter(disabled)
        .for_each_concurrent(CLIENTS, |key| {
            let (client, key) = (&client, (*key).to_owned());
            async move { drop(client.enable_key(v1::EnableKeyRequest { key_id: key }).await.unwrap()) }
        })
        .await;

    let sealed = ops.iter().filter_map(|op| match (&op.action, op.acknowledged()?.1) {
        (Action::Encrypt { key, plaintext }, Answer::Ciphertext(ciphertext)) => {
            Some((key, plaintext, ciphertext))
        }
        _ => None,
    });
    let opens = sealed.flat_map(|it| nodes.iter().map(move |node| (node, it)));
    stream::iter(opens)
        .for_each_concurrent(CLIENTS, |(node, (key, plaintext, ciphertext))| async move {
            let action = Action::Decrypt { key: key.clone(), ciphertext: ciphertext.clone() };
            let opened = send(node, action).await;
            let answer = opened.acknowledged().unwrap_or_else(|| panic!("{opened:?}")).1;
            assert_eq!(*answer, Answer::Plaintext(plaintext.clone()));
        })
        .await;
}

fn print(ops: &[Op]) {
    let mut counts: BTreeMap<(&str, String), usize> = BTreeMap::new();
    for op in ops {
        let outcome = match &op.outcome {
            Outcome::Acknowledged { .. } => "acknowledged".to_owned(),
            Outcome::Refused { name, .. } => format!("refused, {name}"),
            Outcome::NotDone => "not done".to_owned(),
            Outcome::Unknown => "unknown".to_owned(),
        };
        *counts.entry((op.action.name(), outcome)).or_default() += 1;
    }
    for ((action, outcome), count) in counts {
        eprintln!("{action:>10} {outcome}: {count}");
    }
}
