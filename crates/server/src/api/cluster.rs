//! The `Cluster` service: a codec over the ceremonies.

use std::sync::Arc;
use std::time::Instant;

use conclave_kms::Caller;
use conclave_proto::v1::cluster_server::Cluster;
use conclave_proto::v1::{
    AddNodesRequest, AddNodesResponse, CommitInitRequest, CommitInitResponse,
    CommitOperatorSharesRequest, DrainNodeRequest, DrainNodeResponse, ExcludeNodeRequest,
    ExcludeNodeResponse, PrepareInitRequest, PrepareInitResponse, PrepareOperatorSharesRequest,
    PrepareOperatorSharesResponse, RecoverRequest, RecoverResponse, RemoveNodeRequest,
    RemoveNodeResponse, RotateDomainKeyRequest, RotateDomainKeyResponse, RotateRootRequest,
    RotateRootResponse, SealRequest, SealResponse, StatusRequest, StatusResponse, UnsealRequest,
    UnsealResponse,
};
use conclave_seal::SealState;
use tonic::{Request, Response, Status};
use zeroize::Zeroize;

use crate::api::kms::run;
use crate::ceremony::{draining, founding, members, operators, rooting, unsealing};
use crate::listener::Connection;
use crate::meta::{CallMeta, put_revision};
use crate::node::Node;
use crate::staircase;
use crate::{status, throttle};

/// Answers the `Cluster` service.
pub(crate) struct ClusterApi(pub(crate) Arc<Node>);

/// Who calls: a client. A node's certificate is good for looking, not for ceremonies.
fn client<T>(request: &Request<T>) -> Result<Caller, Status> {
    let meta = CallMeta::of_any_age(request.metadata())?;
    Ok(staircase::caller(&Connection::of_client(request)?, &meta))
}

#[tonic::async_trait]
impl Cluster for ClusterApi {
    async fn prepare_init(
        &self,
        request: Request<PrepareInitRequest>,
    ) -> Result<Response<PrepareInitResponse>, Status> {
        let caller = client(&request)?;
        founding::prepare(&self.0, &caller, request.get_ref()).await.map(Response::new)
    }

    async fn commit_init(
        &self,
        request: Request<CommitInitRequest>,
    ) -> Result<Response<CommitInitResponse>, Status> {
        let caller = client(&request)?;
        let (node, principal) = (Arc::clone(&self.0), caller.principal.clone());
        let init_id = request.into_inner().init_id;
        let committed = async move { founding::commit(&node, &caller, &init_id).await };
        let (audit_verifier_key, revision) = to_the_end(committed).await?;
        let mut response = Response::new(CommitInitResponse { audit_verifier_key, principal });
        let domain = self.0.require_hosted()?.domain_name();
        put_revision(response.metadata_mut(), &domain, revision);
        Ok(response)
    }

    async fn unseal(
        &self,
        request: Request<UnsealRequest>,
    ) -> Result<Response<UnsealResponse>, Status> {
        let caller = client(&request)?;
        let hosted = self.0.require_hosted()?;
        let shares = zeroize::Zeroizing::new(request.into_inner().operator_shares);
        throttle::limit(&self.0, &self.0.unseals, &caller.principal)?;
        let progress = unsealing::unseal(&hosted, &caller, &shares).await?;
        self.0.unseals.put_back(&caller.principal, Instant::now());
        Ok(Response::new(UnsealResponse {
            state: progress.state.as_str().to_owned(),
            progress: progress.held.into(),
            threshold: progress.threshold.into(),
        }))
    }

    async fn seal(&self, request: Request<SealRequest>) -> Result<Response<SealResponse>, Status> {
        let caller = client(&request)?;
        let hosted = self.0.require_hosted()?;
        let sealed = unsealing::seal(&hosted, &self.0.request_counters, &caller).await;
        if hosted.state() == SealState::Sealed {
            self.0.forget_prepared();
        }
        sealed?;
        Ok(Response::new(SealResponse {}))
    }

    async fn status(
        &self,
        request: Request<StatusRequest>,
    ) -> Result<Response<StatusResponse>, Status> {
        Ok(Response::new(status::gather(&self.0, request.get_ref().local_only).await))
    }

    async fn add_nodes(
        &self,
        request: Request<AddNodesRequest>,
    ) -> Result<Response<AddNodesResponse>, Status> {
        let caller = client(&request)?;
        let (node, hosted) = (Arc::clone(&self.0), self.0.require_hosted()?);
        let _inside = node.admission.enter()?;
        let nodes = request.into_inner().nodes;
        to_the_end(async move { members::add(&node, &hosted, &caller, &nodes).await }).await?;
        let nodes = status::gather(&self.0, false).await.nodes;
        Ok(Response::new(AddNodesResponse { nodes }))
    }

    async fn remove_node(
        &self,
        request: Request<RemoveNodeRequest>,
    ) -> Result<Response<RemoveNodeResponse>, Status> {
        let caller = client(&request)?;
        let (node, hosted) = (Arc::clone(&self.0), self.0.require_hosted()?);
        let _inside = node.admission.enter()?;
        let RemoveNodeRequest { name, compromised } = request.into_inner();
        let removed =
            async move { members::remove(&node, &hosted, &caller, &name, compromised).await };
        to_the_end(removed).await?;
        Ok(Response::new(RemoveNodeResponse {}))
    }

    async fn rotate_root(
        &self,
        request: Request<RotateRootRequest>,
    ) -> Result<Response<RotateRootResponse>, Status> {
        let caller = client(&request)?;
        let (node, hosted) = (Arc::clone(&self.0), self.0.require_hosted()?);
        let _inside = node.admission.enter()?;
        let rotated = async move { rooting::rotate(&node, &hosted, &caller).await };
        to_the_end(rotated).await.map(Response::new)
    }

    async fn prepare_operator_shares(
        &self,
        request: Request<PrepareOperatorSharesRequest>,
    ) -> Result<Response<PrepareOperatorSharesResponse>, Status> {
        let caller = client(&request)?;
        let hosted = self.0.require_hosted()?;
        let _inside = self.0.admission.enter()?;
        throttle::limit(&self.0, &self.0.unseals, &caller.principal)?;
        let mut request = request.into_inner();
        let prepared = operators::prepare(&self.0, &hosted, &caller, &request).await;
        request.operator_shares.zeroize();
        let prepared = prepared?;
        self.0.unseals.put_back(&caller.principal, Instant::now());
        Ok(Response::new(prepared))
    }

    async fn commit_operator_shares(
        &self,
        request: Request<CommitOperatorSharesRequest>,
    ) -> Result<Response<RotateRootResponse>, Status> {
        let caller = client(&request)?;
        let (node, hosted) = (Arc::clone(&self.0), self.0.require_hosted()?);
        let _inside = node.admission.enter()?;
        let id = request.into_inner().id;
        let dealt = async move { operators::commit(&node, &hosted, &caller, &id).await };
        to_the_end(dealt).await.map(Response::new)
    }

    async fn recover(
        &self,
        request: Request<RecoverRequest>,
    ) -> Result<Response<RecoverResponse>, Status> {
        let caller = client(&request)?;
        let hosted = self.0.require_hosted()?;
        throttle::limit(&self.0, &self.0.unseals, &caller.principal)?;
        let shares = zeroize::Zeroizing::new(request.into_inner().operator_shares);
        let recovered = operators::recover(&self.0, &hosted, &caller, &shares).await?;
        self.0.unseals.put_back(&caller.principal, Instant::now());
        Ok(Response::new(recovered))
    }

    async fn exclude_node(
        &self,
        request: Request<ExcludeNodeRequest>,
    ) -> Result<Response<ExcludeNodeResponse>, Status> {
        let caller = client(&request)?;
        let (node, hosted) = (Arc::clone(&self.0), self.0.require_hosted()?);
        let _inside = node.admission.enter()?;
        let name = request.into_inner().name;
        rooting::exclude(&node, &hosted, &caller, &name).await?;
        Ok(Response::new(ExcludeNodeResponse {}))
    }

    async fn drain_node(
        &self,
        request: Request<DrainNodeRequest>,
    ) -> Result<Response<DrainNodeResponse>, Status> {
        let caller = client(&request)?;
        // No request to be let in: a drained node takes the order to serve again.
        let (node, hosted) = (Arc::clone(&self.0), self.0.require_hosted()?);
        let DrainNodeRequest { name, drained } = request.into_inner();
        let done = async move { draining::order(&node, &hosted, &caller, &name, drained).await };
        to_the_end(done).await?;
        Ok(Response::new(DrainNodeResponse {}))
    }

    async fn rotate_domain_key(
        &self,
        request: Request<RotateDomainKeyRequest>,
    ) -> Result<Response<RotateDomainKeyResponse>, Status> {
        run(&self.0, request).await
    }
}

/// What a ceremony comes to. It goes on if the caller hangs up: half of one helps nobody.
async fn to_the_end<T: Send + 'static>(
    ceremony: impl Future<Output = Result<T, Status>> + Send + 'static,
) -> Result<T, Status> {
    tokio::spawn(ceremony).await.unwrap_or_else(|_| {
        Err(Status::internal("the ceremony ended unexpectedly; see the node's log"))
    })
}
