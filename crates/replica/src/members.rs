//! What the leader does about Raft's configuration: learners, voters, and a joint configuration
//! that an earlier leader left behind.
//!
//! A change of voters carries its public records in Raft's own entry: a removal in the joint entry,
//! from which it counts, an admission in the final one. The records are unguarded, so they are
//! checked here while nothing else can enter the log.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use conclave_proto::peer::{
    AddLearnerRequest, AddLearnerResponse, ChangeMembersRequest, ChangeMembersResponse, NotLeader,
    add_learner_response, change_members_response,
};
use conclave_proto::store::{MemberChange, command};
use conclave_store::{GuardDigest, MAX_GUARDS_PER_TXN, RecordId, View};
use openraft::ChangeMembers;
use openraft::LogIdOptionExt;
use openraft::entry::RaftPayload;
use openraft::errors::{ClientWriteError, Fatal, RaftError};
use openraft::raft::{ChangeMembershipOutcome, ChangeMembershipRequest, Precondition};
use tokio::sync::{OwnedMutexGuard, OwnedRwLockWriteGuard};

use crate::codec::{NODE_TEXT_BYTES_MAX, NODES_MAX};
use crate::core::{Core, RaftMetrics};
use crate::lead::Refusal;
use crate::replica::MembersError;
use crate::types::{Membership, Payload, PeerNode, RaftId, Types};

/// A new voter may be this many entries behind the leader: what a busy leader has on its way.
const VOTER_LAG_MAX: u64 = 64;
/// A learner that is asked for gets this long to catch up before its asker has to ask again.
const CATCH_UP_MAX: Duration = Duration::from_secs(20);
/// What is in the log gets this long to be applied before a change of members gives up.
const SETTLE_MAX: Duration = Duration::from_secs(5);
const POLL: Duration = Duration::from_millis(20);

/// Why members were not changed.
enum Stopped {
    NotLeader(RaftId),
    Refused(String),
    /// A record is not as it was read.
    Overtaken,
}

fn refused<T>(why: impl Into<String>) -> Result<T, Stopped> {
    Err(Stopped::Refused(why.into()))
}

impl Core {
    pub(crate) async fn answer_add_learner(
        self: &Arc<Self>,
        request: AddLearnerRequest,
    ) -> AddLearnerResponse {
        use add_learner_response::Result;
        let result = match self.add_learner(request).await {
            Ok(log_index) => Result::LogIndex(log_index),
            Err(Stopped::NotLeader(leader)) => Result::NotLeader(NotLeader { leader }),
            Err(Stopped::Refused(why)) => Result::Refused(why),
            Err(Stopped::Overtaken) => Result::Refused(MembersError::Overtaken.to_string()),
        };
        AddLearnerResponse { result: Some(result) }
    }

    async fn add_learner(self: &Arc<Self>, request: AddLearnerRequest) -> Result<u64, Stopped> {
        let id = request.raft_id;
        let Some(node) = request.node else { return refused("the learner's address is missing") };
        if id == 0 || node.name.len().max(node.peer.len()) > NODE_TEXT_BYTES_MAX {
            return refused("the learner's Raft id is 0, or its name or address is too long");
        }
        let node = PeerNode { name: node.name, peer: node.peer };
        let known = self.leading()?.membership_config;
        let former = former_selves(known.membership(), id, &node.name);
        match known.membership().get_node(&id) {
            Some(there) if *there == node => {}
            Some(there) => return refused(format!("Raft id {id} is {there} already")),
            None if known.membership().nodes().any(|(it, at)| *it > id && at.name == node.name) => {
                return refused(format!(
                    "{} has come in anew since, under another Raft id",
                    node.name
                ));
            }
            None if known.membership().nodes().count() - former.len() >= NODES_MAX => {
                return refused(format!("a domain has at most {NODES_MAX} members"));
            }
            None => {
                let _one_at_a_time = self.members.lock().await;
                if !former.is_empty() {
                    tracing::info!(?former, name = node.name, "left out: it begins anew");
                    let left_out = ChangeMembers::RemoveNodes(former);
                    self.raft.change_membership(left_out, true).await.map_err(stopped)?;
                }
                self.raft.add_learner(id, node, false).await.map_err(stopped)?;
            }
        }
        let deadline = Instant::now() + CATCH_UP_MAX;
        loop {
            let metrics = self.leading()?;
            if lag(&metrics, id).is_some_and(|lag| lag <= VOTER_LAG_MAX) {
                let log_id = metrics.membership_config.log_id();
                return Ok(log_id.map_or(0, |id| id.index));
            }
            if Instant::now() >= deadline {
                // Whoever asked asks again, for as long as it likes.
                return Err(Stopped::NotLeader(self.own_id()));
            }
            tokio::time::sleep(POLL).await;
        }
    }

    pub(crate) async fn answer_change_members(
        self: &Arc<Self>,
        request: ChangeMembersRequest,
    ) -> ChangeMembersResponse {
        use change_members_response::Result;
        let changed = self.change_members(request).await;
        let overtaken = matches!(changed, Err(Stopped::Overtaken));
        let result = match changed {
            Ok(log_index) => Result::LogIndex(log_index),
            Err(Stopped::NotLeader(leader)) => Result::NotLeader(NotLeader { leader }),
            Err(Stopped::Refused(why)) => Result::Refused(why),
            Err(Stopped::Overtaken) => Result::Refused(MembersError::Overtaken.to_string()),
        };
        ChangeMembersResponse { result: Some(result), overtaken }
    }

    async fn change_members(
        self: &Arc<Self>,
        request: ChangeMembersRequest,
    ) -> Result<u64, Stopped> {
        let change = Change::parse(request)?;
        let alone = self.members.clone().lock_owned().await;
        self.check_voters(&self.leading()?, &change)?;
        // From here on nothing enters the log but this change.
        let gate = self.gate.clone().write_owned().await;
        let metrics = self.settled().await?;
        self.check_voters(&metrics, &change)?;
        if !self.holds(&change.guards) {
            return Err(Stopped::Overtaken);
        }
        let removes = metrics.membership_config.voter_ids().any(|id| !change.voters.contains(&id));
        let command = self.stamped(command::Op::MemberChange(change.change)).map_err(
            |refusal| match refusal {
                Refusal::NotLeader(leader) => Stopped::NotLeader(leader),
                Refusal::Unavailable(why) => Stopped::Refused(why),
            },
        )?;
        let (with_records, blank) = (Payload::normal(command), Payload::blank());
        let (joint, last) = if removes { (with_records, blank) } else { (blank, with_records) };
        let request = ChangeMembershipRequest::new(change.voters, false)
            .with_payload(joint, last)
            .with_preconditions([Precondition::LastMembershipLogId {
                last_membership_log_id: *metrics.membership_config.log_id(),
            }]);
        let outcome = self.carry_out(request, alone, gate).await?;
        let records_in = if removes { outcome.joint.as_ref() } else { None };
        Ok(records_in.unwrap_or(&outcome.uniform).log_id.index)
    }

    /// Whether the records still are what the guards say.
    fn holds(&self, guards: &[(RecordId, Option<GuardDigest>)]) -> bool {
        let view = self.applied.view();
        guards.iter().all(|(record, digest)| view.guard(record) == *digest)
    }

    /// Runs on even if whoever asked goes away: a change half done must not have its locks taken.
    async fn carry_out(
        self: &Arc<Self>,
        request: ChangeMembershipRequest<Types>,
        alone: OwnedMutexGuard<()>,
        gate: OwnedRwLockWriteGuard<()>,
    ) -> Result<ChangeMembershipOutcome<Types>, Stopped> {
        let core = self.clone();
        let change = tokio::spawn(async move {
            let outcome = core.raft.change_membership_with_payload(request).await;
            drop((alone, gate));
            outcome
        });
        match change.await {
            Ok(outcome) => outcome.map_err(stopped),
            Err(_) => refused("the change of members was interrupted; look at the status"),
        }
    }

    /// What must hold of the new voters.
    fn check_voters(&self, metrics: &RaftMetrics, change: &Change) -> Result<(), Stopped> {
        if !is_settled(metrics) {
            return refused("another change of members is under way; try again");
        }
        let membership = metrics.membership_config.membership();
        let current: BTreeSet<RaftId> = membership.voter_ids().collect();
        if current == change.voters {
            return refused("these are the voters already");
        }
        for id in change.voters.difference(&current) {
            if membership.get_node(id).is_none() {
                return refused(format!("Raft id {id} is no learner; add it first"));
            }
            let lag = lag(metrics, *id).unwrap_or(u64::MAX);
            if lag > VOTER_LAG_MAX {
                return refused(format!("Raft id {id} has not caught up; wait and try again"));
            }
        }
        let now = Instant::now();
        let answers = |id: &&RaftId| **id == self.own_id() || self.clock.hears(**id, now);
        let answering = change.voters.iter().filter(answers).count();
        if answering * 2 <= change.voters.len() {
            return refused("a majority of the new voters does not answer");
        }
        Ok(())
    }

    /// Waits until all of the log is applied, and with it the last change of members.
    async fn settled(&self) -> Result<RaftMetrics, Stopped> {
        let deadline = Instant::now() + SETTLE_MAX;
        loop {
            let metrics = self.leading()?;
            let applied = self.applied.read(|content| content.last_applied.index());
            if is_settled(&metrics) && applied >= metrics.last_log_index {
                return Ok(metrics);
            }
            if Instant::now() >= deadline {
                return refused("the log could not be applied in time; try again");
            }
            tokio::time::sleep(POLL).await;
        }
    }

    fn leading(&self) -> Result<RaftMetrics, Stopped> {
        let metrics = self.metrics();
        match metrics.state.is_leader() {
            true => Ok(metrics),
            false => Err(Stopped::NotLeader(metrics.current_leader.unwrap_or(0))),
        }
    }

    /// Ends a joint configuration that an earlier leader left. One that removes a voter has its
    /// records in the log already and is finished. One that only adds would have brought its
    /// records with the final entry, which nobody has any more, so it is taken back: the nodes
    /// stay learners, and the change can be asked for again.
    pub(crate) async fn finish_joint(&self) {
        let Ok(_alone) = self.members.try_lock() else { return };
        let membership = self.metrics().membership_config;
        let (Some(old), Some(new)) =
            (membership.get_joint_config().first(), membership.get_joint_config().get(1))
        else {
            return;
        };
        let take_back = new.is_superset(old);
        let voters = if take_back { old.clone() } else { new.clone() };
        tracing::info!(?voters, take_back, "ending a change of members that was left half done");
        let change = ChangeMembers::ReplaceAllVoters(voters);
        if let Err(error) = self.raft.change_membership(change, take_back).await {
            tracing::warn!(%error, "a joint configuration could not be ended yet");
        }
    }
}

/// Whether a call to change members says what it must.
pub(crate) fn is_well_formed(request: ChangeMembersRequest) -> bool {
    Change::parse(request).is_ok()
}

struct Change {
    voters: BTreeSet<RaftId>,
    change: MemberChange,
    guards: Vec<(RecordId, Option<GuardDigest>)>,
}

impl Change {
    fn parse(request: ChangeMembersRequest) -> Result<Self, Stopped> {
        let voters: BTreeSet<RaftId> = request.voters.iter().copied().collect();
        if voters.is_empty() || voters.len() > NODES_MAX || voters.contains(&0) {
            return refused("the new voters must be 1 to 64 Raft ids other than 0");
        }
        let Some(change) = request.change else { return refused("the public records are missing") };
        if request.guards.len() > MAX_GUARDS_PER_TXN {
            return refused(format!("at most {MAX_GUARDS_PER_TXN} records can be guarded"));
        }
        let mut guards = Vec::with_capacity(request.guards.len());
        for guard in &request.guards {
            let digest = match guard.digest.as_slice() {
                [] => Ok(None),
                digest => GuardDigest::parse(digest).map(Some),
            };
            let (Ok(record), Ok(digest), None) =
                (RecordId::parse(&guard.record), digest, &guard.family)
            else {
                return refused("a guard names no record, or no digest");
            };
            guards.push((record, digest));
        }
        Ok(Self { voters, change, guards })
    }
}

/// The Raft ids under which a node of that name came in before and did not become a voter. It has emptied
/// its data folder since, so nobody answers under them, and entries would be sent there for ever. Raft ids
/// grow.
fn former_selves(known: &Membership, id: RaftId, name: &str) -> BTreeSet<RaftId> {
    let voters: BTreeSet<RaftId> = known.voter_ids().collect();
    let others = known.nodes().filter(|(other, node)| **other < id && node.name == name);
    others.map(|(other, _)| *other).filter(|other| !voters.contains(other)).collect()
}

/// Whether no change of Raft's configuration is under way.
fn is_settled(metrics: &RaftMetrics) -> bool {
    let effective = &metrics.membership_config;
    effective.get_joint_config().len() == 1
        && effective.log_id() == metrics.committed_membership_config.log_id()
}

/// How many entries a member is behind the leader; `None` if it was not heard from yet.
fn lag(metrics: &RaftMetrics, id: RaftId) -> Option<u64> {
    if id == metrics.id {
        return Some(0);
    }
    let matched: &BTreeMap<_, _> = metrics.replication.as_ref()?;
    let matched = (*matched.get(&id)?)?.index;
    Some(metrics.last_log_index.unwrap_or(0).saturating_sub(matched))
}

fn stopped(error: RaftError<Types, ClientWriteError<Types>>) -> Stopped {
    match error {
        RaftError::APIError(ClientWriteError::ForwardToLeader(forward)) => {
            Stopped::NotLeader(forward.leader_id.unwrap_or(0))
        }
        RaftError::Fatal(Fatal::Stopped) => Stopped::Refused("this node is stopping".into()),
        error => Stopped::Refused(error.to_string()),
    }
}
