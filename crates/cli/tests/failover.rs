//! P1 and the exactly-once half of P3 on real processes: leaders are killed under load, and another
//! serves soon after. `CONCLAVE_KILLS` says how often.

#![allow(clippy::unwrap_used, clippy::print_stderr, reason = "a test fails where this does")]

mod harness;

use std::time::{Duration, Instant};

use harness::load::Op;
use harness::steady::Load;
use harness::{Cluster, count_from, figures_count};

const NODES: usize = 3;
/// Unless `CONCLAVE_KILLS` says otherwise.
const KILLS: usize = 5;
/// From a kill to the next success: the median and the longest that are promised.
const GAP_MEDIAN: Duration = Duration::from_millis(1200);
const GAP_MAX: Duration = Duration::from_millis(2500);

#[test]
fn acknowledged_writes_survive_leader_kills_and_another_leads_soon() {
    let mut cluster = Cluster::start(NODES);
    let load = Load::start(&cluster);
    let mut kills = Vec::new();
    for _ in 0..count_from("CONCLAVE_KILLS", KILLS) {
        let leader = cluster.leader();
        let killed = cluster.kill(&leader);
        kills.push((leader.clone(), killed));
        load.wait_for_more();
        cluster.restart(&leader);
        cluster.unseal(&leader);
        load.wait_for_more();
    }
    let ops = load.stop_and_judge(&cluster);
    assert_gaps(&ops, &kills);
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
