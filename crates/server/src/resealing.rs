//! Sealing records again under the newest domain key, in the background, and retiring the old one.
//!
//! One loop on every node; the one that leads and is open does the work, a page of records at a time.
//! It keeps nothing but its place: which records are still under an older key, the records say
//! themselves, so whoever leads next begins anew and finds less. First it counts, then it seals, then
//! it counts again, and when that finds nothing and the answers kept for retries are past use, one
//! txn takes the old key away. Why nothing can come under it meanwhile: `keyring/rotation.rs` of
//! `conclave-seal`.
//!
//! It gives way to the load: after each page it rests for several times as long as the page took,
//! and a page takes long when there is much to do. A request whose record was sealed again meanwhile
//! conflicts once, and is decided anew.
//!
//! Every node that sees a key retired takes a snapshot and lets go of the log before it, so that the
//! key's wrap is in no live state of it.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use conclave_crypto::SystemEntropy;
use conclave_seal::keyring::resealing::{NothingOlder, Older, Page, Walk};
use conclave_seal::keyring::rotation::{DomainKeyEpochs, DomainKeyError};
use conclave_store::View;
use tokio::sync::watch;
use tonic::Status;
use tracing::{debug, error, info};

use crate::audited::{Happened, commit_once};
use crate::hosted::Hosted;
use crate::listener::told_to;

/// Between looks while there is nothing to do.
const IDLE: Duration = Duration::from_millis(500);
/// After something did not work.
const AGAIN_AFTER: Duration = Duration::from_secs(1);
/// It rests this many times as long as it works.
const REST: u32 = 8;
/// Rests within these bounds: neither in a tight loop nor asleep after one slow commit.
const REST_MIN: Duration = Duration::from_millis(2);
const REST_MAX: Duration = Duration::from_secs(2);
/// Between two requests for the snapshot without which a retired key's wrap stays on this disk.
const SNAPSHOT_AGAIN: Duration = Duration::from_secs(30);

/// How many records are still under older domain keys than one, as far as this node has counted.
#[derive(Debug, Default)]
pub(crate) struct Progress(Mutex<Option<Counted>>);

#[derive(Clone, Copy, Debug)]
struct Counted {
    newest: u32,
    left: u64,
}

impl Progress {
    /// How many are under older ones than `newest`. `None`: this node does not seal them again, or is
    /// still counting.
    pub(crate) fn left(&self, newest: u32) -> Option<u64> {
        self.counted().filter(|counted| counted.newest == newest).map(|counted| counted.left)
    }

    fn set(&self, newest: u32, left: u64) {
        *self.counted() = Some(Counted { newest, left });
    }

    fn less(&self, done: usize) {
        if let Some(counted) = &mut *self.counted() {
            counted.left = counted.left.saturating_sub(done as u64);
        }
    }

    fn forget(&self) {
        *self.counted() = None;
    }

    fn counted(&self) -> MutexGuard<'_, Option<Counted>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Starts the loop; it ends with the domain, or when told to stop.
pub(crate) fn start(hosted: &Arc<Hosted>, stop: watch::Receiver<bool>) {
    tokio::spawn(run(Arc::downgrade(hosted), stop));
}

async fn run(hosted: Weak<Hosted>, mut stop: watch::Receiver<bool>) {
    let mut stage = Stage::Idle;
    let mut retired = Retired::default();
    loop {
        let rest = {
            let Some(hosted) = hosted.upgrade() else { return };
            let began = Instant::now();
            match step(&hosted, &mut stage, &mut retired).await {
                Ok(Next::AfterRest) => (began.elapsed() * REST).clamp(REST_MIN, REST_MAX),
                Ok(Next::Later) => IDLE,
                Err(status) => {
                    debug!(reason = status.message(), "records are not sealed again now");
                    AGAIN_AFTER
                }
            }
        };
        tokio::select! {
            () = tokio::time::sleep(rest) => {}
            () = told_to(&mut stop) => return,
        }
    }
}

/// Where the work stands.
enum Stage {
    /// Nothing to do here.
    Idle,
    /// How many there are.
    Counting(Walk),
    /// One page after another.
    Sealing(Walk),
    /// Nothing is left; the old keys go when their time has come.
    Retiring(NothingOlder),
}

enum Next {
    AfterRest,
    Later,
}

async fn step(
    hosted: &Arc<Hosted>,
    stage: &mut Stage,
    retired: &mut Retired,
) -> Result<Next, Status> {
    let epochs = DomainKeyEpochs::read(&hosted.replica.view()).map_err(unreadable)?;
    let Some(epochs) = epochs else { return Ok(Next::Later) };
    retired.see(hosted, &epochs).await;

    let status = hosted.replica.status();
    let does_it = hosted.is_open() && status.leader == Some(status.raft_id);
    if does_it && owes_rotation(hosted) {
        rotate(hosted).await?;
        return Ok(Next::AfterRest);
    }
    if !does_it || epochs.older.is_empty() {
        *stage = Stage::Idle;
        hosted.resealing.forget();
        return Ok(Next::Later);
    }
    if stage.newest() != Some(epochs.current) {
        *stage = Stage::Idle;
        hosted.resealing.forget();
    }
    match stage {
        Stage::Idle => {
            info!(newest = epochs.current, older = ?epochs.older, "sealing records again");
            *stage = Stage::counting(hosted)?;
            Ok(Next::AfterRest)
        }
        Stage::Counting(walk) => {
            let page = look(hosted, walk)?;
            walk.pass(&page);
            if walk.is_over() {
                hosted.resealing.set(walk.newest(), walk.older());
                info!(
                    left = walk.older(),
                    of = walk.seen(),
                    "counted records under older domain keys"
                );
                *stage = match walk.nothing_older() {
                    Some(proof) => Stage::Retiring(proof),
                    None => Stage::Sealing(walk_anew(hosted)?),
                };
            }
            Ok(Next::AfterRest)
        }
        Stage::Sealing(walk) => {
            let page = look(hosted, walk)?;
            if !page.older.is_empty() {
                seal_again(hosted, &page.older).await?;
                hosted.resealing.less(page.older.len());
            }
            walk.pass(&page);
            if walk.is_over() {
                *stage = Stage::counting(hosted)?;
            }
            Ok(Next::AfterRest)
        }
        Stage::Retiring(proof) => retire(hosted, *proof, &epochs).await,
    }
}

/// Whether somebody could reach the domain key who shall not, and nothing pending is in the way.
fn owes_rotation(hosted: &Hosted) -> bool {
    let epochs = hosted.share_epochs();
    epochs.is_some_and(|epochs| epochs.owes_rotation && epochs.pending.is_none())
}

/// A new domain key without anybody's order.
async fn rotate(hosted: &Arc<Hosted>) -> Result<(), Status> {
    let Some(now_ms) = hosted.replica.now_ms() else { return Ok(()) };
    let change = hosted.with_keyring(|keyring| {
        let view = hosted.replica.view();
        keyring.map(|keyring| keyring.rotate_domain_key(&view, now_ms, &mut SystemEntropy))
    });
    let change = match change {
        None => return Ok(()),
        Some(change) => change.map_err(|error| Status::aborted(error.to_string()))?,
    };
    let happened = Happened {
        action: "RotateDomainKey",
        resources: vec![resource(change.epochs.current)],
        ..Happened::default()
    };
    commit_once(hosted, &happened, &change.writes, change.guards).await?;
    info!(epoch = change.epochs.current, "a new domain key, since others could reach the old one");
    Ok(())
}

impl Stage {
    fn counting(hosted: &Hosted) -> Result<Self, Status> {
        walk_anew(hosted).map(Self::Counting)
    }

    fn newest(&self) -> Option<u32> {
        match self {
            Self::Idle => None,
            Self::Counting(walk) | Self::Sealing(walk) => Some(walk.newest()),
            Self::Retiring(proof) => Some(proof.than()),
        }
    }
}

fn walk_anew(hosted: &Hosted) -> Result<Walk, Status> {
    let walk = Walk::new(&hosted.replica.view()).map_err(unreadable)?;
    walk.ok_or_else(|| Status::unavailable("no domain keys here"))
}

/// One reading, let go of before anything is computed.
fn look(hosted: &Hosted, walk: &Walk) -> Result<Page, Status> {
    walk.look(&hosted.replica.view()).map_err(unreadable)
}

/// One txn. If one of the records has changed since it was read, none is written.
async fn seal_again(hosted: &Arc<Hosted>, older: &[Older]) -> Result<(), Status> {
    let sealed = hosted.with_keyring(|keyring| {
        let keyring = keyring.ok_or_else(|| Status::unavailable("this node was sealed"))?;
        let writes = keyring.seal_again(older, &mut SystemEntropy).map_err(unreadable)?;
        Ok::<_, Status>((writes, keyring.domain_keys_guard(), keyring.domain_key_epoch()))
    })?;
    let (writes, under, epoch) = sealed;
    let guards = older.iter().map(|older| (older.id, older.guard)).chain([under]).collect();
    let happened = Happened {
        action: "ReSealRecords",
        resources: vec![resource(epoch)],
        parameters: vec![("count", older.len().to_string())],
        ..Happened::default()
    };
    commit_once(hosted, &happened, &writes, guards).await.map(drop)
}

async fn retire(
    hosted: &Arc<Hosted>,
    proof: NothingOlder,
    epochs: &DomainKeyEpochs,
) -> Result<Next, Status> {
    let Some(now_ms) = hosted.replica.now_ms() else { return Ok(Next::Later) };
    let change = hosted.with_keyring(|keyring| {
        let view = hosted.replica.view();
        keyring.map(|keyring| keyring.retire_domain_keys(&view, now_ms, proof))
    });
    let change = match change {
        None | Some(Err(DomainKeyError::TooSoon { .. } | DomainKeyError::Stale)) => {
            return Ok(Next::Later);
        }
        Some(change) => change.map_err(unreadable)?,
    };
    let gone = |epoch: &&u32| !change.epochs.older.contains(epoch);
    let happened = Happened {
        action: "RetireDomainKey",
        resources: epochs.older.iter().filter(gone).map(|&epoch| resource(epoch)).collect(),
        ..Happened::default()
    };
    commit_once(hosted, &happened, &change.writes, change.guards).await?;
    Ok(Next::Later)
}

/// How audit entries name a domain key.
fn resource(epoch: u32) -> String {
    format!("domain-key/{epoch}")
}

fn unreadable(error: impl std::fmt::Display) -> Status {
    error!(%error, "records cannot be sealed again");
    Status::internal("records cannot be sealed again; see the log")
}

/// What a node does about its own disk once a key is retired: none of it needs the keys.
#[derive(Default)]
struct Retired {
    known: Option<DomainKeyEpochs>,
    /// The wrap is in no state from this log entry on.
    gone_at: Option<u64>,
    asked: Option<Instant>,
}

impl Retired {
    async fn see(&mut self, hosted: &Hosted, epochs: &DomainKeyEpochs) {
        let before = self.known.replace(epochs.clone());
        let missing = before.map(|before| {
            let still = |epoch: &u32| *epoch == epochs.current || epochs.older.contains(epoch);
            before.older.into_iter().filter(|epoch| !still(epoch)).collect::<Vec<_>>()
        });
        if let Some(missing) = missing.filter(|missing| !missing.is_empty()) {
            info!(retired = ?missing, "domain keys retired: their wraps are gone from the state");
            self.gone_at = Some(hosted.replica.view().applied().0);
            self.asked = None;
        }
        let Some(gone_at) = self.gone_at else { return };
        let status = hosted.replica.status();
        if status.purged_index >= Some(gone_at) {
            info!("the wraps of retired domain keys are in neither snapshot nor log of this node");
            self.gone_at = None;
        } else if self.asked.is_none_or(|asked| asked.elapsed() >= SNAPSHOT_AGAIN) {
            self.asked = Some(Instant::now());
            // Either is tried again if it comes to nothing.
            let _ = hosted.replica.trigger_snapshot().await;
        } else if status.snapshot_index >= Some(gone_at) {
            let _ = hosted.replica.purge_log(gone_at).await;
        }
    }
}
