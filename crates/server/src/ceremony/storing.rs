//! This node's own share: kept when it comes, wrapped with the seal of the configuration, unwrapped by
//! the token, and wrapped anew when the configuration has another seal.

use std::sync::Arc;

use conclave_crypto::SystemEntropy;
use conclave_crypto::sharing::Share;
use conclave_seal::{Delivered, Effect, EpochNumber, NodeSeal, SealKind, ShareEpoch, WrappedShare};
use tonic::Status;
use tracing::{error, info, warn};

use crate::audited::{Happened, note};
use crate::ceremony::effects::{carry_out, carry_out_or_refuse};
use crate::hosted::Hosted;
use crate::meta::{precondition, unavailable};
use crate::node::Node;

/// Keeps a share that came, durably; what it is wrapped with.
pub(crate) async fn store(
    node: &Arc<Node>,
    hosted: &Arc<Hosted>,
    share: Delivered,
    plan: &ShareEpoch,
) -> Result<SealKind, Status> {
    if let Some(reason) = hosted.barred() {
        return Err(precondition(reason));
    }
    let (wrapped, own) = match share {
        Delivered::Wrapped(wrapped) => (wrapped, None),
        Delivered::Bare(own) => {
            let wrapped = wrap(hosted, node.seal_kind(), plan.number, &own).await?;
            (wrapped, Some(own))
        }
    };
    keep(hosted, plan.number, |seal| {
        let stored = seal.store_share(wrapped, own, plan);
        stored.map_err(|error| precondition(error.to_string()))
    })?;
    hosted.news.notify_one();
    let kept = hosted.seal().sealed_with(plan.number);
    kept.ok_or_else(|| unavailable("the share epoch has just changed"))
}

/// Has the token unwrap this node's share, if that is under it and wanted. Whatever the token says is
/// the node's detail until it works.
pub(crate) async fn unwrap(hosted: &Arc<Hosted>) {
    if hosted.barred().is_some() {
        return;
    }
    let Some(share) = hosted.seal().to_unwrap().cloned() else { return };
    let Some(token) = &hosted.token else {
        hosted.set_detail(
            "its share is under an HSM, and its configuration has no [seal.pkcs11] section",
        );
        return;
    };
    let unwrapped = match token.unwrap(&share).await {
        Ok(unwrapped) => unwrapped,
        Err(why) => {
            hosted.set_detail(format!("its HSM does not give its share: {why}"));
            return;
        }
    };
    let effects = hosted.seal().unwrapped(share.epoch, unwrapped.expose());
    match effects {
        Ok(effects) => {
            info!(epoch = %share.epoch, "the HSM has unwrapped this node's share");
            hosted.set_detail("");
            if let Err(error) = carry_out(hosted, effects) {
                error!(%error, "the disk refused");
            }
            // The others' shares are wanted next.
            hosted.news.notify_one();
        }
        Err(why) => hosted.set_detail(why.to_string()),
    }
}

/// Wraps this node's own share anew if the configuration has another seal than it has.
pub(crate) async fn rewrap(node: &Arc<Node>, hosted: &Arc<Hosted>) {
    let kind = node.seal_kind();
    let copy = |(epoch, share): (EpochNumber, &Share)| {
        (epoch, Share { x: share.x, y: share.y.duplicate() })
    };
    let Some((epoch, share)) = hosted.seal().to_rewrap(kind).map(copy) else { return };
    let wrapped = match wrap(hosted, kind, epoch, &share).await {
        Ok(wrapped) => wrapped,
        Err(status) => {
            warn!(why = status.message(), "the share is not under the configured seal yet");
            return;
        }
    };
    let happened = Happened {
        action: "ChangeSeal",
        resources: vec![hosted.name.clone()],
        parameters: vec![("epoch", epoch.to_string()), ("seal", kind.as_str().to_owned())],
        ..Happened::default()
    };
    if note(hosted, &happened).await.is_err() {
        return;
    }
    if keep(hosted, epoch, |seal| Ok(seal.rewrapped(wrapped))).is_ok() {
        info!(%epoch, seal = kind.as_str(), "the share is under another seal now");
    }
}

/// Has the seal take a share and the disk keep it, while nobody else looks at the seal: what is not on the
/// disk must not be acknowledged, nor the token's key destroyed that wraps what is there. If the disk
/// refuses, nothing has changed.
fn keep(
    hosted: &Arc<Hosted>,
    epoch: EpochNumber,
    take: impl FnOnce(&mut NodeSeal) -> Result<Vec<Effect>, Status>,
) -> Result<(), Status> {
    let mut seal = hosted.seal();
    let before = seal.kept_share(epoch).cloned();
    let effects = take(&mut seal)?;
    carry_out_or_refuse(hosted, effects).inspect_err(|_| seal.not_persisted(epoch, before))
}

/// Destroys the token's keys that wrap nothing any more; whether that is done.
pub(crate) async fn tidy(hosted: &Arc<Hosted>) -> bool {
    let Some(token) = &hosted.token else { return true };
    match token.tidy(|epoch| hosted.seal().is_token_key_gone(epoch)).await {
        Ok(0) => true,
        Ok(destroyed) => {
            info!(destroyed, "keys of older share epochs were destroyed in the token");
            true
        }
        Err(_) => false,
    }
}

async fn wrap(
    hosted: &Hosted,
    kind: SealKind,
    epoch: EpochNumber,
    share: &Share,
) -> Result<WrappedShare, Status> {
    match (kind, &hosted.token) {
        (SealKind::Pkcs11, Some(token)) => token
            .wrap(epoch, share)
            .await
            .map_err(|why| unavailable(format!("the HSM of {} refused: {why}", hosted.name))),
        (SealKind::Pkcs11, None) => Err(precondition("this node has no HSM configured")),
        (SealKind::Operator, _) => hosted
            .with_keyring(|keyring| {
                let key = keyring?.node_seal_root()?.node_key(hosted.domain_id(), &hosted.name);
                let (domain, entropy) = (hosted.domain_id(), &mut SystemEntropy);
                Some(WrappedShare::by_operators(&key, domain, epoch, share, entropy))
            })
            .ok_or_else(|| unavailable("this node is sealed and has no HSM")),
    }
}
