//! `/healthz`, `/readyz` and `/metrics`: on the api port, behind the same mutual TLS as everything
//! there, and on the probe listener if there is one.
//!
//! `/healthz`: the process answers. `/readyz`: 200 if this node is open and knows a leader, else
//! 503, with the reason for those who hold a certificate. `/metrics`: Prometheus text.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use conclave_seal::keyring::rotation::DomainKeyEpochs;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::{Registry, Unit};

use crate::certificates::Certificates;
use crate::counters::ListenerCounters;
use crate::hosted::Hosted;
use crate::node::Node;

pub(crate) fn router(node: Arc<Node>) -> Router {
    Router::new()
        .route("/healthz", get(healthy))
        .route("/readyz", get(ready))
        .route("/metrics", get(metrics))
        .with_state(node)
}

/// What the probe listener answers, to anyone.
pub(crate) fn probe_router(node: Arc<Node>, with_metrics: bool) -> Router {
    let router = Router::new()
        .route("/healthz", get(healthy))
        .route("/health", get(healthy))
        .route("/readyz", get(bare_ready))
        .route("/ready", get(bare_ready));
    let router = if with_metrics { router.route("/metrics", get(metrics)) } else { router };
    router.with_state(node)
}

async fn healthy() -> &'static str {
    "ok\n"
}

/// Why a node is not ready names other nodes and operators' progress: not for anyone.
async fn bare_ready(State(node): State<Arc<Node>>) -> (StatusCode, &'static str) {
    match node.not_ready() {
        None => (StatusCode::OK, "ready\n"),
        Some(_) => (StatusCode::SERVICE_UNAVAILABLE, "not ready\n"),
    }
}

async fn ready(State(node): State<Arc<Node>>) -> (StatusCode, String) {
    match node.not_ready() {
        None => (StatusCode::OK, "ready\n".to_owned()),
        Some(reason) => (StatusCode::SERVICE_UNAVAILABLE, format!("{reason}\n")),
    }
}

async fn metrics(State(node): State<Arc<Node>>) -> impl IntoResponse {
    let mut text = String::new();
    match encode(&mut text, &registry(&node)) {
        Ok(()) => (
            StatusCode::OK,
            [(header::CONTENT_TYPE, "application/openmetrics-text; version=1.0.0; charset=utf-8")],
            text,
        ),
        Err(_) => (
            StatusCode::INTERNAL_SERVER_ERROR,
            [(header::CONTENT_TYPE, "text/plain; charset=utf-8")],
            "metrics cannot be written\n".to_owned(),
        ),
    }
}

/// Read at each scrape, so that nothing has to be kept up to date in between.
fn registry(node: &Node) -> Registry {
    let mut registry = Registry::with_prefix("conclave");
    listener(&mut registry, "api", &node.api_counters);
    listener(&mut registry, "peer", &node.peer_counters);
    let requests = &node.request_counters;
    for (name, help, value) in [
        ("operations_committed", "Operations whose audit entry was committed", &requests.committed),
        (
            "operations_refused",
            "Operations that were denied or refused, and audited",
            &requests.refused,
        ),
        (
            "operations_conflicted",
            "Decisions taken again because a guard failed",
            &requests.conflicts,
        ),
        ("operations_unavailable", "Requests turned away before they began", &requests.unavailable),
        ("operations_throttled", "Requests over their principal's rate", &requests.throttled),
        (
            "operations_outcome_unknown",
            "Requests whose outcome was not known in time",
            &requests.outcome_unknown,
        ),
    ] {
        counter(&mut registry, name, help, value.load(Ordering::Relaxed));
    }
    certificates(&mut registry, &node.certificates);
    memory(&mut registry);
    if let Some(hosted) = node.hosted() {
        for (name, value) in hosted.replica.counters().each() {
            counter(&mut registry, &format!("replica_{name}"), "Counted by the replica", value);
        }
        let status = hosted.replica.status();
        let whole = Unit::Other("entries".to_owned());
        let number = |value: u64| i64::try_from(value).unwrap_or(i64::MAX);
        gauge(
            &mut registry,
            "raft_term",
            "Raft term",
            number(status.term),
            Unit::Other("terms".to_owned()),
        );
        gauge(
            &mut registry,
            "raft_applied",
            "Last applied log entry",
            number(status.applied_index),
            whole.clone(),
        );
        gauge(
            &mut registry,
            "raft_last",
            "Last log entry",
            number(status.last_log_index.unwrap_or_default()),
            whole.clone(),
        );
        gauge(
            &mut registry,
            "audit_size",
            "Entries in the audit log",
            number(status.audit_size),
            whole,
        );
        let flag = Unit::Other("bool".to_owned());
        gauge(
            &mut registry,
            "open",
            "1 if this node is open",
            i64::from(hosted.is_open()),
            flag.clone(),
        );
        gauge(
            &mut registry,
            "leader",
            "1 if this node leads",
            i64::from(status.leader == Some(status.raft_id)),
            flag,
        );
        domain_keys(&mut registry, &hosted);
    }
    registry
}

/// Of the leader alone how many records are left: it counts them.
fn domain_keys(registry: &mut Registry, hosted: &Hosted) {
    let epochs = DomainKeyEpochs::read(&hosted.replica.view()).ok().flatten();
    let Some(epochs) = epochs else { return };
    let keys = Unit::Other("keys".to_owned());
    let older = i64::try_from(epochs.older.len()).unwrap_or(i64::MAX);
    gauge(registry, "domain_key", "The domain key in use", epochs.current.into(), keys.clone());
    gauge(registry, "domain_keys_older", "Older domain keys that are not retired", older, keys);
    if let Some(left) = hosted.resealing.left(epochs.current) {
        let left = i64::try_from(left).unwrap_or(i64::MAX);
        let (help, unit) = ("Records under older domain keys", Unit::Other("records".to_owned()));
        gauge(registry, "records_to_reseal", help, left, unit);
    }
}

/// Secrets on the heap are those that no more memory could be locked for.
fn memory(registry: &mut Registry) {
    let usage = conclave_memory::usage();
    for (name, help, value, unit) in [
        ("secret_memory", "Memory locked for secrets", usage.mapped, "bytes"),
        ("secrets", "Secrets in memory", usage.secrets, "values"),
        ("secrets_unlocked", "Secrets in memory that is not locked", usage.on_heap, "values"),
    ] {
        let unit = Unit::Other(unit.to_owned());
        gauge(registry, name, help, i64::try_from(value).unwrap_or(i64::MAX), unit);
    }
}

fn certificates(registry: &mut Registry, certificates: &Certificates) {
    let in_force = certificates.in_force();
    let material = &in_force.material;
    for (name, help, value) in [
        ("certificate_expiry", "When this node's certificate ends", material.not_after()),
        (
            "authority_expiry",
            "When the authority that this node's certificate rests on ends",
            material.authority_not_after(),
        ),
    ] {
        gauge(registry, name, help, value, Unit::Seconds);
    }
    gauge(
        registry,
        "authorities",
        "Authorities trusted",
        i64::try_from(material.authorities()).unwrap_or(i64::MAX),
        Unit::Other("certificates".to_owned()),
    );
    let (taken, refused) = (certificates.replaced(), certificates.refused());
    counter(registry, "tls_files_replaced", "TLS files taken while running", taken);
    counter(registry, "tls_files_refused", "TLS files refused while running", refused);
}

fn listener(registry: &mut Registry, name: &str, counters: &ListenerCounters) {
    for (what, help, value) in [
        ("connections_accepted", "Connections accepted", &counters.accepted),
        (
            "connections_turned_away",
            "Connections closed at once, over a quota",
            &counters.turned_away,
        ),
        ("connections_cut", "Connections closed because they made this end wait", &counters.cut),
        (
            "connections_outlived",
            "Connections closed because their certificate is not good any more",
            &counters.outlived,
        ),
        ("handshake_failures", "TLS handshakes that failed", &counters.handshake_failures),
        ("requests_read", "Requests read", &counters.requests_read),
    ] {
        counter(registry, &format!("{name}_{what}"), help, value.load(Ordering::Relaxed));
    }
    let open = i64::try_from(counters.open.load(Ordering::Relaxed)).unwrap_or(i64::MAX);
    let unit = Unit::Other("connections".to_owned());
    gauge(registry, &format!("{name}_open"), "Connections that have been let in", open, unit);
}

fn counter(registry: &mut Registry, name: &str, help: &str, value: u64) {
    registry.register(name, help, ConstCounter::new(value));
}

fn gauge(registry: &mut Registry, name: &str, help: &str, value: i64, unit: Unit) {
    registry.register_with_unit(name, help, unit, ConstGauge::new(value));
}
