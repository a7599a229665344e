//! What nodes say to each other beside Raft: greetings, founding, admission, shares, status.
//!
//! Every caller is a node of this cluster, by its certificate; one that was removed is refused.
//! Calls about a domain carry cluster, domain and the target's Raft id, and any other node refuses
//! them.

mod members;

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use conclave_proto::peer::members_client::MembersClient;
use conclave_proto::peer::members_server::MembersServer;
use conclave_replica::{Addressed, Identity};
use conclave_seal::{DomainId, RaftId};
use tonic::service::interceptor::InterceptedService;
use tonic::service::{Interceptor, InterceptorLayer, Routes};
use tonic::transport::Channel;
use tonic::{Request, Status};

use crate::hosted::Hosted;
use crate::listener::Connection;
use crate::meta::unavailable;
use crate::node::Node;

pub(crate) type Client = MembersClient<InterceptedService<Channel, Target>>;

/// Whom a call is meant for, if its target has a domain yet.
#[derive(Clone)]
pub(crate) struct Target(Option<Addressed>);

impl Interceptor for Target {
    fn call(&mut self, request: Request<()>) -> Result<Request<()>, Status> {
        match &mut self.0 {
            Some(addressed) => addressed.call(request),
            None => Ok(request),
        }
    }
}

/// A client of another node's `Members` service. `target`: the domain and the Raft id it is meant
/// for; none before it has any.
pub(crate) fn client(
    node: &Arc<Node>,
    name: &str,
    addr: &str,
    target: Option<(DomainId, RaftId)>,
) -> Result<Client, Status> {
    let channel = node
        .dialer
        .channel(name, addr)
        .map_err(|error| unavailable(format!("{name} at {addr} cannot be dialled: {error}")))?;
    let addressed = match target {
        Some((domain, raft_id)) => {
            Some(Identity::new(node.cluster.as_ref(), domain.0).addressed_to(raft_id.0)?)
        }
        None => None,
    };
    Ok(MembersClient::with_interceptor(channel, Target(addressed)))
}

/// A call that is given up after `limit`.
pub(crate) async fn timed<T>(
    limit: Duration,
    call: impl Future<Output = Result<tonic::Response<T>, Status>>,
) -> Result<T, Status> {
    match tokio::time::timeout(limit, call).await {
        Ok(answered) => answered.map(tonic::Response::into_inner),
        Err(_) => Err(unavailable(format!("no answer within {} s", limit.as_secs()))),
    }
}

/// The peer listener's routes: greetings always, the replica's once there is a domain.
pub(crate) fn router(node: &Arc<Node>, hosted: Option<&Arc<Hosted>>) -> Router {
    let mut routes = Routes::new(MembersServer::new(members::MembersApi::new(node)));
    if let Some(hosted) = hosted {
        let gate = Arc::downgrade(hosted);
        // The certificate of a node that was removed, or never admitted, is good; its name is not.
        let guarded = InterceptorLayer::new(move |request: Request<()>| {
            let hosted = gate.upgrade().ok_or_else(|| unavailable("stopping"))?;
            let who = request
                .extensions()
                .get::<Connection>()
                .ok_or_else(|| Status::unauthenticated("no node certificate"))?;
            if hosted.may_call(who.identity.name()) {
                Ok(request)
            } else {
                Err(Status::permission_denied(format!(
                    "{} is no member of this domain",
                    who.identity.name()
                )))
            }
        });
        let service =
            tower::ServiceBuilder::new().layer(guarded).service(hosted.replica.services());
        routes = routes.add_service(service);
    }
    routes.into_axum_router()
}
