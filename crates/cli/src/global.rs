//! The flags that every command takes.

use std::path::PathBuf;

use clap::Args;
use conclave_client::RequestId;

use crate::output::Format;

/// Whom to call, as whom, and how to print what comes back.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Global options")]
pub(crate) struct Global {
    /// API addresses of the nodes, comma-separated (https://HOST:PORT).
    #[arg(long, env = "CONCLAVE_ENDPOINTS", global = true, value_name = "URL,…")]
    pub(crate) endpoints: Option<String>,
    /// The cluster's CA certificate.
    #[arg(long, env = "CONCLAVE_CA_CERT", global = true, value_name = "FILE")]
    pub(crate) ca_cert: Option<PathBuf>,
    /// The certificate to call with.
    #[arg(long, env = "CONCLAVE_CLIENT_CERT", global = true, value_name = "FILE")]
    pub(crate) client_cert: Option<PathBuf>,
    /// The key of that certificate.
    #[arg(long, env = "CONCLAVE_CLIENT_KEY", global = true, value_name = "FILE")]
    pub(crate) client_key: Option<PathBuf>,
    /// The domain's audit verifier key (NAME+ID+BASE64), as `operator init` printed it.
    #[arg(long, env = "CONCLAVE_AUDIT_KEY", global = true, value_name = "KEY")]
    pub(crate) audit_key: Option<String>,
    /// How to print results.
    #[arg(long, global = true, value_enum, default_value_t = Format::Table)]
    pub(crate) output: Format,
    /// How long a call may take, all its attempts together.
    #[arg(long, global = true, value_name = "SECONDS", default_value_t = 30,
          value_parser = clap::value_parser!(u64).range(1..=3600))]
    pub(crate) timeout: u64,
    /// The request's id, to repeat a request whose outcome is unknown; by default a new one.
    #[arg(long, global = true, value_name = "ID")]
    pub(crate) request_id: Option<RequestId>,
}
