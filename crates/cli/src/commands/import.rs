//! `conclave key import` and `key delete-material`: key material from a file, which leaves this process
//! only wrapped for the cluster.

use std::path::PathBuf;

use clap::Args;
use conclave_client::Reply;
use conclave_crypto::{
    SystemEntropy,
    rsa::{EncryptingKey, Oaep},
    rsa_aes_wrap,
};
use conclave_proto::v1::{
    DeleteImportedKeyMaterialRequest, GetParametersForImportRequest, ImportKeyMaterialRequest,
};
use serde_json::json;

use crate::{
    app::App,
    commands::key_arg::by_id,
    error::CliError,
    files,
    output::{lines, or_dash, with_meta},
    time::Until,
};

/// An RSA-4096 key in PKCS #8 has about 2400 bytes.
const MATERIAL_BYTES_MAX: usize = 4096;
const HINT: &str =
    "give the raw bytes of a symmetric or HMAC key, or one private key as PKCS #8 DER";

/// It takes material of any length.
const ALGORITHM: &str = "RSA_AES_KEY_WRAP_SHA_256";
/// 128 bits of strength, inside TLS; longer ones take the node long to make.
const WRAPPING_KEY: &str = "RSA_3072";

#[derive(Debug, Args)]
pub(crate) struct ImportArgs {
    /// The key, made with --external: its id, ARN or alias (alias/NAME).
    key: String,
    /// The material: the raw bytes of a symmetric or HMAC key, or a private key as PKCS #8 DER.
    file: PathBuf,
    /// When the material expires: a time in UTC (2027-01-01 or 2027-01-01T12:00:00Z) or 12h, 30d from
    /// now, 365 days at most; by default never.
    #[arg(long, value_name = "TIME")]
    expires: Option<Until>,
    /// Material beside what a symmetric key has: it waits to be used by `key rotate`.
    #[arg(long)]
    new: bool,
    /// A note on the material of a symmetric key, for people.
    #[arg(long, value_name = "TEXT")]
    description: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct DeleteMaterialArgs {
    /// The key: its id, ARN or alias (alias/NAME).
    key: String,
    /// Which material, by its id; by default the current one.
    #[arg(long, value_name = "ID")]
    material: Option<String>,
}

pub(crate) async fn import(app: &App, args: ImportArgs) -> Result<(), CliError> {
    let client = app.client()?;
    let material = files::read_input(Some(&args.file), MATERIAL_BYTES_MAX, HINT)?;
    if material.is_empty() {
        return Err(CliError::Usage(format!("{} is empty; {HINT}", args.file.display())));
    }
    let key_id = by_id(app, &client, args.key).await?;
    let asked = GetParametersForImportRequest {
        key_id: key_id.clone(),
        wrapping_algorithm: ALGORITHM.to_owned(),
        wrapping_key_spec: WRAPPING_KEY.to_owned(),
    };
    let asking = client.get_parameters_for_import(asked);
    let parameters = app.wait("asking for a wrapping key", asking).await?.value;
    let unusable = |_| CliError::Protocol("a wrapping key that is none");
    let public = EncryptingKey::from_spki(&parameters.public_key).map_err(unusable)?;
    let wrapped = rsa_aes_wrap::wrap(&public, Oaep::Sha256, &material, &mut SystemEntropy);
    let expires_ms = args.expires.map(|until| until.ms(std::time::SystemTime::now()));
    let model = match expires_ms {
        Some(_) => "KEY_MATERIAL_EXPIRES",
        None => "KEY_MATERIAL_DOES_NOT_EXPIRE",
    };
    let request = ImportKeyMaterialRequest {
        key_id,
        import_token: parameters.import_token,
        encrypted_key_material: wrapped.map_err(|error| CliError::NotDone(error.to_string()))?,
        valid_to_ms: expires_ms,
        expiration_model: model.to_owned(),
        import_type: if args.new { "NEW_KEY_MATERIAL" } else { "" }.to_owned(),
        key_material_description: args.description.unwrap_or_default(),
        key_material_id: String::new(),
    };
    let reply = app.wait("importing", client.import_key_material(request)).await?;
    show(app, &reply.map(|imported| (imported.key_id, imported.key_material_id)))
}

pub(crate) async fn delete(app: &App, args: DeleteMaterialArgs) -> Result<(), CliError> {
    let client = app.client()?;
    let request = DeleteImportedKeyMaterialRequest {
        key_id: by_id(app, &client, args.key).await?,
        key_material_id: args.material.unwrap_or_default(),
    };
    let reply = app.wait("deleting", client.delete_imported_key_material(request)).await?;
    show(app, &reply.map(|deleted| (deleted.key_id, deleted.key_material_id)))
}

fn show(app: &App, reply: &Reply<(String, Option<String>)>) -> Result<(), CliError> {
    let (arn, material) = &reply.value;
    let json = json!({ "arn": arn, "key_material_id": material });
    app.show(&with_meta(json, reply), |out| {
        let material = or_dash(material.as_deref().unwrap_or_default());
        write!(out, "{}", lines([("arn", arn.clone()), ("material", material)]))
    })
}
