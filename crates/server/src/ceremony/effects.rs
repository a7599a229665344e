//! Carrying out what the seal's state machine asks for.

use std::sync::Arc;

use conclave_crypto::Key;
use conclave_seal::{Effect, EpochNumber, Keyring};
use tonic::Status;
use tracing::{error, info};

use crate::audited::{Happened, note};
use crate::folder::FolderError;
use crate::hosted::Hosted;
use crate::meta::unavailable;

/// Carries out effects in order. What must be durable is, when this returns.
///
/// # Errors
/// If the disk refused: nothing may be acknowledged then.
pub(crate) fn carry_out(hosted: &Arc<Hosted>, effects: Vec<Effect>) -> Result<(), FolderError> {
    for effect in effects {
        match effect {
            Effect::PersistShare { epoch, bytes } => hosted.folder.put_share(epoch.0, &bytes)?,
            Effect::DeleteShare { epoch, .. } => hosted.folder.drop_share(epoch.0)?,
            Effect::DropKeyring => hosted.drop_keyring(),
            Effect::Opened { epoch, root } => {
                let hosted = Arc::clone(hosted);
                tokio::spawn(async move { open(&hosted, epoch, &root).await });
            }
        }
    }
    Ok(())
}

/// As [`carry_out`], for a caller that answers a call.
pub(crate) fn carry_out_or_refuse(
    hosted: &Arc<Hosted>,
    effects: Vec<Effect>,
) -> Result<(), Status> {
    carry_out(hosted, effects).map_err(|error| {
        error!(%error, "a share cannot be kept");
        unavailable("this node's disk refused; its log has the reason")
    })
}

/// A root key is there. If the node is not open yet that is audited first, then it serves; an open
/// one goes on with it. If it cannot be used the node asks for it again.
pub(crate) async fn open(hosted: &Hosted, epoch: EpochNumber, root: &Key) {
    if hosted.barred().is_some() {
        hosted.wipe();
        return;
    }
    let opened = Keyring::open(root, &hosted.replica.view());
    let keyring = match opened {
        Ok(keyring) => keyring,
        Err(reason) => {
            error!(%reason, %epoch, "the root key does not open the domain's records");
            hosted.set_detail(reason.to_string());
            hosted.seal().close(epoch);
            return;
        }
    };
    if hosted.is_open() {
        hosted.open(keyring);
        info!(%epoch, "goes on with the root key of a later share epoch");
        return;
    }
    let happened = Happened {
        action: "Open",
        resources: vec![hosted.name.clone()],
        parameters: vec![("epoch", epoch.to_string())],
        ..Happened::default()
    };
    if let Err(status) = note(hosted, &happened).await {
        hosted.set_detail(format!("cannot audit its opening: {}", status.message()));
        hosted.seal().close(epoch);
        return;
    }
    if hosted.open(keyring) {
        info!(%epoch, "open");
    }
}
