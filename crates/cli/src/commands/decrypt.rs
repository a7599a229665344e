//! `conclave decrypt`: the plaintext, to whoever may have it.

use std::path::PathBuf;

use base64::{Engine, engine::general_purpose::STANDARD};
use clap::Args;
use conclave_proto::v1::DecryptRequest;
use serde::Serialize;
use zeroize::Zeroizing;

use crate::{
    app::App,
    error::CliError,
    files,
    output::{Format, revision},
    values::{Pair, context},
};

/// A ciphertext of the largest plaintext, and room for what stands around it.
pub(crate) const CIPHERTEXT_BYTES_MAX: usize = 16 * 1024;
pub(crate) const CIPHERTEXT_HINT: &str =
    "it was not made by `conclave encrypt`; data encrypted with a data key is decrypted locally";

#[derive(Debug, Args)]
pub(crate) struct DecryptArgs {
    /// Refuse any key but this one.
    #[arg(long)]
    key: Option<String>,
    /// A pair of the encryption context that it was encrypted with; repeat for several.
    #[arg(long = "context", value_name = "NAME=VALUE")]
    context: Vec<Pair>,
    /// The ciphertext; standard input by default.
    #[arg(long = "in", value_name = "FILE")]
    input: Option<PathBuf>,
    /// Where to write the plaintext, for you alone to read; standard output by default.
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

#[derive(Serialize)]
struct Decrypted<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    plaintext: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    out: Option<&'a PathBuf>,
    key_id: &'a str,
    request_id: &'a str,
    revision: Option<String>,
}

pub(crate) async fn run(app: &App, args: DecryptArgs) -> Result<(), CliError> {
    let client = app.client()?;
    let ciphertext =
        files::read_input(args.input.as_deref(), CIPHERTEXT_BYTES_MAX, CIPHERTEXT_HINT)?;
    let request = DecryptRequest {
        ciphertext_blob: ciphertext.to_vec(),
        encryption_context: context(args.context),
        key_id: args.key.unwrap_or_default(),
        ..Default::default()
    };
    let mut reply = app.wait("decrypting", client.decrypt(request)).await?;
    let plaintext = Zeroizing::new(std::mem::take(&mut reply.value.plaintext));
    let mut encoded = None;
    match &args.out {
        Some(path) => files::write_output(Some(path), &plaintext, files::SECRET)?,
        None if app.output() == Format::Table => {
            return files::write_output(None, &plaintext, files::SECRET);
        }
        None => encoded = Some(Zeroizing::new(STANDARD.encode(&*plaintext))),
    }
    let decrypted = Decrypted {
        plaintext: encoded.as_ref().map(|text| text.as_str()),
        out: args.out.as_ref(),
        key_id: &reply.value.key_id,
        request_id: reply.request_id.as_str(),
        revision: revision(&reply),
    };
    app.show(&decrypted, |_| Ok(()))
}
