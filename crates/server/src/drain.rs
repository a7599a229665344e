//! Taking a node out of service so that nobody notices: no new requests, the open ones finished,
//! leadership in other hands.
//!
//! A drained node goes on replicating and voting, and answers `status` and the operators. It serves
//! again by `conclave node undrain` or by a restart: the state is this process's alone, since what
//! nodes are drained for is mostly a restart, and a node that comes back must not be idle because
//! somebody forgot. A node that is told to stop drains first.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::{Duration, Instant};

use conclave_proto::peer::NodeStatusRequest;
use conclave_replica::log::Room;
use conclave_seal::RaftId;
use futures::future::join_all;
use tokio_util::task::TaskTracker;
use tokio_util::task::task_tracker::TaskTrackerToken;
use tonic::Status;
use tracing::{info, warn};

use crate::hosted::Hosted;
use crate::meta::unavailable;
use crate::node::Node;
use crate::peer;

/// Entries that an heir may lack when it is chosen; it gets them before it stands for election.
const HEIR_LAG_MAX: u64 = 64;
/// How long a member may take to say whether it can take over.
const HEIR_ANSWER_MAX: Duration = Duration::from_millis(500);
/// Open requests may take this long to end; they have a deadline of their own (8 s).
pub(crate) const FINISH_MAX: Duration = Duration::from_secs(10);
/// The same for a node that stops.
const STOP_FINISH_MAX: Duration = Duration::from_secs(5);
/// A leader that had better not lead hands over once that has been so for this long, so that a node
/// that is just opening keeps what it has ...
const UNFIT_FOR: Duration = Duration::from_secs(1);
/// ... and tries again no sooner than this.
const HAND_OVER_AGAIN: Duration = Duration::from_secs(5);

const SERVING: u8 = 0;
const DRAINED: u8 = 1;
const STOPPING: u8 = 2;

/// Whether requests are let in, and how many are.
#[derive(Default)]
pub(crate) struct Admission {
    state: AtomicU8,
    requests: TaskTracker,
}

impl Admission {
    /// Lets a request in for as long as the token lives, or says that clients should move on.
    pub(crate) fn enter(&self) -> Result<TaskTrackerToken, Status> {
        // Counted first: whoever closes the door waits for all that went through it.
        let token = self.requests.token();
        self.refuses().map_or(Ok(token), |why| Err(unavailable(format!("{why}; retry on another"))))
    }

    /// Why nothing is let in, if so.
    pub(crate) fn refuses(&self) -> Option<&'static str> {
        match self.state.load(Ordering::SeqCst) {
            SERVING => None,
            DRAINED => Some("this node is drained"),
            _ => Some("this node is stopping"),
        }
    }

    /// Lets requests in again, unless the node is stopping.
    pub(crate) fn reopen(&self) {
        let _ = self.state.compare_exchange(DRAINED, SERVING, Ordering::SeqCst, Ordering::SeqCst);
    }

    fn close(&self, why: u8) {
        self.state.fetch_max(why, Ordering::SeqCst);
    }

    /// Whether all that was let in is over within `limit`.
    async fn finished(&self, limit: Duration) -> bool {
        self.requests.close();
        let finished = tokio::time::timeout(limit, self.requests.wait()).await.is_ok();
        self.requests.reopen();
        finished
    }
}

/// Drains this node: when it returns, another leads and no request is open.
pub(crate) async fn drain(node: &Arc<Node>, hosted: &Arc<Hosted>) -> Result<(), Status> {
    node.admission.close(DRAINED);
    hosted.replica.set_reluctant(true);
    hand_over(node, hosted, Heir::Open).await.map_err(unavailable)?;
    if !node.admission.finished(FINISH_MAX).await {
        return Err(unavailable(
            "drained, but requests are still open; repeat it to wait for them",
        ));
    }
    info!("drained by order");
    Ok(())
}

/// What a node does before it stops. However it ends, the node stops.
pub(crate) async fn before_stop(node: &Arc<Node>) {
    node.admission.close(STOPPING);
    let Some(hosted) = node.hosted() else { return };
    hosted.replica.set_reluctant(true);
    if let Err(why) = hand_over(node, &hosted, Heir::Any).await {
        warn!(why, "stopping without handing leadership over: the others will elect");
    }
    if !node.admission.finished(STOP_FINISH_MAX).await {
        warn!(
            "stopping while requests are open: their clients will be told that the outcome is unknown"
        );
    }
}

/// Keeps leadership with nodes that can serve: what the keeper does each round.
#[derive(Default)]
pub(crate) struct Fitness {
    unfit_since: Option<Instant>,
    tried: Option<Instant>,
}

impl Fitness {
    /// Looks at whether this node leads and had better not; then it hands over in the background.
    pub(crate) fn look(&mut self, node: &Arc<Node>, hosted: &Arc<Hosted>) {
        let unfit = !hosted.is_open()
            || node.admission.refuses().is_some()
            || hosted.replica.status().log_room != Room::Enough;
        hosted.replica.set_reluctant(unfit);
        let leads = || hosted.replica.status().leader == Some(hosted.raft_id().0);
        if !unfit || !leads() {
            self.unfit_since = None;
            return;
        }
        let since = *self.unfit_since.get_or_insert_with(Instant::now);
        let tried = self.tried.is_some_and(|at| at.elapsed() < HAND_OVER_AGAIN);
        if since.elapsed() < UNFIT_FOR || tried {
            return;
        }
        self.tried = Some(Instant::now());
        let (node, hosted) = (Arc::clone(node), Arc::clone(hosted));
        tokio::spawn(async move {
            if let Err(why) = hand_over(&node, &hosted, Heir::Open).await {
                tracing::debug!(why, "this node leads though it cannot serve");
            }
        });
    }
}

/// Who may take over.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Heir {
    /// A voter that serves.
    Open,
    /// That, or at least a voter that is up.
    Any,
}

/// Hands leadership to a voter that has all of the log but the last entries. Nothing to do if this
/// node does not lead.
async fn hand_over(node: &Arc<Node>, hosted: &Arc<Hosted>, who: Heir) -> Result<(), String> {
    if !leads(hosted) {
        return Ok(());
    }
    let heirs = heirs(node, hosted, who).await;
    let mut why = "no other voter is open, up to date and serving".to_owned();
    for heir in heirs {
        match hosted.replica.transfer_leader(heir).await {
            Ok(()) => {
                info!(heir, "leadership handed over");
                return Ok(());
            }
            Err(_) if !leads(hosted) => return Ok(()),
            Err(error) => why = error.to_string(),
        }
    }
    Err(why)
}

fn leads(hosted: &Hosted) -> bool {
    hosted.replica.status().leader == Some(hosted.raft_id().0)
}

/// The other voters that could take over, the best first.
pub(crate) async fn heirs(node: &Arc<Node>, hosted: &Arc<Hosted>, who: Heir) -> Vec<u64> {
    let status = hosted.replica.status();
    let members = hosted.members().unwrap_or_default().members;
    let own = hosted.raft_id().0;
    let asked = members
        .into_iter()
        .filter(|member| member.raft_id != own && status.voters.contains(&member.raft_id))
        .map(|member| {
            // A node that does not lead knows no lags; whoever leads will look.
            let lag = match leads(hosted) {
                true => status.lags.get(&member.raft_id).copied().unwrap_or(u64::MAX),
                false => 0,
            };
            async move {
                let to = Some((hosted.domain_id(), RaftId(member.raft_id)));
                let mut client = peer::client(node, &member.name, &member.peer, to).ok()?;
                let answer = client.node_status(NodeStatusRequest {});
                let answer = peer::timed(HEIR_ANSWER_MAX, answer).await.ok()?;
                let is_open = answer.state == "open";
                let fit = lag <= HEIR_LAG_MAX && !answer.drained && (is_open || who == Heir::Any);
                fit.then_some((!is_open, lag, member.raft_id))
            }
        });
    let mut heirs: Vec<_> = join_all(asked).await.into_iter().flatten().collect();
    heirs.sort_unstable();
    heirs.into_iter().map(|(_, _, raft_id)| raft_id).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_closed_door_waits_for_those_inside() {
        let door = Admission::default();
        let inside = door.enter().unwrap();
        door.close(DRAINED);
        assert!(door.enter().unwrap_err().message().contains("drained"));
        assert!(!door.finished(Duration::from_millis(1)).await);
        drop(inside);
        assert!(door.finished(Duration::from_secs(60)).await);
        door.reopen();
        drop(door.enter().unwrap());
    }

    #[test]
    fn a_stopping_node_is_not_reopened() {
        let door = Admission::default();
        door.close(STOPPING);
        door.close(DRAINED);
        door.reopen();
        assert!(door.enter().unwrap_err().message().contains("stopping"));
    }
}
