//! What is done unasked: a leader ends a joint configuration that it found, and proposes
//! checkpoints; every replica takes a snapshot when its log has grown by many bytes, which openraft,
//! counting entries, would not see.
//!
//! Every replica notes (index, state digest, audit head) when it applies a checkpoint entry;
//! `returning` compares the notes.

use std::sync::Arc;
use std::time::{Duration, Instant};

use conclave_proto::store::{Checkpoint, command};
use openraft::async_runtime::WatchReceiver;

use crate::core::Core;

/// Between two checkpoints of one leader.
pub(crate) const CHECKPOINT_EVERY: Duration = Duration::from_secs(60);
/// After a checkpoint that could not be proposed.
const CHECKPOINT_AGAIN: Duration = Duration::from_millis(250);

/// Bytes of commands after which a snapshot is taken: what a start has to apply again at most.
const LOG_BYTES_MAX: u64 = 256 << 20;

/// Runs until Raft stops.
pub(crate) async fn run(core: Arc<Core>) {
    let mut metrics = core.raft.metrics();
    let mut term = 0;
    let mut led_term = None;
    let mut due = Instant::now();
    loop {
        let (now_term, leads, is_joint, stopped) = {
            let metrics = metrics.borrow_watched();
            let is_joint = metrics.committed_membership_config.get_joint_config().len() > 1;
            let leads = metrics.state.is_leader();
            (metrics.current_term, leads, is_joint, metrics.running_state.is_err())
        };
        if stopped {
            return;
        }
        if now_term != term {
            term = now_term;
            core.counters.term_changes.one();
        }
        if leads && led_term != Some(term) {
            led_term = Some(term);
            core.counters.elections_won.one();
            due = Instant::now();
        }
        if core.applied.unsnapshotted_bytes() > LOG_BYTES_MAX
            && core.raft.trigger().snapshot().await.is_err()
        {
            return;
        }
        if leads && is_joint {
            core.finish_joint().await;
        }
        if leads && Instant::now() >= due {
            let raft_id = core.own_id();
            let checkpoint = core.lead(command::Op::Checkpoint(Checkpoint { raft_id })).await;
            let pause = if checkpoint.is_ok() { CHECKPOINT_EVERY } else { CHECKPOINT_AGAIN };
            due = Instant::now() + pause;
        }
        let wake = if leads { due } else { Instant::now() + CHECKPOINT_EVERY };
        tokio::select! {
            changed = metrics.changed() => if changed.is_err() { return },
            () = tokio::time::sleep_until(wake.into()) => {}
        }
    }
}
