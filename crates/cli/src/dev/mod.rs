//! `conclave dev`: a throw-away cluster of real processes on loopback, founded and unsealed.
//!
//! It starts no dead node again, and its children die with it, however it dies. What a client
//! needs is renamed into place only once the cluster serves; then it prints `ready`.

mod found;
mod layout;
mod nodes;
mod ports;
#[cfg(test)]
mod ports_tests;
mod tokens;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use tokio::signal::unix::{SignalKind, signal};

use self::layout::Layout;
use self::nodes::Nodes;
use self::tokens::DevSeal;
use crate::error::CliError;

/// Flags of `conclave dev`.
#[derive(Clone, Debug, Args)]
pub(crate) struct DevArgs {
    /// A new or empty folder for everything; by default a temporary one, removed at the end.
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
    /// How many nodes.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u16).range(1..=9))]
    nodes: u16,
    /// Log entries between snapshots, for every node.
    #[arg(long, value_name = "N")]
    snapshot_entries: Option<u64>,
    /// What the nodes wrap their shares with; pkcs11 makes a SoftHSM token for each.
    #[arg(long, value_enum, default_value = "operator")]
    seal: DevSeal,
    /// Run this through the shell once the cluster serves, then stop with its exit status.
    #[arg(long, value_name = "COMMAND")]
    exec: Option<String>,
}

/// Runs the cluster until Ctrl-C, SIGTERM, or the end of `--exec`.
///
/// The runtime has one thread, this one: a child's death signal follows the thread that made it.
pub(crate) fn run(args: &DevArgs) -> Result<ExitCode, CliError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(CliError::Runtime)?;
    runtime.block_on(serve(args))
}

async fn serve(args: &DevArgs) -> Result<ExitCode, CliError> {
    eprintln_loud();
    let mut terminate = signal(SignalKind::terminate()).map_err(CliError::Runtime)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(CliError::Runtime)?;
    let layout = Layout::create(args.dir.as_deref(), args.nodes, args.snapshot_entries, args.seal)?;
    let mut nodes = Nodes::start(&layout)?;
    let outcome = tokio::select! {
        outcome = work(args, &layout, &mut nodes) => outcome,
        _ = terminate.recv() => Ok(ExitCode::SUCCESS),
        _ = interrupt.recv() => Ok(ExitCode::SUCCESS),
    };
    nodes.stop().await;
    outcome
}

async fn work(args: &DevArgs, layout: &Layout, nodes: &mut Nodes) -> Result<ExitCode, CliError> {
    found::found(layout, nodes).await?;
    layout.publish(&nodes.pids())?;
    announce()?;
    match &args.exec {
        Some(command) => {
            let mut child = layout.shell(command).spawn().map_err(CliError::Runtime)?;
            tokio::select! {
                status = child.wait() => {
                    let code = status.map_err(CliError::Runtime)?.code().unwrap_or(1);
                    Ok(ExitCode::from(u8::try_from(code).unwrap_or(1)))
                }
                never = nodes.reap() => never,
            }
        }
        None => nodes.reap().await,
    }
}

#[expect(clippy::print_stdout, reason = "scripts wait for this very line")]
fn announce() -> Result<(), CliError> {
    use std::io::Write;
    println!("ready");
    std::io::stdout().flush().map_err(CliError::Stdout)
}

#[expect(clippy::print_stderr, reason = "for the person at the terminal")]
fn eprintln_loud() {
    eprintln!(
        "conclave dev: THROW-AWAY KEYS. The certificate authority, the operators' shares and every\n\
         key lie side by side in one folder on this machine. Never put anything real into it."
    );
}
