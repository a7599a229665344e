//! When this node stands for election: after a silence, or at once when the leader's process is
//! gone.
//!
//! openraft's own election timer is off. It waits out its lease and then a time of its own, and
//! neither can follow what is measured. Here a silence is measured by [`Hearing`], and whoever
//! follows a leader also holds a call open to it (`Attend`). A process that dies takes its
//! connections and its port with it: the call breaks, and the next connection is *refused*, by the
//! kernel of a machine that is up. That is no guess about time, so nobody waits.
//!
//! Either way only a pre-vote is asked for: as long as a majority hears the leader, nothing comes of
//! it, and no term begins.

use std::error::Error;
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use conclave_crypto::{Entropy, SystemEntropy};
use conclave_proto::peer::AttendRequest;
use openraft::async_runtime::WatchReceiver;
use openraft::raft::TransferLeaderRequest;
use tonic::Status;

use crate::core::Core;
use crate::types::{RaftId, Vote};

/// A call that is held open is made anew this often, to measure the round trip.
const RENEW_EVERY: Duration = Duration::from_secs(5);
/// A leader that takes longer to answer is left to the election timer.
const ANSWER_MAX: Duration = Duration::from_secs(1);
/// Between two looks at a leader that is in doubt, at first and at last.
const LOOK_AGAIN_MIN: Duration = Duration::from_millis(5);
const LOOK_AGAIN_MAX: Duration = Duration::from_millis(250);
/// Those who find the leader gone stand for election one after another, so far apart that one is
/// mostly done before the next begins, which would otherwise depose it ...
const TURN: Duration = Duration::from_millis(50);
/// ... and each a little after its turn: the others have to find out as well.
const GRACE: Duration = Duration::from_millis(10);
/// And again after this, until there is a new vote: the others may have found out only meanwhile.
const STAND_AGAIN: Duration = Duration::from_millis(40);

/// What is known of the vote now.
#[derive(Clone, PartialEq)]
struct Known {
    vote: Vote,
    leads: bool,
    votes: bool,
    alone: bool,
}

impl Core {
    fn known(&self) -> Known {
        let metrics = self.raft.server_metrics();
        let metrics = metrics.borrow_watched();
        let membership = metrics.membership_config.membership();
        let votes = membership.voter_ids().any(|id| id == self.own_id());
        Known {
            vote: metrics.vote,
            leads: metrics.state.is_leader(),
            votes,
            alone: votes && membership.voter_ids().count() == 1,
        }
    }

    /// A node that had better not lead, or has yet to prove its state, lets the others go first. Not
    /// before a leader was heard: when all start at once, they are all alike.
    fn reluctance(&self) -> Duration {
        let unfit = self.reluctant.load(Ordering::Relaxed) || !self.standing.is_proven();
        match unfit && self.hearing.has_heard() {
            true => Duration::from_millis(2 * self.config.election_max_ms),
            false => Duration::ZERO,
        }
    }

    /// When it is this node's turn after the leader is gone: of equal logs the highest Raft id wins
    /// a term, so it begins.
    fn turn(&self, gone: RaftId) -> Duration {
        let metrics = self.raft.server_metrics();
        let membership = metrics.borrow_watched().membership_config.clone();
        let own = self.own_id();
        let before = membership.voter_ids().filter(|id| *id != gone && *id > own).count();
        TURN * u32::try_from(before).unwrap_or(u32::MAX)
    }

    /// Ends when the vote is another.
    async fn vote_is_not(&self, vote: Vote) {
        let mut metrics = self.raft.server_metrics();
        while metrics.borrow_watched().vote == vote {
            if metrics.changed().await.is_err() {
                return;
            }
        }
    }
}

/// Stands for election when no leader was heard for too long. Runs until Raft stops.
pub(crate) async fn keep_time(core: Arc<Core>) {
    let shortest = Duration::from_millis(core.config.election_min_ms);
    let tick = (shortest / 16).clamp(Duration::from_millis(2), Duration::from_millis(50));
    let mut known = None;
    let mut since = Instant::now();
    let mut patience = Duration::ZERO;
    let mut woke = Instant::now();
    while !core.is_stopped() {
        let now = Instant::now();
        let found = core.known();
        // Silence says nothing to a process that was itself stopped: what was said to it meanwhile
        // waits to be read.
        let slept = now.saturating_duration_since(woke) > shortest;
        woke = now;
        if slept || found.leads || known.as_ref().is_none_or(|it: &Known| it.vote != found.vote) {
            since = now;
            patience = core.hearing.patience(luck());
        }
        let silent = now.saturating_duration_since(since.max(core.hearing.last()));
        // The only voter has nobody to wait for, unless it is standing already.
        let due = (found.alone && found.vote.committed) || silent >= patience + core.reluctance();
        if due && found.votes && !found.leads && core.standing.may_vote() {
            tracing::info!(?silent, "no leader was heard; standing for election");
            if core.raft.trigger().elect(true).await.is_err() {
                return;
            }
            since = now;
            patience = core.hearing.patience(luck());
        }
        known = Some(found);
        tokio::time::sleep(tick).await;
    }
}

/// Follows whoever leads, and stands for election at once if its process ends. Runs until Raft
/// stops.
pub(crate) async fn attend(core: Arc<Core>) {
    let mut metrics = core.raft.server_metrics();
    while !core.is_stopped() {
        let (vote, leader) = {
            let metrics = metrics.borrow_watched();
            (metrics.vote, metrics.current_leader.unwrap_or(0))
        };
        if leader == 0 || leader == core.own_id() || !vote.committed {
            if metrics.changed().await.is_err() {
                return;
            }
            continue;
        }
        tokio::select! {
            () = core.vote_is_not(vote) => {}
            () = follow(&core, vote, leader) => return,
        }
    }
}

/// Ends only if Raft does.
async fn follow(core: &Arc<Core>, vote: Vote, leader: RaftId) {
    let mut pause = Duration::ZERO;
    let mut connected = false;
    loop {
        pause = match attend_once(core, vote, leader, connected).await {
            End::Renewed => {
                connected = true;
                Duration::ZERO
            }
            End::Broke => {
                // At once: the next look tells whether it was the process or the connection.
                connected = false;
                LOOK_AGAIN_MIN
            }
            End::Unclear(why) => {
                connected = false;
                tracing::debug!(leader, %why, "the leader cannot be attended");
                (pause * 2).clamp(LOOK_AGAIN_MIN, LOOK_AGAIN_MAX)
            }
            End::Gone => {
                if stand_for(core, vote, leader).await.is_err() {
                    return;
                }
                STAND_AGAIN
            }
        };
        tokio::time::sleep(pause).await;
    }
}

/// How a call that is held open to the leader ended.
enum End {
    /// It was long enough.
    Renewed,
    /// Somebody hung up.
    Broke,
    /// It did not come about.
    Unclear(Status),
    /// There is no such process any more, or it leads no more.
    Gone,
}

async fn attend_once(core: &Arc<Core>, vote: Vote, leader: RaftId, connected: bool) -> End {
    let Some(node) = core.node(leader) else {
        return End::Unclear(Status::not_found("it is no member"));
    };
    let mut client = match core.peers.client(leader, &node) {
        Ok(client) => client,
        Err(status) => return End::Unclear(status),
    };
    let asked = Instant::now();
    let first = async {
        let mut answers = client.attend(AttendRequest {}).await?.into_inner();
        let first = answers.message().await?;
        Ok::<_, Status>((first, answers))
    };
    let (first, mut answers) = match tokio::time::timeout(ANSWER_MAX, first).await {
        Ok(Ok(answer)) => answer,
        Ok(Err(status)) if is_refused(&status) => return End::Gone,
        Ok(Err(status)) => return End::Unclear(status),
        Err(_) => return End::Unclear(Status::deadline_exceeded("it does not answer")),
    };
    match first {
        Some(answer) if answer.leads && answer.term == vote.leader_id.term => {}
        Some(answer) if answer.term >= vote.leader_id.term => return End::Gone,
        _ => return End::Unclear(Status::unavailable("it is stopping")),
    }
    if connected {
        core.hearing.measure(asked.elapsed());
    }
    match tokio::time::timeout(RENEW_EVERY, answers.message()).await {
        Err(_) => End::Renewed,
        Ok(_) => End::Broke,
    }
}

/// Whether somebody was there to say that nobody listens.
fn is_refused(status: &Status) -> bool {
    let mut next = status.source();
    while let Some(error) = next {
        let kind = error.downcast_ref::<io::Error>().map(io::Error::kind);
        if kind == Some(io::ErrorKind::ConnectionRefused) {
            return true;
        }
        next = error.source();
    }
    false
}

/// The leader of `vote` is gone: this node owes it no lease any more, and stands for election.
async fn stand_for(core: &Arc<Core>, vote: Vote, leader: RaftId) -> Result<(), ()> {
    tracing::info!(leader, "the leader's process is gone");
    // openraft ends a lease when it hears that leadership is being handed to another node, which
    // is what this amounts to. Until then this node grants nobody a vote.
    let released = TransferLeaderRequest::new(vote, leader, None);
    if core.raft.handle_transfer_leader(released).await.is_err() {
        return Err(());
    }
    tokio::time::sleep(core.turn(leader) + GRACE.mul_f64(luck()) + core.reluctance()).await;
    // Whoever has a new vote by now leaves the election to that one.
    let known = core.known();
    if known.vote != vote || !known.votes || !core.standing.may_vote() {
        return Ok(());
    }
    core.raft.trigger().elect(true).await.map_err(|_| ())
}

/// From 0 to 1.
fn luck() -> f64 {
    let mut bytes = [0; 4];
    SystemEntropy.fill(&mut bytes);
    f64::from(u32::from_le_bytes(bytes)) / f64::from(u32::MAX)
}
