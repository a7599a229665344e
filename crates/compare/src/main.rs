//! The clients of `scripts/compare`: the same loop, the same TLS and one connection a client for
//! Conclave, OpenBao and etcd. What it measures goes to standard output as one line of JSON.
//!
//! Not a tool for users, who have `conclave bench`.

mod etcd;
mod gap;
mod load;
mod openbao;
mod system;

use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, Subcommand};

use crate::system::{ATTEMPT_AFTER_KILL, ATTEMPT_OF_LOAD, Op, Reach, System};

#[derive(Parser)]
struct Args {
    /// Which system.
    #[arg(long, value_enum)]
    system: System,
    /// host:port of its nodes, the leader first; clients begin at different ones.
    #[arg(long, value_delimiter = ',', required = true)]
    endpoints: Vec<String>,
    /// A folder with ca.pem, client.pem and client.key.
    #[arg(long)]
    tls: PathBuf,
    /// OpenBao's token.
    #[arg(long, default_value = "", hide_default_value = true)]
    token: String,
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// Throughput and latency.
    Load {
        #[arg(long, value_enum)]
        op: Op,
        #[arg(long, value_parser = clap::value_parser!(u16).range(1..=1024))]
        clients: u16,
        #[arg(long, value_parser = clap::value_parser!(u64).range(1..=600))]
        seconds: u64,
    },
    /// Kills a process with `kill -9` under load: how long until a write succeeds again.
    Gap {
        #[arg(long)]
        kill: i32,
        #[arg(long, default_value_t = 16, value_parser = clap::value_parser!(u16).range(1..=1024))]
        clients: u16,
    },
}

/// Anything that ends the measurement; the script shows it.
type Failure = Box<dyn std::error::Error + Send + Sync>;

#[tokio::main]
async fn main() -> ExitCode {
    match run(Args::parse()).await {
        Ok(measured) => {
            let _ = writeln!(std::io::stdout(), "{measured}");
            ExitCode::SUCCESS
        }
        Err(failure) => {
            let _ = writeln!(std::io::stderr(), "{failure}");
            ExitCode::FAILURE
        }
    }
}

async fn run(args: Args) -> Result<serde_json::Value, Failure> {
    let attempt = match args.what {
        What::Load { .. } => ATTEMPT_OF_LOAD,
        What::Gap { .. } => ATTEMPT_AFTER_KILL,
    };
    let reach = Reach::new(args.system, args.endpoints, &args.tls, args.token, attempt)?;
    match args.what {
        What::Load { op, clients, seconds } => {
            load::run(reach, op, clients.into(), Duration::from_secs(seconds)).await
        }
        What::Gap { kill, clients } => gap::run(reach, kill, clients.into()).await,
    }
}
