//! `conclave audit`: reading, keeping and checking the log of everything that was done.

mod export;
mod list;
mod verify;
mod witnesses;

use clap::Subcommand;
use conclave_audit::export::Header;
use conclave_client::{Client, ItemStream};
use conclave_proto::v1::{ExportAuditRequest, ExportAuditResponse, export_audit_response::Item};

use crate::{app::App, error::CliError};

#[derive(Debug, Subcommand)]
pub(crate) enum AuditCommand {
    /// Show entries, the newest that match, in the order in which they were committed.
    List(list::ListArgs),
    /// Write the whole log into a file that can be verified without the cluster.
    Export(export::ExportArgs),
    /// Check a file, or the cluster: that nothing was changed, dropped or reordered.
    Verify(verify::VerifyArgs),
}

pub(crate) async fn run(app: &App, command: AuditCommand) -> Result<(), CliError> {
    match command {
        AuditCommand::List(args) => list::run(app, args).await,
        AuditCommand::Export(args) => export::run(app, &args).await,
        AuditCommand::Verify(args) => verify::run(app, &args).await,
    }
}

/// An export under way, its header read.
struct Export {
    header: Header,
    items: ItemStream<ExportAuditResponse>,
}

impl Export {
    async fn begin(client: &Client) -> Result<Self, CliError> {
        let mut items = client.export_audit(ExportAuditRequest { first: 0 }).await?.value;
        let header = match items.next().await?.and_then(|response| response.item) {
            Some(Item::Header(header)) => header,
            _ => return Err(CliError::Protocol("the export does not begin with a header")),
        };
        let domain = header.domain_id.as_slice().try_into();
        let domain = domain.map_err(|_| CliError::Protocol("the domain id is not 16 bytes"))?;
        let audit_key = header.audit_verifier_key.parse();
        let audit_key =
            audit_key.map_err(|_| CliError::Protocol("the header holds no audit key"))?;
        Ok(Self { header: Header { audit_key, domain }, items })
    }

    /// The next step or the checkpoint, or `None` at the end.
    async fn next(&mut self) -> Result<Option<Item>, CliError> {
        match self.items.next().await? {
            None => Ok(None),
            Some(response) => match response.item {
                Some(item) => Ok(Some(item)),
                None => Err(CliError::Protocol("an item of the export is empty")),
            },
        }
    }
}
