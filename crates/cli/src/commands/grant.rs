//! `conclave grant`: what somebody may do with one key.

use clap::{Args, Subcommand};
use conclave_client::Client;
use conclave_proto::v1::{
    CreateGrantRequest, GrantConstraints, GrantListEntry, ListGrantsRequest,
    ListRetirableGrantsRequest, RetireGrantRequest, RevokeGrantRequest,
};
use serde_json::{Value, json};

use super::key_arg::by_id;
use crate::{
    app::App,
    error::CliError,
    output::{lines, or_dash, table, with_meta},
    time::utc,
    values::{Pair, context},
};

/// The largest page that the service gives.
const PAGE_MAX: i32 = 100;

#[derive(Debug, Subcommand)]
pub(crate) enum GrantCommand {
    /// Grant somebody the use of a key. It is checked and kept; roles alone decide so far.
    Create(CreateArgs),
    /// List the grants of a key, or those that somebody may retire.
    List {
        /// The key: its id, ARN or alias (alias/NAME).
        #[arg(required_unless_present = "retirable_by", conflicts_with = "retirable_by")]
        key: Option<String>,
        /// Only those of this grantee.
        #[arg(long, value_name = "PRINCIPAL", conflicts_with = "retirable_by")]
        grantee: Option<String>,
        /// Those of all keys that this principal may retire.
        #[arg(long, value_name = "PRINCIPAL")]
        retirable_by: Option<String>,
    },
    /// End a grant that is for you to end.
    Retire {
        /// What `create` printed; or give key and grant.
        #[arg(long, conflicts_with_all = ["key", "grant"])]
        token: Option<String>,
        /// The key: its id, ARN or alias (alias/NAME).
        #[arg(required_unless_present = "token", requires = "grant")]
        key: Option<String>,
        /// The grant's id.
        grant: Option<String>,
    },
    /// End a grant of a key that you administer.
    Revoke {
        /// The key: its id, ARN or alias (alias/NAME).
        key: String,
        /// The grant's id.
        grant: String,
    },
}

#[derive(Debug, Args)]
pub(crate) struct CreateArgs {
    /// The key: its id, ARN or alias (alias/NAME).
    key: String,
    /// To whom: a principal's name or ARN.
    #[arg(long, value_name = "PRINCIPAL")]
    grantee: String,
    /// Who may end it, besides those who administer the key.
    #[arg(long, value_name = "PRINCIPAL")]
    retiring: Option<String>,
    /// What for, as AWS KMS names it (Encrypt, ReEncryptFrom, …); repeat for several.
    #[arg(long = "operation", value_name = "OPERATION", required = true)]
    operations: Vec<String>,
    /// The encryption context has to be these pairs; repeat for several.
    #[arg(long = "context", value_name = "NAME=VALUE")]
    equals: Vec<Pair>,
    /// The encryption context has to have these pairs among others; repeat for several.
    #[arg(long = "context-subset", value_name = "NAME=VALUE")]
    subset: Vec<Pair>,
    /// The same request under the same name makes no second grant.
    #[arg(long)]
    name: Option<String>,
}

pub(crate) async fn run(app: &App, command: GrantCommand) -> Result<(), CliError> {
    let client = app.client()?;
    match command {
        GrantCommand::Create(args) => create(app, &client, args).await,
        GrantCommand::List { key: _, grantee: _, retirable_by: Some(principal) } => {
            list_retirable(app, &client, principal).await
        }
        GrantCommand::List { key, grantee, retirable_by: None } => {
            let key_id = by_id(app, &client, key.unwrap_or_default()).await?;
            list(app, &client, key_id, grantee.unwrap_or_default()).await
        }
        GrantCommand::Retire { token, key, grant } => {
            let key_id = match key {
                Some(key) => by_id(app, &client, key).await?,
                None => String::new(),
            };
            let request = RetireGrantRequest {
                grant_token: token.unwrap_or_default(),
                key_id,
                grant_id: grant.unwrap_or_default(),
                dry_run: false,
            };
            let reply = app.wait("retiring", client.retire_grant(request)).await?;
            app.show(&with_meta(json!({}), &reply), |out| writeln!(out, "the grant is retired"))
        }
        GrantCommand::Revoke { key, grant } => {
            let key_id = by_id(app, &client, key).await?;
            let request = RevokeGrantRequest { key_id, grant_id: grant, dry_run: false };
            let reply = app.wait("revoking", client.revoke_grant(request)).await?;
            app.show(&with_meta(json!({}), &reply), |out| writeln!(out, "the grant is revoked"))
        }
    }
}

async fn create(app: &App, client: &Client, args: CreateArgs) -> Result<(), CliError> {
    let constraints = GrantConstraints {
        encryption_context_equals: context(args.equals),
        encryption_context_subset: context(args.subset),
        source_arn: None,
    };
    let request = CreateGrantRequest {
        key_id: by_id(app, client, args.key).await?,
        grantee_principal: args.grantee,
        retiring_principal: args.retiring.unwrap_or_default(),
        operations: args.operations,
        constraints: Some(constraints),
        name: args.name.unwrap_or_default(),
        ..CreateGrantRequest::default()
    };
    let reply = app.wait("granting", client.create_grant(request)).await?;
    let (id, token) = (&reply.value.grant_id, &reply.value.grant_token);
    app.show(&with_meta(json!({ "grant_id": id, "grant_token": token }), &reply), |out| {
        write!(out, "{}", lines([("grant id", id.clone()), ("token", token.clone())]))
    })
}

async fn list(
    app: &App,
    client: &Client,
    key_id: String,
    grantee_principal: String,
) -> Result<(), CliError> {
    let mut request = ListGrantsRequest {
        key_id,
        grantee_principal,
        limit: Some(PAGE_MAX),
        ..ListGrantsRequest::default()
    };
    let mut grants = Vec::new();
    let read_index = loop {
        let page = app.wait("listing", client.list_grants(request.clone())).await?.value;
        grants.extend(page.grants);
        match page.next_marker {
            Some(next) => request.marker = next,
            None => break page.read_index,
        }
    };
    show(app, &grants, read_index)
}

async fn list_retirable(
    app: &App,
    client: &Client,
    retiring_principal: String,
) -> Result<(), CliError> {
    let mut request = ListRetirableGrantsRequest {
        retiring_principal,
        limit: Some(PAGE_MAX),
        ..ListRetirableGrantsRequest::default()
    };
    let mut grants = Vec::new();
    let read_index = loop {
        let page = app.wait("listing", client.list_retirable_grants(request.clone())).await?.value;
        grants.extend(page.grants);
        match page.next_marker {
            Some(next) => request.marker = next,
            None => break page.read_index,
        }
    };
    show(app, &grants, read_index)
}

fn show(app: &App, grants: &[GrantListEntry], read_index: u64) -> Result<(), CliError> {
    let listed: Vec<Value> = grants.iter().map(to_json).collect();
    app.show(&json!({ "grants": listed, "read_index": read_index }), |out| {
        let row = |grant: &GrantListEntry| {
            [
                grant.grant_id.clone(),
                grant.key_id.clone(),
                grant.grantee_principal.clone(),
                or_dash(grant.retiring_principal.as_deref().unwrap_or_default()),
                grant.operations.join(", "),
                or_dash(grant.name.as_deref().unwrap_or_default()),
                utc(grant.creation_date_ms),
            ]
        };
        let header = ["GRANT", "KEY", "GRANTEE", "RETIRING", "OPERATIONS", "NAME", "CREATED"];
        writeln!(out, "{}", table(header, grants.iter().map(row)))
    })
}

fn to_json(grant: &GrantListEntry) -> Value {
    let constraints = grant.constraints.clone().unwrap_or_default();
    json!({
        "grant_id": grant.grant_id,
        "key": grant.key_id,
        "name": grant.name,
        "grantee": grant.grantee_principal,
        "retiring": grant.retiring_principal,
        "operations": grant.operations,
        "context": constraints.encryption_context_equals,
        "context_subset": constraints.encryption_context_subset,
        "created_ms": grant.creation_date_ms,
    })
}
