//! `conclave key public-key`, `sign`, `verify`, `mac`, `verify-mac`: what key pairs and MAC keys are for.

use std::path::{Path, PathBuf};

use base64::{Engine, engine::general_purpose::STANDARD};
use clap::Args;
use conclave_client::PLAINTEXT_BYTES_MAX;
use conclave_proto::v1::{
    GenerateMacRequest, GetPublicKeyRequest, SignRequest, VerifyMacRequest, VerifyRequest,
};
use serde_json::json;

use super::key_arg::KeyArg;
use crate::{
    app::App,
    error::CliError,
    files,
    output::{Format, with_meta},
};

/// Longer ones are hashed first.
const HINT: &str = "hash it and sign the hash: --message-type DIGEST";
/// Longest signature or MAC, in bytes.
const SIGNATURE_BYTES_MAX: usize = 6144;

#[derive(Debug, Args)]
pub(crate) struct PublicKeyArgs {
    #[command(flatten)]
    key: KeyArg,
    /// Where to write it; standard output by default.
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// DER instead of PEM.
    #[arg(long)]
    der: bool,
}

#[derive(Debug, Args)]
pub(crate) struct SignArgs {
    #[command(flatten)]
    key: KeyArg,
    /// The algorithm, as AWS KMS names it: ECDSA_SHA_256, RSASSA_PSS_SHA_256, ED25519_SHA_512 ...
    #[arg(long)]
    algorithm: String,
    /// RAW (the message itself), DIGEST (its hash) or EXTERNAL_MU.
    #[arg(long, value_name = "TYPE", default_value = "RAW")]
    message_type: String,
    /// The message; standard input by default.
    #[arg(long = "in", value_name = "FILE")]
    input: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct MacArgs {
    #[command(flatten)]
    key: KeyArg,
    /// The algorithm, as AWS KMS names it: HMAC_SHA_256 ...
    #[arg(long)]
    algorithm: String,
    /// The message; standard input by default.
    #[arg(long = "in", value_name = "FILE")]
    input: Option<PathBuf>,
}

/// Where a signature or a MAC is written.
#[derive(Debug, Args)]
pub(crate) struct Out {
    /// Where to write it; standard output by default.
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

/// Where it is read from.
#[derive(Debug, Args)]
pub(crate) struct Given {
    /// The file that holds it.
    #[arg(long, value_name = "FILE")]
    signature: PathBuf,
}

pub(crate) async fn public_key(app: &App, args: PublicKeyArgs) -> Result<(), CliError> {
    let client = app.client()?;
    let request = GetPublicKeyRequest { key_id: args.key.key, ..Default::default() };
    let reply = app.wait("asking", client.get_public_key(request)).await?;
    let der = &reply.value.public_key;
    let written = if args.der {
        der.clone()
    } else {
        pem::encode(&pem::Pem::new("PUBLIC KEY", der.as_slice())).into_bytes()
    };
    let json = json!({
        "arn": reply.value.key_id,
        "spec": reply.value.key_spec,
        "usage": reply.value.key_usage,
        "public_key": STANDARD.encode(der),
    });
    write(app, args.out.as_deref(), &written, with_meta(json, &reply))
}

pub(crate) async fn sign(app: &App, args: SignArgs, to: Out) -> Result<(), CliError> {
    let client = app.client()?;
    let message = files::read_input(args.input.as_deref(), PLAINTEXT_BYTES_MAX, HINT)?;
    let request = SignRequest {
        key_id: args.key.key,
        message: message.to_vec(),
        message_type: args.message_type,
        signing_algorithm: args.algorithm,
        ..Default::default()
    };
    let reply = app.wait("signing", client.sign(request)).await?;
    let signature = &reply.value.signature;
    let json = json!({ "arn": reply.value.key_id, "signature": STANDARD.encode(signature) });
    write(app, to.out.as_deref(), signature, with_meta(json, &reply))
}

pub(crate) async fn verify(app: &App, args: SignArgs, given: Given) -> Result<(), CliError> {
    let client = app.client()?;
    let message = files::read_input(args.input.as_deref(), PLAINTEXT_BYTES_MAX, HINT)?;
    let signature = files::read_input(Some(&given.signature), SIGNATURE_BYTES_MAX, "")?;
    let request = VerifyRequest {
        key_id: args.key.key,
        message: message.to_vec(),
        message_type: args.message_type,
        signing_algorithm: args.algorithm,
        signature: signature.to_vec(),
        ..Default::default()
    };
    let reply = app.wait("verifying", client.verify(request)).await?;
    let json = json!({ "arn": reply.value.key_id, "valid": reply.value.signature_valid });
    app.show(&with_meta(json, &reply), |out| writeln!(out, "the signature is valid"))
}

pub(crate) async fn mac(app: &App, args: MacArgs, to: Out) -> Result<(), CliError> {
    let client = app.client()?;
    let message = files::read_input(args.input.as_deref(), PLAINTEXT_BYTES_MAX, "")?;
    let request = GenerateMacRequest {
        key_id: args.key.key,
        message: message.to_vec(),
        mac_algorithm: args.algorithm,
        ..Default::default()
    };
    let reply = app.wait("making a MAC", client.generate_mac(request)).await?;
    let mac = &reply.value.mac;
    let json = json!({ "arn": reply.value.key_id, "mac": STANDARD.encode(mac) });
    write(app, to.out.as_deref(), mac, with_meta(json, &reply))
}

pub(crate) async fn verify_mac(app: &App, args: MacArgs, given: Given) -> Result<(), CliError> {
    let client = app.client()?;
    let message = files::read_input(args.input.as_deref(), PLAINTEXT_BYTES_MAX, "")?;
    let mac = files::read_input(Some(&given.signature), SIGNATURE_BYTES_MAX, "")?;
    let request = VerifyMacRequest {
        key_id: args.key.key,
        message: message.to_vec(),
        mac_algorithm: args.algorithm,
        mac: mac.to_vec(),
        ..Default::default()
    };
    let reply = app.wait("verifying", client.verify_mac(request)).await?;
    let json = json!({ "arn": reply.value.key_id, "valid": reply.value.mac_valid });
    app.show(&with_meta(json, &reply), |out| writeln!(out, "the MAC is valid"))
}

/// To a file if one is named; else the bytes themselves for people, or JSON for scripts.
fn write(
    app: &App,
    out: Option<&Path>,
    bytes: &[u8],
    mut json: serde_json::Value,
) -> Result<(), CliError> {
    match out {
        Some(path) => {
            files::write_output(Some(path), bytes, files::PUBLIC)?;
            json["out"] = json!(path);
        }
        None if app.output() == Format::Table => {
            return files::write_output(None, bytes, files::PUBLIC);
        }
        None => {}
    }
    app.show(&json, |_| Ok(()))
}
