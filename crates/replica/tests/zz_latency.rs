#![allow(clippy::unwrap_used, missing_docs)]
mod common;
use common::*;
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn latency() {
    for (nodes, leader) in [(1u64, true), (3, true), (3, false)] {
        let cluster = Cluster::founded(nodes, |_| {}).await;
        let l = cluster.leader().await;
        let via = if leader { l } else { l % nodes + 1 };
        for n in 0..20 {
            cluster.commit(via, n).await;
        }
        let mut times = vec![];
        for n in 0..100 {
            let t = std::time::Instant::now();
            cluster.commit(via, 100 + n).await;
            times.push(t.elapsed().as_micros());
        }
        times.sort();
        let e = cluster.node(l).status().applied_index;
        tracing::error!(
            "nodes {nodes} leader {leader}: p50 {} p90 {} max {} entries {e} counters {:?}",
            times[50],
            times[90],
            times[99],
            cluster.node(via).counters().each().filter(|c| c.1 > 0).collect::<Vec<_>>()
        );
    }
}
