//! How a command names a key.

use clap::Args;
use conclave_client::Client;
use conclave_proto::v1::DescribeKeyRequest;

use crate::{app::App, error::CliError};

#[derive(Debug, Args)]
pub(crate) struct KeyArg {
    /// The key: its id, ARN or alias (alias/NAME).
    pub(super) key: String,
}

pub(super) fn described(key_id: String) -> DescribeKeyRequest {
    DescribeKeyRequest { key_id, ..DescribeKeyRequest::default() }
}

/// A key is changed by its id alone: the service takes no alias then, so it is asked for the key first.
pub(super) async fn by_id(app: &App, client: &Client, key: String) -> Result<String, CliError> {
    if !key.contains("alias/") {
        return Ok(key);
    }
    let reply = app.wait("asking", client.describe_key(described(key))).await?;
    let metadata = reply.value.key_metadata.ok_or(CliError::Protocol("no key in it"))?;
    Ok(metadata.arn)
}
