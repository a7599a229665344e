//! Founding and unsealing a development cluster, by the calls an operator would make.

use std::path::Path;
use std::time::{Duration, Instant, SystemTime};

use conclave_client::{Client, ClientConfig, Endpoint};
use conclave_pki::{Kind, TlsFiles, TlsMaterial};
use conclave_proto::v1;

use super::layout::{ALL_ROLES, Layout, ROLES};
use super::nodes::Nodes;
use crate::error::CliError;

/// From the first process to the last open node.
const START_TIMEOUT: Duration = Duration::from_secs(120);
/// Between looks at what is waited for.
const POLL: Duration = Duration::from_millis(50);
/// Operator shares, and how many open the cluster.
const SHARES: (u32, u32) = (5, 3);

/// Founds the cluster, opens every node and lets the clients in.
pub(super) async fn found(layout: &Layout, nodes: &mut Nodes) -> Result<(), CliError> {
    let deadline = Instant::now() + START_TIMEOUT;
    let operator = client(layout, "operator")?;
    for endpoint in operator.endpoints() {
        let one = operator.at(endpoint)?.with_timeout(Duration::from_secs(1));
        while one.status(v1::StatusRequest { local_only: true }).await.is_err() {
            check(layout, nodes, deadline)?;
            tokio::time::sleep(POLL).await;
        }
    }

    let members = layout
        .nodes
        .iter()
        .map(|node| v1::InitMember { name: node.name.clone(), peer: node.peer.clone() })
        .collect();
    let first = operator.at_first();
    let prepared = first
        .prepare_init(v1::PrepareInitRequest {
            members,
            domain: "local".to_owned(),
            account: "000000000000".to_owned(),
            shares: SHARES.0,
            threshold: SHARES.1,
        })
        .await?
        .value;
    let shares = zeroize::Zeroizing::new(prepared.operator_shares);
    layout.keep_shares(&shares)?;
    layout.keep_audit_key(prepared.audit_verifier_key);
    first.commit_init(v1::CommitInitRequest { init_id: prepared.init_id }).await?;

    let enough = usize::try_from(SHARES.1).unwrap_or(usize::MAX);
    // Nodes with tokens open by themselves.
    let by_operators = layout.nodes.iter().any(|node| node.env.is_empty());
    for endpoint in operator.endpoints().filter(|_| by_operators) {
        let one = operator.at(endpoint)?.with_timeout(Duration::from_secs(10));
        loop {
            let operator_shares = shares.iter().take(enough).cloned().collect();
            // A node that has not yet applied the founding says so: then again.
            if one.unseal(v1::UnsealRequest { operator_shares }).await.is_ok() {
                break;
            }
            check(layout, nodes, deadline)?;
            tokio::time::sleep(POLL).await;
        }
    }
    loop {
        let status = operator.status(v1::StatusRequest { local_only: false }).await?.value;
        let open = status.nodes.iter().filter(|node| node.state == "open").count();
        if open == layout.nodes.len() && !status.leader.is_empty() {
            break;
        }
        check(layout, nodes, deadline)?;
        tokio::time::sleep(POLL).await;
    }

    // Whoever founds is an operator and nothing else; the operator lets the others in.
    let all = ROLES.map(str::to_owned).to_vec();
    for (name, roles) in
        ROLES[1..].iter().map(|role| (*role, vec![(*role).to_owned()])).chain([(ALL_ROLES, all)])
    {
        operator
            .create_principal(v1::CreatePrincipalRequest { name: name.to_owned(), roles })
            .await?;
    }
    Ok(())
}

fn client(layout: &Layout, name: &str) -> Result<Client, CliError> {
    let pki = layout.staged_pki();
    let files = TlsFiles {
        ca: pki.join("ca.pem"),
        cert: pki.join(format!("{name}.pem")),
        key: pki.join(format!("{name}.key")),
    };
    let endpoints = layout
        .nodes
        .iter()
        .map(|node| format!("https://{}", node.api).parse())
        .collect::<Result<Vec<Endpoint>, _>>()?;
    let tls = TlsMaterial::load(&files, &[Kind::Client], SystemTime::now())?;
    Ok(Client::new(ClientConfig { endpoints, tls, timeout: Duration::from_secs(30) })?)
}

/// Gives up if a node has ended or time is up, with the end of its log.
fn check(layout: &Layout, nodes: &mut Nodes, deadline: Instant) -> Result<(), CliError> {
    if let Some(name) = nodes.ended() {
        let log = layout.nodes.iter().find(|node| node.name == name).map(|node| node.log.as_path());
        return Err(CliError::Server(format!(
            "node {name} ended:\n{}",
            log.map(tail).unwrap_or_default()
        )));
    }
    if Instant::now() >= deadline {
        let logs: Vec<String> = layout
            .nodes
            .iter()
            .map(|node| format!("--- {}\n{}", node.name, tail(&node.log)))
            .collect();
        return Err(CliError::Server(format!(
            "the cluster did not serve within {} s:\n{}",
            START_TIMEOUT.as_secs(),
            logs.join("\n")
        )));
    }
    Ok(())
}

fn tail(log: &Path) -> String {
    let text = std::fs::read_to_string(log).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(15)..].join("\n")
}
