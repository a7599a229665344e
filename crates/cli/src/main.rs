//! The `conclave` command: parse, connect, do one thing, say what happened in the exit code.
//!
//! Each command is a module under `commands` with its arguments and a `run`. What they share is in
//! `app` (whom to call, by the flags of `global`), `error` (exit codes), `output`, `files` and `values`
//! (what flags hold).

mod app;
mod args;
mod bench;
mod commands;
mod dev;
mod error;
mod files;
mod global;
mod output;
mod server;
mod time;
mod values;

use std::process::ExitCode;

use clap::{CommandFactory, Parser};
use conclave_memory::Confinement;

use crate::{
    app::App,
    args::{Cli, Command},
    error::CliError,
};

#[global_allocator]
static HEAP: conclave_memory::Heap = conclave_memory::HEAP;

fn main() -> ExitCode {
    let cli = Cli::parse();
    let app = App::new(cli.global);
    let done = match cli.command {
        // It ends as its command does, and has a runtime of its own.
        Command::Dev(args) => dev::run(&args),
        command => tokio::runtime::Builder::new_multi_thread()
            .enable_all()
            .build()
            .map_err(CliError::Runtime)
            .and_then(|runtime| runtime.block_on(run(&app, command)))
            .map(|()| ExitCode::SUCCESS),
    };
    match done {
        Ok(code) => code,
        Err(error) => error.report(app.output()),
    }
}

async fn run(app: &App, command: Command) -> Result<(), CliError> {
    match command {
        Command::Dev(_) => Err(CliError::Usage("dev runs by itself".to_owned())),
        Command::Server(args) => server::run(args).await,
        Command::Pki(command) => commands::pki::run(app, command),
        Command::Operator(command) => {
            // Operators' shares pass through it.
            let _ = Confinement::enter();
            commands::operator::run(app, command).await
        }
        Command::Node(command) => commands::node::run(app, command).await,
        Command::Recover(command) => commands::recover::run(app, command).await,
        Command::Status => commands::status::run(app).await,
        Command::Key(command) => commands::key::run(app, command).await,
        Command::Grant(command) => commands::grant::run(app, command).await,
        Command::Alias(command) => commands::alias::run(app, command).await,
        Command::Encrypt(args) => commands::encrypt::run(app, args).await,
        Command::Decrypt(args) => commands::decrypt::run(app, args).await,
        Command::ReEncrypt(args) => commands::re_encrypt::run(app, args).await,
        Command::DataKey(args) => commands::data_key::run(app, args).await,
        Command::Random(args) => commands::random::run(app, args).await,
        Command::Principal(command) => commands::principal::run(app, command).await,
        Command::Audit(command) => commands::audit::run(app, command).await,
        Command::Bench(args) => bench::run(app, &args).await,
        Command::BenchEcho(args) => bench::serve_echo(&args).await,
        Command::Completions(args) => commands::completions::run(&args, Cli::command()),
    }
}
