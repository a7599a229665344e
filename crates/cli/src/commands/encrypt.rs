//! `conclave encrypt`: up to 4096 bytes under a key of the cluster.

use std::path::PathBuf;

use base64::{Engine, engine::general_purpose::STANDARD};
use clap::Args;
use conclave_client::PLAINTEXT_BYTES_MAX;
use conclave_proto::v1::EncryptRequest;
use serde_json::json;

use crate::{
    app::App,
    error::CliError,
    files,
    output::{Format, with_meta},
    values::{Pair, context},
};

#[derive(Debug, Args)]
pub(crate) struct EncryptArgs {
    /// The key: its id, ARN or alias (alias/NAME).
    #[arg(long)]
    key: String,
    /// A pair of the encryption context, which must be given again to decrypt; repeat for several.
    #[arg(long = "context", value_name = "NAME=VALUE")]
    context: Vec<Pair>,
    /// The plaintext; standard input by default.
    #[arg(long = "in", value_name = "FILE")]
    input: Option<PathBuf>,
    /// Where to write the ciphertext; standard output by default.
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

const HINT: &str = "use envelope encryption: ask for a data key (`conclave data-key`), encrypt \
                    with it, keep its ciphertext";

pub(crate) async fn run(app: &App, args: EncryptArgs) -> Result<(), CliError> {
    let client = app.client()?;
    let mut plaintext = files::read_input(args.input.as_deref(), PLAINTEXT_BYTES_MAX, HINT)?;
    let request = EncryptRequest {
        key_id: args.key,
        plaintext: std::mem::take(&mut *plaintext),
        encryption_context: context(args.context),
        ..Default::default()
    };
    let reply = app.wait("encrypting", client.encrypt(request)).await?;
    let ciphertext = &reply.value.ciphertext_blob;
    let mut json = json!({ "key_id": reply.value.key_id });
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
