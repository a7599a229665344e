//! `conclave audit verify`: a file by itself, or the running cluster with its nodes as witnesses.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::File,
    io::Read,
    path::{Path, PathBuf},
};

use clap::Args;
use conclave_audit::{Expectation, Hash, Head, Report, Verifier};
use conclave_client::Client;
use conclave_proto::v1::{StatusRequest, export_audit_response::Item};
use serde_json::{Value, json};

use super::{
    Export,
    witnesses::{self, Verdict, Witness},
};
use crate::{app::App, error::CliError};

#[derive(Debug, Args)]
pub(crate) struct VerifyArgs {
    /// An export to verify offline; without it, the cluster is verified.
    #[arg(long = "in", value_name = "FILE")]
    input: Option<PathBuf>,
    /// A size and root that an earlier verification printed: the log must still begin so.
    #[arg(long, value_name = "SIZE:HASH")]
    expect: Vec<Expectation>,
}

pub(super) async fn run(app: &App, args: &VerifyArgs) -> Result<(), CliError> {
    let verifier = Verifier::new(Some(app.audit_key()?), args.expect.clone());
    match &args.input {
        Some(path) => {
            let report = offline(path, verifier)?;
            show(app, &report, None)
        }
        None => online(app, verifier).await,
    }
}

fn offline(path: &Path, mut verifier: Verifier) -> Result<Report, CliError> {
    let failed = |source| CliError::File { verb: "read", path: path.to_owned(), source };
    let mut file = File::open(path).map_err(failed)?;
    let mut piece = vec![0; 64 * 1024];
    loop {
        match file.read(&mut piece).map_err(failed)? {
            0 => return Ok(verifier.finish()?),
            length => verifier.push(&piece[..length])?,
        }
    }
}

/// The nodes say how far they are *before* the export, so the export reaches at least as far and
/// each can be held to its own size.
async fn online(app: &App, mut verifier: Verifier) -> Result<(), CliError> {
    let client = app.client()?;
    let status = client.status(StatusRequest { local_only: false });
    let nodes = app.wait("asking who there is", status).await?.value.nodes;
    let mut witnesses = app.wait("asking the nodes", witnesses::ask(app, &nodes, None)).await?;
    // Reading the log is an operation, which only a majority can commit.
    witnesses::check_majority_answers(&witnesses)?;
    let sizes = witnesses.iter().filter_map(|witness| witness.head.map(|head| head.size)).collect();
    let mut hashes = app.wait("verifying", walk(&client, &mut verifier, &sizes)).await?;
    let report = verifier.finish()?;

    // The node that exported may have been behind others: those are held to its size.
    let size = report.checkpoint.size;
    if witnesses.iter().any(|witness| witness.head.is_some_and(|head| head.size > size)) {
        let again = witnesses::ask(app, &nodes, Some(size));
        let again = app.wait("asking the nodes", again).await?;
        for (witness, again) in witnesses.iter_mut().zip(again) {
            if witness.head.is_some_and(|head| head.size > size) {
                *witness = again;
            }
        }
    }
    hashes.insert(size, report.checkpoint.head);
    let verdict = Verdict::of(&witnesses, &hashes);
    show(app, &report, Some((&witnesses, &verdict)))?;
    verdict.into_result()
}

/// Verifies a whole export, and notes the chain's hash at each of `sizes`.
async fn walk(
    client: &Client,
    verifier: &mut Verifier,
    sizes: &BTreeSet<u64>,
) -> Result<BTreeMap<u64, Hash>, CliError> {
    let mut export = Export::begin(client).await?;
    verifier.push_header(&export.header)?;
    let mut hashes = BTreeMap::new();
    hashes.insert(0, Head::genesis(&export.header.domain).hash);
    while let Some(item) = export.next().await? {
        match item {
            Item::Header(_) => return Err(CliError::Protocol("a second header")),
            Item::Step(step) => {
                verifier.push_step(&step)?;
                // The verifier has just found this hash to be the chain's.
                let size = step.index + 1;
                if sizes.contains(&size)
                    && let Ok(hash) = step.hash.as_slice().try_into()
                {
                    hashes.insert(size, hash);
                }
            }
            Item::Checkpoint(note) => verifier.push_checkpoint(&note)?,
        }
    }
    Ok(hashes)
}

fn show(
    app: &App,
    report: &Report,
    online: Option<(&[Witness], &Verdict)>,
) -> Result<(), CliError> {
    let point = &report.checkpoint;
    let mut json = json!({
        "verified": online.is_none_or(|(_, verdict)| verdict.holds()),
        "origin": point.origin.to_string(),
        "size": point.size,
        "root": hex::encode(point.root),
        "head": hex::encode(point.head),
        "expect": format!("{}:{}", point.size, hex::encode(point.root)),
        "checkpoint_ms": point.time_ms,
        "first_ms": report.first_ms,
        "last_ms": report.last_ms,
        "expectations_met": report.expectations_met,
    });
    if let Some((witnesses, verdict)) = online {
        json["nodes"] = witnesses.iter().map(|witness| witness.to_json(verdict)).collect::<Value>();
        json["agreed_size"] = json!(verdict.agreed_size);
        json["voters"] = json!(verdict.voters);
        json["voters_agreeing"] = json!(verdict.agreeing);
    }
    app.show(&json, |out| {
        writeln!(out, "{report}")?;
        if let Some((witnesses, verdict)) = online {
            writeln!(out, "\n{}", witnesses::to_table(witnesses, verdict))?;
            writeln!(
                out,
                "{} of {} voters hold this very log; a majority of them has it up to entry {}.",
                verdict.agreeing, verdict.voters, verdict.agreed_size
            )?;
        }
        Ok(())
    })
}
