//! The command line's top: all commands, and beside them the flags of `global`.

use clap::{Parser, Subcommand};

use crate::{
    bench::{BenchArgs, EchoArgs},
    commands,
    dev::DevArgs,
    global::Global,
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
    /// Take a domain out of one disk or a snapshot, when its quorum is lost for good.
    #[command(subcommand)]
    Recover(commands::recover::RecoverCommand),
    /// Show how the cluster stands.
    Status,
    /// Make and manage keys.
    #[command(subcommand)]
    Key(commands::key::KeyCommand),
    /// Say who may use a key, besides what follows from roles.
    #[command(subcommand)]
    Grant(commands::grant::GrantCommand),
    /// Give keys names, and move the names from key to key.
    #[command(subcommand)]
    Alias(commands::alias::AliasCommand),
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
