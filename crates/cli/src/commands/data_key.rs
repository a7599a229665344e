//! `conclave data-key`: a key to encrypt any amount of data with, and its ciphertext to keep.

use base64::{Engine, engine::general_purpose::STANDARD};
use clap::Args;
use conclave_proto::v1::{GenerateDataKeyRequest, GenerateDataKeyWithoutPlaintextRequest};
use serde::Serialize;
use zeroize::Zeroizing;

use crate::{
    app::App,
    error::CliError,
    output::revision,
    values::{Pair, context},
};

#[derive(Debug, Args)]
pub(crate) struct DataKeyArgs {
    /// The key to protect the data key with: its id, ARN or alias (alias/NAME).
    #[arg(long)]
    key: String,
    /// The data key's length.
    #[arg(long, default_value_t = 32, value_parser = clap::value_parser!(i32).range(1..=1024))]
    bytes: i32,
    /// A pair of the encryption context; repeat for several.
    #[arg(long = "context", value_name = "NAME=VALUE")]
    context: Vec<Pair>,
    /// Ask for the ciphertext alone.
    #[arg(long)]
    without_plaintext: bool,
}

#[derive(Serialize)]
struct DataKey<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    plaintext: Option<&'a str>,
    ciphertext: String,
    key_id: &'a str,
    request_id: &'a str,
    revision: Option<String>,
}

pub(crate) async fn run(app: &App, args: DataKeyArgs) -> Result<(), CliError> {
    let client = app.client()?;
    let (key, bytes, context) = (args.key, args.bytes, context(args.context));
    if args.without_plaintext {
        let request = GenerateDataKeyWithoutPlaintextRequest {
            key_id: key,
            number_of_bytes: Some(bytes),
            encryption_context: context,
            ..Default::default()
        };
        let call = client.generate_data_key_without_plaintext(request);
        let reply = app.wait("making a data key", call).await?;
        return show(
            app,
            &DataKey {
                plaintext: None,
                ciphertext: STANDARD.encode(&reply.value.ciphertext_blob),
                key_id: &reply.value.key_id,
                request_id: reply.request_id.as_str(),
                revision: revision(&reply),
            },
        );
    }
    let request = GenerateDataKeyRequest {
        key_id: key,
        number_of_bytes: Some(bytes),
        encryption_context: context,
        ..Default::default()
    };
    let mut reply = app.wait("making a data key", client.generate_data_key(request)).await?;
    let plaintext = Zeroizing::new(std::mem::take(&mut reply.value.plaintext));
    let plaintext = Zeroizing::new(STANDARD.encode(&*plaintext));
    show(
        app,
        &DataKey {
            plaintext: Some(&plaintext),
            ciphertext: STANDARD.encode(&reply.value.ciphertext_blob),
            key_id: &reply.value.key_id,
            request_id: reply.request_id.as_str(),
            revision: revision(&reply),
        },
    )
}

fn show(app: &App, data_key: &DataKey<'_>) -> Result<(), CliError> {
    app.show(data_key, |out| {
        if let Some(plaintext) = data_key.plaintext {
            writeln!(out, "plaintext:  {plaintext}")?;
        }
        writeln!(out, "ciphertext: {}", data_key.ciphertext)
    })
}
