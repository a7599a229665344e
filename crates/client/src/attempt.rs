//! Reading one failed attempt: is it final, and can the request have been done all the same?

use std::{error::Error, io};

use tonic::{Code, Status, metadata::MetadataMap};

use crate::{
    connect::ConnectError,
    endpoint::Endpoint,
    error::{Failure, Refusal},
    request_id::RequestId,
    revision::Revision,
};

pub(crate) const REQUEST_ID: &str = "conclave-request-id";
pub(crate) const ATTEMPT_AGE_MS: &str = "conclave-attempt-age-ms";
pub(crate) const REVISION: &str = "conclave-revision";
pub(crate) const ERROR: &str = "conclave-error";

/// The name a node gives when it cannot say whether its own proposal will be committed.
const OUTCOME_UNKNOWN: &str = "OutcomeUnknownException";

/// How rustls shows an alert. Were it to show it otherwise, refusals would only take longer to be
/// reported: they would be retried like other broken connections.
const FATAL_ALERT: &str = "received fatal alert";

/// What a failed attempt means for the request.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// The server decided: no retry.
    Final(Refusal),
    /// Worth another try.
    Retry(Setback),
}

/// An attempt that decided nothing.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Setback {
    pub(crate) failure: Failure,
    /// Whether the request may have reached somebody who does it.
    pub(crate) maybe_done: bool,
    /// Whether trying again at this endpoint cannot help: the certificates do not fit.
    pub(crate) hopeless: bool,
}

pub(crate) fn judge(status: &Status, endpoint: &Endpoint, request_id: &RequestId) -> Verdict {
    let setback = |message: String, maybe_done, hopeless| {
        let name = text(status.metadata(), ERROR);
        let failure = Failure { endpoint: endpoint.clone(), name, message };
        Verdict::Retry(Setback { failure, maybe_done, hopeless })
    };
    match cause(status) {
        Some(Cause::NotConnected(error)) => {
            return setback(error.to_string(), false, matches!(error, ConnectError::Tls(_)));
        }
        // With TLS 1.3 a server looks at the client's certificate after the client's handshake is
        // over, so its refusal arrives where an answer was expected. It read no request.
        Some(Cause::Refused(error)) => {
            let message = format!(
                "the node refused this client's certificate ({error}); check that it is of the \
                 node's cluster and has not expired (`conclave pki inspect`)"
            );
            return setback(message, false, true);
        }
        None => {}
    }
    match text(status.metadata(), ERROR) {
        // Sent again under the same id, the request is done once, and then its outcome is known.
        Some(name) if name == OUTCOME_UNKNOWN => setback(status.message().to_owned(), true, false),
        Some(_) if status.code() == Code::Unavailable => {
            setback(status.message().to_owned(), false, false)
        }
        Some(name) => Verdict::Final(refusal(status, name, endpoint, request_id)),
        None if status.source().is_some() || broken(status.code()) => {
            setback(format!("the connection failed: {}", innermost(status)), true, false)
        }
        None => {
            let name = format!("{:?}", status.code());
            Verdict::Final(refusal(status, name, endpoint, request_id))
        }
    }
}

pub(crate) fn revision(metadata: &MetadataMap) -> Option<Revision> {
    text(metadata, REVISION)?.parse().ok()
}

/// Our servers name every error, so one of these without a name was made on the way.
fn broken(code: Code) -> bool {
    matches!(
        code,
        Code::Unavailable
            | Code::Unknown
            | Code::Internal
            | Code::Cancelled
            | Code::DeadlineExceeded
    )
}

fn refusal(status: &Status, name: String, endpoint: &Endpoint, request_id: &RequestId) -> Refusal {
    Refusal {
        name,
        code: status.code(),
        message: status.message().to_owned(),
        revision: revision(status.metadata()),
        request_id: request_id.clone(),
        endpoint: endpoint.clone(),
    }
}

fn text(metadata: &MetadataMap, name: &str) -> Option<String> {
    metadata.get(name)?.to_str().ok().map(str::to_owned)
}

/// The outer errors only say that there is an inner one.
fn innermost(status: &Status) -> String {
    let mut next = status.source();
    let mut message = status.message().to_owned();
    while let Some(error) = next {
        message = error.to_string();
        next = error.source();
    }
    message
}

enum Cause<'a> {
    NotConnected(&'a ConnectError),
    /// What the server's alert said.
    Refused(String),
}

fn cause(status: &Status) -> Option<Cause<'_>> {
    let mut next = status.source();
    while let Some(error) = next {
        if let Some(error) = error.downcast_ref::<ConnectError>() {
            return Some(Cause::NotConnected(error));
        }
        // The HTTP/2 layer keeps of rustls' error nothing but its text.
        let broken = error.downcast_ref::<io::Error>().map(ToString::to_string);
        if let Some(text) = broken.filter(|text| text.starts_with(FATAL_ALERT)) {
            return Some(Cause::Refused(text));
        }
        next = error.source();
    }
    None
}
