//! `/healthz`, `/readyz` and `/metrics`, behind the same mutual TLS as everything on the port.
//!
//! `/healthz`: the process answers. `/readyz`: 200 if this node is open and knows a leader, else
//! 503 with the reason. `/metrics`: Prometheus text.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::{Registry, Unit};

use crate::counters::ListenerCounters;
use crate::node::Node;

pub(crate) fn router(node: Arc<Node>) -> Router {
    Router::new()
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(ready))
        .route("/metrics", get(metrics))
        .with_state(node)
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
        (
            "operations_outcome_unknown",
            "Requests whose outcome was not known in time",
            &requests.outcome_unknown,
        ),
    ] {
        counter(&mut registry, name, help, value.load(Ordering::Relaxed));
    }
    gauge(
        &mut registry,
        "certificate_expiry",
        "When this node's certificate ends",
        node.certificate_expiry(),
        Unit::Seconds,
    );
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
    }
    registry
}

fn listener(registry: &mut Registry, name: &str, counters: &ListenerCounters) {
    for (what, help, value) in [
        ("connections_accepted", "Connections accepted", &counters.accepted),
        ("handshake_failures", "TLS handshakes that failed", &counters.handshake_failures),
        ("requests_read", "Requests read", &counters.requests_read),
    ] {
        counter(registry, &format!("{name}_{what}"), help, value.load(Ordering::Relaxed));
    }
}

fn counter(registry: &mut Registry, name: &str, help: &str, value: u64) {
    registry.register(name, help, ConstCounter::new(value));
}

fn gauge(registry: &mut Registry, name: &str, help: &str, value: i64, unit: Unit) {
    registry.register_with_unit(name, help, unit, ConstGauge::new(value));
}
