//! `conclave status`: how the cluster stands, as far as the answering node can see.

use conclave_proto::v1::{NodeStatus, StatusRequest, StatusResponse};
use serde_json::{Value, json};

use crate::{
    app::App,
    error::CliError,
    output::{lines, or_dash, table},
    time::{utc, utc_secs},
};

pub(crate) async fn run(app: &App) -> Result<(), CliError> {
    let client = app.client()?;
    let request = StatusRequest { local_only: false };
    let status = app.wait("asking", client.status(request)).await?.value;
    show(app, &status)
}

/// Prints a status, of all nodes or of one.
pub(crate) fn show(app: &App, status: &StatusResponse) -> Result<(), CliError> {
    app.show(&to_json(status), |out| {
        if !status.initialized {
            writeln!(out, "This cluster is not founded yet: run `conclave operator init`.")?;
        } else {
            let shares = format!("{} of {}", status.operator_threshold, status.operator_shares);
            let operators = format!("{shares}, generation {}", status.operator_generation);
            let text = lines([
                ("cluster", or_dash(&status.cluster)),
                ("domain", or_dash(&status.domain)),
                ("leader", or_dash(&status.leader)),
                ("answered by", or_dash(&status.answered_by)),
                ("share epoch", share_epoch(status)),
                ("node shares needed to open", status.share_threshold.to_string()),
                ("operator shares needed", operators),
                ("domain key", domain_key(status)),
                ("audit key", or_dash(&status.audit_verifier_key)),
            ]);
            writeln!(out, "{text}")?;
        }
        writeln!(out, "{}", nodes_table(&status.nodes))?;
        if status.initialized && status.leader.is_empty() {
            writeln!(out, "\nNo leader: nothing can be done until a majority of voters is up.")?;
        }
        let sealed = status.nodes.iter().filter(|_| status.initialized).filter_map(hint);
        sealed.into_iter().try_for_each(|hint| writeln!(out, "{hint}"))
    })
}

/// The share epoch, and the pending one with whom it waits for.
fn share_epoch(status: &StatusResponse) -> String {
    match status.pending_epoch {
        0 => status.share_epoch.to_string(),
        pending => format!(
            "{}; {pending} is pending until {} have their shares",
            status.share_epoch,
            status.pending_missing.join(", ")
        ),
    }
}

/// Which is in use, and what is still under older ones.
fn domain_key(status: &StatusResponse) -> String {
    let StatusResponse { domain_key, domain_key_since_ms, older_domain_keys, .. } = status;
    let since = match domain_key_since_ms {
        0 => String::new(),
        ms => format!(", since {}", utc(*ms)),
    };
    if older_domain_keys.is_empty() {
        return format!("{domain_key}{since}");
    }
    let older: Vec<String> = older_domain_keys.iter().map(u32::to_string).collect();
    let left = match status.records_to_reseal {
        None => "being counted".to_owned(),
        Some(left) => format!("{left} records to be sealed again"),
    };
    format!("{domain_key}{since}; {} not retired yet, {left}", older.join(", "))
}

/// The nodes as `status` and `node` list them.
pub(crate) fn nodes_table(nodes: &[NodeStatus]) -> comfy_table::Table {
    let rows = nodes.iter().map(|node| {
        [
            node.id.clone(),
            node.role.clone(),
            state(node),
            or_dash(&node.seal),
            node.applied_index.to_string(),
            node.audit_size.to_string(),
            node.audit_head.chars().take(12).collect(),
            or_dash(&node.region),
            or_dash(&node.zone),
            or_dash(&node.api),
            or_dash(&until(node.certificate_not_after).chars().take(10).collect::<String>()),
            or_dash(&node.detail),
        ]
    });
    let header = [
        "NODE",
        "ROLE",
        "STATE",
        "SEAL",
        "APPLIED",
        "AUDIT SIZE",
        "AUDIT HEAD",
        "REGION",
        "ZONE",
        "API",
        "CERTIFICATE UNTIL",
        "DETAIL",
    ];
    table(header, rows)
}

/// The node's state in a word, or two.
pub(crate) fn state(node: &NodeStatus) -> String {
    if node.drained { format!("{}, drained", node.state) } else { node.state.clone() }
}

/// When a certificate ends; empty where the node did not say.
fn until(not_after: i64) -> String {
    if not_after == 0 { String::new() } else { utc_secs(not_after) }
}

/// One node for scripts.
pub(crate) fn node_json(node: &NodeStatus) -> Value {
    json!({
        "id": node.id,
        "raft_id": node.raft_id,
        "state": node.state,
        "seal": node.seal,
        "token": Some(&node.token).filter(|token| !token.is_empty()),
        "applied_index": node.applied_index,
        "audit_size": node.audit_size,
        "audit_head": node.audit_head,
        "role": node.role,
        "region": node.region,
        "zone": node.zone,
        "api": node.api,
        "peer": node.peer,
        "version": node.version,
        "detail": node.detail,
        "unseal_progress": node.unseal_progress,
        "term": node.term,
        "drained": node.drained,
        "certificate_not_after": until(node.certificate_not_after),
        "authority_not_after": until(node.authority_not_after),
    })
}

fn to_json(status: &StatusResponse) -> Value {
    let leader = Some(&status.leader).filter(|leader| !leader.is_empty());
    json!({
        "cluster": status.cluster,
        "domain": status.domain,
        "leader": leader,
        "answered_by": status.answered_by,
        "initialized": status.initialized,
        "share_epoch": status.share_epoch,
        "share_threshold": status.share_threshold,
        "pending_epoch": Some(status.pending_epoch).filter(|epoch| *epoch != 0),
        "pending_threshold": status.pending_threshold,
        "pending_missing": status.pending_missing,
        "operator_generation": status.operator_generation,
        "operator_threshold": status.operator_threshold,
        "operator_shares": status.operator_shares,
        "domain_key": status.domain_key,
        "domain_key_since": utc(status.domain_key_since_ms),
        "older_domain_keys": status.older_domain_keys,
        "records_to_reseal": status.records_to_reseal,
        "feature_level": status.feature_level,
        "audit_verifier_key": status.audit_verifier_key,
        "nodes": status.nodes.iter().map(node_json).collect::<Vec<_>>(),
    })
}

fn hint(node: &NodeStatus) -> Option<String> {
    let NodeStatus { id, api, state, unseal_progress, .. } = node;
    (state == "sealed" && !api.is_empty()).then(|| {
        format!(
            "{id} is sealed ({unseal_progress} operator shares given so far): run \
             `conclave operator unseal --endpoints https://{api}`"
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_leader_is_null() {
        let mut status = StatusResponse::default();
        assert_eq!(to_json(&status)["leader"], Value::Null);
        status.leader = "n1".to_owned();
        status.nodes =
            vec![NodeStatus { id: "n1".to_owned(), raft_id: 7, ..NodeStatus::default() }];
        let json = to_json(&status);
        assert_eq!((&json["leader"], &json["nodes"][0]["raft_id"]), (&json!("n1"), &json!(7)));
    }
}
