//! A domain that was taken out of one disk or snapshot becomes its node's alone: a new root key for
//! that node, the members who are gone struck out, what it was made from put down in the audit log.
//!
//! Until then the node is no member of its own domain: its Raft id, which was made with its folder, is
//! in no record, and it holds no share. The operators' shares are the authority for what happens here;
//! who was allowed to change members may be among what was lost.

use std::collections::BTreeMap;
use std::sync::Arc;

use conclave_crypto::SystemEntropy;
use conclave_kms::{AdminAction, Caller};
use conclave_proto::record::{Admissions, Member, Members};
use conclave_seal::EpochNumber;
use conclave_seal::dealing;
use conclave_seal::delivery::open_request;
use conclave_seal::members::recipients_with_seals;
use conclave_store::{Kind, RecordId, Write};
use prost::Message;
use tonic::Status;
use tracing::{info, warn};

use crate::audited::{Happened, commit_once};
use crate::ceremony::dealing::{Order, ground, read};
use crate::ceremony::members::FORMER_MAX;
use crate::ceremony::storing;
use crate::hosted::Hosted;
use crate::meta::{precondition, unavailable};
use crate::node::Node;

/// What such a node says of itself.
pub(crate) const ALONE: &str = "recovered, and not opened yet: `conclave operator recover` with k operator shares \
     opens it and makes it the only member";

/// Deals a new root key to this node alone and makes it the only member. This node is open.
pub(crate) async fn deal_alone(
    node: &Arc<Node>,
    hosted: &Arc<Hosted>,
    caller: &Caller,
) -> Result<EpochNumber, Status> {
    let _changing = node.changing.lock().await;
    let order = Order { node, hosted, caller, action: AdminAction::RotateRoot };
    let (before, members_read) = order.members_as_read()?;
    let (ground, mut guards) = ground(hosted)?;
    guards.insert(RecordId::singleton(Kind::Members), members_read);

    let (counter, counted) = read(&hosted.replica.view(), Kind::ShareCounter)?;
    let (number, reserve) = dealing::reserve(&counter, &ground.epochs)
        .map_err(|error| unavailable(error.to_string()))?;
    let mut reserving = guards.clone();
    reserving.insert(RecordId::singleton(Kind::ShareCounter), counted);
    let parameters = vec![("step", "deal".to_owned()), ("epoch", number.to_string())];
    let happened = happened(hosted, caller, parameters);
    commit_once(hosted, &happened, &[reserve], reserving).await?;

    let member = Member {
        raft_id: hosted.raft_id().0,
        name: node.name.clone(),
        peer: node.config.peer.advertise.clone(),
        api: node.config.api.advertise.clone(),
        region: node.config.region.clone(),
        zone: node.config.zone.clone(),
        enrolment_key: node.enrolment.public().as_bytes().to_vec(),
    };
    let recipients = recipients_with_seals(&[(member.clone(), node.seal_kind())])
        .map_err(|error| precondition(error.to_string()))?;
    let dealt = hosted.with_keyring(|keyring| {
        let keyring = keyring.ok_or_else(|| unavailable("this node was sealed meanwhile"))?;
        dealing::plan(keyring, &ground, number, &recipients, None, &mut SystemEntropy)
            .map_err(|error| precondition(error.to_string()))
    })?;
    let mut acknowledged = BTreeMap::new();
    for delivery in &dealt.deliveries {
        let request = delivery.to_request(&dealt.epoch);
        let (domain, me) = (hosted.domain_id(), hosted.raft_id());
        let (share, plan) = open_request(&request, &node.enrolment, domain, me)
            .map_err(|error| unavailable(error.to_string()))?;
        acknowledged.insert(delivery.to, storing::store(node, hosted, share, &plan).await?);
    }
    let mut writes =
        dealt.writes(&acknowledged, true).map_err(|error| unavailable(error.to_string()))?;
    let mut put = |kind, blob| writes.push(Write::put(RecordId::singleton(kind), blob));
    put(Kind::Members, alone(before, member).encode_to_vec());
    put(Kind::Admissions, Admissions::default().encode_to_vec());
    let happened = self::happened(hosted, caller, origin(hosted, number));
    let revision = commit_once(hosted, &happened, &writes, guards).await?;
    warn!(epoch = %number, "this node is the only member now, under a new root key");
    order.adopt(&dealt, revision.log_index.0).await;
    info!("grow the domain again with `conclave node add`");
    Ok(number)
}

/// The members after it: this one, and the names of all others among the former ones.
fn alone(before: Members, member: Member) -> Members {
    let mut former = before.former;
    former.extend(before.members.into_iter().map(|member| member.name));
    former.retain(|name| *name != member.name);
    let surplus = former.len().saturating_sub(FORMER_MAX);
    former.drain(..surplus);
    Members { members: vec![member], former }
}

/// What the folder was made from, for the audit log.
fn origin(hosted: &Hosted, number: EpochNumber) -> Vec<(&'static str, String)> {
    let mut parameters = vec![("step", "commit".to_owned()), ("epoch", number.to_string())];
    if let Some(from) = &hosted.folder.recovered {
        parameters.extend([
            ("sourceRaftId", from.source_raft_id.to_string()),
            ("sourceIndex", from.last_index.to_string()),
            ("sourceTerm", from.last_term.to_string()),
            ("sourceCommittedIndex", from.committed_index.to_string()),
            ("sourceTimeMs", from.time_ms.to_string()),
            ("sourceAuditSize", from.audit_size.to_string()),
            ("sourceAuditHead", hex::encode(&from.audit_head)),
            ("madeMs", from.made_ms.to_string()),
        ]);
    }
    parameters
}

fn happened(hosted: &Hosted, caller: &Caller, parameters: Vec<(&'static str, String)>) -> Happened {
    Happened { parameters, ..Happened::by(caller, "RecoverDomain", vec![hosted.name.clone()]) }
}
