//! `conclave completions`: for a shell to complete this command with.

use clap::{Args, Command, ValueEnum};
use clap_complete::{Shell, generate};

use crate::{error::CliError, files};

#[derive(Debug, Args)]
pub(crate) struct CompletionsArgs {
    /// The shell.
    #[arg(value_enum)]
    shell: ShellName,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum ShellName {
    Bash,
    Zsh,
    Fish,
}

/// Prints the completions of `whole`, the command line's top.
pub(crate) fn run(args: &CompletionsArgs, mut whole: Command) -> Result<(), CliError> {
    let shell = match args.shell {
        ShellName::Bash => Shell::Bash,
        ShellName::Zsh => Shell::Zsh,
        ShellName::Fish => Shell::Fish,
    };
    let mut script = Vec::new();
    generate(shell, &mut whole, "conclave", &mut script);
    files::write_output(None, &script, files::PUBLIC)
}
