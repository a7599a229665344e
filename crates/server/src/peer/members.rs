//! The `Members` service: a codec over the ceremonies.

use std::sync::{Arc, Weak};
use std::time::Instant;

use conclave_proto::peer::members_server::Members;
use conclave_proto::peer::{
    AdmitRequest, AdmitResponse, DrainRequest, DrainResponse, FoundRequest, FoundResponse,
    HandOverRequest, HandOverResponse, HelloRequest, HelloResponse, NodeStatusRequest,
    NodeStatusResponse, ReleaseShareRequest, ReleaseShareResponse, ShareChallengeRequest,
    ShareChallengeResponse, StoreShareRequest, StoreShareResponse, VouchRequest, VouchResponse,
};
use conclave_replica::Identity;
use conclave_seal::delivery::open_request;
use tonic::{Request, Response, Status};

use crate::ceremony::draining;
use crate::ceremony::{exchange, storing};
use crate::hosted::Hosted;
use crate::listener::Connection;
use crate::meta::{invalid, precondition, unavailable};
use crate::node::Node;
use crate::{status, throttle};

/// Answers the `Members` service. The node owns the routes this sits in, hence the weak reference.
pub(crate) struct MembersApi(Weak<Node>);

impl MembersApi {
    pub(crate) fn new(node: &Arc<Node>) -> Self {
        Self(Arc::downgrade(node))
    }

    fn node(&self) -> Result<Arc<Node>, Status> {
        self.0.upgrade().ok_or_else(|| unavailable("stopping"))
    }

    /// The domain the call is about, once it is sure that it is meant for this node and comes from
    /// one that may call. Gives the caller's name too.
    fn meant_for_me<T>(
        &self,
        request: &Request<T>,
    ) -> Result<(Arc<Node>, Arc<Hosted>, String), Status> {
        let node = self.node()?;
        let hosted = node.require_hosted()?;
        Identity::new(node.cluster.as_ref(), hosted.domain_id().0)
            .check(hosted.raft_id().0, request.metadata())?;
        let caller = Connection::of(request)?.identity.name().to_owned();
        if !hosted.may_call(&caller) {
            return Err(Status::permission_denied(format!("{caller} is no member of this domain")));
        }
        Ok((node, hosted, caller))
    }
}

#[tonic::async_trait]
impl Members for MembersApi {
    async fn hello(&self, _: Request<HelloRequest>) -> Result<Response<HelloResponse>, Status> {
        let node = self.node()?;
        let hosted = node.hosted();
        Ok(Response::new(HelloResponse {
            name: node.name.clone(),
            cluster: node.cluster.to_string(),
            api: node.config.api.advertise.clone(),
            peer: node.config.peer.advertise.clone(),
            region: node.config.region.clone(),
            zone: node.config.zone.clone(),
            enrolment_key: node.enrolment.public().as_bytes().to_vec(),
            domain_id: hosted.as_ref().map(|h| h.domain_id().0.to_vec()).unwrap_or_default(),
            raft_id: hosted.as_ref().map(|h| h.raft_id().0).unwrap_or_default(),
            founded: hosted.is_some_and(|h| h.is_founded()),
            feature_level: conclave_store::FEATURE_LEVEL,
            seal: node.seal_kind().as_str().to_owned(),
        }))
    }

    async fn found(
        &self,
        request: Request<FoundRequest>,
    ) -> Result<Response<FoundResponse>, Status> {
        let node = self.node()?;
        let request = request.into_inner();
        // It goes on if the caller hangs up: a folder half made is nothing.
        finished(tokio::spawn(async move { found(&node, &request).await }).await)?;
        Ok(Response::new(FoundResponse {}))
    }

    async fn admit(
        &self,
        request: Request<AdmitRequest>,
    ) -> Result<Response<AdmitResponse>, Status> {
        let node = self.node()?;
        let caller = Connection::of(&request)?.identity.name().to_owned();
        let request = request.into_inner();
        finished(tokio::spawn(async move { admit(&node, &caller, &request).await }).await)?;
        Ok(Response::new(AdmitResponse {}))
    }

    async fn store_share(
        &self,
        request: Request<StoreShareRequest>,
    ) -> Result<Response<StoreShareResponse>, Status> {
        let (node, hosted, _) = self.meant_for_me(&request)?;
        let (share, plan) =
            open_request(request.get_ref(), &node.enrolment, hosted.domain_id(), hosted.raft_id())
                .map_err(|error| precondition(error.to_string()))?;
        // On its own, so that it ends even if the caller does not wait for it: a slow HSM wraps for
        // half a minute. The node then says by itself that it has its share.
        let stored =
            tokio::spawn(async move { storing::store(&node, &hosted, share, &plan).await });
        let seal = stored.await.map_err(|_| unavailable("the node is stopping"))??;
        Ok(Response::new(StoreShareResponse { seal: seal.as_str().to_owned() }))
    }

    async fn share_challenge(
        &self,
        request: Request<ShareChallengeRequest>,
    ) -> Result<Response<ShareChallengeResponse>, Status> {
        let (_, hosted, caller) = self.meant_for_me(&request)?;
        exchange::challenge(&hosted, &caller, request.get_ref()).map(Response::new)
    }

    async fn release_share(
        &self,
        request: Request<ReleaseShareRequest>,
    ) -> Result<Response<ReleaseShareResponse>, Status> {
        let (node, hosted, caller) = self.meant_for_me(&request)?;
        // Every refusal is an audit entry, so nobody gets them without end.
        let asker = format!("node/{caller}");
        throttle::limit(&node, &node.unseals, &asker)?;
        let released = exchange::release(&hosted, &caller, request.get_ref()).await?;
        node.unseals.put_back(&asker, Instant::now());
        Ok(Response::new(released))
    }

    async fn node_status(
        &self,
        request: Request<NodeStatusRequest>,
    ) -> Result<Response<NodeStatusResponse>, Status> {
        let (node, hosted, _) = self.meant_for_me(&request)?;
        Ok(Response::new(status::of_this_node(&node, &hosted)))
    }

    async fn vouch(
        &self,
        request: Request<VouchRequest>,
    ) -> Result<Response<VouchResponse>, Status> {
        let (_, hosted, _) = self.meant_for_me(&request)?;
        let is_known = hosted.is_founded() && hosted.knows(&request.get_ref().name);
        Ok(Response::new(VouchResponse { is_known }))
    }

    async fn hand_over(
        &self,
        request: Request<HandOverRequest>,
    ) -> Result<Response<HandOverResponse>, Status> {
        let (_, hosted, _) = self.meant_for_me(&request)?;
        hosted
            .replica
            .transfer_leader(request.get_ref().to)
            .await
            .map_err(|error| unavailable(error.to_string()))?;
        Ok(Response::new(HandOverResponse {}))
    }

    async fn drain(
        &self,
        request: Request<DrainRequest>,
    ) -> Result<Response<DrainResponse>, Status> {
        let (node, hosted, _) = self.meant_for_me(&request)?;
        draining::carry_out(&node, &hosted, request.get_ref().drained).await?;
        Ok(Response::new(DrainResponse {}))
    }
}

/// This node becomes a founder.
async fn found(node: &Arc<Node>, request: &FoundRequest) -> Result<(), Status> {
    let _entering = node.entering.lock().await;
    let domain_id = domain_id(&request.domain_id)?;
    if let Some(hosted) = node.hosted() {
        if hosted.domain_id().0 == domain_id && hosted.raft_id().0 == request.raft_id {
            return Ok(());
        }
        let replaced = hosted.domain_id().0.as_slice() == request.replaces;
        if hosted.is_founded() || !replaced {
            return Err(precondition("this node belongs to another domain"));
        }
        node.leave_unfounded().await.map_err(start_failed)?;
    }
    node.enter(domain_id, request.raft_id).await.map(drop).map_err(start_failed)
}

/// This node becomes a learner.
async fn admit(node: &Arc<Node>, caller: &str, request: &AdmitRequest) -> Result<(), Status> {
    let _entering = node.entering.lock().await;
    let domain_id = domain_id(&request.domain_id)?;
    if let Some(hosted) = node.hosted() {
        if !hosted.knows(caller) {
            return Err(Status::permission_denied(format!("{caller} is no member of this domain")));
        }
        let same = hosted.domain_id().0 == domain_id;
        if same && hosted.raft_id().0 == request.raft_id {
            return Ok(());
        }
        // An admission that broke off before this node became a member gives way to a new one, and
        // so does a membership that ended: a Raft id is never used again.
        let is_member = hosted.members().is_some_and(|members| {
            members.members.iter().any(|member| member.raft_id == hosted.raft_id().0)
                && !members.former.contains(&node.name)
        });
        if !same || is_member {
            return Err(precondition(
                "this node still holds a membership; stop it, empty its data folder, and add it again",
            ));
        }
        node.leave_unfounded().await.map_err(start_failed)?;
    }
    node.enter(domain_id, request.raft_id).await.map(drop).map_err(start_failed)
}

fn finished<T>(result: Result<Result<T, Status>, tokio::task::JoinError>) -> Result<T, Status> {
    result.unwrap_or_else(|_| Err(Status::internal("it ended unexpectedly; see the node's log")))
}

fn domain_id(bytes: &[u8]) -> Result<[u8; 16], Status> {
    bytes.try_into().map_err(|_| invalid("a domain id has 16 bytes"))
}

fn start_failed(error: crate::error::StartError) -> Status {
    tracing::error!(%error, "the domain cannot be taken up");
    unavailable(format!("the domain cannot be taken up here: {error}"))
}
