//! The command line's top: the commands and the flags that all of them take.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use conclave_client::RequestId;

use crate::{
    bench::{BenchArgs, EchoArgs},
    commands,
    dev::DevArgs,
    output::Format,
    server::ServerArgs,
};

/// A replicated key management service.
#[derive(Debug, Parser)]
#[command(name = "conclave", version, after_help = AFTER_HELP, subcommand_required = true)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

const AFTER_HELP: &str = "\
Exit codes:
  0  done
  1  refused: the service said no
  2  usage: wrong flags, or a local file that cannot be read or written
  3  no node took the request: unreachable, sealed or without a quorum; nothing was done
  4  outcome unknown: the request was sent and may have been done
  5  verification failed

With --output json, results are one JSON object on stdout and errors one on stderr:
  {\"error\":{\"name\":…,\"message\":…,\"request_id\":…}}";

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

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run a whole cluster on this machine, to try things out.
    Dev(DevArgs),
    /// Run one node.
    Server(ServerArgs),
    /// Make a certificate authority and issue certificates.
    #[command(subcommand)]
    Pki(commands::pki::PkiCommand),
    /// Found, unseal and seal: what operators do.
    #[command(subcommand)]
    Operator(commands::operator::OperatorCommand),
    /// Admit, remove and list nodes.
    #[command(subcommand)]
    Node(commands::node::NodeCommand),
    /// Show how the cluster stands.
    Status,
    /// Make and manage keys.
    #[command(subcommand)]
    Key(commands::key::KeyCommand),
    /// Encrypt up to 4096 bytes.
    Encrypt(commands::encrypt::EncryptArgs),
    /// Decrypt what `encrypt`, `re-encrypt` or `data-key` made.
    Decrypt(commands::decrypt::DecryptArgs),
    /// Encrypt a ciphertext under another key or context, inside the cluster.
    ReEncrypt(commands::re_encrypt::ReEncryptArgs),
    /// Make a data key: encrypt any amount of data with it, keep its ciphertext.
    DataKey(commands::data_key::DataKeyArgs),
    /// Random bytes from the cluster.
    Random(commands::random::RandomArgs),
    /// Say who may call, and in which roles.
    #[command(subcommand)]
    Principal(commands::principal::PrincipalCommand),
    /// Read, export and verify the audit log.
    #[command(subcommand)]
    Audit(commands::audit::AuditCommand),
    /// Measure the cluster.
    Bench(BenchArgs),
    /// The echo that `bench --compare` measures against.
    #[command(hide = true)]
    BenchEcho(EchoArgs),
    /// Print completions for a shell.
    Completions(commands::completions::CompletionsArgs),
}
