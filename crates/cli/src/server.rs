//! `conclave server`: hands over to the server crate.

use std::path::PathBuf;

use clap::Args;
use rustix::process::{Signal, getppid, set_parent_process_death_signal};

use crate::error::CliError;

#[derive(Debug, Args)]
pub(crate) struct ServerArgs {
    /// The node's configuration.
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// End when the parent process does, however it ends (`conclave dev` sets this).
    #[arg(long, value_name = "PID", hide = true)]
    die_with_parent: Option<i32>,
}

pub(crate) async fn run(args: ServerArgs) -> Result<(), CliError> {
    if let Some(parent) = args.die_with_parent {
        set_parent_process_death_signal(Some(Signal::KILL)).map_err(|error| {
            CliError::Server(format!("cannot follow the parent process: {error}"))
        })?;
        // It may have ended before the signal was asked for.
        if getppid().map(|pid| pid.as_raw_nonzero().get()) != Some(parent) {
            return Err(CliError::Server("the parent process has ended already".to_owned()));
        }
    }
    conclave_server::run(&args.config).await.map_err(|error| CliError::Server(error.to_string()))
}
