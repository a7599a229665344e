//! Calling another node: the channel to it, whom a call is meant for, and how long it may take.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use conclave_proto::peer::members_client::MembersClient;
use conclave_replica::{Addressed, Identity};
use conclave_seal::{DomainId, RaftId};
use tonic::service::Interceptor;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::Channel;
use tonic::{Request, Status};

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
