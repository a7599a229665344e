//! Nodes coming in and going out, with the root key dealt anew each time.
//!
//! In: admitted by a txn, whose index becomes its Raft id → starts as learner, catches up with log
//! and audit segments → every member stores its share of the new epoch → the members record
//! changes in Raft's own log entry. Out: leadership moved if it leads → shares → record. Whatever
//! breaks off before that last entry has changed nothing but an admission and an epoch number.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use conclave_crypto::{Entropy, SystemEntropy};
use conclave_kms::{Admin, AdminAction, Caller, Request};
use conclave_proto::peer::{AdmitRequest, HandOverRequest, HelloResponse, NodeStatusRequest};
use conclave_proto::record::{Admission, Admissions, Member, Members};
use conclave_proto::v1::InitMember;
use conclave_replica::PeerNode;
use conclave_seal::{RaftId, ShareEpoch, dealing};
use conclave_store::{GuardDigest, Kind, RecordId, Revision, View, member_change};
use prost::Message;
use tonic::Status;
use tracing::info;

use crate::audited::Happened;
use crate::ceremony::founding::{check_nodes, greet, member_record};
use crate::hosted::Hosted;
use crate::meta::{invalid, precondition, unavailable};
use crate::node::Node;
use crate::peer;
use crate::staircase::perform;

/// Nodes added in one change.
const ADDED_MAX: usize = 8;
/// Names of removed nodes remembered; the oldest fall out.
const FORMER_MAX: usize = 1_024;
/// How long learners may take to catch up, segments included.
const CATCH_UP_TIMEOUT: Duration = Duration::from_secs(600);
/// What a removed node says of itself.
pub(crate) const REMOVED: &str = "removed from its domain; stop it and empty its data folder";
/// How long one step of the change may take.
const STEP_TIMEOUT: Duration = Duration::from_secs(30);

/// Admits nodes, waits until they have caught up, and makes them voters in one change.
pub(crate) async fn add(
    node: &Arc<Node>,
    hosted: &Arc<Hosted>,
    caller: &Caller,
    wanted: &[InitMember],
) -> Result<(), Status> {
    check_nodes(wanted, ADDED_MAX)?;
    let _changing = node.changing.lock().await;
    let change = Change { node, hosted, caller, action: AdminAction::AddNodes };
    // Authorised and audited before anything is told or anybody is dialled.
    let names: Vec<&str> = wanted.iter().map(|new| new.name.as_str()).collect();
    change
        .record(BTreeMap::new(), Vec::new(), vec![("step".into(), "begin".into())], &names)
        .await?;
    let current = change.members()?;
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
    // Before anything is written: what cannot be finished is not begun.
    change.check_all_open(&current.members).await?;
    let mut joiners = Vec::new();
    for (new, hello) in wanted.iter().zip(hellos) {
        let raft_id = match change.admitted_before(&current, new, &hello) {
            Some(raft_id) => {
                let parameters = vec![("step".to_owned(), "resume".to_owned())];
                change.record(BTreeMap::new(), Vec::new(), parameters, &[&new.name]).await?;
                raft_id
            }
            None => {
                let revision = change.admit(member_record(&new.peer, 0, hello.clone())).await?;
                revision.log_index.0
            }
        };
        let mut client = peer::client(node, &new.name, &new.peer, None)?;
        let request = AdmitRequest { domain_id: hosted.domain_id().0.to_vec(), raft_id };
        peer::timed(STEP_TIMEOUT, client.admit(request)).await.map_err(|status| {
            precondition(format!(
                "{} does not let itself be admitted: {}",
                new.name,
                status.message()
            ))
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
    let (mut next, read) = change.members_as_read()?;
    next.former.retain(|name| !joiners.iter().any(|joiner| joiner.name == *name));
    next.members.extend(joiners);
    change.make(next, read).await
}

/// Moves leadership away from a member if it leads, and takes it out.
pub(crate) async fn remove(
    node: &Arc<Node>,
    hosted: &Arc<Hosted>,
    caller: &Caller,
    name: &str,
) -> Result<(), Status> {
    let _changing = node.changing.lock().await;
    let change = Change { node, hosted, caller, action: AdminAction::RemoveNode };
    // Authorised and audited before anything is told or moves.
    change
        .record(BTreeMap::new(), Vec::new(), vec![("step".into(), "begin".into())], &[name])
        .await?;
    let (mut next, read) = change.members_as_read()?;
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
    change.move_leadership_from(&leaving, &next.members).await?;
    change.make(next, read).await?;
    if leaving.raft_id == hosted.raft_id().0 {
        // The log entry may never reach this node: nobody sends it any more.
        hosted.wipe();
        hosted.set_detail(REMOVED);
    }
    Ok(())
}

struct Change<'a> {
    node: &'a Arc<Node>,
    hosted: &'a Arc<Hosted>,
    caller: &'a Caller,
    action: AdminAction,
}

impl Change<'_> {
    fn members(&self) -> Result<Members, Status> {
        self.hosted.members().ok_or_else(|| unavailable("no members known here yet"))
    }

    /// The members, and what a guard on exactly this reading of them holds.
    fn members_as_read(&self) -> Result<(Members, Option<GuardDigest>), Status> {
        let (blob, guard) = self.read(Kind::Members)?;
        let members = Members::decode(blob.as_ref())
            .map_err(|_| unavailable("the members record cannot be read here"))?;
        Ok((members, guard))
    }

    /// A public record and its guard, from one reading.
    fn read(&self, kind: Kind) -> Result<(Arc<[u8]>, Option<GuardDigest>), Status> {
        let id = RecordId::singleton(kind);
        let view = self.hosted.replica.view();
        let blob = view.blob(&id).ok().flatten();
        blob.map(|blob| (blob, view.guard(&id)))
            .ok_or_else(|| unavailable("the domain's records are not known here yet"))
    }

    fn guard(&self, kind: Kind) -> (RecordId, Option<GuardDigest>) {
        let id = RecordId::singleton(kind);
        (id, self.hosted.replica.view().guard(&id))
    }

    /// Commits one step: authorised as the operator's, audited, with its writes.
    async fn record(
        &self,
        guards: BTreeMap<RecordId, Option<GuardDigest>>,
        writes: Vec<(RecordId, Option<Vec<u8>>)>,
        parameters: Vec<(String, String)>,
        resources: &[&str],
    ) -> Result<Revision, Status> {
        let request = Request::Admin(Admin {
            action: self.action,
            resources: resources.iter().map(|&name| name.to_owned()).collect(),
            parameters,
            guards,
            writes,
        });
        let counters = &self.node.request_counters;
        let performed =
            perform(self.hosted, counters, self.caller, Duration::ZERO, &request).await?;
        performed.into_response(&self.hosted.domain_name()).map(|(_, revision)| revision)
    }

    /// One txn an admission: each changes the same record, so no two share a log index.
    async fn admit(&self, member: Member) -> Result<Revision, Status> {
        let guards = BTreeMap::from([self.guard(Kind::Members), self.guard(Kind::Admissions)]);
        let mut admissions: Admissions = self.hosted.admissions();
        admissions.admissions.retain(|admission| {
            admission.member.as_ref().is_some_and(|admitted| admitted.name != member.name)
        });
        let mut nonce = vec![0; 16];
        SystemEntropy.fill(&mut nonce);
        let name = member.name.clone();
        let fingerprint = hex::encode(&member.enrolment_key);
        admissions.admissions.push(Admission { member: Some(member), nonce });
        let write = (RecordId::singleton(Kind::Admissions), Some(admissions.encode_to_vec()));
        let parameters =
            vec![("step".to_owned(), "admit".to_owned()), ("enrolmentKey".to_owned(), fingerprint)];
        self.record(guards, vec![write], parameters, &[&name]).await
    }

    /// The Raft id under which this node was admitted, if that was begun and broke off before it
    /// became a member: it goes on where it stands. A member's Raft id ends with its membership.
    fn admitted_before(
        &self,
        current: &Members,
        new: &InitMember,
        hello: &HelloResponse,
    ) -> Option<u64> {
        let admissions = self.hosted.admissions().admissions;
        let admitted =
            admissions.into_iter().filter_map(|admission| admission.member).any(|member| {
                member.name == new.name
                    && member.peer == new.peer
                    && member.enrolment_key == hello.enrolment_key
            });
        let was_member = current.former.contains(&new.name)
            || current.members.iter().any(|member| member.raft_id == hello.raft_id);
        (admitted && !was_member && hello.raft_id != 0).then_some(hello.raft_id)
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

    /// Deals the root to the next members, has every one store its share, and commits the change.
    ///
    /// `members_read`: the members record that `next` was worked out from. Another change in between
    /// makes this one conflict.
    async fn make(&self, next: Members, members_read: Option<GuardDigest>) -> Result<(), Status> {
        let hosted = self.hosted;
        self.check_all_open(&next.members).await?;
        let names: Vec<&str> = next.members.iter().map(|member| member.name.as_str()).collect();
        let (epoch, base) = self.read(Kind::ShareEpoch)?;
        let current = ShareEpoch::parse(&epoch).map_err(|error| unavailable(error.to_string()))?;
        let (counter, counted) = self.read(Kind::ShareCounter)?;
        let (number, reserve) =
            dealing::reserve(&counter, &current).map_err(|error| unavailable(error.to_string()))?;
        let guards = BTreeMap::from([
            (RecordId::singleton(Kind::ShareEpoch), base),
            (RecordId::singleton(Kind::ShareCounter), counted),
            (RecordId::singleton(Kind::Members), members_read),
        ]);
        let parameters =
            vec![("step".to_owned(), "deal".to_owned()), ("epoch".to_owned(), number.to_string())];
        self.record(guards, vec![reserve], parameters, &names).await?;

        let plan = hosted.with_keyring(|keyring| {
            let keyring = keyring.ok_or_else(|| unavailable("this node was sealed meanwhile"))?;
            dealing::plan(keyring, &current, number, &next, &mut SystemEntropy)
                .map_err(|error| precondition(error.to_string()))
        })?;
        for delivery in &plan.deliveries {
            let member = next
                .members
                .iter()
                .find(|member| member.raft_id == delivery.to.0)
                .ok_or_else(|| unavailable("a share was dealt to nobody"))?;
            let to = Some((hosted.domain_id(), RaftId(member.raft_id)));
            let mut client = peer::client(self.node, &member.name, &member.peer, to)?;
            peer::timed(STEP_TIMEOUT, client.store_share(delivery.to_request(&plan.epoch)))
                .await
                .map_err(|status| {
                unavailable(format!(
                    "{} did not store its share: {}",
                    member.name,
                    status.message()
                ))
            })?;
        }

        let now_ms = hosted
            .replica
            .now_ms()
            .ok_or_else(|| unavailable("cluster time is not known yet; retry"))?;
        let happened = Happened {
            principal: self.caller.principal.clone(),
            certificate_serial: self.caller.certificate_serial.clone(),
            source_address: self.caller.source_address.clone(),
            request_id: self.caller.request_id.as_str().to_owned(),
            action: "ChangeMembers",
            resources: names.iter().map(|&name| name.to_owned()).collect(),
            parameters: vec![
                ("epoch", number.to_string()),
                ("threshold", plan.epoch.threshold.to_string()),
            ],
            refused: String::new(),
        };
        let mut admissions = hosted.admissions();
        admissions.admissions.retain(|admission| {
            admission.member.as_ref().is_some_and(|member| !names.contains(&member.name.as_str()))
        });
        let writes = vec![
            (RecordId::singleton(Kind::Members), Some(next.encode_to_vec())),
            (RecordId::singleton(Kind::ShareEpoch), Some(plan.epoch.encode())),
            (RecordId::singleton(Kind::Admissions), Some(admissions.encode_to_vec())),
        ];
        let change = member_change(writes, happened.seal(hosted, now_ms)?)
            .map_err(|error| invalid(error.to_string()))?;
        let voters: Vec<u64> = next.members.iter().map(|member| member.raft_id).collect();
        let base = base.ok_or_else(|| unavailable("no share epoch known here yet"))?;
        hosted
            .replica
            .change_members(&voters, change, base, Instant::now() + STEP_TIMEOUT)
            .await
            .map_err(|error| unavailable(format!("the members did not change: {error}")))?;
        info!(epoch = %number, members = ?names, "members changed");
        Ok(())
    }

    /// Every remaining voter must be open: the same root is dealt, and its old shares go.
    async fn check_all_open(&self, next: &[Member]) -> Result<(), Status> {
        let current = self.members()?;
        for member in
            next.iter().filter(|next| current.members.iter().any(|m| m.raft_id == next.raft_id))
        {
            let to = Some((self.hosted.domain_id(), RaftId(member.raft_id)));
            let mut client = peer::client(self.node, &member.name, &member.peer, to)?;
            let status = peer::timed(
                Duration::from_secs(5),
                client.node_status(NodeStatusRequest {}),
            )
            .await
            .map_err(|status| {
                precondition(format!(
                    "{} does not answer ({}); members change only while all that stay are open",
                    member.name,
                    status.message()
                ))
            })?;
            if status.state != "open" {
                return Err(precondition(format!(
                    "{} is {}; unseal it first: members change only while all that stay are open",
                    member.name, status.state
                )));
            }
        }
        Ok(())
    }
}
