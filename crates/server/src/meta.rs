//! What travels beside a request and a response: request id, age, revision, error name.

use std::time::Duration;

use conclave_kms::fields::RequestId;
use conclave_store::Revision;
use tonic::metadata::{MetadataMap, MetadataValue};
use tonic::{Code, Status};

use crate::refusals::{named, to_status};

/// Header: the request id, chosen by the client; a retry keeps it.
pub(crate) const REQUEST_ID: &str = "conclave-request-id";
/// Header: how long ago the first attempt was sent, by the client's monotonic clock.
pub(crate) const ATTEMPT_AGE_MS: &str = "conclave-attempt-age-ms";
/// Header: the revision at which the operation took effect.
pub(crate) const REVISION: &str = "conclave-revision";

/// Oldest attempt that is still served: clients give up at 30 s.
pub(crate) const ATTEMPT_AGE_MAX: Duration = Duration::from_secs(30);

/// What a client says about its call.
#[derive(Clone, Debug)]
pub(crate) struct CallMeta {
    pub(crate) request_id: RequestId,
    /// Age of the first attempt; zero if this is it.
    pub(crate) age: Duration,
}

impl CallMeta {
    /// Reads and checks the headers; a call without a request id gets a fresh one.
    ///
    /// What the cluster remembers of an attempt it forgets after a while, so a late retry is refused.
    pub(crate) fn parse(metadata: &MetadataMap) -> Result<Self, Status> {
        let meta = Self::of_any_age(metadata)?;
        if meta.age > ATTEMPT_AGE_MAX {
            return Err(outcome_unknown("the first attempt is more than 30 s old"));
        }
        Ok(meta)
    }

    /// The same for a ceremony, however long ago it was begun: it finds out from the records what is
    /// done already, and a node that joins may take minutes to catch up.
    pub(crate) fn of_any_age(metadata: &MetadataMap) -> Result<Self, Status> {
        let request_id = match metadata.get(REQUEST_ID) {
            None => RequestId::parse(&uuid::Uuid::new_v4().to_string()),
            Some(value) => RequestId::parse(value.to_str().unwrap_or_default()),
        }
        .map_err(|refusal| to_status(&refusal))?;
        let age = match metadata.get(ATTEMPT_AGE_MS) {
            None => Duration::ZERO,
            Some(value) => match value.to_str().ok().and_then(|v| v.parse::<u64>().ok()) {
                Some(ms) => Duration::from_millis(ms),
                None => return Err(invalid("conclave-attempt-age-ms takes whole milliseconds")),
            },
        };
        Ok(Self { request_id, age })
    }

    /// The request id that this attempt repeats, or empty.
    pub(crate) fn retry_of(&self) -> Option<RequestId> {
        (!self.age.is_zero()).then(|| self.request_id.clone())
    }
}

/// `<domain>:<log index>:<position>`.
pub(crate) fn revision_text(domain: &str, revision: Revision) -> String {
    format!("{domain}:{}:{}", revision.log_index, revision.position)
}

/// Puts the revision among the headers of a response or an error.
pub(crate) fn put_revision(metadata: &mut MetadataMap, domain: &str, revision: Revision) {
    if let Ok(mut value) = MetadataValue::try_from(revision_text(domain, revision)) {
        // Never the same twice, so it would only fill the table of known headers at either end.
        value.set_sensitive(true);
        metadata.insert(REVISION, value);
    }
}

/// The request is not well formed: nothing began.
pub(crate) fn invalid(message: impl Into<String>) -> Status {
    named(Code::InvalidArgument, "ValidationException", message)
}

/// Retryable on another node: this one cannot serve now, and nothing happened.
pub(crate) fn unavailable(message: impl Into<String>) -> Status {
    named(Code::Unavailable, "KMSInternalException", message)
}

/// It may have happened or not: the audit log will tell, by its request id.
pub(crate) fn outcome_unknown(message: impl std::fmt::Display) -> Status {
    named(
        Code::DeadlineExceeded,
        "OutcomeUnknownException",
        format!(
            "outcome unknown: {message}; retry with the same request id, or look for it in the audit log"
        ),
    )
}

/// It cannot be done in this state.
pub(crate) fn precondition(message: impl Into<String>) -> Status {
    named(Code::FailedPrecondition, "KMSInvalidStateException", message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn request_ids_are_bounded() {
        let mut metadata = MetadataMap::new();
        assert!(CallMeta::parse(&metadata).unwrap().retry_of().is_none());
        metadata.insert(REQUEST_ID, "abc-1".parse().unwrap());
        metadata.insert(ATTEMPT_AGE_MS, "12".parse().unwrap());
        assert_eq!(CallMeta::parse(&metadata).unwrap().retry_of().unwrap().as_str(), "abc-1");
        metadata.insert(ATTEMPT_AGE_MS, "30001".parse().unwrap());
        assert_eq!(CallMeta::parse(&metadata).unwrap_err().code(), Code::DeadlineExceeded);
        assert!(CallMeta::of_any_age(&metadata).is_ok());
        metadata.insert(ATTEMPT_AGE_MS, "1".parse().unwrap());
        metadata.insert(REQUEST_ID, "x".repeat(129).parse().unwrap());
        assert_eq!(CallMeta::parse(&metadata).unwrap_err().code(), Code::InvalidArgument);
    }
}
