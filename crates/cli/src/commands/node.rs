//! `conclave node`: who belongs to the cluster.

use clap::Subcommand;
use conclave_client::Client;
use conclave_pki::NodeName;
use conclave_proto::v1::{
    AddNodesRequest, DrainNodeRequest, ExcludeNodeRequest, RemoveNodeRequest, StatusRequest,
};
use serde_json::{Value, json};

use crate::{
    app::App,
    commands::status::{node_json, nodes_table, state},
    error::CliError,
    output::{or_dash, table, with_meta},
    values::Member,
};

/// The state that status gives to a member that does not answer.
const UNREACHABLE: &str = "unreachable";

#[derive(Debug, Subcommand)]
pub(crate) enum NodeCommand {
    /// Admit nodes that run with an empty data folder; several at once go in as one change.
    Add {
        /// The node's name and its peer listener.
        #[arg(value_name = "NAME=HOST:PORT", required = true)]
        nodes: Vec<Member>,
    },
    /// Remove a node: it is refused from then on, and the others share anew without it.
    Remove {
        /// Its name.
        name: NodeName,
        /// It is in wrong hands: wait for nobody. Members that do not store their new share at once
        /// hold none, until `conclave operator rotate-root` gives them one.
        #[arg(long)]
        compromised: bool,
    },
    /// No longer wait for a member that has not stored its share of a pending share epoch. It stays a
    /// member without a share, until `conclave operator rotate-root` gives it one.
    Exclude {
        /// Its name.
        name: NodeName,
    },
    /// Take a node out of service before work on it: it hands leadership over, finishes what it has
    /// begun and sends clients elsewhere. It goes on replicating and voting.
    Drain {
        /// Its name.
        name: NodeName,
    },
    /// Put a drained node back into service; a restart does the same.
    Undrain {
        /// Its name.
        name: NodeName,
    },
    /// Have a node that lost its disk come back as a new member of the same name. Start it with an
    /// empty data folder first. Repeated, the command goes on where it stopped.
    Replace {
        /// The node's name and its peer listener.
        #[arg(value_name = "NAME=HOST:PORT")]
        node: Member,
    },
    /// List the nodes.
    List,
}

pub(crate) async fn run(app: &App, command: NodeCommand) -> Result<(), CliError> {
    let client = app.client()?;
    match command {
        NodeCommand::Add { nodes } => add(app, &client, nodes).await,
        NodeCommand::Remove { name, compromised } => {
            let request = RemoveNodeRequest { name: name.to_string(), compromised };
            let reply = app.wait("removing", client.remove_node(request)).await?;
            app.show(&with_meta(json!({ "name": name.as_ref() }), &reply), |out| {
                writeln!(out, "{name} is removed; stop it and wipe its data folder")
            })
        }
        NodeCommand::Exclude { name } => {
            let request = ExcludeNodeRequest { name: name.to_string() };
            let reply = app.wait("excluding", client.exclude_node(request)).await?;
            app.show(&with_meta(json!({ "name": name.as_ref() }), &reply), |out| {
                writeln!(out, "{name} is not waited for any more, and holds no share")
            })
        }
        NodeCommand::Drain { name } => {
            let request = DrainNodeRequest { name: name.to_string(), drained: true };
            let reply = app.wait("draining", client.drain_node(request)).await?;
            let json = json!({ "name": name.as_ref(), "drained": true });
            app.show(&with_meta(json, &reply), |out| {
                writeln!(
                    out,
                    "{name} serves nobody until it is restarted or `conclave node undrain {name}`"
                )
            })
        }
        NodeCommand::Undrain { name } => {
            let request = DrainNodeRequest { name: name.to_string(), drained: false };
            let reply = app.wait("undraining", client.drain_node(request)).await?;
            let json = json!({ "name": name.as_ref(), "drained": false });
            app.show(&with_meta(json, &reply), |out| writeln!(out, "{name} serves again"))
        }
        NodeCommand::Replace { node } => {
            let name = node.to_proto().name;
            let request = StatusRequest { local_only: false };
            let nodes = app.wait("asking", client.status(request)).await?.value.nodes;
            if let Some(known) = nodes.iter().find(|known| known.id == name) {
                // Members reach only whoever answers under the Raft id that they know.
                if known.state != UNREACHABLE {
                    return Err(CliError::NotDone(format!(
                        "{name} answers as the member it was ({}), so it has its disk; if it shall \
                         be replaced, stop it and empty its data folder first",
                        known.state
                    )));
                }
                let request = RemoveNodeRequest { name, compromised: false };
                app.wait("removing what it was", client.remove_node(request)).await?;
            }
            add(app, &client, vec![node]).await
        }
        NodeCommand::List => {
            let request = StatusRequest { local_only: false };
            let nodes = app.wait("asking", client.status(request)).await?.value.nodes;
            let listed: Vec<Value> = nodes.iter().map(node_json).collect();
            app.show(&json!({ "nodes": listed }), |out| {
                let rows = nodes.iter().map(|node| {
                    [
                        node.id.clone(),
                        node.raft_id.to_string(),
                        node.role.clone(),
                        state(node),
                        or_dash(&node.peer),
                        or_dash(&node.api),
                        or_dash(&node.region),
                        or_dash(&node.zone),
                    ]
                });
                let header = ["NODE", "RAFT ID", "ROLE", "STATE", "PEER", "API", "REGION", "ZONE"];
                writeln!(out, "{}", table(header, rows))
            })
        }
    }
}

async fn add(app: &App, client: &Client, nodes: Vec<Member>) -> Result<(), CliError> {
    let request = AddNodesRequest { nodes: nodes.iter().map(Member::to_proto).collect() };
    let reply = app.wait("admitting", client.add_nodes(request)).await?;
    let nodes = &reply.value.nodes;
    let listed: Vec<Value> = nodes.iter().map(node_json).collect();
    app.show(&with_meta(json!({ "nodes": listed }), &reply), |out| {
        writeln!(out, "{}", nodes_table(nodes))?;
        writeln!(
            out,
            "Next: `conclave operator unseal` at each new node that is sealed, so that it can take \
             its share; see `conclave status`"
        )
    })
}
