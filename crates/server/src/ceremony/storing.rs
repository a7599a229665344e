//! A share of a dealing arrives: it is wrapped with this node's seal, if it is not already, and kept.

use std::sync::Arc;

use conclave_crypto::SystemEntropy;
use conclave_seal::{Delivered, SealKind, ShareEpoch, WrappedShare};
use tonic::Status;

use crate::ceremony::effects::carry_out_or_refuse;
use crate::hosted::Hosted;
use crate::meta::{precondition, unavailable};
use crate::node::Node;

/// Keeps the share durably; what it is wrapped with.
pub(crate) async fn store(
    node: &Arc<Node>,
    hosted: &Arc<Hosted>,
    share: Delivered,
    plan: &ShareEpoch,
) -> Result<SealKind, Status> {
    let (wrapped, own) = match share {
        Delivered::Wrapped(wrapped) => (wrapped, None),
        // It comes bare only to a node that said it has an HSM.
        Delivered::Bare(own) => {
            let wrapped = hosted.with_keyring(|keyring| {
                let key = keyring?.node_seal_root()?.node_key(hosted.domain_id(), &hosted.name);
                let entropy = &mut SystemEntropy;
                Some(WrappedShare::by_operators(
                    &key,
                    hosted.domain_id(),
                    plan.number,
                    &own,
                    entropy,
                ))
            });
            let _ = node;
            (wrapped.ok_or_else(|| unavailable("this node is sealed and has no HSM"))?, Some(own))
        }
    };
    let effects = hosted.seal().store_share(wrapped, own, plan);
    let effects = effects.map_err(|error| precondition(error.to_string()))?;
    carry_out_or_refuse(hosted, effects)?;
    hosted.news.notify_one();
    let kept = hosted.seal().sealed_with(plan.number);
    kept.ok_or_else(|| unavailable("the share epoch has just changed"))
}
