//! Nodes coming in and going out, with a new root key dealt each time.
//!
//! In: admitted by a txn, whose index becomes its Raft id → starts as learner, catches up with log
//! and audit segments → dealing (see `dealing`), where the members record changes in Raft's own log
//! entry. Out: leadership moved if it leads → dealing.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use conclave_crypto::{Entropy, SystemEntropy};
use conclave_kms::{AdminAction, Caller};
use conclave_proto::peer::{AdmitRequest, HandOverRequest, HelloResponse};
use conclave_proto::record::{Admission, Admissions, Member, Members};
use conclave_proto::v1::InitMember;
use conclave_replica::PeerNode;
use conclave_seal::RaftId;
use conclave_store::{GuardDigest, Kind, RecordId, Revision, View, Write};
use prost::Message;
use tonic::{Code, Status};
use tracing::info;

use crate::ceremony::dealing::{Change, Order, STEP_TIMEOUT};
use crate::ceremony::founding::{check_nodes, greet, member_record};
use crate::hosted::Hosted;
use crate::meta::{precondition, unavailable};
use crate::node::Node;
use crate::peer;

/// Nodes added in one change.
const ADDED_MAX: usize = 8;
/// Names of removed nodes remembered; the oldest fall out.
pub(crate) const FORMER_MAX: usize = 1_024;
/// How long learners may take to catch up, segments included.
const CATCH_UP_TIMEOUT: Duration = Duration::from_secs(600);
/// What a removed node says of itself.
pub(crate) const REMOVED: &str = "removed from its domain; stop it and empty its data folder";

/// What a member says of itself that was left out of a dealing.
pub(crate) const EXCLUDED: &str =
    "left out of the newest share epoch; `conclave operator rotate-root` gives it a share again";

/// Admits nodes, waits until they have caught up, and makes them voters in one change.
pub(crate) async fn add(
    node: &Arc<Node>,
    hosted: &Arc<Hosted>,
    caller: &Caller,
    wanted: &[InitMember],
) -> Result<(), Status> {
    check_nodes(wanted, ADDED_MAX)?;
    let _changing = node.changing.lock().await;
    let order = Order { node, hosted, caller, action: AdminAction::AddNodes };
    // Authorised and audited before anything is told or anybody is dialled.
    let names: Vec<&str> = wanted.iter().map(|new| new.name.as_str()).collect();
    order.record(BTreeMap::new(), Vec::new(), &[("step", "begin".to_owned())], &names).await?;
    let current = order.members()?;
    let is_member =
        |new: &InitMember| current.members.iter().any(|m| m.name == new.name && m.peer == new.peer);
    if caller.retry_of.is_some() && wanted.iter().all(is_member) {
        return Ok(());
    }
    let mut hellos = Vec::new();
    for new in wanted {
        if current.members.iter().any(|member| member.name == new.name) {
            return Err(precondition(format!("{} is a member already", new.name)));
        }
        let hello = greet(node, &new.name, &new.peer).await?;
        if !hello.domain_id.is_empty() && hello.domain_id != hosted.domain_id().0 {
            return Err(precondition(format!(
                "{} belongs to another domain; stop it, empty its data folder, and add it again",
                new.name
            )));
        }
        hellos.push(hello);
    }
    let mut joiners = Vec::new();
    for (new, hello) in wanted.iter().zip(hellos) {
        let raft_id = match order.admitted_before(new, &hello) {
            Some(raft_id) => {
                let parameters = [("step", "resume".to_owned())];
                order.record(BTreeMap::new(), Vec::new(), &parameters, &[&new.name]).await?;
                raft_id
            }
            None => {
                let member = member_record(&new.peer, 0, hello.clone());
                order.admit(member, hello.raft_id).await?.log_index.0
            }
        };
        let mut client = peer::client(node, &new.name, &new.peer, None)?;
        let request = AdmitRequest { domain_id: hosted.domain_id().0.to_vec(), raft_id };
        peer::timed(STEP_TIMEOUT, client.admit(request)).await.map_err(|status| {
            let told =
                format!("{} does not let itself be admitted: {}", new.name, status.message());
            // What it says itself is final; a connection that broke is not.
            if status.code() == Code::FailedPrecondition {
                precondition(told)
            } else {
                unavailable(told)
            }
        })?;
        info!(name = new.name, raft_id, "admitted");
        joiners.push(member_record(&new.peer, raft_id, hello));
    }
    let deadline = Instant::now() + CATCH_UP_TIMEOUT;
    for joiner in &joiners {
        let node = PeerNode { name: joiner.name.clone(), peer: joiner.peer.clone() };
        hosted
            .replica
            .add_learner(joiner.raft_id, node, deadline)
            .await
            .map_err(|error| unavailable(format!("{} does not catch up: {error}", joiner.name)))?;
        info!(name = joiner.name, "caught up");
    }
    let (mut next, read) = order.members_as_read()?;
    next.former.retain(|name| !joiners.iter().any(|joiner| joiner.name == *name));
    let must_store = joiners.iter().map(|joiner| RaftId(joiner.raft_id)).collect();
    next.members.extend(joiners);
    order.deal(Order::members_change(next, read, must_store)).await.map(drop)
}

/// Moves leadership away from a member if it leads, and takes it out.
pub(crate) async fn remove(
    node: &Arc<Node>,
    hosted: &Arc<Hosted>,
    caller: &Caller,
    name: &str,
    compromised: bool,
) -> Result<(), Status> {
    let _changing = node.changing.lock().await;
    let order = Order { node, hosted, caller, action: AdminAction::RemoveNode };
    // Authorised and audited before anything is told or moves.
    order
        .record(
            BTreeMap::new(),
            Vec::new(),
            &[("step", "begin".to_owned()), ("compromised", compromised.to_string())],
            &[name],
        )
        .await?;
    let (mut next, read) = order.members_as_read()?;
    let Some(at) = next.members.iter().position(|member| member.name == name) else {
        if caller.retry_of.is_some() && next.former.iter().any(|former| former == name) {
            return Ok(());
        }
        return Err(precondition(format!("{name} is not a member; see `conclave node list`")));
    };
    if next.members.len() == 1 {
        return Err(precondition("the last member cannot be removed"));
    }
    let leaving = next.members.remove(at);
    next.former.push(leaving.name.clone());
    if next.former.len() > FORMER_MAX {
        next.former.remove(0);
    }
    order.move_leadership_from(&leaving, &next.members).await?;
    let change = Order::members_change(next, read, Vec::new());
    order.deal(Change { left_out: compromised, ..change }).await?;
    if leaving.raft_id == hosted.raft_id().0 {
        // The log entry may never reach this node: nobody sends it any more.
        hosted.wipe();
        hosted.set_detail(REMOVED);
    }
    Ok(())
}

impl Order<'_> {
    /// One txn an admission: each changes the same record, so no two share a log index.
    async fn admit(&self, member: Member, held_raft_id: u64) -> Result<Revision, Status> {
        let guard = |kind| {
            let id = RecordId::singleton(kind);
            (id, self.hosted.replica.view().guard(&id))
        };
        let guards = BTreeMap::from([guard(Kind::Members), guard(Kind::Admissions)]);
        let mut admissions: Admissions = self.hosted.admissions();
        admissions.admissions.retain(|admission| {
            admission.member.as_ref().is_some_and(|admitted| admitted.name != member.name)
        });
        let mut nonce = vec![0; 16];
        SystemEntropy.fill(&mut nonce);
        let name = member.name.clone();
        let fingerprint = hex::encode(&member.enrolment_key);
        admissions.admissions.push(Admission { member: Some(member), nonce, held_raft_id });
        let write = Write::put(RecordId::singleton(Kind::Admissions), admissions.encode_to_vec());
        let parameters = [("step", "admit".to_owned()), ("enrolmentKey", fingerprint)];
        Ok(self.record(guards, vec![write], &parameters, &[&name]).await?)
    }

    /// The Raft id under which this node was admitted, if that was begun and broke off before it
    /// became a member: it goes on where it stands, as a learner that may have caught up in part. A
    /// member's Raft id ends with its membership; since they grow, what is larger than the one that
    /// the node held when it was admitted came with the admission.
    fn admitted_before(&self, new: &InitMember, hello: &HelloResponse) -> Option<u64> {
        let admissions = self.hosted.admissions().admissions;
        let is_this = |admission: &Admission| {
            let held = admission.held_raft_id;
            admission.member.as_ref().is_some_and(|member| {
                member.name == new.name
                    && member.peer == new.peer
                    && member.enrolment_key == hello.enrolment_key
                    && hello.raft_id > held
            })
        };
        admissions.iter().any(is_this).then_some(hello.raft_id)
    }

    async fn move_leadership_from(
        &self,
        leaving: &Member,
        staying: &[Member],
    ) -> Result<(), Status> {
        let deadline = Instant::now() + STEP_TIMEOUT;
        let mut heirs = staying.iter().cycle();
        while Instant::now() < deadline {
            match self.hosted.replica.status().leader {
                Some(leader) if leader == leaving.raft_id => {}
                Some(_) => return Ok(()),
                None => {
                    tokio::time::sleep(Duration::from_millis(50)).await;
                    continue;
                }
            }
            // It may not take: then it is asked again, for another heir.
            let Some(heir) = heirs.next() else { break };
            let to = Some((self.hosted.domain_id(), RaftId(leaving.raft_id)));
            let mut client = peer::client(self.node, &leaving.name, &leaving.peer, to)?;
            let request = HandOverRequest { to: heir.raft_id };
            let _ = peer::timed(STEP_TIMEOUT, client.hand_over(request)).await;
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        Err(unavailable("leadership does not move away from the node that leaves; retry"))
    }

    /// A change of members takes a majority of the next ones, one of them open.
    fn members_change(next: Members, read: Option<GuardDigest>, must_store: Vec<RaftId>) -> Change {
        Change { changes_voters: true, must_store, ..Change::of_no_member(next, read) }
    }
}
