//! `conclave key`: making keys, and what becomes of them.

use clap::{Args, Subcommand};
use conclave_client::Reply;
use conclave_proto::v1::{
    CancelKeyDeletionRequest, CreateKeyRequest, DescribeKeyRequest, DisableKeyRequest,
    EnableKeyRequest, KeyChange, KeyListEntry, KeyMetadata, ListKeysRequest,
    RotateKeyOnDemandRequest, ScheduleKeyDeletionRequest,
};
use serde_json::{Value, json};

use crate::{
    app::App,
    error::CliError,
    output::{lines, or_dash, table, with_meta},
    time::utc,
    values::{Pair, tags},
};

/// The largest page that the service gives.
const PAGE_MAX: u32 = 1000;

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
    /// Delete a key after a waiting time, in which it cannot be used.
    ScheduleDeletion {
        #[command(flatten)]
        key: KeyArg,
        /// How long to wait.
        #[arg(long, value_parser = clap::value_parser!(u32).range(7..=30))]
        days: u32,
    },
    /// Take a scheduled deletion back; the key is disabled then.
    CancelDeletion(KeyArg),
}

#[derive(Debug, Args)]
pub(crate) struct CreateArgs {
    /// A name to call it by.
    #[arg(long, value_name = "alias/NAME")]
    alias: Option<String>,
    /// What it is for.
    #[arg(long, value_name = "TEXT")]
    description: Option<String>,
    /// A tag; repeat for several.
    #[arg(long = "tag", value_name = "NAME=VALUE")]
    tags: Vec<Pair>,
}

#[derive(Debug, Args)]
pub(crate) struct KeyArg {
    /// The key: its id, ARN or alias (alias/NAME).
    key: String,
}

pub(crate) async fn run(app: &App, command: KeyCommand) -> Result<(), CliError> {
    let client = app.client()?;
    match command {
        KeyCommand::Create(args) => {
            let request = CreateKeyRequest {
                description: args.description.unwrap_or_default(),
                tags: tags(args.tags),
                alias: args.alias.unwrap_or_default(),
            };
            let reply = app.wait("making a key", client.create_key(request)).await?;
            show_metadata(app, &reply.map(|response| response.key))
        }
        KeyCommand::List { limit } => list(app, limit).await,
        KeyCommand::Describe(KeyArg { key }) => {
            let call = client.describe_key(DescribeKeyRequest { key });
            let reply = app.wait("asking", call).await?;
            show_metadata(app, &reply.map(|response| response.key))
        }
        KeyCommand::Enable(KeyArg { key }) => {
            let call = client.enable_key(EnableKeyRequest { key });
            let reply = app.wait("enabling", call).await?;
            show_change(app, &reply.map(|response| response.key))
        }
        KeyCommand::Disable(KeyArg { key }) => {
            let call = client.disable_key(DisableKeyRequest { key });
            let reply = app.wait("disabling", call).await?;
            show_change(app, &reply.map(|response| response.key))
        }
        KeyCommand::Rotate(KeyArg { key }) => {
            let call = client.rotate_key_on_demand(RotateKeyOnDemandRequest { key });
            let reply = app.wait("rotating", call).await?;
            show_change(app, &reply.map(|response| response.key))
        }
        KeyCommand::ScheduleDeletion { key: KeyArg { key }, days } => {
            let call = client.schedule_key_deletion(ScheduleKeyDeletionRequest { key, days });
            let reply = app.wait("scheduling", call).await?;
            show_change(app, &reply.map(|response| response.key))
        }
        KeyCommand::CancelDeletion(KeyArg { key }) => {
            let call = client.cancel_key_deletion(CancelKeyDeletionRequest { key });
            let reply = app.wait("cancelling", call).await?;
            show_change(app, &reply.map(|response| response.key))
        }
    }
}

async fn list(app: &App, limit: Option<u64>) -> Result<(), CliError> {
    let client = app.client()?;
    let mut left = limit.unwrap_or(u64::MAX);
    let mut keys: Vec<KeyListEntry> = Vec::new();
    let mut marker = String::new();
    let read_index = loop {
        let limit = u32::try_from(left).unwrap_or(PAGE_MAX).min(PAGE_MAX);
        let request = ListKeysRequest { limit, marker: std::mem::take(&mut marker) };
        let page = app.wait("listing", client.list_keys(request)).await?.value;
        left = left.saturating_sub(page.keys.len() as u64);
        keys.extend(page.keys);
        if left == 0 || !page.truncated || page.next_marker.is_empty() {
            break page.read_index;
        }
        marker = page.next_marker;
    };
    let listed: Vec<Value> =
        keys.iter().map(|key| json!({ "key_id": key.key_id, "arn": key.arn })).collect();
    app.show(&json!({ "keys": listed, "read_index": read_index }), |out| {
        let rows = keys.iter().map(|key| [key.key_id.clone(), key.arn.clone()]);
        writeln!(out, "{}", table(["KEY ID", "ARN"], rows))
    })
}

fn show_metadata(app: &App, reply: &Reply<Option<KeyMetadata>>) -> Result<(), CliError> {
    let key = reply.value.as_ref().ok_or(CliError::Protocol("no key in it"))?;
    let tag_values: Vec<Value> =
        key.tags.iter().map(|tag| json!({ "key": tag.key, "value": tag.value })).collect();
    let json = json!({
        "key_id": key.key_id,
        "arn": key.arn,
        "state": key.state,
        "description": key.description,
        "created_ms": key.created_ms,
        "deletion_ms": key.deletion_ms,
        "tags": tag_values,
        "aliases": key.aliases,
        "versions": key.versions,
    });
    let tag_texts: Vec<String> =
        key.tags.iter().map(|tag| format!("{}={}", tag.key, tag.value)).collect();
    app.show(&with_meta(json, reply), |out| {
        let text = lines([
            ("key id", key.key_id.clone()),
            ("arn", key.arn.clone()),
            ("state", key.state.clone()),
            ("aliases", or_dash(&key.aliases.join(", "))),
            ("description", or_dash(&key.description)),
            ("tags", or_dash(&tag_texts.join(", "))),
            ("created", utc(key.created_ms)),
            ("deletion", utc(key.deletion_ms)),
            ("versions", key.versions.to_string()),
        ]);
        write!(out, "{text}")
    })
}

fn show_change(app: &App, reply: &Reply<Option<KeyChange>>) -> Result<(), CliError> {
    let key = reply.value.as_ref().ok_or(CliError::Protocol("no key in it"))?;
    let json = json!({
        "key_id": key.key_id,
        "arn": key.arn,
        "state": key.state,
        "deletion_ms": key.deletion_ms,
        "versions": key.versions,
    });
    app.show(&with_meta(json, reply), |out| {
        let text = lines([
            ("key id", key.key_id.clone()),
            ("arn", key.arn.clone()),
            ("state", key.state.clone()),
            ("deletion", utc(key.deletion_ms)),
            ("versions", key.versions.to_string()),
        ]);
        write!(out, "{text}")
    })
}
