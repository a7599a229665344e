//! Status: of this node, and of all nodes as far as they answer.

use std::sync::Arc;
use std::time::Duration;

use conclave_proto::peer::{NodeStatusRequest, NodeStatusResponse};
use conclave_proto::record::{Member, PublicKeys};
use conclave_proto::v1::{NodeStatus, StatusResponse};
use conclave_replica::Standing;
use conclave_replica::log::Room;
use conclave_seal::RaftId;
use conclave_seal::keyring::rotation::DomainKeyEpochs;
use conclave_store::Kind;
use futures::future::join_all;

use crate::ceremony::recovering::ALONE;
use crate::hosted::Hosted;
use crate::node::Node;
use crate::peer;
use crate::token::Token;

/// A node that takes longer counts as unreachable.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(1);

/// What this node says of itself to another.
pub(crate) fn of_this_node(node: &Node, hosted: &Hosted) -> NodeStatusResponse {
    let replica = hosted.replica.status();
    let in_force = node.certificates.in_force();
    let state = hosted.state();
    let domain_keys = DomainKeyEpochs::read(&hosted.replica.view()).ok().flatten();
    let detail = match hosted.detail() {
        detail if detail.is_empty() => hosted.seal().waits_for(),
        detail => detail,
    };
    NodeStatusResponse {
        name: hosted.name.clone(),
        raft_id: hosted.raft_id().0,
        state: state.as_str().to_owned(),
        seal: node.seal_kind().as_str().to_owned(),
        applied_index: replica.applied_index,
        audit_size: replica.audit_size,
        audit_head: replica.audit_head.to_vec(),
        leader: replica.leader.unwrap_or_default(),
        term: replica.term,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        detail: match &replica.standing {
            Standing::Proven if replica.log_room != Room::Enough => {
                "its disk is full: the Raft log waits for room".to_owned()
            }
            Standing::Proven if hosted.awaits_members() => ALONE.to_owned(),
            Standing::Proven if hosted.is_open() => String::new(),
            Standing::Proven => detail,
            standing if detail.is_empty() || hosted.is_open() => standing.to_string(),
            standing => format!("{standing}; {detail}"),
        },
        unseal_progress: hosted.seal().operator_shares_held().into(),
        feature_level: conclave_store::FEATURE_LEVEL,
        drained: node.admission.refuses().is_some(),
        certificate_not_after: in_force.material.not_after(),
        authority_not_after: in_force.material.authority_not_after(),
        token: hosted.token.as_ref().map(Token::status).unwrap_or_default(),
        records_to_reseal: domain_keys.and_then(|keys| hosted.resealing.left(keys.current)),
    }
}

/// The whole answer: public values only, so a sealed node gives it too.
pub(crate) async fn gather(node: &Arc<Node>, local_only: bool) -> StatusResponse {
    let mut response = StatusResponse {
        cluster: node.cluster.to_string(),
        answered_by: node.name.clone(),
        ..StatusResponse::default()
    };
    let Some(hosted) = node.hosted() else {
        response.nodes.push(NodeStatus {
            id: node.name.clone(),
            state: "sealed".to_owned(),
            seal: node.seal_kind().as_str().to_owned(),
            api: node.config.api.advertise.clone(),
            peer: node.config.peer.advertise.clone(),
            region: node.config.region.clone(),
            zone: node.config.zone.clone(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            detail: "belongs to no domain yet".to_owned(),
            certificate_not_after: node.certificates.in_force().material.not_after(),
            authority_not_after: node.certificates.in_force().material.authority_not_after(),
            ..NodeStatus::default()
        });
        return response;
    };
    let own = of_this_node(node, &hosted);
    response.domain = hosted.domain_name();
    response.initialized = hosted.is_founded();
    response.feature_level = conclave_store::FEATURE_LEVEL;
    let members = hosted.members().unwrap_or_default().members;
    if let Some(epochs) = hosted.share_epochs() {
        response.share_epoch = epochs.complete.number.0;
        response.share_threshold = epochs.complete.threshold.into();
        if let Some(pending) = epochs.pending {
            response.pending_epoch = pending.number.0;
            response.pending_threshold = pending.threshold.into();
            response.pending_missing = names(&members, pending.missing());
        }
    }
    if let Some(operator) = hosted.operator_key() {
        response.operator_threshold = operator.split.threshold().into();
        response.operator_shares = operator.split.shares().into();
        response.operator_generation = operator.generation.0;
    }
    let domain_keys = DomainKeyEpochs::read(&hosted.replica.view()).ok().flatten();
    if let Some(DomainKeyEpochs { current, older, since_ms }) = domain_keys {
        response.domain_key = current;
        response.domain_key_since_ms = since_ms;
        response.records_to_reseal = older.is_empty().then_some(0);
        response.older_domain_keys = older;
    }
    if let Some(keys) = hosted.public::<PublicKeys>(Kind::PublicKeys) {
        response.audit_verifier_key = keys.audit_verifier;
    }

    let admitted = hosted.admissions().admissions.into_iter().filter_map(|a| a.member);
    let mut known: Vec<(Member, &str)> =
        members.into_iter().map(|member| (member, "voter")).collect();
    known.extend(admitted.map(|member| (member, "admitted")));
    if !known.iter().any(|(member, _)| member.name == node.name) {
        let member = Member {
            raft_id: own.raft_id,
            name: node.name.clone(),
            peer: node.config.peer.advertise.clone(),
            api: node.config.api.advertise.clone(),
            region: node.config.region.clone(),
            zone: node.config.zone.clone(),
            enrolment_key: Vec::new(),
        };
        known.push((member, "learner"));
    }
    if hosted.awaits_members() {
        // The members on record are those of the group that was lost.
        known.retain(|(member, _)| member.name == node.name);
        for (member, role) in &mut known {
            (member.raft_id, *role) = (own.raft_id, "recovered");
        }
    }
    known.retain(|(member, _)| !local_only || member.name == node.name);
    let asking = known.into_iter().map(|(member, role)| {
        let (own, hosted) = (&own, &hosted);
        async move {
            let answer = match member.name == node.name {
                true => Some(own.clone()),
                false => ask(node, hosted, &member).await,
            };
            (member, role, answer)
        }
    });
    let asked = join_all(asking).await;
    let leader = hosted.replica.status().leader;
    for (member, role, answer) in asked {
        if leader == Some(member.raft_id) {
            response.leader = member.name.clone();
            let left = answer.as_ref().and_then(|answer| answer.records_to_reseal);
            response.records_to_reseal = response.records_to_reseal.or(left);
        }
        response.nodes.push(node_status(member, role, answer));
    }
    response
}

/// What members are called, by their Raft ids.
pub(crate) fn names(members: &[Member], ids: impl Iterator<Item = RaftId>) -> Vec<String> {
    let name = |id: RaftId| members.iter().find(|member| member.raft_id == id.0);
    ids.filter_map(name).map(|member| member.name.clone()).collect()
}

async fn ask(node: &Arc<Node>, hosted: &Hosted, member: &Member) -> Option<NodeStatusResponse> {
    let to = Some((hosted.domain_id(), RaftId(member.raft_id)));
    let mut client = peer::client(node, &member.name, &member.peer, to).ok()?;
    peer::timed(ANSWER_TIMEOUT, client.node_status(NodeStatusRequest {})).await.ok()
}

fn node_status(member: Member, role: &str, answer: Option<NodeStatusResponse>) -> NodeStatus {
    let answer = answer.unwrap_or_else(|| NodeStatusResponse {
        state: "unreachable".to_owned(),
        detail: "does not answer".to_owned(),
        raft_id: member.raft_id,
        ..NodeStatusResponse::default()
    });
    NodeStatus {
        id: member.name,
        raft_id: answer.raft_id,
        state: answer.state,
        seal: answer.seal,
        applied_index: answer.applied_index,
        audit_size: answer.audit_size,
        audit_head: hex::encode(answer.audit_head),
        api: member.api,
        peer: member.peer,
        region: member.region,
        zone: member.zone,
        role: role.to_owned(),
        version: answer.version,
        detail: answer.detail,
        unseal_progress: answer.unseal_progress,
        term: answer.term,
        drained: answer.drained,
        certificate_not_after: answer.certificate_not_after,
        authority_not_after: answer.authority_not_after,
        token: answer.token,
    }
}
