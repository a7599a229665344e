//! What the peer listener answers, and to whom.

use std::sync::{Arc, Weak};

use axum::Router;
use conclave_proto::peer::members_server::MembersServer;
use conclave_replica::StillAdmitted;
use tonic::service::{InterceptorLayer, Routes};
use tonic::{Request, Status};

use crate::hosted::Hosted;
use crate::listener::Connection;
use crate::meta::unavailable;
use crate::node::Node;
use crate::peer::members::MembersApi;

/// The peer listener's routes: greetings always, the replica's once there is a domain.
pub(crate) fn router(node: &Arc<Node>, hosted: Option<&Arc<Hosted>>) -> Router {
    let mut routes = Routes::new(MembersServer::new(MembersApi::new(node)));
    if let Some(hosted) = hosted {
        let gate = Arc::downgrade(hosted);
        // The certificate of a node that was removed, or never admitted, is good; its name is not.
        let guarded = InterceptorLayer::new(move |mut request: Request<()>| {
            let who = request
                .extensions()
                .get::<Connection>()
                .ok_or_else(|| Status::unauthenticated("no node certificate"))?;
            let (gate, identity) = (gate.clone(), Arc::clone(&who.identity));
            let check = move || may_call(&gate, identity.name());
            check()?;
            request.extensions_mut().insert(StillAdmitted(Arc::new(check)));
            Ok(request)
        });
        let service =
            tower::ServiceBuilder::new().layer(guarded).service(hosted.replica.services());
        routes = routes.add_service(service);
    }
    routes.into_axum_router()
}

fn may_call(gate: &Weak<Hosted>, name: &str) -> Result<(), Status> {
    let hosted = gate.upgrade().ok_or_else(|| unavailable("stopping"))?;
    if hosted.may_call(name) {
        return Ok(());
    }
    Err(Status::permission_denied(format!("{name} is no member of this domain")))
}
