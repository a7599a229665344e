//! `conclave key`: making keys, and what becomes of them.

use clap::{Args, Subcommand};
use conclave_client::Reply;
use conclave_proto::v1::{
    CancelKeyDeletionRequest, CreateKeyRequest, DisableKeyRequest, EnableKeyRequest,
    GetKeyTombstoneRequest, GetKeyTombstoneResponse, KeyChange, KeyListEntry, KeyMetadata,
    ListKeysRequest, RotateKeyOnDemandRequest, ScheduleKeyDeletionRequest,
};
use serde_json::{Value, json};

use super::import::{self, DeleteMaterialArgs, ImportArgs};
use super::key_arg::{KeyArg, by_id, described};
use super::key_policy::{self, KeyPolicyCommand};
use super::labels;
use super::rotation::{self, RotationCommand};
use super::signing::{self, Given, MacArgs, Out, PublicKeyArgs, SignArgs};
use crate::{
    app::App,
    error::CliError,
    output::{lines, or_dash, table, with_meta},
    time::utc,
    values::{Pair, tags},
};

/// The largest page that the service gives.
const PAGE_MAX: i32 = 1000;

#[derive(Debug, Subcommand)]
pub(crate) enum KeyCommand {
    /// Make a key.
    Create(CreateArgs),
    /// List keys.
    List {
        /// At most this many; by default all.
        #[arg(long, value_parser = clap::value_parser!(u64).range(1..))]
        limit: Option<u64>,
    },
    /// Show a key.
    Describe(KeyArg),
    /// Let a key be used again.
    Enable(KeyArg),
    /// Forbid every use of a key, at once and everywhere.
    Disable(KeyArg),
    /// Give a key a new version to encrypt with; older ones go on decrypting.
    Rotate(KeyArg),
    /// Give a key that was made without material (create --external) material from a file.
    Import(ImportArgs),
    /// Delete imported material; the key waits until the same is imported again.
    DeleteMaterial(DeleteMaterialArgs),
    /// Delete a key after a waiting time, in which it cannot be used.
    ScheduleDeletion {
        #[command(flatten)]
        key: KeyArg,
        /// How long to wait.
        #[arg(long, value_parser = clap::value_parser!(i32).range(7..=30))]
        days: i32,
    },
    /// Take a scheduled deletion back; the key is disabled then.
    CancelDeletion(KeyArg),
    /// Show what became of a key that was destroyed: its id or ARN.
    Tombstone(KeyArg),
    /// Rotation that comes by itself.
    #[command(subcommand)]
    Rotation(RotationCommand),
    /// Print the public half of a key pair.
    PublicKey(PublicKeyArgs),
    /// Sign up to 4096 bytes, or a hash.
    Sign {
        #[command(flatten)]
        args: SignArgs,
        #[command(flatten)]
        to: Out,
    },
    /// Verify a signature.
    Verify {
        #[command(flatten)]
        args: SignArgs,
        #[command(flatten)]
        given: Given,
    },
    /// Make a MAC of up to 4096 bytes.
    Mac {
        #[command(flatten)]
        args: MacArgs,
        #[command(flatten)]
        to: Out,
    },
    /// Verify a MAC.
    VerifyMac {
        #[command(flatten)]
        args: MacArgs,
        #[command(flatten)]
        given: Given,
    },
    /// Show or replace a key's policy.
    #[command(subcommand)]
    Policy(KeyPolicyCommand),
    /// Put tags on a key, or change their values.
    Tag {
        #[command(flatten)]
        key: KeyArg,
        /// The tags.
        #[arg(value_name = "NAME=VALUE", required = true)]
        tags: Vec<Pair>,
    },
    /// Take tags off a key.
    Untag {
        #[command(flatten)]
        key: KeyArg,
        /// The tags' names.
        #[arg(value_name = "NAME", required = true)]
        tags: Vec<String>,
    },
    /// List a key's tags.
    Tags(KeyArg),
    /// Say what a key is for, for people.
    UpdateDescription {
        #[command(flatten)]
        key: KeyArg,
        /// What it is for; nothing takes the old description away.
        #[arg(value_name = "TEXT")]
        description: String,
    },
}

#[derive(Debug, Args)]
pub(crate) struct CreateArgs {
    /// A name to call it by.
    #[arg(long, value_name = "alias/NAME")]
    alias: Option<String>,
    /// What kind of key, as AWS KMS names them; by default for symmetric encryption.
    #[arg(long, value_name = "SPEC")]
    spec: Option<String>,
    /// What it is to be used for, as AWS KMS names it; needed with another spec than the default.
    #[arg(long, value_name = "USAGE")]
    usage: Option<String>,
    /// Leave it without material: `key import` gives it some from a file.
    #[arg(long)]
    external: bool,
    /// What it is for, for people.
    #[arg(long, value_name = "TEXT")]
    description: Option<String>,
    /// A tag; repeat for several.
    #[arg(long = "tag", value_name = "NAME=VALUE")]
    tags: Vec<Pair>,
}

pub(crate) async fn run(app: &App, command: KeyCommand) -> Result<(), CliError> {
    let client = app.client()?;
    match command {
        KeyCommand::Create(args) => {
            let request = CreateKeyRequest {
                description: args.description.unwrap_or_default(),
                tags: tags(args.tags),
                alias: args.alias.unwrap_or_default(),
                key_spec: args.spec.unwrap_or_default(),
                key_usage: args.usage.unwrap_or_default(),
                origin: if args.external { "EXTERNAL" } else { "" }.to_owned(),
                ..CreateKeyRequest::default()
            };
            let reply = app.wait("making a key", client.create_key(request)).await?;
            show_metadata(app, &reply.map(|response| response.key_metadata))
        }
        KeyCommand::List { limit } => list(app, limit).await,
        KeyCommand::Describe(KeyArg { key }) => {
            let call = client.describe_key(described(key));
            let reply = app.wait("asking", call).await?;
            show_metadata(app, &reply.map(|response| response.key_metadata))
        }
        KeyCommand::Enable(KeyArg { key }) => {
            let key_id = by_id(app, &client, key).await?;
            let call = client.enable_key(EnableKeyRequest { key_id });
            let reply = app.wait("enabling", call).await?;
            show_change(app, &reply.map(|response| response.key))
        }
        KeyCommand::Disable(KeyArg { key }) => {
            let key_id = by_id(app, &client, key).await?;
            let call = client.disable_key(DisableKeyRequest { key_id });
            let reply = app.wait("disabling", call).await?;
            show_change(app, &reply.map(|response| response.key))
        }
        KeyCommand::Rotate(KeyArg { key }) => {
            let key_id = by_id(app, &client, key).await?;
            let call = client.rotate_key_on_demand(RotateKeyOnDemandRequest { key_id });
            let reply = app.wait("rotating", call).await?;
            show_change(app, &reply.map(|response| response.key))
        }
        KeyCommand::Import(args) => import::import(app, args).await,
        KeyCommand::DeleteMaterial(args) => import::delete(app, args).await,
        KeyCommand::ScheduleDeletion { key: KeyArg { key }, days } => {
            let key_id = by_id(app, &client, key).await?;
            let call = client.schedule_key_deletion(ScheduleKeyDeletionRequest {
                key_id,
                pending_window_in_days: Some(days),
            });
            let reply = app.wait("scheduling", call).await?;
            show_change(app, &reply.map(|response| response.key))
        }
        KeyCommand::CancelDeletion(KeyArg { key }) => {
            let key_id = by_id(app, &client, key).await?;
            let call = client.cancel_key_deletion(CancelKeyDeletionRequest { key_id });
            let reply = app.wait("cancelling", call).await?;
            show_change(app, &reply.map(|response| response.key))
        }
        KeyCommand::Tombstone(KeyArg { key }) => {
            let call = client.get_key_tombstone(GetKeyTombstoneRequest { key_id: key });
            show_tombstone(app, &app.wait("asking", call).await?)
        }
        KeyCommand::Rotation(command) => rotation::run(app, command).await,
        KeyCommand::PublicKey(args) => signing::public_key(app, args).await,
        KeyCommand::Sign { args, to } => signing::sign(app, args, to).await,
        KeyCommand::Verify { args, given } => signing::verify(app, args, given).await,
        KeyCommand::Mac { args, to } => signing::mac(app, args, to).await,
        KeyCommand::VerifyMac { args, given } => signing::verify_mac(app, args, given).await,
        KeyCommand::Policy(command) => key_policy::run(app, command).await,
        KeyCommand::Tag { key: KeyArg { key }, tags } => {
            let key_id = by_id(app, &client, key).await?;
            labels::tag(app, &client, key_id, tags).await
        }
        KeyCommand::Untag { key: KeyArg { key }, tags } => {
            let key_id = by_id(app, &client, key).await?;
            labels::untag(app, &client, key_id, tags).await
        }
        KeyCommand::Tags(KeyArg { key }) => {
            let key_id = by_id(app, &client, key).await?;
            labels::list(app, &client, key_id).await
        }
        KeyCommand::UpdateDescription { key: KeyArg { key }, description } => {
            let key_id = by_id(app, &client, key).await?;
            labels::describe_as(app, &client, key_id, description).await
        }
    }
}

async fn list(app: &App, limit: Option<u64>) -> Result<(), CliError> {
    let client = app.client()?;
    let mut left = limit.unwrap_or(u64::MAX);
    let mut keys: Vec<KeyListEntry> = Vec::new();
    let mut marker = String::new();
    let read_index = loop {
        let limit = i32::try_from(left).unwrap_or(PAGE_MAX).min(PAGE_MAX);
        let request = ListKeysRequest { limit: Some(limit), marker: std::mem::take(&mut marker) };
        let page = app.wait("listing", client.list_keys(request)).await?.value;
        left = left.saturating_sub(page.keys.len() as u64);
        keys.extend(page.keys);
        match page.next_marker {
            Some(next) if left > 0 => marker = next,
            _ => break page.read_index,
        }
    };
    let listed: Vec<Value> =
        keys.iter().map(|key| json!({ "key_id": key.key_id, "arn": key.key_arn })).collect();
    app.show(&json!({ "keys": listed, "read_index": read_index }), |out| {
        let rows = keys.iter().map(|key| [key.key_id.clone(), key.key_arn.clone()]);
        writeln!(out, "{}", table(["KEY ID", "ARN"], rows))
    })
}

fn show_metadata(app: &App, reply: &Reply<Option<KeyMetadata>>) -> Result<(), CliError> {
    let key = reply.value.as_ref().ok_or(CliError::Protocol("no key in it"))?;
    let tag_values: Vec<Value> =
        key.tags.iter().map(|tag| json!({ "key": tag.tag_key, "value": tag.tag_value })).collect();
    let algorithms = [
        &key.encryption_algorithms,
        &key.signing_algorithms,
        &key.mac_algorithms,
        &key.key_agreement_algorithms,
        &key.encapsulation_algorithms,
    ];
    let algorithms: Vec<&str> = algorithms.into_iter().flatten().map(String::as_str).collect();
    let json = json!({
        "key_id": key.key_id,
        "arn": key.arn,
        "state": key.key_state,
        "spec": key.key_spec,
        "usage": key.key_usage,
        "origin": key.origin,
        "algorithms": algorithms,
        "description": key.description,
        "created_ms": key.creation_date_ms,
        "deletion_ms": key.deletion_date_ms.unwrap_or_default(),
        "key_material_id": key.current_key_material_id,
        "expires_ms": key.valid_to_ms.unwrap_or_default(),
        "tags": tag_values,
        "aliases": key.aliases,
        "versions": key.versions,
    });
    let tag_texts: Vec<String> =
        key.tags.iter().map(|tag| format!("{}={}", tag.tag_key, tag.tag_value)).collect();
    app.show(&with_meta(json, reply), |out| {
        let text = lines([
            ("key id", key.key_id.clone()),
            ("arn", key.arn.clone()),
            ("state", key.key_state.clone()),
            ("spec", key.key_spec.clone()),
            ("usage", key.key_usage.clone()),
            ("algorithms", algorithms.join(", ")),
            ("aliases", or_dash(&key.aliases.join(", "))),
            ("description", or_dash(&key.description)),
            ("tags", or_dash(&tag_texts.join(", "))),
            ("created", utc(key.creation_date_ms)),
            ("deletion", utc(key.deletion_date_ms.unwrap_or_default())),
            ("origin", key.origin.clone()),
            ("material expires", utc(key.valid_to_ms.unwrap_or_default())),
            ("versions", key.versions.to_string()),
        ]);
        write!(out, "{text}")
    })
}

fn show_tombstone(app: &App, reply: &Reply<GetKeyTombstoneResponse>) -> Result<(), CliError> {
    let told = &reply.value;
    let json = json!({
        "arn": told.key_id,
        "destroyed_ms": told.destroyed_date_ms,
        "domain_key": told.domain_key,
        "domain_key_retired": told.domain_key_retired,
    });
    app.show(&with_meta(json, reply), |out| {
        let copies = if told.domain_key_retired {
            "do not open any more: the domain key is retired".to_owned()
        } else {
            format!("open while domain key {} or older is kept", told.domain_key)
        };
        let text = lines([
            ("arn", told.key_id.clone()),
            ("destroyed", utc(told.destroyed_date_ms)),
            ("copies", copies),
        ]);
        write!(out, "{text}")
    })
}

fn show_change(app: &App, reply: &Reply<Option<KeyChange>>) -> Result<(), CliError> {
    let key = reply.value.as_ref().ok_or(CliError::Protocol("no key in it"))?;
    let deletion_ms = key.deletion_date_ms.unwrap_or_default();
    let json = json!({
        "key_id": key.key_id,
        "arn": key.arn,
        "state": key.key_state,
        "deletion_ms": deletion_ms,
        "versions": key.versions,
    });
    app.show(&with_meta(json, reply), |out| {
        let text = lines([
            ("key id", key.key_id.clone()),
            ("arn", key.arn.clone()),
            ("state", key.key_state.clone()),
            ("deletion", utc(deletion_ms)),
            ("versions", key.versions.to_string()),
        ]);
        write!(out, "{text}")
    })
}
