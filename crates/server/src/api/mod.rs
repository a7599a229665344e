//! What the api listener offers: three gRPC services, the AWS KMS protocol and the web routes, on one
//! port.

pub(crate) mod audit;
mod aws;
mod cluster;
pub(crate) mod kms;

use std::sync::{Arc, Weak};
use std::time::Duration;

use axum::Router;
use conclave_proto::v1::audit_server::AuditServer;
use conclave_proto::v1::cluster_server::ClusterServer;
use conclave_proto::v1::kms_server::KmsServer;
use tonic::service::{InterceptorLayer, Routes};
use tonic_health::server::HealthReporter;
use tower::Layer;

use crate::node::Node;
use crate::{throttle, web};

/// Largest request, bytes: the largest field is a description of 8 KiB.
pub(crate) const REQUEST_BYTES_MAX: usize = 64 * 1024;

/// Between looks at whether the node serves.
const HEALTH_EVERY: Duration = Duration::from_millis(500);

/// gRPC health: the whole ("") serves while the process answers, `conclave.v1.Kms` while it is open
/// and knows a leader, as `/readyz` says.
async fn report_health(node: Weak<Node>, reporter: HealthReporter) {
    while let Some(node) = node.upgrade() {
        match node.not_ready() {
            None => reporter.set_serving::<KmsServer<kms::KmsApi>>().await,
            Some(_) => reporter.set_not_serving::<KmsServer<kms::KmsApi>>().await,
        }
        drop(node);
        tokio::time::sleep(HEALTH_EVERY).await;
    }
}

/// The routes of the api listener.
pub(crate) fn router(node: &Arc<Node>) -> Router {
    let (reporter, health) = tonic_health::server::health_reporter();
    tokio::spawn(report_health(Arc::downgrade(node), reporter));
    let gate = InterceptorLayer::new(throttle::gate(node));
    let kms = KmsServer::new(kms::KmsApi(Arc::clone(node)));
    let cluster = ClusterServer::new(cluster::ClusterApi(Arc::clone(node)));
    let audit = AuditServer::new(audit::AuditApi(Arc::clone(node)));
    Routes::new(gate.layer(kms.max_decoding_message_size(REQUEST_BYTES_MAX)))
        .add_service(gate.layer(cluster.max_decoding_message_size(REQUEST_BYTES_MAX)))
        .add_service(gate.layer(audit.max_decoding_message_size(REQUEST_BYTES_MAX)))
        .add_service(health)
        .into_axum_router()
        .merge(aws::router(Arc::clone(node)))
        .merge(web::router(Arc::clone(node)))
}
