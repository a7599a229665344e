//! P1 and the exactly-once half of P3 on real processes: leaders are killed under load, and another
//! serves soon after. `CONCLAVE_KILLS` says how often.

#![allow(clippy::unwrap_used, clippy::print_stderr, reason = "a test fails where this does")]

mod harness;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use conclave_client::Client;
use conclave_proto::v1;
use futures::{StreamExt, stream};
use harness::load::{self, Action, Answer, AuditLog, Op, Outcome, send};
use harness::{Cluster, LONG, count_from, figures_count, wait_for};
use tokio::runtime::Runtime;

const NODES: usize = 3;
const CLIENTS: usize = 16;
/// Unless `CONCLAVE_KILLS` says otherwise.
const KILLS: usize = 5;
/// From a kill to the next success: the median and the longest that are promised.
const GAP_MEDIAN: Duration = Duration::from_millis(1200);
const GAP_MAX: Duration = Duration::from_millis(2500);
/// Operations that must be acknowledged before a kill, and between a kill and the restart.
const PROGRESS: usize = 64;
/// So few that a debug build elects in time, so many that each kill meets some in flight.
const PACE: Duration = Duration::from_millis(40);
/// Most clients wait longer than a failover takes, some do not and are left in doubt.
const PATIENCE: [Duration; 4] = [
    Duration::from_secs(30),
    Duration::from_secs(30),
    Duration::from_secs(30),
    Duration::from_millis(700),
];

#[test]
fn acknowledged_writes_survive_leader_kills_and_another_leads_soon() {
    let mut cluster = Cluster::start(NODES);
    let runtime = Runtime::new().unwrap();
    let _entered = runtime.enter();
    let progress = Arc::new(Progress::default());
    let clients: Vec<_> = (0..CLIENTS)
        .map(|number| {
            let client = load::client(&cluster, number, PATIENCE[number % PATIENCE.len()]);
            runtime.spawn(one_client(client, number, Arc::clone(&progress)))
        })
        .collect();

    let mut kills = Vec::new();
    for _ in 0..count_from("CONCLAVE_KILLS", KILLS) {
        progress.wait_for_more();
        let leader = cluster.leader();
        let killed = cluster.kill(&leader);
        kills.push((leader.clone(), killed));
        progress.wait_for_more();
        cluster.restart(&leader);
        cluster.unseal(&leader);
    }
    progress.wait_for_more();
    progress.stop.store(true, Ordering::Relaxed);
    let ops: Vec<Op> = runtime
        .block_on(async { futures::future::join_all(clients).await })
        .into_iter()
        .flat_map(Result::unwrap)
        .collect();
    print(&ops);
    assert_gaps(&ops, &kills);

    wait_for("all nodes open, with equal audit heads", LONG, || {
        let status = cluster.status()?;
        let nodes = status["nodes"].as_array()?;
        let heads: BTreeSet<_> = nodes.iter().map(|node| node["audit_head"].as_str()).collect();
        let open = nodes.iter().filter(|node| node["state"] == "open").count();
        (open == NODES && heads.len() == 1 && !heads.contains(&None)).then_some(())
    });
    let log = AuditLog::export(&cluster);
    log.assert_tells(&ops);
    load::assert_real_time(&ops);
    let ends_enabled = log.replay();
    assert_last_changes_stand(&ops, &ends_enabled);
    let before = Instant::now();
    runtime.block_on(assert_every_node_has_it_all(&cluster, &ops, &ends_enabled));
    eprintln!("{} audit entries; every node asked in {:.1?}", log.len(), before.elapsed());
}

/// How far the load is.
#[derive(Default)]
struct Progress {
    acknowledged: AtomicUsize,
    stop: AtomicBool,
}

impl Progress {
    fn wait_for_more(&self) {
        let goal = self.acknowledged.load(Ordering::Relaxed) + PROGRESS;
        wait_for("more acknowledged operations", LONG, || {
            (self.acknowledged.load(Ordering::Relaxed) >= goal).then_some(())
        });
    }
}

/// Makes a key, uses it, forbids it, tries it, allows it, uses it; then the next.
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
        progress
            .acknowledged
            .fetch_add(usize::from(op.acknowledged().is_some()), Ordering::Relaxed);
        ops.push(op);
        tokio::time::sleep(PACE).await;
    }
    ops
}

/// Each key ends as the last change that was acknowledged left it, unless one of its changes was
/// left in doubt. Nobody but its one client changes a key.
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

/// Each acknowledged key is on every node as the log ends, and each acknowledged ciphertext opens
/// on every node.
async fn assert_every_node_has_it_all(
    cluster: &Cluster,
    ops: &[Op],
    ends_enabled: &BTreeMap<String, bool>,
) {
    let client = load::client(cluster, 0, Duration::from_secs(30));
    let nodes: Vec<Client> =
        client.endpoints().map(|endpoint| client.at(endpoint).unwrap()).collect();
    let made: BTreeMap<&str, Vec<u8>> = ops
        .iter()
        .filter_map(|op| match (&op.action, op.acknowledged()?.1) {
            (Action::CreateKey, Answer::Key { arn, .. }) => Some((arn.as_str(), Vec::new())),
            _ => None,
        })
        .collect();
    let looks = nodes.iter().flat_map(|node| made.keys().map(move |key| (node, *key)));
    stream::iter(looks)
        .for_each_concurrent(CLIENTS, |(node, key)| async move {
            let request = v1::DescribeKeyRequest { key: key.to_owned() };
            let described = node.describe_key(request).await.unwrap().value.key.unwrap();
            assert_eq!(described.state == "Enabled", ends_enabled[key], "{key}");
        })
        .await;

    let disabled = made.keys().filter(|key| !ends_enabled[**key]);
    stream::iter(disabled)
        .for_each_concurrent(CLIENTS, |key| {
            let (client, key) = (&client, (*key).to_owned());
            async move { drop(client.enable_key(v1::EnableKeyRequest { key }).await.unwrap()) }
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

/// From each kill to the end of the first success that began after it.
fn assert_gaps(ops: &[Op], kills: &[(String, Instant)]) {
    let mut gaps: Vec<Duration> = kills
        .iter()
        .map(|(node, killed)| {
            let after = ops.iter().filter(|op| op.began >= *killed && op.acknowledged().is_some());
            let gap = after.map(|op| op.ended).min().expect("it went on") - *killed;
            eprintln!("killed {node}, which led: next success after {} ms", gap.as_millis());
            gap
        })
        .collect();
    gaps.sort_unstable();
    let (median, longest) = (gaps[gaps.len() / 2], gaps[gaps.len() - 1]);
    let ms = (median.as_millis(), longest.as_millis());
    eprintln!("{} kills: median {} ms, longest {} ms", gaps.len(), ms.0, ms.1);
    if figures_count() {
        assert!(
            median <= GAP_MEDIAN && longest <= GAP_MAX,
            "median {median:?}, longest {longest:?}"
        );
    }
}
