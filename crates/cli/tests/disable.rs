//! P2 on real processes: once a disable is acknowledged, no node performs a use.

#![allow(clippy::unwrap_used, clippy::print_stderr, reason = "a test fails where this does")]

mod harness;

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use conclave_client::Client;
use harness::Cluster;
use harness::load::{self, Action, Answer, AuditLog, Op, send};
use tokio::runtime::Runtime;
use tokio::sync::{mpsc, watch};
use tokio::time::timeout;

const NODES: usize = 3;
const USERS_PER_NODE: usize = 3;
const ROUNDS: usize = 1000;
const PATIENCE: Duration = Duration::from_secs(30);
const DISABLED: &str = "DisabledException";

#[test]
fn no_use_between_disable_and_enable_in_1000_rounds() {
    let cluster = Cluster::start(NODES);
    let runtime = Runtime::new().unwrap();
    let began = Instant::now();
    let (changes, uses) = runtime.block_on(rounds(&cluster));
    let took = began.elapsed();

    let used = uses.iter().filter(|op| op.acknowledged().is_some()).count();
    let refused = uses.iter().filter(|op| op.is_refused_as(DISABLED)).count();
    let undecided = uses.iter().filter(|op| op.revision().is_none()).count();
    eprintln!(
        "{ROUNDS} rounds in {took:.1?}: {used} uses, {refused} refusals, {undecided} undecided"
    );
    assert_eq!(used + refused + undecided, uses.len());
    assert!(used >= ROUNDS * NODES && refused >= ROUNDS * NODES);

    assert_revision_order(&changes, &uses);
    assert_windows(&changes, &uses);
    let ops: Vec<Op> = changes.into_iter().chain(uses).collect();
    load::assert_real_time(&ops);
    let log = AuditLog::export(&cluster);
    log.assert_tells(&ops);
    log.replay();
}

/// The changes in order, beginning with the creation, and every use.
async fn rounds(cluster: &Cluster) -> (Vec<Op>, Vec<Op>) {
    let controllers: Vec<Client> =
        (0..NODES).map(|node| load::client(cluster, node, PATIENCE)).collect();
    let created = send(&controllers[0], Action::CreateKey).await;
    let Some((_, Answer::Key { arn, .. })) = created.acknowledged() else { panic!("{created:?}") };
    let key = arn.clone();

    let (moment, moments) = watch::channel(Moment { changes: 1, changing: false });
    let (report, mut reports) = mpsc::unbounded_channel();
    let users: Vec<_> = (0..NODES * USERS_PER_NODE)
        .map(|number| {
            let user = User {
                client: load::client(cluster, number, PATIENCE).at_first(),
                node: number % NODES,
                races: number >= NODES,
                key: key.clone(),
            };
            tokio::spawn(user.run(moments.clone(), report.clone()))
        })
        .collect();

    let mut changes = vec![created];
    for round in 0..ROUNDS {
        for action in
            [Action::DisableKey { key: key.clone() }, Action::EnableKey { key: key.clone() }]
        {
            all_nodes_used(&mut reports, changes.len()).await;
            moment.send_modify(|moment| moment.changing = true);
            let change = send(&controllers[round % NODES], action).await;
            assert!(change.acknowledged().is_some(), "round {round}: {change:?}");
            changes.push(change);
            moment.send_replace(Moment { changes: changes.len(), changing: false });
        }
    }
    all_nodes_used(&mut reports, changes.len()).await;
    drop(moment);
    let uses = futures::future::join_all(users).await.into_iter().flat_map(Result::unwrap);
    (changes, uses.collect())
}

/// How far the controller is.
#[derive(Clone, Copy)]
struct Moment {
    /// So many changes are acknowledged, the creation included.
    changes: usize,
    /// The next one is being sent.
    changing: bool,
}

/// Waits until each node has decided a use that began after so many changes.
async fn all_nodes_used(reports: &mut mpsc::UnboundedReceiver<(usize, usize)>, changes: usize) {
    let mut nodes = BTreeSet::new();
    while nodes.len() < NODES {
        let report = timeout(PATIENCE, reports.recv()).await.expect("every node decides uses");
        nodes.extend(report.filter(|(_, after)| *after == changes).map(|(node, _)| node));
    }
}

/// Encrypts at one node.
struct User {
    client: Client,
    node: usize,
    /// Against each change, or else once each change is acknowledged.
    races: bool,
    key: String,
}

impl User {
    async fn run(
        self,
        mut moments: watch::Receiver<Moment>,
        report: mpsc::UnboundedSender<(usize, usize)>,
    ) -> Vec<Op> {
        let mut ops = Vec::new();
        moments.mark_changed();
        // An error here is the controller's end.
        while let Ok(()) = moments.changed().await {
            let Moment { changes, changing } = *moments.borrow_and_update();
            if changing != self.races {
                continue;
            }
            loop {
                let plaintext = format!("use {} after {changes} changes", ops.len()).into_bytes();
                let action = Action::Encrypt { key: self.key.clone(), plaintext };
                ops.push(send(&self.client, action).await);
                // Under too much load a leader may change: who waits for this user needs an answer.
                if self.races || ops.last().is_some_and(|op| op.revision().is_some()) {
                    break;
                }
            }
            if !self.races {
                // After the last round nobody listens.
                let _ = report.send((self.node, changes));
            }
        }
        ops
    }
}

/// By revisions, a use succeeds exactly if the change before it left the key enabled.
fn assert_revision_order(changes: &[Op], uses: &[Op]) {
    for op in uses {
        let Some(revision) = op.revision() else { continue };
        let before = changes.partition_point(|change| change.revision().unwrap() < revision);
        let last = &changes[before - 1];
        let enabled = last.action.name() != "DisableKey";
        assert_eq!(op.acknowledged().is_some(), enabled, "{last:?}\ncomes before {op:?}");
    }
}

/// By the clock, a use that began after a change was acknowledged and ended before the next was
/// sent was decided as that change says.
fn assert_windows(changes: &[Op], uses: &[Op]) {
    let mut within = [0, 0];
    for op in uses.iter().filter(|op| op.revision().is_some()) {
        let before = changes.partition_point(|change| change.ended <= op.began);
        let Some(last) = before.checked_sub(1).map(|last| &changes[last]) else { continue };
        if changes.get(before).is_some_and(|next| next.began < op.ended) {
            continue;
        }
        let enabled = last.action.name() != "DisableKey";
        assert_eq!(op.acknowledged().is_some(), enabled, "{last:?}\nwas over before {op:?}");
        within[usize::from(enabled)] += 1;
    }
    let [disabled, enabled] = within;
    eprintln!("wholly between two changes: {enabled} while enabled, {disabled} while disabled");
    assert!(disabled >= ROUNDS * NODES && enabled >= ROUNDS * NODES);
}
