//! The probe listener: whether the node lives and serves, without TLS, for load balancers and
//! supervisors that hold no certificate.
//!
//! It is off by default and answers `GET /healthz`, `/readyz` and, if so configured, `/metrics`:
//! nothing else, and nothing that a request says is looked at beyond that. Few connections, one
//! short request each. It shares no limit with the other listeners.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tower::ServiceExt;
use tracing::{debug, warn};

use crate::listener::told_to;

/// Connections at once; more are closed.
const CONNECTIONS_MAX: usize = 64;
/// A whole connection: request and answer.
const CONNECTION_TIMEOUT: Duration = Duration::from_secs(5);
/// Largest head of a request, bytes: the least that the HTTP library takes.
const HEAD_BYTES_MAX: usize = 8 * 1024;
const HEADERS_MAX: usize = 32;

/// Serves until `stop` becomes true.
pub(crate) async fn serve(listener: TcpListener, app: Router, mut stop: watch::Receiver<bool>) {
    let slots = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        let stream = tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => stream,
                Err(error) => {
                    warn!(%error, "cannot accept a probe");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                    continue;
                }
            },
            () = told_to(&mut stop) => return,
        };
        let Ok(slot) = Arc::clone(&slots).try_acquire_owned() else { continue };
        let app = app.clone();
        tokio::spawn(async move {
            let answered = tokio::time::timeout(CONNECTION_TIMEOUT, answer(stream, app)).await;
            if let Ok(Err(error)) = answered {
                debug!(%error, "probe ended");
            }
            drop(slot);
        });
    }
}

async fn answer(stream: TcpStream, app: Router) -> Result<(), hyper::Error> {
    let service = hyper::service::service_fn(move |request: hyper::Request<Incoming>| {
        let app = app.clone();
        async move {
            let answer = app.oneshot(request.map(Body::new)).await;
            Ok::<_, Infallible>(answer.unwrap_or_else(|e| match e {}))
        }
    });
    http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(CONNECTION_TIMEOUT)
        .keep_alive(false)
        .max_buf_size(HEAD_BYTES_MAX)
        .max_headers(HEADERS_MAX)
        .serve_connection(TokioIo::new(stream), service)
        .await
}
