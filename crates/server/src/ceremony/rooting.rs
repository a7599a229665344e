//! A new root key by order, and going on without a member that does not store its share of one.

use std::collections::BTreeMap;
use std::sync::Arc;

use conclave_kms::{AdminAction, Caller};
use conclave_proto::v1::RotateRootResponse;
use conclave_seal::{RaftId, dealing};
use tonic::Status;

use crate::ceremony::dealing::{Change, Order, ground};
use crate::hosted::Hosted;
use crate::meta::precondition;
use crate::node::Node;
use crate::status::names;

/// Deals a new root key to the members there are.
pub(crate) async fn rotate(
    node: &Arc<Node>,
    hosted: &Arc<Hosted>,
    caller: &Caller,
) -> Result<RotateRootResponse, Status> {
    let _changing = node.changing.lock().await;
    let order = Order { node, hosted, caller, action: AdminAction::RotateRoot };
    order.record(BTreeMap::new(), Vec::new(), &[("step", "begin".to_owned())], &[]).await?;
    let (members, members_read) = order.members_as_read()?;
    let epoch = order.deal(Change::of_no_member(members, members_read)).await?;
    Ok(RotateRootResponse { share_epoch: epoch.0, missing: missing(hosted) })
}

/// The members whom a pending dealing waits for.
pub(crate) fn missing(hosted: &Hosted) -> Vec<String> {
    let members = hosted.members().unwrap_or_default().members;
    let pending = hosted.share_epochs().and_then(|epochs| epochs.pending);
    pending.map(|pending| names(&members, pending.missing())).unwrap_or_default()
}

/// Leaves a member out of the pending dealing. It stays a member and votes, without a share.
pub(crate) async fn exclude(
    node: &Arc<Node>,
    hosted: &Arc<Hosted>,
    caller: &Caller,
    name: &str,
) -> Result<(), Status> {
    let _changing = node.changing.lock().await;
    let order = Order { node, hosted, caller, action: AdminAction::ExcludeNode };
    let members = order.members()?.members;
    let member = members.iter().find(|member| member.name == name);
    let member = member
        .ok_or_else(|| precondition(format!("{name} is not a member; see `conclave node list`")))?;
    let (ground, guards) = ground(hosted)?;
    let write = dealing::excluded(&ground.epochs, RaftId(member.raft_id))
        .map_err(|error| precondition(error.to_string()))?;
    let epoch = [("epoch", ground.epochs.newest().number.to_string())];
    order.record(guards, vec![write], &epoch, &[name]).await?;
    hosted.news.notify_one();
    Ok(())
}
