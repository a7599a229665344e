//! The beginning of a domain, in two calls.
//!
//! *Prepare* deals everything in memory and hands the operators their shares; *commit* forms the
//! Raft group, gives every founder its wrapped share, and commits all records in one txn. So the
//! operators hold their shares before anything exists that needs them, and a founding that breaks
//! off before that txn has founded nothing: a new one takes its place.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use conclave_crypto::{Entropy, SystemEntropy};
use conclave_kms::Caller;
use conclave_pki::NodeName;
use conclave_proto::peer::{FoundRequest, HelloRequest, HelloResponse, StoreShareRequest};
use conclave_proto::record::Member;
use conclave_proto::v1::{InitMember, PrepareInitRequest, PrepareInitResponse};
use conclave_replica::{Decided, PeerNode};
use conclave_seal::operator_share::OperatorSplit;
use conclave_seal::{DomainId, FoundingInput, RaftId, SealKind, found};
use conclave_store::{Revision, TxnBody};
use tonic::Status;
use tracing::{info, warn};

use crate::audited::{Happened, wait_for_time};
use crate::config::is_host_port;
use crate::meta::{invalid, outcome_unknown, precondition, unavailable};
use crate::node::Node;
use crate::peer;
use crate::pending::{Founder, PendingInit};

/// Founders at most; more nodes can be added later.
const FOUNDERS_MAX: usize = 9;
/// A prepared founding is forgotten after this long.
const PREPARED_FOR: Duration = Duration::from_secs(600);
/// How long the founders may take to answer, elect a leader and commit.
const COMMIT_TIMEOUT: Duration = Duration::from_secs(30);

/// Deals in memory and gives the operators their shares.
pub(crate) async fn prepare(
    node: &Arc<Node>,
    caller: &Caller,
    request: &PrepareInitRequest,
) -> Result<PrepareInitResponse, Status> {
    let _changing = node.changing.lock().await;
    check_not_founded(node)?;
    if let Some(reason) = &node.barred {
        return Err(precondition(reason.as_str()));
    }
    let split = OperatorSplit::new(request.threshold, request.shares)
        .map_err(|error| invalid(error.to_string()))?;
    let named = check_members(node, &request.members)?;

    let mut founders = Vec::new();
    let mut members = Vec::new();
    for (raft_id, member) in (1..).zip(named) {
        let hello = greet(node, &member.name, &member.peer).await?;
        if hello.founded {
            return Err(precondition(format!(
                "{} belongs to a domain already; founding works once, on empty nodes",
                member.name
            )));
        }
        founders.push(Founder {
            name: member.name.clone(),
            peer: member.peer.clone(),
            raft_id,
            replaces: hello.domain_id.clone(),
        });
        let seal = SealKind::parse(&hello.seal)
            .ok_or_else(|| precondition(format!("{} has an unknown seal", member.name)))?;
        members.push((member_record(&member.peer, raft_id, hello), seal));
    }

    let mut entropy = SystemEntropy;
    let mut domain_id = [0; 16];
    let mut init_id = [0; 16];
    entropy.fill(&mut domain_id);
    entropy.fill(&mut init_id);
    let input = FoundingInput {
        domain_id: DomainId(domain_id),
        domain_name: request.domain.clone(),
        account: request.account.clone(),
        cluster: node.cluster.to_string(),
        members,
        split,
        now_ms: wall_clock_ms(),
        creator: caller.principal.clone(),
    };
    let founding = found(&input, &mut entropy).map_err(|error| invalid(error.to_string()))?;
    let response = PrepareInitResponse {
        init_id: init_id.to_vec(),
        operator_shares: founding.operator_shares.iter().map(|s| s.expose().to_owned()).collect(),
        audit_verifier_key: founding.verifier_key.clone(),
    };
    let pending = PendingInit {
        init_id,
        prepared: Instant::now(),
        founders,
        founding,
        domain_id,
        creator: caller.principal.clone(),
    };
    *lock_pending(node) = Some(pending);
    // What was dealt must not stay in memory if nobody commits it.
    let node = Arc::downgrade(node);
    tokio::spawn(async move {
        tokio::time::sleep(PREPARED_FOR).await;
        if let Some(node) = node.upgrade() {
            let mut pending = lock_pending(&node);
            pending.take_if(|pending| pending.init_id == init_id);
        }
    });
    Ok(response)
}

/// Forms the group, delivers the shares and commits the domain's first txn.
pub(crate) async fn commit(
    node: &Arc<Node>,
    caller: &Caller,
    init_id: &[u8],
) -> Result<(String, Revision), Status> {
    let _changing = node.changing.lock().await;
    check_not_founded(node)?;
    let pending = lock_pending(node).take_if(|pending| {
        pending.init_id == init_id
            && pending.prepared.elapsed() < PREPARED_FOR
            && pending.creator == caller.principal
    });
    let Some(pending) = pending else {
        return Err(precondition(
            "no such founding is prepared here; run `conclave operator init` again",
        ));
    };
    let domain_id = DomainId(pending.domain_id);

    for founder in &pending.founders {
        let mut client = peer::client(node, &founder.name, &founder.peer, None)?;
        let request = FoundRequest {
            domain_id: domain_id.0.to_vec(),
            raft_id: founder.raft_id,
            replaces: founder.replaces.clone(),
        };
        peer::timed(COMMIT_TIMEOUT, client.found(request))
            .await
            .map_err(|status| at(founder, &status))?;
    }
    for founder in &pending.founders {
        let raft_id = RaftId(founder.raft_id);
        let delivery = pending
            .founding
            .deliveries
            .iter()
            .find(|delivery| delivery.to == raft_id)
            .ok_or_else(|| unavailable("a founder was dealt no share"))?;
        let request: StoreShareRequest = delivery.to_request(&pending.founding.epoch);
        let mut client =
            peer::client(node, &founder.name, &founder.peer, Some((domain_id, raft_id)))?;
        peer::timed(COMMIT_TIMEOUT, client.store_share(request))
            .await
            .map_err(|status| at(founder, &status))?;
    }

    let hosted = node.require_hosted()?;
    let nodes: BTreeMap<u64, PeerNode> = pending
        .founders
        .iter()
        .map(|f| (f.raft_id, PeerNode { name: f.name.clone(), peer: f.peer.clone() }))
        .collect();
    hosted
        .replica
        .initialize(nodes)
        .await
        .map_err(|error| unavailable(format!("the group cannot be formed: {error}")))?;

    let deadline = Instant::now() + COMMIT_TIMEOUT;
    let now_ms = wait_for_time(&hosted, deadline).await?;
    let founders = pending.founders.iter().map(|founder| founder.name.clone()).collect();
    let happened = Happened::by(caller, "Init", founders);
    let entry = happened.entry(&node.name, &node.config.region, now_ms);
    let body = TxnBody {
        guards: pending.founding.guards(),
        writes: pending.founding.writes.clone(),
        ..TxnBody::new(now_ms, pending.founding.keyring.seal_entry(&entry, &mut SystemEntropy))
    };
    match hosted.replica.propose(body, deadline).await {
        Ok(Decided::Committed(revision)) => {
            info!(domain = %hex::encode(domain_id.0), founders = pending.founders.len(), "domain founded");
            Ok((pending.founding.verifier_key.clone(), revision))
        }
        Ok(_) => Err(precondition("another founding came first")),
        Err(error) => {
            warn!(%error, "founding was not committed in time");
            Err(outcome_unknown(format!(
                "{error}; look at `conclave operator status`: if the domain is not initialized, run `conclave operator init` again"
            )))
        }
    }
}

/// What a node says of itself before it belongs to a domain.
pub(crate) async fn greet(
    node: &Arc<Node>,
    name: &str,
    addr: &str,
) -> Result<HelloResponse, Status> {
    let mut client = peer::client(node, name, addr, None)?;
    let hello = peer::timed(Duration::from_secs(5), client.hello(HelloRequest {})).await.map_err(
        |status| unavailable(format!("{name} at {addr} does not answer: {}", status.message())),
    )?;
    if hello.name != name || hello.cluster != node.cluster.as_ref() {
        return Err(precondition(format!("{addr} is {} of cluster {}", hello.name, hello.cluster)));
    }
    if hello.feature_level < conclave_store::FEATURE_LEVEL {
        return Err(precondition(format!("{name} runs an older version; upgrade it first")));
    }
    Ok(hello)
}

/// The public record of a member, from what it said of itself.
pub(crate) fn member_record(peer: &str, raft_id: u64, hello: HelloResponse) -> Member {
    Member {
        raft_id,
        name: hello.name,
        peer: peer.to_owned(),
        api: hello.api,
        region: hello.region,
        zone: hello.zone,
        enrolment_key: hello.enrolment_key,
    }
}

/// Names and addresses that can be nodes', each once.
pub(crate) fn check_nodes(nodes: &[InitMember], max: usize) -> Result<(), Status> {
    if nodes.is_empty() || nodes.len() > max {
        return Err(invalid(format!("name 1 to {max} nodes, as NAME=HOST:PORT")));
    }
    let (mut names, mut addrs) = (BTreeSet::new(), BTreeSet::new());
    for node in nodes {
        if node.name.parse::<NodeName>().is_err() || !is_host_port(&node.peer) {
            return Err(invalid(format!("{}={} is not NAME=HOST:PORT", node.name, node.peer)));
        }
        if !names.insert(&node.name) || !addrs.insert(&node.peer) {
            return Err(invalid(format!("{}={} is given twice", node.name, node.peer)));
        }
    }
    Ok(())
}

fn check_members<'a>(node: &Node, members: &'a [InitMember]) -> Result<&'a [InitMember], Status> {
    check_nodes(members, FOUNDERS_MAX)?;
    if !members.iter().any(|member| member.name == node.name) {
        return Err(invalid(format!(
            "this node, {}, must be among the members: call one of them",
            node.name
        )));
    }
    Ok(members)
}

fn check_not_founded(node: &Node) -> Result<(), Status> {
    if node.hosted().is_some_and(|hosted| hosted.is_founded()) {
        return Err(precondition(
            "this node belongs to a domain already; founding works once, on empty nodes",
        ));
    }
    Ok(())
}

fn at(founder: &Founder, status: &Status) -> Status {
    unavailable(format!("{} at {}: {}", founder.name, founder.peer, status.message()))
}

fn wall_clock_ms() -> u64 {
    let since =
        std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

fn lock_pending(node: &Node) -> std::sync::MutexGuard<'_, Option<PendingInit>> {
    node.pending_init.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}
