//! Every way a command ends badly, and the exit code that says which.

use std::{
    io::{self, Write},
    path::PathBuf,
    process::ExitCode,
};

use conclave_audit::Finding;
use conclave_client::{ClientError, EndpointError};
use conclave_pki::{BundleError, FileError, InspectError, IssueError, MaterialError, NameError};
use serde_json::json;
use thiserror::Error;

use crate::output::Format;

/// Why a command failed.
#[derive(Debug, Error)]
pub(crate) enum CliError {
    /// A call failed.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// Flags that do not fit together, or something needed that was not given.
    #[error("{0}")]
    Usage(String),
    #[error(transparent)]
    Endpoint(#[from] EndpointError),
    #[error(transparent)]
    Name(#[from] NameError),
    #[error(transparent)]
    Material(#[from] MaterialError),
    #[error(transparent)]
    PkiFile(#[from] FileError),
    #[error(transparent)]
    Issue(#[from] IssueError),
    #[error(transparent)]
    Bundle(#[from] BundleError),
    #[error("{}: {source}", path.display())]
    Inspect { path: PathBuf, source: InspectError },
    /// A local file or standard input.
    #[error("cannot {verb} {}: {source}; check the path and its permissions", path.display())]
    File { verb: &'static str, path: PathBuf, source: io::Error },
    /// An input that is larger than anything valid.
    #[error("the input is larger than {bytes_max} bytes; {hint}")]
    InputTooLarge { bytes_max: usize, hint: &'static str },
    #[error("cannot write the result to standard output: {0}; give it somewhere to go")]
    Stdout(io::Error),
    #[error("the runtime cannot start: {0}; check the limits on threads and files")]
    Runtime(io::Error),
    /// The node could not run.
    #[error("{0}")]
    Server(String),
    /// The log is not what it should be.
    #[error("{0}")]
    Verification(#[from] Finding),
    /// Nodes say different things.
    #[error("{0}")]
    Disagreement(String),
    /// Too few nodes say anything: nothing wrong was found, but not enough was seen.
    #[error("{0}")]
    NoMajority(String),
    /// The service broke its own protocol.
    #[error("the service's answer makes no sense ({0}); check that its version is this command's")]
    Protocol(&'static str),
    /// A result that is not what was asked for.
    #[error("{0}")]
    NotDone(String),
}

impl CliError {
    /// Prints to stderr, in the form asked for.
    pub(crate) fn report(&self, format: Format) -> ExitCode {
        let line = match format {
            Format::Table => match self.hint() {
                Some(hint) => format!("error: {self}\n{hint}"),
                None => format!("error: {self}"),
            },
            Format::Json => json!({ "error": {
                "name": self.name(),
                "message": self.message(),
                "request_id": self.request_id(),
            }})
            .to_string(),
        };
        // Where stderr is gone, the exit code still speaks.
        let _ = writeln!(io::stderr(), "{line}");
        ExitCode::from(self.exit_code())
    }

    /// As documented in `--help`.
    fn exit_code(&self) -> u8 {
        match self {
            Self::Client(ClientError::Refused(_) | ClientError::PlaintextTooLarge { .. })
            | Self::Server(_)
            | Self::Protocol(_)
            | Self::NotDone(_) => 1,
            Self::Client(ClientError::Unreachable { .. }) | Self::NoMajority(_) => 3,
            Self::Client(ClientError::OutcomeUnknown { .. }) => 4,
            Self::Verification(_) | Self::Disagreement(_) => 5,
            _ => 2,
        }
    }

    fn name(&self) -> &str {
        match self {
            Self::Client(error) => error.name(),
            Self::File { .. } | Self::PkiFile(_) | Self::Stdout(_) => "File",
            Self::Server(_) | Self::Runtime(_) => "Server",
            Self::Verification(_) | Self::Disagreement(_) => "VerificationFailed",
            Self::NoMajority(_) => "NoMajority",
            Self::Protocol(_) => "Protocol",
            Self::NotDone(_) => "NotDone",
            _ => "Usage",
        }
    }

    /// The words without the name, which stands beside them.
    fn message(&self) -> String {
        match self {
            Self::Client(ClientError::Refused(refusal)) => refusal.message.clone(),
            _ => self.to_string(),
        }
    }

    /// What to do about a refusal whose words are AWS's.
    fn hint(&self) -> Option<&'static str> {
        match self.name() {
            "AccessDeniedException" => Some(
                "An operator can give the role that is missing: \
                 conclave principal create NAME --role ROLE (roles: see --help there)",
            ),
            "NotFoundException" => Some("See what there is: conclave key list"),
            "DisabledException" => Some("To use it again: conclave key enable KEY"),
            "InvalidCiphertextException" => Some(
                "The bytes were altered or made elsewhere, or the encryption context is another: \
                 give each --context NAME=VALUE that it was encrypted with",
            ),
            _ => None,
        }
    }

    fn request_id(&self) -> Option<&str> {
        match self {
            Self::Client(error) => error.request_id().map(|id| id.as_str()),
            _ => None,
        }
    }
}
