//! How long nobody can write after the leader was killed.
//!
//! Clients write all the time, each after its last write was answered or failed, and go on to the
//! next node after a failure. The gap ends with the first success of a write that began after the
//! kill, so that none that was already decided counts.

use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::Failure;
use crate::system::{AnyClient, Op, Reach};

/// Load before the kill.
const BEFORE: Duration = Duration::from_secs(3);
/// After this long without a success there is nothing to wait for.
const GIVE_UP: Duration = Duration::from_secs(60);
/// Between a failure and the next attempt.
const PAUSE: Duration = Duration::from_millis(10);

pub(crate) async fn run(reach: Reach, kill: i32, clients: usize) -> Result<Value, Failure> {
    let pid = Pid::from_raw(kill).ok_or("a process id is above 0")?;
    let reach = Arc::new(reach);
    let (tell, mut told) = mpsc::unbounded_channel();
    let mut tasks = JoinSet::new();
    for number in 0..clients {
        tasks.spawn(one_client(reach.client(number).await?, tell.clone()));
    }
    let before = Instant::now() + BEFORE;
    let mut successes = 0_u64;
    while let Ok(Some(_)) = tokio::time::timeout_at(before.into(), told.recv()).await {
        successes += 1;
    }
    if successes == 0 {
        return Err("nothing succeeded even before the kill".into());
    }
    let killed = Instant::now();
    kill_process(pid, Signal::KILL)?;
    let deadline = killed + GIVE_UP;
    loop {
        let success = tokio::time::timeout_at(deadline.into(), told.recv()).await;
        let (sent, done): (Instant, Instant) =
            success.ok().flatten().ok_or("no write succeeded within a minute of the kill")?;
        if sent > killed {
            let gap = done.duration_since(killed).as_millis();
            return Ok(json!({ "gap_ms": u64::try_from(gap)?, "successes_before": successes }));
        }
    }
}

async fn one_client(mut client: AnyClient, tell: mpsc::UnboundedSender<(Instant, Instant)>) {
    loop {
        let sent = Instant::now();
        match client.once(Op::Write).await {
            Ok(()) if tell.send((sent, Instant::now())).is_err() => return,
            Ok(()) => {}
            Err(_) => tokio::time::sleep(PAUSE).await,
        }
    }
}
