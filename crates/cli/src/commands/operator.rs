//! `conclave operator`: founding, unsealing and sealing, new keys and shares. All but `init` and
//! `rotate-root` are for one node alone, the first endpoint.

use std::{
    io::IsTerminal,
    path::{Path, PathBuf},
};

use clap::{Args, Subcommand};
use conclave_client::{Client, ClientError};
use conclave_pki::write_private;
use conclave_proto::v1::{
    CommitInitRequest, CommitOperatorSharesRequest, PrepareInitRequest,
    PrepareOperatorSharesRequest, RecoverRequest, RecoverResponse, RotateDomainKeyRequest,
    RotateRootRequest, RotateRootResponse, SealRequest, StatusRequest, UnsealRequest,
    UnsealResponse,
};
use serde_json::json;
use zeroize::Zeroizing;

use crate::{
    app::App,
    commands::status,
    error::CliError,
    files,
    output::with_meta,
    values::{Member, Recipient, Shares},
};

/// A share is one line of text.
const SHARE_BYTES_MAX: usize = 4096;
const SHARE_HINT: &str = "give a file that `conclave operator init` wrote";

/// How many mistyped shares are asked for again.
const TYPING_ERRORS_MAX: u32 = 5;

#[derive(Debug, Subcommand)]
pub(crate) enum OperatorCommand {
    /// Found the cluster: write the operators' shares, then commit.
    Init(InitArgs),
    /// Give operator shares to one node, from files or typed in.
    Unseal {
        /// A file with one share; repeat for several. Without any, shares are asked for.
        #[arg(long = "share-file", value_name = "FILE")]
        share_files: Vec<PathBuf>,
    },
    /// Seal one node: it wipes its keys, and goes on voting. One with an HSM stays sealed until it is
    /// restarted, or `unseal` is called for it.
    Seal,
    /// Make a new root key and deal it to all nodes.
    RotateRoot,
    /// Make new operator shares in place of the present ones, k of which it takes.
    Deal(DealArgs),
    /// Open one node with operator shares alone, when no node's share can be had; then deal anew with
    /// `conclave operator rotate-root`. A node that was made by `conclave recover begin` becomes the
    /// domain's only member with it.
    Recover {
        /// A file with one share; repeat for k of them.
        #[arg(long = "share-file", value_name = "FILE", required = true)]
        share_files: Vec<PathBuf>,
    },
    /// Put a new domain key to use; records are sealed again under it in the background.
    RotateDomainKey,
    /// Show how one node stands.
    Status,
}

#[derive(Debug, Args)]
pub(crate) struct InitArgs {
    /// A founding node and its peer listener; repeat for each.
    #[arg(long = "member", value_name = "NAME=HOST:PORT", required = true)]
    members: Vec<Member>,
    /// The first domain's name, which stands where AWS ARNs have a region.
    #[arg(long, default_value = "local")]
    domain: String,
    /// The account in ARNs: 12 digits.
    #[arg(long, default_value = "000000000000")]
    account: String,
    #[command(flatten)]
    made: MadeArgs,
}

#[derive(Debug, Args)]
pub(crate) struct DealArgs {
    /// A file with one of the present shares; repeat for k of them.
    #[arg(long = "share-file", value_name = "FILE", required = true)]
    share_files: Vec<PathBuf>,
    #[command(flatten)]
    made: MadeArgs,
}

/// The operator shares that are made.
#[derive(Debug, Args)]
struct MadeArgs {
    /// How many operator shares to make, and how many of them unseal.
    #[arg(long, value_name = "K-of-M", default_value = "3-of-5")]
    shares: Shares,
    /// The folder to write the shares to: operator-share-1 and so on.
    #[arg(long, value_name = "DIR")]
    shares_out: PathBuf,
    /// Encrypt each share to an operator, by age: operator-share-1.age to the first recipient given, and so
    /// on. One for each share, or none.
    #[arg(long = "recipient", value_name = "age1…")]
    recipients: Vec<Recipient>,
}

pub(crate) async fn run(app: &App, command: OperatorCommand) -> Result<(), CliError> {
    let client = app.client()?.at_first();
    match command {
        OperatorCommand::Init(args) => init(app, &client, &args).await,
        OperatorCommand::Unseal { share_files } => unseal(app, &client, &share_files).await,
        OperatorCommand::Seal => {
            let reply = app.wait("sealing", client.seal(SealRequest {})).await?;
            app.show(&with_meta(json!({ "state": "sealed" }), &reply), |out| {
                writeln!(out, "{} is sealed; it goes on voting", reply.endpoint)
            })
        }
        OperatorCommand::Deal(args) => deal(app, &client, &args).await,
        OperatorCommand::Recover { share_files } => {
            let request = RecoverRequest { operator_shares: read_shares(&share_files)? };
            let reply = app.wait("recovering", client.recover(request)).await?;
            let RecoverResponse { state, share_epoch, alone } = &reply.value;
            let json = json!({ "state": state, "share_epoch": share_epoch, "alone": alone });
            let next = match alone {
                true => {
                    "It is the only member now, under a new root key.\nNext: `conclave node add` \
                     grows the domain again, and `conclave audit verify` checks its history"
                }
                false => {
                    "Next: `conclave operator rotate-root` deals new shares to all nodes, each under \
                     the seal it is configured with"
                }
            };
            app.show(&with_meta(json, &reply), |out| {
                writeln!(out, "{}: {state}\n{next}", reply.endpoint)
            })
        }
        OperatorCommand::RotateRoot => {
            let client = app.client()?;
            let reply = app.wait("dealing", client.rotate_root(RotateRootRequest {})).await?;
            let RotateRootResponse { share_epoch, missing } = &reply.value;
            let json = json!({ "share_epoch": share_epoch, "missing": missing });
            app.show(&with_meta(json, &reply), |out| match missing.as_slice() {
                [] => writeln!(
                    out,
                    "Share epoch {share_epoch} is complete: all nodes have their shares"
                ),
                missing => writeln!(
                    out,
                    "Share epoch {share_epoch} is pending: {} have yet to store their shares.\n\
                     They are given them when they are back. Next: `conclave status`, or \
                     `conclave node exclude NAME` for one that will not be",
                    missing.join(", ")
                ),
            })
        }
        OperatorCommand::RotateDomainKey => rotate_domain_key(app).await,
        OperatorCommand::Status => {
            let request = StatusRequest { local_only: true };
            let reply = app.wait("asking", client.status(request)).await?;
            status::show(app, &reply.value)
        }
    }
}

async fn rotate_domain_key(app: &App) -> Result<(), CliError> {
    let client = app.client()?;
    let request = RotateDomainKeyRequest {};
    let reply = app.wait("rotating", client.rotate_domain_key(request)).await?;
    let epoch = reply.value.domain_key;
    app.show(&with_meta(json!({ "domain_key": epoch }), &reply), |out| {
        writeln!(out, "Domain key {epoch} is in use for everything that is written from now on.")?;
        writeln!(
            out,
            "Records under older ones are sealed again in the background, then those are retired:"
        )?;
        writeln!(out, "`conclave status` says how many are left.")
    })
}

/// The shares are on disk before anything is committed: a cluster whose operators hold nothing
/// could never be opened again.
async fn init(app: &App, client: &Client, args: &InitArgs) -> Result<(), CliError> {
    let paths = share_paths(&args.made)?;

    let request = PrepareInitRequest {
        members: args.members.iter().map(Member::to_proto).collect(),
        domain: args.domain.clone(),
        account: args.account.clone(),
        shares: args.made.shares.total,
        threshold: args.made.shares.threshold,
    };
    let mut prepared = app.wait("preparing", client.prepare_init(request)).await?.value;
    write_shares(&paths, std::mem::take(&mut prepared.operator_shares), &args.made.recipients)?;

    let commit = client.commit_init(CommitInitRequest { init_id: prepared.init_id });
    let reply = match app.wait("founding", commit).await {
        Ok(reply) => reply,
        Err(error) => return Err(explain_commit(app, error, &args.made.shares_out)),
    };
    let Shares { threshold, total } = args.made.shares;
    let key = &reply.value.audit_verifier_key;
    let json = json!({
        "audit_verifier_key": key,
        "principal": reply.value.principal,
        "shares": paths,
        "share_threshold": threshold,
    });
    app.show(&with_meta(json, &reply), |out| {
        let folder = args.made.shares_out.display();
        writeln!(out, "The cluster is founded. {} is its first operator.", reply.value.principal)?;
        writeln!(out, "\nThe audit log's verifier key; keep it where the cluster cannot reach:")?;
        writeln!(out, "  export CONCLAVE_AUDIT_KEY='{key}'")?;
        writeln!(
            out,
            "\nThe operator shares are in {folder}, any {threshold} of the {total} unseal."
        )?;
        writeln!(
            out,
            "They exist nowhere else: give each to another person, then delete them here."
        )?;
        writeln!(
            out,
            "\nNext: at each node, `conclave operator unseal --endpoints https://NODE:PORT`"
        )?;
        writeln!(out, "with {threshold} shares (--share-file FILE for each, or typed in).")?;
        writeln!(out, "Then let people in: `conclave principal create NAME --role ROLE`")
    })
}

/// The files stay, whatever happened: deleting shares that count would be the end of the cluster.
fn explain_commit(app: &App, error: ClientError, folder: &Path) -> CliError {
    app.say(&format!(
        "Keep the shares in {} until `conclave operator status` tells: if the cluster is founded, \
         they count; if it is not, delete them and try again.",
        folder.display()
    ));
    error.into()
}

/// The new shares are on disk before they count, as at the founding.
async fn deal(app: &App, client: &Client, args: &DealArgs) -> Result<(), CliError> {
    let paths = share_paths(&args.made)?;
    let request = PrepareOperatorSharesRequest {
        operator_shares: read_shares(&args.share_files)?,
        shares: args.made.shares.total,
        threshold: args.made.shares.threshold,
    };
    let mut prepared = app.wait("preparing", client.prepare_operator_shares(request)).await?.value;
    write_shares(&paths, std::mem::take(&mut prepared.operator_shares), &args.made.recipients)?;

    let commit = client.commit_operator_shares(CommitOperatorSharesRequest { id: prepared.id });
    let reply = match app.wait("dealing", commit).await {
        Ok(reply) => reply,
        Err(error) => {
            app.say(&format!(
                "Keep the old shares and those in {} until `conclave status` tells: at operator \
                 generation {} the new ones count, else delete them and try again.",
                args.made.shares_out.display(),
                prepared.generation
            ));
            return Err(error.into());
        }
    };
    let RotateRootResponse { share_epoch, missing } = &reply.value;
    let generation = prepared.generation;
    let Shares { threshold, total } = args.made.shares;
    let json = json!({
        "operator_generation": generation,
        "shares": paths,
        "share_threshold": threshold,
        "share_epoch": share_epoch,
        "missing": missing,
    });
    app.show(&with_meta(json, &reply), |out| {
        let folder = args.made.shares_out.display();
        writeln!(
            out,
            "The operator shares of generation {generation} are in {folder}, any {threshold} of \
             the {total} unseal.\nThey exist nowhere else: give each to another person, then delete \
             them here."
        )?;
        match missing.as_slice() {
            [] => writeln!(out, "The old ones open nothing any more."),
            missing => writeln!(
                out,
                "The old ones still unseal {}, until it has its new share; see `conclave status`",
                missing.join(", ")
            ),
        }
    })
}

/// Where shares are to be written. None of the files may be there.
fn share_paths(made: &MadeArgs) -> Result<Vec<PathBuf>, CliError> {
    let MadeArgs { shares, shares_out: folder, recipients } = made;
    let given = recipients.len();
    if given != 0 && u32::try_from(given) != Ok(shares.total) {
        return Err(CliError::Usage(format!(
            "{} shares are to be made, and {given} recipients were given; give one for each, or none",
            shares.total
        )));
    }
    let suffix = if given == 0 { "" } else { ".age" };
    let paths: Vec<PathBuf> = (1..=shares.total)
        .map(|number| folder.join(format!("operator-share-{number}{suffix}")))
        .collect();
    if let Some(path) = paths.iter().find(|path| path.symlink_metadata().is_ok()) {
        return Err(CliError::Usage(format!(
            "{} exists already and was left as it is; choose another folder with --shares-out",
            path.display()
        )));
    }
    files::make_private_folder(folder)?;
    Ok(paths)
}

fn write_shares(
    paths: &[PathBuf],
    shares: Vec<String>,
    recipients: &[Recipient],
) -> Result<(), CliError> {
    let shares: Vec<Zeroizing<String>> = shares.into_iter().map(Zeroizing::new).collect();
    if shares.len() != paths.len() {
        return Err(CliError::Protocol("another number of operator shares than asked for"));
    }
    for (number, (path, share)) in paths.iter().zip(&shares).enumerate() {
        let line = Zeroizing::new(format!("{}\n", **share));
        match recipients.get(number) {
            None => write_private(path, line.as_bytes())?,
            Some(recipient) => {
                let encrypted = recipient.encrypt(line.as_bytes());
                let encrypted = encrypted.map_err(|error| CliError::Usage(error.to_string()))?;
                write_private(path, &encrypted)?;
            }
        }
    }
    Ok(())
}

fn read_shares(files: &[PathBuf]) -> Result<Vec<String>, CliError> {
    files.iter().map(|path| read_share(path).map(|share| share.to_string())).collect()
}

async fn unseal(app: &App, client: &Client, share_files: &[PathBuf]) -> Result<(), CliError> {
    let reply = if share_files.is_empty() {
        ask_for_shares(app, client).await?
    } else {
        let operator_shares = read_shares(share_files)?;
        app.wait("unsealing", client.unseal(UnsealRequest { operator_shares })).await?
    };
    let UnsealResponse { state, progress, threshold } = &reply.value;
    let json = json!({ "state": state, "progress": progress, "threshold": threshold });
    app.show(&with_meta(json, &reply), |out| {
        let node = &reply.endpoint;
        match state.as_str() {
            "sealed" => writeln!(
                out,
                "{node}: sealed, {progress} of {threshold} operator shares given\n\
                 Next: give it more; those given are kept in memory"
            ),
            "share-ready" => writeln!(
                out,
                "{node}: share-ready\n\
                 It opens as soon as enough other nodes are unsealed too; see `conclave status`"
            ),
            _ => writeln!(out, "{node}: {state}"),
        }
    })
}

async fn ask_for_shares(
    app: &App,
    client: &Client,
) -> Result<conclave_client::Reply<UnsealResponse>, CliError> {
    if !std::io::stdin().is_terminal() {
        let message = "no terminal to ask for shares on; give --share-file FILE for each share";
        return Err(CliError::Usage(message.to_owned()));
    }
    let mut errors = 0;
    let mut given = 0;
    loop {
        let prompt = format!("Operator share {} (not shown): ", given + 1);
        let typed = tokio::task::block_in_place(|| rpassword::prompt_password(prompt));
        let typed = typed.map(Zeroizing::new).map_err(|source| CliError::File {
            verb: "read",
            path: PathBuf::from("the terminal"),
            source,
        })?;
        if typed.trim().is_empty() {
            return Err(CliError::NotDone(format!(
                "stopped after {given} shares; the node keeps them in memory until it stops"
            )));
        }
        let request = UnsealRequest { operator_shares: vec![typed.trim().to_owned()] };
        match app.wait("unsealing", client.unseal(request)).await {
            Ok(reply) if reply.value.state == "sealed" => {
                let UnsealResponse { progress, threshold, .. } = reply.value;
                given = progress;
                app.say(&format!("{progress} of {threshold} shares"));
            }
            Ok(reply) => return Ok(reply),
            Err(error @ ClientError::Refused(_)) if errors < TYPING_ERRORS_MAX => {
                errors += 1;
                app.say(&format!("{error}; try again, or press Enter to stop"));
            }
            Err(error) => return Err(error.into()),
        }
    }
}

fn read_share(path: &Path) -> Result<Zeroizing<String>, CliError> {
    let bytes = files::read_input(Some(path), SHARE_BYTES_MAX, SHARE_HINT)?;
    match std::str::from_utf8(&bytes).map(str::trim) {
        Ok(text) if !text.is_empty() => Ok(Zeroizing::new(text.to_owned())),
        _ => Err(CliError::Usage(format!("{} holds no share; {SHARE_HINT}", path.display()))),
    }
}
