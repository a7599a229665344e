//! `conclave re-encrypt`: another key or context, and no plaintext outside the cluster.

use std::path::PathBuf;

use base64::{Engine, engine::general_purpose::STANDARD};
use clap::Args;
use conclave_proto::v1::ReEncryptRequest;
use serde_json::json;

use crate::{
    app::App,
    commands::decrypt::{CIPHERTEXT_BYTES_MAX, CIPHERTEXT_HINT},
    error::CliError,
    files,
    output::{Format, with_meta},
    values::{Pair, context},
};

#[derive(Debug, Args)]
pub(crate) struct ReEncryptArgs {
    /// The key to encrypt under.
    #[arg(long, value_name = "KEY")]
    to: String,
    /// A pair of the encryption context that it was encrypted with; repeat for several.
    #[arg(long = "context", value_name = "NAME=VALUE")]
    context: Vec<Pair>,
    /// A pair of the new encryption context; repeat for several.
    #[arg(long = "to-context", value_name = "NAME=VALUE")]
    to_context: Vec<Pair>,
    /// The ciphertext; standard input by default.
    #[arg(long = "in", value_name = "FILE")]
    input: Option<PathBuf>,
    /// Where to write the new ciphertext; standard output by default.
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

pub(crate) async fn run(app: &App, args: ReEncryptArgs) -> Result<(), CliError> {
    let client = app.client()?;
    let ciphertext =
        files::read_input(args.input.as_deref(), CIPHERTEXT_BYTES_MAX, CIPHERTEXT_HINT)?;
    let request = ReEncryptRequest {
        ciphertext_blob: ciphertext.to_vec(),
        source_encryption_context: context(args.context),
        destination_key_id: args.to,
        destination_encryption_context: context(args.to_context),
        source_key_id: String::new(),
        ..Default::default()
    };
    let reply = app.wait("encrypting anew", client.re_encrypt(request)).await?;
    let ciphertext = &reply.value.ciphertext_blob;
    let mut json =
        json!({ "key_id": reply.value.key_id, "source_key_id": reply.value.source_key_id });
    match &args.out {
        Some(path) => {
            files::write_output(Some(path), ciphertext, files::PUBLIC)?;
            json["out"] = json!(path);
        }
        None if app.output() == Format::Table => {
            return files::write_output(None, ciphertext, files::PUBLIC);
        }
        None => json["ciphertext"] = json!(STANDARD.encode(ciphertext)),
    }
    app.show(&with_meta(json, &reply), |_| Ok(()))
}
