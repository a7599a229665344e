//! A closed loop: each client one request at a time, for a while.

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::Failure;
use crate::system::{AnyClient, Op, Reach};

/// Before anything is counted.
const WARM_UP: Duration = Duration::from_secs(1);

#[derive(Default)]
struct Measured {
    latencies_us: Vec<u32>,
    errors: u64,
    first_error: Option<String>,
}

pub(crate) async fn run(
    reach: Reach,
    op: Op,
    clients: usize,
    duration: Duration,
) -> Result<Value, Failure> {
    let reach = Arc::new(reach);
    let mut ready = Vec::new();
    for number in 0..clients {
        ready.push(reach.client(number).await?);
    }
    let begin = Instant::now() + WARM_UP;
    let end = begin + duration;
    let mut tasks = JoinSet::new();
    for client in ready {
        tasks.spawn(one_client(client, op, begin, end));
    }
    let mut all = Measured::default();
    while let Some(one) = tasks.join_next().await {
        let one = one?;
        all.latencies_us.extend(one.latencies_us);
        all.errors += one.errors;
        all.first_error = all.first_error.or(one.first_error);
    }
    all.latencies_us.sort_unstable();
    let quantile = |share: f64| {
        let last = all.latencies_us.len().saturating_sub(1) as f64;
        all.latencies_us.get((last * share).round() as usize).copied().unwrap_or_default()
    };
    Ok(json!({
        "ops_per_second": all.latencies_us.len() as f64 / duration.as_secs_f64(),
        "p50_us": quantile(0.5),
        "p99_us": quantile(0.99),
        "errors": all.errors,
        "first_error": all.first_error,
    }))
}

async fn one_client(mut client: AnyClient, op: Op, begin: Instant, end: Instant) -> Measured {
    let mut measured = Measured::default();
    loop {
        let sent = Instant::now();
        if sent >= end {
            return measured;
        }
        let outcome = client.once(op).await;
        let done = Instant::now();
        if sent < begin || done > end {
            continue;
        }
        match outcome {
            Ok(()) => {
                let us = done.duration_since(sent).as_micros();
                measured.latencies_us.push(u32::try_from(us).unwrap_or(u32::MAX));
            }
            Err(error) => {
                measured.errors += 1;
                measured.first_error.get_or_insert_with(|| error.to_string());
                // A cluster that refuses at once must not be hammered.
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        }
    }
}
