//! `conclave recover`: when a majority of the voters is lost for good, what one disk or a snapshot
//! still holds, and a data folder made from it. Neither calls a cluster; `conclave operator recover`
//! opens what is made.

use std::{
    io::{self, BufRead, IsTerminal, Write},
    path::PathBuf,
};

use clap::{Args, Subcommand};
use conclave_server::recovery::{self, From, Statement};
use serde_json::{Value, json};

use crate::{
    app::App,
    error::CliError,
    output::{lines, or_dash, printable},
    time::utc,
};

#[derive(Debug, Subcommand)]
pub(crate) enum RecoverCommand {
    /// Say what a disk or a snapshot holds, and what would be lost.
    Inspect(SourceArgs),
    /// Make the data folder of a node that leads the domain alone. The source is only read.
    Begin(BeginArgs),
}

#[derive(Debug, Args)]
pub(crate) struct SourceArgs {
    /// The data folder of a node that is stopped.
    #[arg(long, value_name = "DIR", required_unless_present = "snapshot")]
    data_dir: Option<PathBuf>,
    /// A snapshot file of the domain, where no disk is left.
    #[arg(long, value_name = "FILE", conflicts_with = "data_dir")]
    snapshot: Option<PathBuf>,
    /// The folder with the audit history that the snapshot names; by default `audit` beside the
    /// snapshot's own folder.
    #[arg(long, value_name = "DIR", requires = "snapshot")]
    audit_dir: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct BeginArgs {
    #[command(flatten)]
    source: SourceArgs,
    /// The configuration of the node that is to lead: its data_dir is where the folder is made.
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// Do not ask: the other nodes' disks are destroyed or out of reach for good, and what is lost may
    /// be lost.
    #[arg(long)]
    yes: bool,
}

pub(crate) async fn run(app: &App, command: RecoverCommand) -> Result<(), CliError> {
    match command {
        RecoverCommand::Inspect(args) => {
            let stated = inspect(app, &args.source()?).await?;
            app.show(&to_json(&stated), |out| out.write_all(to_text(&stated).as_bytes()))
        }
        RecoverCommand::Begin(args) => begin(app, &args).await,
    }
}

impl SourceArgs {
    fn source(&self) -> Result<From, CliError> {
        match (&self.data_dir, &self.snapshot) {
            (Some(dir), _) => Ok(From::DataDir(dir.clone())),
            (None, Some(file)) => {
                let audit = self.audit_dir.clone();
                let audit = audit.unwrap_or_else(|| recovery::audit_beside(file));
                Ok(From::Snapshot { file: file.clone(), audit })
            }
            (None, None) => Err(CliError::Usage("give --data-dir or --snapshot".to_owned())),
        }
    }
}

async fn inspect(app: &App, source: &From) -> Result<Statement, CliError> {
    let stated = app.wait("reading", recovery::inspect(source)).await;
    stated.map_err(|error| CliError::NotDone(error.to_string()))
}

/// The loss is stated before anything is made, also to whoever does not want to be asked.
async fn begin(app: &App, args: &BeginArgs) -> Result<(), CliError> {
    let source = args.source.source()?;
    let stated = inspect(app, &source).await?;
    app.say(&to_text(&stated));
    if !args.yes {
        confirm(&stated.domain)?;
    }
    let made = app.wait("making the data folder", recovery::begin(&source, &stated, &args.config));
    let made = made.await.map_err(|error| CliError::NotDone(error.to_string()))?;
    let json = json!({
        "node": made.node,
        "data_dir": made.data_dir,
        "raft_id": made.raft_id,
        "recovered_from": to_json(&stated),
    });
    app.show(&json, |out| {
        writeln!(out, "{} holds the domain now; {} leads it alone.", made.data_dir.display(), made.node)?;
        writeln!(out, "\nNext: start that node (`conclave server --config {}`), then", args.config.display())?;
        writeln!(
            out,
            "`conclave operator recover --share-file FILE …` with {} operator shares of generation {}",
            stated.operator_threshold, stated.operator_generation
        )?;
        writeln!(out, "opens it and deals it a new root key; `conclave node add` grows it again.")
    })
}

fn confirm(domain: &str) -> Result<(), CliError> {
    if !io::stdin().is_terminal() {
        let message = "no terminal to confirm on; read what would be lost above, and give --yes";
        return Err(CliError::Usage(message.to_owned()));
    }
    let read =
        |source| CliError::File { verb: "read", path: PathBuf::from("the terminal"), source };
    write!(io::stderr(), "Type the domain's name ({}) to go on: ", printable(domain))
        .map_err(read)?;
    let mut typed = String::new();
    io::stdin().lock().read_line(&mut typed).map_err(read)?;
    match typed.trim() == domain {
        true => Ok(()),
        false => Err(CliError::NotDone("not confirmed; nothing was made".to_owned())),
    }
}

fn to_text(stated: &Statement) -> String {
    let Statement { last_index, last_term, committed_index, .. } = stated;
    let operators = format!(
        "{} of {}, generation {}",
        stated.operator_threshold, stated.operator_shares, stated.operator_generation
    );
    let snapshot = stated.snapshot_index.map(|index| index.to_string()).unwrap_or_default();
    let facts = lines([
        ("domain", format!("{} ({})", stated.domain, hex::encode(stated.domain_id))),
        ("members on record", stated.members.join(", ")),
        ("last log entry", format!("{last_index} of term {last_term}")),
        ("known as committed", committed_index.to_string()),
        ("snapshot at", or_dash(&snapshot)),
        ("cluster time there", utc(stated.time_ms)),
        ("audit entries", stated.audit_size.to_string()),
        ("audit head", hex::encode(stated.audit_head)),
        ("records", stated.records.to_string()),
        ("share epoch", stated.share_epoch.to_string()),
        ("operator shares needed", operators),
    ]);
    let uncertain = match stated.uncertain() {
        0 => String::new(),
        count => format!(
            "- The last {count} log entries are taken over though this disk did not know whether a \
             majority had them: some may have been answered as unknown.\n"
        ),
    };
    format!(
        "{facts}\nWhat is lost, and what is uncertain:\n\
         - Whatever a majority acknowledged after log entry {last_index}, that is after {}, is lost: keys \
         made, changed or disabled since then, and who was let in or locked out. Ciphertexts under keys \
         made since then can never be decrypted.\n\
         - Audit entries from number {} on are lost. A checkpoint signed after that shows it: `conclave \
         audit verify` will find that the log went back.\n\
         {uncertain}\
         - Of several disks, take the one with the highest term, then the highest entry.\n\
         - The other nodes must never run again on their old disks: a majority of them would be a second \
         history. Destroy those disks first.\n",
        utc(stated.time_ms),
        stated.audit_size,
    )
}

fn to_json(stated: &Statement) -> Value {
    json!({
        "domain": stated.domain,
        "audit_origin": stated.origin,
        "domain_id": hex::encode(stated.domain_id),
        "members": stated.members,
        "raft_id": Some(stated.raft_id).filter(|id| *id != 0),
        "last_index": stated.last_index,
        "last_term": stated.last_term,
        "committed_index": stated.committed_index,
        "uncertain_entries": stated.uncertain(),
        "snapshot_index": stated.snapshot_index,
        "time_ms": stated.time_ms,
        "time": utc(stated.time_ms),
        "audit_size": stated.audit_size,
        "audit_head": hex::encode(stated.audit_head),
        "records": stated.records,
        "share_epoch": stated.share_epoch,
        "operator_generation": stated.operator_generation,
        "operator_threshold": stated.operator_threshold,
        "operator_shares": stated.operator_shares,
    })
}
