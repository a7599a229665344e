//! `conclave principal`: who may call, and in which roles.

use clap::{Subcommand, ValueEnum};
use conclave_pki::PrincipalName;
use conclave_proto::v1::{
    CreatePrincipalRequest, DeletePrincipalRequest, ListPrincipalsRequest, PrincipalInfo,
};
use serde_json::{Value, json};

use crate::{
    app::App,
    error::CliError,
    output::{table, with_meta},
    time::utc,
};

#[derive(Debug, Subcommand)]
pub(crate) enum PrincipalCommand {
    /// Let the holder of a client certificate with this name in.
    Create {
        /// The name in the certificate (`conclave pki issue client NAME`).
        name: PrincipalName,
        /// What it may do; repeat for several.
        #[arg(long = "role", value_enum, required = true)]
        roles: Vec<Role>,
    },
    /// List principals.
    List,
    /// Shut a principal out, at once and everywhere.
    Remove {
        /// Its name.
        name: PrincipalName,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Role {
    /// Nodes, seals and principals.
    Operator,
    /// Keys, but not their use.
    KeyAdministrator,
    /// The use of keys.
    KeyUser,
    /// The audit log.
    Auditor,
}

impl Role {
    fn name(self) -> &'static str {
        match self {
            Self::Operator => "operator",
            Self::KeyAdministrator => "key-administrator",
            Self::KeyUser => "key-user",
            Self::Auditor => "auditor",
        }
    }
}

pub(crate) async fn run(app: &App, command: PrincipalCommand) -> Result<(), CliError> {
    match command {
        PrincipalCommand::Create { name, roles } => create(app, &name, &roles).await,
        PrincipalCommand::List => list(app).await,
        PrincipalCommand::Remove { name } => remove(app, &name).await,
    }
}

async fn create(app: &App, name: &PrincipalName, roles: &[Role]) -> Result<(), CliError> {
    let request = CreatePrincipalRequest {
        name: name.to_string(),
        roles: roles.iter().map(|role| role.name().to_owned()).collect(),
    };
    let reply = app.wait("letting it in", app.client()?.create_principal(request)).await?;
    let made = reply.value.principal.as_ref().ok_or(CliError::Protocol("no principal in it"))?;
    app.show(&with_meta(to_json(made), &reply), |out| writeln!(out, "{}", rows([made])))
}

async fn list(app: &App) -> Result<(), CliError> {
    let client = app.client()?;
    let mut principals: Vec<PrincipalInfo> = Vec::new();
    let mut marker = String::new();
    let read_index = loop {
        let request =
            ListPrincipalsRequest { limit: Some(1000), marker: std::mem::take(&mut marker) };
        let page = app.wait("listing", client.list_principals(request)).await?.value;
        principals.extend(page.principals);
        match page.next_marker {
            Some(next) => marker = next,
            None => break page.read_index,
        }
    };
    let listed: Vec<Value> = principals.iter().map(to_json).collect();
    app.show(&json!({ "principals": listed, "read_index": read_index }), |out| {
        writeln!(out, "{}", rows(&principals))
    })
}

async fn remove(app: &App, name: &PrincipalName) -> Result<(), CliError> {
    let request = DeletePrincipalRequest { name: name.to_string() };
    let reply = app.wait("shutting it out", app.client()?.delete_principal(request)).await?;
    app.show(&with_meta(json!({ "name": name.as_ref() }), &reply), |out| {
        writeln!(out, "{name} is shut out")
    })
}

fn to_json(principal: &PrincipalInfo) -> Value {
    json!({
        "name": principal.name,
        "roles": principal.roles,
        "created_ms": principal.created_ms,
    })
}

fn rows<'a>(principals: impl IntoIterator<Item = &'a PrincipalInfo>) -> comfy_table::Table {
    let rows = principals
        .into_iter()
        .map(|one| [one.name.clone(), one.roles.join(", "), utc(one.created_ms)]);
    table(["NAME", "ROLES", "CREATED"], rows)
}
