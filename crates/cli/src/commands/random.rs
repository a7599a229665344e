//! `conclave random`: random bytes, in hex or raw into a file.

use std::path::PathBuf;

use clap::Args;
use conclave_proto::v1::GenerateRandomRequest;
use serde::Serialize;
use zeroize::Zeroizing;

use crate::{app::App, error::CliError, files, output::revision};

#[derive(Debug, Args)]
pub(crate) struct RandomArgs {
    /// How many.
    #[arg(long, value_parser = clap::value_parser!(i32).range(1..=1024))]
    bytes: i32,
    /// Where to write them raw, for you alone to read; by default hex to standard output.
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

#[derive(Serialize)]
struct Random<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    random: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    out: Option<&'a PathBuf>,
    request_id: &'a str,
    revision: Option<String>,
}

pub(crate) async fn run(app: &App, args: RandomArgs) -> Result<(), CliError> {
    let call = app.client()?;
    let request = GenerateRandomRequest { number_of_bytes: Some(args.bytes), ..Default::default() };
    let mut reply = app.wait("asking for randomness", call.generate_random(request)).await?;
    let bytes = Zeroizing::new(std::mem::take(&mut reply.value.plaintext));
    let mut text = None;
    match &args.out {
        Some(path) => files::write_output(Some(path), &bytes, files::SECRET)?,
        None => text = Some(Zeroizing::new(hex::encode(&*bytes))),
    }
    let random = Random {
        random: text.as_ref().map(|text| text.as_str()),
        out: args.out.as_ref(),
        request_id: reply.request_id.as_str(),
        revision: revision(&reply),
    };
    app.show(&random, |out| match random.random {
        Some(text) => writeln!(out, "{text}"),
        None => Ok(()),
    })
}
