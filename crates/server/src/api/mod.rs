//! What the api listener offers: three gRPC services and the web routes, on one port.

mod audit;
mod cluster;
pub(crate) mod kms;

use std::sync::Arc;

use axum::Router;
use conclave_proto::v1::audit_server::AuditServer;
use conclave_proto::v1::cluster_server::ClusterServer;
use conclave_proto::v1::kms_server::KmsServer;
use tonic::service::Routes;

use crate::node::Node;
use crate::web;

/// Largest request, bytes: the largest field is a description of 8 KiB.
const REQUEST_BYTES_MAX: usize = 64 * 1024;

/// The routes of the api listener.
pub(crate) fn router(node: &Arc<Node>) -> Router {
    let (_, health) = tonic_health::server::health_reporter();
    Routes::new(
        KmsServer::new(kms::KmsApi(Arc::clone(node))).max_decoding_message_size(REQUEST_BYTES_MAX),
    )
    .add_service(
        ClusterServer::new(cluster::ClusterApi(Arc::clone(node)))
            .max_decoding_message_size(REQUEST_BYTES_MAX),
    )
    .add_service(
        AuditServer::new(audit::AuditApi(Arc::clone(node)))
            .max_decoding_message_size(REQUEST_BYTES_MAX),
    )
    .add_service(health)
    .into_axum_router()
    .merge(web::router(Arc::clone(node)))
}
