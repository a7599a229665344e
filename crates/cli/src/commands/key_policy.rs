//! `conclave key policy`: a key's policy, shown and replaced.

use std::path::PathBuf;

use clap::Subcommand;
use conclave_proto::v1::{GetKeyPolicyRequest, PutKeyPolicyRequest};
use serde_json::{Value, json};

use super::key_arg::{KeyArg, by_id};
use crate::{app::App, error::CliError, files::read_input, output::with_meta};

/// As the service has it.
const POLICY_BYTES_MAX: usize = 32 << 10;

#[derive(Debug, Subcommand)]
pub(crate) enum KeyPolicyCommand {
    /// Show a key's policy.
    Get(KeyArg),
    /// Replace a key's policy. It is checked and kept; roles alone decide so far.
    Put {
        #[command(flatten)]
        key: KeyArg,
        /// The policy, JSON of AWS IAM; by default from standard input.
        #[arg(long, value_name = "FILE")]
        file: Option<PathBuf>,
        /// Even if the policy does not let you replace it again.
        #[arg(long)]
        bypass_lockout_check: bool,
    },
}

pub(crate) async fn run(app: &App, command: KeyPolicyCommand) -> Result<(), CliError> {
    let client = app.client()?;
    match command {
        KeyPolicyCommand::Get(KeyArg { key }) => {
            let key_id = by_id(app, &client, key).await?;
            let request = GetKeyPolicyRequest { key_id, ..GetKeyPolicyRequest::default() };
            let reply = app.wait("asking", client.get_key_policy(request)).await?;
            let text = &reply.value.policy;
            let policy: Value = serde_json::from_str(text).unwrap_or_else(|_| json!(text));
            app.show(&with_meta(json!({ "policy": policy }), &reply), |out| writeln!(out, "{text}"))
        }
        KeyPolicyCommand::Put { key: KeyArg { key }, file, bypass_lockout_check } => {
            let hint = "a key policy is no larger";
            let bytes = read_input(file.as_deref(), POLICY_BYTES_MAX, hint)?;
            let policy = std::str::from_utf8(&bytes)
                .map_err(|_| CliError::Usage("the policy is no UTF-8".to_owned()))?;
            let key_id = by_id(app, &client, key).await?;
            let request = PutKeyPolicyRequest {
                key_id: key_id.clone(),
                policy: policy.to_owned(),
                bypass_policy_lockout_safety_check: bypass_lockout_check,
                ..PutKeyPolicyRequest::default()
            };
            let reply = app.wait("replacing", client.put_key_policy(request)).await?;
            app.show(&with_meta(json!({ "key_id": key_id }), &reply), |out| {
                writeln!(out, "{key_id} has this policy now")
            })
        }
    }
}
