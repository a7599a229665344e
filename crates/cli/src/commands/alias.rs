//! `conclave alias`: names for keys, and which key each is for.

use clap::{Args, Subcommand};
use conclave_client::Client;
use conclave_proto::v1::{
    AliasListEntry, CreateAliasRequest, DeleteAliasRequest, ListAliasesRequest, UpdateAliasRequest,
};
use serde_json::{Value, json};

use super::key_arg::by_id;
use crate::{
    app::App,
    error::CliError,
    output::{printable, table, with_meta},
    time::utc,
};

/// The largest page that the service gives.
const PAGE_MAX: i32 = 100;

#[derive(Debug, Subcommand)]
pub(crate) enum AliasCommand {
    /// Give a key a name to call it by.
    Create(NamingArgs),
    /// Make a name stand for another key of the same kind, at once and everywhere.
    Update(NamingArgs),
    /// Take a name away; its key stays as it is.
    Delete(AliasArg),
    /// List names.
    List {
        /// Of this key alone.
        #[arg(long)]
        key: Option<String>,
    },
}

#[derive(Debug, Args)]
pub(crate) struct NamingArgs {
    #[command(flatten)]
    alias: AliasArg,
    /// The key: its id, ARN or another alias.
    #[arg(long)]
    key: String,
}

#[derive(Debug, Args)]
pub(crate) struct AliasArg {
    /// The name.
    #[arg(value_name = "alias/NAME")]
    alias: String,
}

pub(crate) async fn run(app: &App, command: AliasCommand) -> Result<(), CliError> {
    let client = app.client()?;
    match command {
        AliasCommand::Create(NamingArgs { alias: AliasArg { alias }, key }) => {
            let target_key_id = by_id(app, &client, key).await?;
            let json = json!({ "alias": alias, "key_id": target_key_id });
            let said = format!("{alias} is a name of {target_key_id}");
            let call = client.create_alias(CreateAliasRequest { alias_name: alias, target_key_id });
            let reply = app.wait("making an alias", call).await?;
            show(app, with_meta(json, &reply), &said)
        }
        AliasCommand::Update(NamingArgs { alias: AliasArg { alias }, key }) => {
            let target_key_id = by_id(app, &client, key).await?;
            let json = json!({ "alias": alias, "key_id": target_key_id });
            let said = format!("{alias} is a name of {target_key_id} now");
            let call = client.update_alias(UpdateAliasRequest { alias_name: alias, target_key_id });
            let reply = app.wait("moving the alias", call).await?;
            show(app, with_meta(json, &reply), &said)
        }
        AliasCommand::Delete(AliasArg { alias }) => {
            let (json, said) = (json!({ "alias": alias }), format!("{alias} is deleted"));
            let call = client.delete_alias(DeleteAliasRequest { alias_name: alias });
            let reply = app.wait("deleting the alias", call).await?;
            show(app, with_meta(json, &reply), &said)
        }
        AliasCommand::List { key } => list(app, &client, key).await,
    }
}

async fn list(app: &App, client: &Client, key: Option<String>) -> Result<(), CliError> {
    let key_id = match key {
        Some(key) => by_id(app, client, key).await?,
        None => String::new(),
    };
    let mut aliases: Vec<AliasListEntry> = Vec::new();
    let mut marker = String::new();
    let read_index = loop {
        let request = ListAliasesRequest {
            key_id: key_id.clone(),
            limit: Some(PAGE_MAX),
            marker: std::mem::take(&mut marker),
        };
        let page = app.wait("listing", client.list_aliases(request)).await?.value;
        aliases.extend(page.aliases);
        match page.next_marker {
            Some(next) => marker = next,
            None => break page.read_index,
        }
    };
    // The service has them in the order of what they are found by, which tells nobody anything.
    aliases.sort_by(|a, b| a.alias_name.cmp(&b.alias_name));
    let listed: Vec<Value> = aliases.iter().map(to_json).collect();
    app.show(&json!({ "aliases": listed, "read_index": read_index }), |out| {
        let rows = aliases.iter().map(|alias| {
            let [created, updated] = [alias.creation_date_ms, alias.last_updated_date_ms].map(utc);
            [alias.alias_name.clone(), alias.target_key_id.clone(), created, updated]
        });
        writeln!(out, "{}", table(["ALIAS", "KEY ID", "CREATED", "UPDATED"], rows))
    })
}

fn to_json(alias: &AliasListEntry) -> Value {
    json!({
        "alias": alias.alias_name,
        "arn": alias.alias_arn,
        "key_id": alias.target_key_id,
        "created_ms": alias.creation_date_ms,
        "updated_ms": alias.last_updated_date_ms,
    })
}

fn show(app: &App, json: Value, said: &str) -> Result<(), CliError> {
    app.show(&json, |out| writeln!(out, "{}", printable(said)))
}
