//! `conclave audit export`: canonical JSON lines, ending in a signed checkpoint.

use std::path::PathBuf;

use clap::Args;
use conclave_audit::{
    checkpoint::Checkpoint,
    export::{Line, Step},
};
use conclave_proto::v1::export_audit_response::Item;
use serde_json::json;

use super::Export;
use crate::{
    app::App,
    error::CliError,
    files::{AtomicFile, SECRET},
    output::lines,
};

#[derive(Debug, Args)]
pub(crate) struct ExportArgs {
    /// Where to write it, for you alone to read: entries name keys, principals and addresses.
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
}

pub(super) async fn run(app: &App, args: &ExportArgs) -> Result<(), CliError> {
    let client = app.client()?;
    let mut export = app.wait("exporting", Export::begin(&client)).await?;
    let mut file = AtomicFile::create(&args.out, SECRET)?;
    file.write(&Line::Header(export.header.clone()).encode())?;

    let progress = app.spinner("exporting");
    let mut size = 0;
    let note = loop {
        match export.next().await? {
            Some(Item::Step(step)) => {
                let step = Step::try_from(&step);
                let step =
                    step.map_err(|_| CliError::Protocol("a step of the export is broken"))?;
                file.write(&Line::Step(Box::new(step)).encode())?;
                size += 1;
                progress.set_message(format!("exporting: {size} entries"));
            }
            Some(Item::Checkpoint(note)) => break note,
            Some(Item::Header(_)) => return Err(CliError::Protocol("a second header")),
            None => return Err(CliError::Protocol("the export ends without a checkpoint")),
        }
    };
    progress.finish_and_clear();
    file.write(&Line::Checkpoint(note.clone()).encode())?;
    file.commit()?;

    // Only what stands there: whether it is true is for `verify`, with a key kept elsewhere.
    let claimed = Checkpoint::verify(&note, &export.header.audit_key).ok();
    let expect = claimed.map(|point| format!("{}:{}", point.size, hex::encode(point.root)));
    let origin = export.header.audit_key.name();
    let json = json!({ "out": args.out, "origin": origin, "size": size, "expect": expect });
    app.show(&json, |out| {
        let text = lines([
            ("file", args.out.display().to_string()),
            ("log", origin.to_owned()),
            ("entries", format!("{size}")),
        ]);
        writeln!(out, "{text}Next: conclave audit verify --in {}", args.out.display())
    })
}
