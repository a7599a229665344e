//! Nodes that call and are not known here: whoever was away learns of later members this way.
//!
//! A majority of the other members this node knows must vouch, so that one of them alone, perhaps removed
//! meanwhile, lets nobody in.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use conclave_proto::peer::VouchRequest;
use conclave_seal::RaftId;
use tracing::info;

use crate::hosted::Hosted;
use crate::node::Node;
use crate::peer;

/// How long one member may take to answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(2);

/// Asks about every name that has called, those vouched for before included: one of them may have
/// been removed meanwhile. Names that have become known, or were refused, are forgotten; a node that
/// calls again is asked about again.
pub(crate) async fn ask_about_strangers(node: &Arc<Node>, hosted: &Arc<Hosted>) {
    let waiting: Vec<String> = {
        let mut strangers = hosted.strangers();
        strangers.retain(|name, _| !hosted.knows(name));
        strangers.keys().cloned().collect()
    };
    let mut answers = BTreeMap::new();
    for name in waiting {
        let vouched = has_majority(node, hosted, &name).await;
        answers.insert(name, vouched);
    }
    let mut strangers = hosted.strangers();
    for (name, vouched) in answers {
        if vouched {
            if strangers.insert(name.clone(), true) != Some(true) {
                info!(name, "a majority of the members vouches for this node");
            }
        } else {
            strangers.remove(&name);
        }
    }
}

async fn has_majority(node: &Arc<Node>, hosted: &Hosted, name: &str) -> bool {
    let members = hosted.members().unwrap_or_default().members;
    let (mut others, mut vouching) = (0, 0);
    for member in members.iter().filter(|member| member.name != node.name) {
        others += 1;
        let to = Some((hosted.domain_id(), RaftId(member.raft_id)));
        let Ok(mut client) = peer::client(node, &member.name, &member.peer, to) else { continue };
        let request = VouchRequest { name: name.to_owned() };
        if let Ok(answer) = peer::timed(ANSWER_TIMEOUT, client.vouch(request)).await {
            vouching += usize::from(answer.is_known);
        }
    }
    vouching * 2 > others
}
