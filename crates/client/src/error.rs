//! How a call can fail, and whose fault it is.

use std::{fmt, time::Duration};

use conclave_pki::ConfigError;
use thiserror::Error;
use tonic::Code;

use crate::{
    endpoint::Endpoint, limits::PLAINTEXT_BYTES_MAX, request_id::RequestId, revision::Revision,
};

/// Why a call gave no answer.
#[derive(Debug, Error)]
pub enum ClientError {
    /// The cluster decided, and said no.
    #[error("{0}")]
    Refused(Box<Refusal>),
    /// The request was sent, and nobody said what became of it.
    #[error(
        "nobody answered within {:.1} s whether request {request_id} was done ({}); it may be done \
         yet: look at the state it would have changed, or send it again with the same request id",
        after.as_secs_f64(), list(failures)
    )]
    OutcomeUnknown {
        /// The request that may have been done.
        request_id: RequestId,
        /// Time since the first attempt.
        after: Duration,
        /// The last failure at each endpoint.
        failures: Vec<Failure>,
    },
    /// No node took the request; nothing was done.
    #[error(
        "no node took the request within {:.1} s: {}; see `conclave status`",
        after.as_secs_f64(), list(failures)
    )]
    Unreachable {
        /// The request that was not done.
        request_id: RequestId,
        /// Time since the first attempt.
        after: Duration,
        /// The last failure at each endpoint.
        failures: Vec<Failure>,
    },
    /// A plaintext that is meant for a data key.
    #[error(
        "the plaintext has {bytes} bytes, Encrypt takes at most {PLAINTEXT_BYTES_MAX}; use envelope \
         encryption: ask for a data key (`conclave data-key`), encrypt with it, keep its ciphertext"
    )]
    PlaintextTooLarge {
        /// Its size.
        bytes: usize,
    },
    /// No endpoints were given.
    #[error(
        "no endpoints; set CONCLAVE_ENDPOINTS or --endpoints to the API addresses of the nodes"
    )]
    NoEndpoints,
    /// An endpoint whose host TLS cannot name.
    #[error("{0} cannot be dialled; give a DNS name or an IP address and a port")]
    Endpoint(Endpoint),
    /// The TLS material cannot be used.
    #[error(transparent)]
    Tls(#[from] ConfigError),
}

impl ClientError {
    /// A name for scripts: the server's own where it gave one.
    pub fn name(&self) -> &str {
        match self {
            Self::Refused(refusal) => &refusal.name,
            Self::OutcomeUnknown { .. } => "OutcomeUnknown",
            Self::Unreachable { .. } => "Unreachable",
            Self::PlaintextTooLarge { .. } => "PlaintextTooLarge",
            Self::NoEndpoints | Self::Endpoint(_) | Self::Tls(_) => "Configuration",
        }
    }

    /// The request that failed, if one was made.
    pub fn request_id(&self) -> Option<&RequestId> {
        match self {
            Self::Refused(refusal) => Some(&refusal.request_id),
            Self::OutcomeUnknown { request_id, .. } | Self::Unreachable { request_id, .. } => {
                Some(request_id)
            }
            _ => None,
        }
    }
}

/// What the server said when it said no.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The error's name, as AWS KMS has it: `NotFoundException` ...
    pub name: String,
    /// The gRPC status code.
    pub code: Code,
    /// The server's words.
    pub message: String,
    /// Where the decision stands in the log, if it was logged.
    pub revision: Option<Revision>,
    /// The request that was refused.
    pub request_id: RequestId,
    /// Who refused it.
    pub endpoint: Endpoint,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)?;
        // AWS says nothing more of a bad ciphertext, and neither do we.
        if self.message.is_empty() { Ok(()) } else { write!(f, ": {}", self.message) }
    }
}

/// An attempt at one endpoint that decided nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// Where.
    pub endpoint: Endpoint,
    /// The error's name, if a server gave one.
    pub name: Option<String>,
    /// What happened.
    pub message: String,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.endpoint, self.message)
    }
}

fn list(failures: &[Failure]) -> String {
    failures.iter().map(Failure::to_string).collect::<Vec<_>>().join("; ")
}
