//! `conclave key rotation`: rotation that comes by itself, and the versions that came of all rotations.

use clap::Subcommand;
use conclave_proto::v1::{
    DisableKeyRotationRequest, EnableKeyRotationRequest, GetKeyRotationStatusRequest,
    ListKeyRotationsRequest, RotationsListEntry,
};
use serde_json::{Value, json};

use super::key_arg::{KeyArg, by_id};
use crate::{
    app::App,
    error::CliError,
    output::{lines, or_dash, table, with_meta},
    time::utc,
};

#[derive(Debug, Subcommand)]
pub(crate) enum RotationCommand {
    /// Rotate a key every so many days.
    Enable {
        #[command(flatten)]
        key: KeyArg,
        /// How many days.
        #[arg(long, default_value_t = 365, value_parser = clap::value_parser!(i32).range(90..=2560))]
        days: i32,
    },
    /// Rotate it no more; what was encrypted goes on decrypting.
    Disable(KeyArg),
    /// Show whether and when a key is rotated.
    Status(KeyArg),
    /// List a key's versions, oldest first.
    List(KeyArg),
}

pub(crate) async fn run(app: &App, command: RotationCommand) -> Result<(), CliError> {
    let client = app.client()?;
    match command {
        RotationCommand::Enable { key: KeyArg { key }, days } => {
            let key_id = by_id(app, &client, key).await?;
            let rotation_period_in_days = Some(days);
            let request =
                EnableKeyRotationRequest { key_id: key_id.clone(), rotation_period_in_days };
            app.wait("turning rotation on", client.enable_key_rotation(request)).await?;
            status(app, key_id).await
        }
        RotationCommand::Disable(KeyArg { key }) => {
            let key_id = by_id(app, &client, key).await?;
            let request = DisableKeyRotationRequest { key_id: key_id.clone() };
            app.wait("turning rotation off", client.disable_key_rotation(request)).await?;
            status(app, key_id).await
        }
        RotationCommand::Status(KeyArg { key }) => {
            let key_id = by_id(app, &client, key).await?;
            status(app, key_id).await
        }
        RotationCommand::List(KeyArg { key }) => {
            let key_id = by_id(app, &client, key).await?;
            list(app, key_id).await
        }
    }
}

async fn status(app: &App, key_id: String) -> Result<(), CliError> {
    let client = app.client_without_request_id()?;
    let request = GetKeyRotationStatusRequest { key_id };
    let reply = app.wait("asking", client.get_key_rotation_status(request)).await?;
    let told = &reply.value;
    let (days, next_ms) =
        (told.rotation_period_in_days, told.next_rotation_date_ms.unwrap_or_default());
    let json = json!({
        "arn": told.key_id,
        "enabled": told.key_rotation_enabled,
        "period_days": days,
        "next_ms": next_ms,
    });
    app.show(&with_meta(json, &reply), |out| {
        let text = lines([
            ("arn", told.key_id.clone()),
            ("rotation", if told.key_rotation_enabled { "on" } else { "off" }.to_owned()),
            ("every", or_dash(&days.map(|days| format!("{days} days")).unwrap_or_default())),
            ("next", utc(next_ms)),
        ]);
        write!(out, "{text}")
    })
}

async fn list(app: &App, key_id: String) -> Result<(), CliError> {
    let client = app.client_without_request_id()?;
    let mut versions: Vec<RotationsListEntry> = Vec::new();
    let mut marker = String::new();
    loop {
        let request = ListKeyRotationsRequest {
            key_id: key_id.clone(),
            include_key_material: "ALL_KEY_MATERIAL".to_owned(),
            limit: Some(1000),
            marker: std::mem::take(&mut marker),
        };
        let page = app.wait("listing", client.list_key_rotations(request)).await?.value;
        versions.extend(page.rotations);
        match page.next_marker {
            Some(next) => marker = next,
            None => break,
        }
    }
    let text = |value: &Option<String>| value.clone().unwrap_or_default();
    let entry = |version: &RotationsListEntry| -> Value {
        json!({
            "key_material_id": version.key_material_id,
            "state": version.key_material_state,
            "rotation": version.rotation_type,
            "rotated_ms": version.rotation_date_ms.unwrap_or_default(),
            "import_state": version.import_state,
            "expires_ms": version.valid_to_ms.unwrap_or_default(),
        })
    };
    let json: Vec<Value> = versions.iter().map(entry).collect();
    app.show(&json!({ "versions": json }), |out| {
        let rows = versions.iter().map(|version| {
            [
                text(&version.key_material_id).chars().take(16).collect(),
                text(&version.key_material_state),
                or_dash(&text(&version.rotation_type)),
                utc(version.rotation_date_ms.unwrap_or_default()),
                utc(version.valid_to_ms.unwrap_or_default()),
            ]
        });
        let heads = ["KEY MATERIAL", "STATE", "ROTATION", "ROTATED", "EXPIRES"];
        writeln!(out, "{}", table(heads, rows))
    })
}
