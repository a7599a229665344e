//! `conclave bench`: a closed loop of clients against the cluster, and, to compare, against a bare
//! echo over the same TLS and gRPC, and a bare disk.

mod compare;
mod json_face;
mod load;
mod report;
mod work;

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};

use self::load::Load;
use self::report::Report;
use self::work::Op;
use crate::app::App;
use crate::error::CliError;

/// Flags of `conclave bench`.
#[derive(Clone, Debug, Args)]
pub(crate) struct BenchArgs {
    /// Clients, each with its own connection and one request at a time.
    #[arg(long, default_value_t = 16, value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub(crate) clients: u16,
    /// What they do.
    #[arg(long, value_enum, default_value_t = Op::Encrypt)]
    pub(crate) op: Op,
    /// Over which of the two protocols.
    #[arg(long, value_enum, default_value_t = Face::Grpc)]
    pub(crate) face: Face,
    /// For how long, after one second of warming up.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=3600))]
    pub(crate) seconds: u64,
    /// Bytes of plaintext.
    #[arg(long, default_value_t = 1024, value_parser = clap::value_parser!(u16).range(0..=4096))]
    pub(crate) size: u16,
    /// Use this key; by default one is made, and its deletion scheduled at the end.
    #[arg(long)]
    pub(crate) key: Option<String>,
    /// Measure a bare echo and a bare disk in the same run.
    #[arg(long)]
    pub(crate) compare: bool,
    /// Where the disk is measured: a folder beside the nodes' data.
    #[arg(long, value_name = "DIR", default_value = ".")]
    pub(crate) dir: PathBuf,
}

/// How the clients speak to the service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Face {
    /// gRPC over HTTP/2, as `conclave` itself does.
    Grpc,
    /// The AWS KMS protocol: JSON over HTTP/1.1.
    Aws,
}

/// Runs the load and prints what it measured.
pub(crate) async fn run(app: &App, args: &BenchArgs) -> Result<(), CliError> {
    let duration = Duration::from_secs(args.seconds);
    let mut load = Load::prepare(app, args).await?;
    let measured = load.run(duration).await;
    load.finish().await;
    let compared = if args.compare { Some(compare::run(args, duration).await?) } else { None };
    let primitive = args.op.primitive_per_second(&vec![b'x'; usize::from(args.size)])?;
    Report::new(args, &measured, compared, primitive).print(app)
}

/// Runs the echo server of `--compare` until its standard input closes.
pub(crate) use compare::{EchoArgs, serve_echo};
