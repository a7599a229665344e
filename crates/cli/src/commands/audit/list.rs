//! `conclave audit list`.

use std::time::SystemTime;

use clap::{Args, ValueEnum};
use conclave_proto::{
    audit::{Entry, Outcome, Pair},
    v1::{ListAuditRequest, ListAuditResponse},
};
use serde_json::{Value, json};

use crate::{
    app::App,
    error::CliError,
    output::{or_dash, table},
    time::{When, utc},
};

#[derive(Debug, Args)]
pub(crate) struct ListArgs {
    /// Only what this principal did.
    #[arg(long, value_name = "NAME")]
    principal: Option<String>,
    /// Only this action, for instance Encrypt.
    #[arg(long)]
    action: Option<String>,
    /// Only what concerned this resource: an ARN, or a name as it stands in the entry.
    #[arg(long)]
    resource: Option<String>,
    /// Only what ended so.
    #[arg(long, value_enum)]
    outcome: Option<OutcomeName>,
    /// Only what happened then or later: 2026-03-01T12:00:00Z, 2026-03-01, or 15m, 2h, 7d ago.
    #[arg(long, value_name = "TIME")]
    since: Option<When>,
    /// Only what happened before: as --since.
    #[arg(long, value_name = "TIME")]
    until: Option<When>,
    /// At most this many entries.
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u64).range(1..=100_000))]
    limit: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum OutcomeName {
    Success,
    Denied,
    Refused,
}

impl OutcomeName {
    fn name(self) -> &'static str {
        match self {
            Self::Success => "success",
            Self::Denied => "denied",
            Self::Refused => "refused",
        }
    }
}

pub(super) async fn run(app: &App, args: ListArgs) -> Result<(), CliError> {
    let now = SystemTime::now();
    let request = ListAuditRequest {
        first: 0,
        limit: args.limit,
        principal: args.principal.unwrap_or_default(),
        action: args.action.unwrap_or_default(),
        resource: args.resource.unwrap_or_default(),
        request_id: app.filtered_request_id(),
        outcome: args.outcome.map(|outcome| outcome.name().to_owned()).unwrap_or_default(),
        since_ms: args.since.map_or(0, |since| since.ms(now)),
        until_ms: args.until.map_or(0, |until| until.ms(now)),
        newest_first: true,
    };
    // Here the global --request-id says what to look for, so this call takes an id of its own.
    let client = app.client_without_request_id()?;
    let mut found = app.wait("reading the log", client.list_audit(request)).await?.value;
    let mut items = Vec::new();
    while let Some(item) = app.wait("reading the log", found.next()).await? {
        items.push(item);
    }
    items.reverse();
    let entries: Vec<Value> = items.iter().map(to_json).collect();
    app.show(&json!({ "entries": entries }), |out| {
        let header = [
            "INDEX",
            "TIME",
            "PRINCIPAL",
            "ACTION",
            "RESOURCES",
            "OUTCOME",
            "REASON",
            "REQUEST ID",
        ];
        writeln!(out, "{}", table(header, items.iter().map(to_row)))
    })
}

fn to_row(item: &ListAuditResponse) -> [String; 8] {
    let entry = item.entry.clone().unwrap_or_default();
    [
        item.index.to_string(),
        utc(item.time_ms),
        or_dash(&entry.principal),
        entry.action.clone(),
        or_dash(&entry.resources.join(", ")),
        outcome(&entry).to_owned(),
        or_dash(&entry.reason),
        or_dash(&entry.request_id),
    ]
}

fn to_json(item: &ListAuditResponse) -> Value {
    let entry = item.entry.clone().unwrap_or_default();
    json!({
        "index": item.index,
        "time_ms": item.time_ms,
        "log_index": item.log_index,
        "position": item.position,
        "request_id": entry.request_id,
        "retry_of": entry.retry_of,
        "principal": entry.principal,
        "certificate_serial": entry.certificate_serial,
        "source_address": entry.source_address,
        "node": entry.node,
        "region": entry.region,
        "action": entry.action,
        "resources": entry.resources,
        "parameters": pairs(&entry.parameters),
        "encryption_context": pairs(&entry.encryption_context),
        "outcome": outcome(&entry),
        "reason": entry.reason,
        "decided_by": entry.decided_by,
    })
}

fn pairs(pairs: &[Pair]) -> Vec<Value> {
    pairs.iter().map(|pair| json!({ "name": pair.name, "value": pair.value })).collect()
}

fn outcome(entry: &Entry) -> &'static str {
    match entry.outcome() {
        Outcome::Unspecified => "unspecified",
        Outcome::Success => "success",
        Outcome::Denied => "denied",
        Outcome::Refused => "refused",
    }
}
