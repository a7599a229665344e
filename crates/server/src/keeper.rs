//! What a node does unasked: follows the share epoch, asks for shares while it is share-ready,
//! keeps its keyring fresh, and adds audit keys ahead of need. One loop over time and applied
//! entries.

use std::collections::BTreeMap;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use conclave_crypto::{Key, SystemEntropy};
use conclave_proto::record::SecretKey;
use conclave_seal::SealState;
use conclave_store::{BlobDigest, Kind, RecordId, View};
use prost::Message;
use tokio::sync::watch;
use tracing::{error, warn};
use zeroize::{Zeroize, Zeroizing};

use crate::audited::{Happened, commit};
use crate::ceremony::effects::carry_out;
use crate::ceremony::exchange::ask_all;
use crate::hosted::Hosted;
use crate::listener::told_to;
use crate::node::Node;

/// Between rounds while nothing is applied.
const TICK: Duration = Duration::from_millis(250);
/// Between rounds however much is applied: nothing here is urgent.
const PACE: Duration = Duration::from_millis(20);
/// Between rounds of asking for shares.
const ASK_EVERY: Duration = Duration::from_millis(500);

pub(crate) async fn run(node: Weak<Node>, hosted: Weak<Hosted>, mut stop: watch::Receiver<bool>) {
    let Some(mut applied) = hosted.upgrade().map(|hosted| hosted.replica.applied_watch()) else {
        return;
    };
    let mut seen = Seen::default();
    let mut asked = None::<Instant>;
    loop {
        tokio::select! {
            changed = applied.changed() => if changed.is_err() { return },
            () = tokio::time::sleep(TICK) => {}
            () = told_to(&mut stop) => return,
        }
        tokio::time::sleep(PACE).await;
        let (Some(node), Some(hosted)) = (node.upgrade(), hosted.upgrade()) else { return };
        if let Err(error) = follow(&hosted, &mut seen) {
            error!(%error, "the disk refused a share; sealing this node");
            hosted.wipe();
        }
        let ready = !hosted.is_open() && hosted.seal().state() == SealState::ShareReady;
        if ready && asked.is_none_or(|at| at.elapsed() >= ASK_EVERY) {
            asked = Some(Instant::now());
            ask_all(&node, &hosted).await;
        }
        if hosted.is_open() {
            refresh(&hosted);
            add_audit_key(&hosted).await;
        }
    }
}

/// Digests of the records last looked at.
#[derive(Default)]
struct Seen {
    epoch: Option<BlobDigest>,
    operator: Option<BlobDigest>,
}

fn follow(hosted: &Arc<Hosted>, seen: &mut Seen) -> Result<(), crate::FolderError> {
    let (epoch, operator) = {
        let view = hosted.replica.view();
        (
            view.digest(&RecordId::singleton(Kind::ShareEpoch)),
            view.digest(&RecordId::singleton(Kind::OperatorKey)),
        )
    };
    if operator != seen.operator
        && let Some(record) = hosted.operator_key()
    {
        hosted.seal().operator_key_changed(record);
        seen.operator = operator;
    }
    if epoch != seen.epoch
        && let Some(record) = hosted.share_epoch()
    {
        let is_holder = record.holder(hosted.raft_id()).is_some();
        let effects = hosted.seal().epoch_changed(record);
        carry_out(hosted, effects)?;
        seen.epoch = epoch;
        if !is_holder && hosted.is_open() {
            warn!("this node is no longer a member: all keys wiped");
            hosted.wipe();
        }
    }
    hosted.seal().tick(hosted.replica.own_clock_ms());
    Ok(())
}

fn refresh(hosted: &Hosted) {
    let next = hosted
        .with_keyring(|keyring| keyring.map(|keyring| keyring.refreshed(&hosted.replica.view())));
    match next {
        Some(Ok(Some(next))) => hosted.with_keyring_mut(|keyring| {
            if let Some(keyring) = keyring {
                *keyring = next;
            }
        }),
        Some(Err(error)) => error!(%error, "the keyring cannot be read anew"),
        Some(Ok(None)) | None => {}
    }
}

/// Keeps one audit key ahead of the segment being written.
async fn add_audit_key(hosted: &Hosted) {
    let segment = hosted.replica.view().state().segment().number;
    let newest = {
        let view = hosted.replica.view();
        let mut newest = 0;
        // Numbered from 1 without gaps.
        while view.digest(&RecordId::numbered(Kind::AuditKey, newest + 1)).is_some() {
            newest += 1;
        }
        newest
    };
    if newest == 0 || newest > segment {
        return;
    }
    let number = newest + 1;
    let id = RecordId::numbered(Kind::AuditKey, number);
    let sealed = hosted.with_keyring(|keyring| {
        keyring.map(|keyring| {
            let key = Key::generate(&mut SystemEntropy);
            let mut message = SecretKey { key: key.expose().to_vec(), number };
            let plaintext = Zeroizing::new(message.encode_to_vec());
            message.key.zeroize();
            keyring.seal_record(&id, &plaintext, &mut SystemEntropy)
        })
    });
    let Some(sealed) = sealed else { return };
    let happened = Happened {
        action: "AddAuditKey",
        parameters: vec![("number", number.to_string())],
        ..Happened::default()
    };
    let added = commit(hosted, &happened, &[(id, Some(sealed))], || {
        if hosted.replica.view().digest(&id).is_some() {
            return Err(tonic::Status::already_exists("another node was first"));
        }
        Ok(BTreeMap::from([(id, None)]))
    })
    .await;
    if let Err(status) = added {
        tracing::debug!(status = status.message(), "no audit key added");
    }
}
