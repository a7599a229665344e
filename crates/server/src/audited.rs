//! What a node audits of itself: unsealing, opening, sealing, founding, releases of shares.
//!
//! Such entries are sealed under the newest audit key if the node is open, and to the domain's
//! intake key if it is not.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use conclave_crypto::{HpkePublicKey, SystemEntropy};
use conclave_kms::Caller;
use conclave_proto::audit::{Entry, Outcome, Pair, SealedEntry};
use conclave_proto::record::PublicKeys;
use conclave_replica::{Decided, ProposeError};
use conclave_seal::seal_entry_to_intake;
use conclave_store::{GuardDigest, Kind, RecordId, Revision, TxnBody, Write};
use tonic::Status;

use crate::hosted::Hosted;
use crate::meta::{outcome_unknown, unavailable};

/// How long an entry of a node's own may take to commit.
pub(crate) const DEADLINE: Duration = Duration::from_secs(8);
/// Before an entry that was not taken is tried again.
const RETRY_AFTER: Duration = Duration::from_secs(1);
/// A conflict is decided anew this often before the caller is told to retry.
const ATTEMPTS_MAX: u32 = 16;

/// What happened, before it is dated and sealed.
#[derive(Clone, Debug, Default)]
pub(crate) struct Happened {
    /// Whose doing; empty: the node's own.
    pub(crate) principal: String,
    pub(crate) certificate_serial: String,
    pub(crate) source_address: String,
    pub(crate) request_id: String,
    pub(crate) action: &'static str,
    pub(crate) resources: Vec<String>,
    /// Sorted by name when the entry is made.
    pub(crate) parameters: Vec<(&'static str, String)>,
    /// Empty: it succeeded.
    pub(crate) refused: String,
}

impl Happened {
    /// What a caller ordered, or was refused.
    pub(crate) fn by(caller: &Caller, action: &'static str, resources: Vec<String>) -> Self {
        Self {
            principal: caller.principal.clone(),
            certificate_serial: caller.certificate_serial.clone(),
            source_address: caller.source_address.clone(),
            request_id: caller.request_id.as_str().to_owned(),
            action,
            resources,
            ..Self::default()
        }
    }

    /// The audit entry, sealed as this node can.
    pub(crate) fn seal(&self, hosted: &Hosted, now_ms: u64) -> Result<SealedEntry, Status> {
        let entry = self.entry(&hosted.name, &hosted.region, now_ms);
        hosted.with_keyring(|keyring| match keyring {
            Some(keyring) => Ok(keyring.seal_entry(&entry, &mut SystemEntropy)),
            None => {
                let keys: PublicKeys = hosted
                    .public(Kind::PublicKeys)
                    .ok_or_else(|| unavailable("the domain's public keys have not arrived yet"))?;
                let intake = HpkePublicKey::from_bytes(&keys.intake).map_err(unsealable)?;
                seal_entry_to_intake(&intake, hosted.domain_id(), &entry, &mut SystemEntropy)
                    .map_err(unsealable)
            }
        })
    }

    /// The entry itself.
    pub(crate) fn entry(&self, node: &str, region: &str, now_ms: u64) -> Entry {
        let principal =
            if self.principal.is_empty() { format!("node/{node}") } else { self.principal.clone() };
        let request_id = if self.request_id.is_empty() {
            uuid::Uuid::new_v4().to_string()
        } else {
            self.request_id.clone()
        };
        let mut parameters: Vec<Pair> = self
            .parameters
            .iter()
            .map(|(name, value)| Pair { name: (*name).to_owned(), value: value.clone() })
            .collect();
        parameters.sort_by(|a, b| a.name.cmp(&b.name));
        let outcome = if self.refused.is_empty() { Outcome::Success } else { Outcome::Refused };
        Entry {
            time_ms: now_ms,
            request_id,
            principal,
            certificate_serial: self.certificate_serial.clone(),
            source_address: self.source_address.clone(),
            node: node.to_owned(),
            region: region.to_owned(),
            action: self.action.to_owned(),
            resources: self.resources.clone(),
            parameters,
            outcome: outcome.into(),
            reason: self.refused.clone(),
            ..Entry::default()
        }
    }
}

/// Commits an entry, with the writes that go with it, under guards read afresh at each attempt.
///
/// `guards` is asked anew after a conflict, and may refuse. If sealed records are written, they must
/// have the domain keys among them, as the keyring that sealed knew them.
pub(crate) async fn commit(
    hosted: &Hosted,
    happened: &Happened,
    writes: &[Write],
    mut guards: impl FnMut() -> Result<BTreeMap<RecordId, Option<GuardDigest>>, Status>,
) -> Result<Revision, Status> {
    let deadline = Instant::now() + DEADLINE;
    for _ in 0..ATTEMPTS_MAX {
        let now_ms = wait_for_time(hosted, deadline).await?;
        let guards = guards()?;
        debug_assert!(
            guards.contains_key(&RecordId::singleton(Kind::DomainKeys))
                || writes.iter().all(|it| it.record.kind().is_public() || it.blob().is_none()),
            "a stale keyring's records could come back under a retired domain key"
        );
        let body = TxnBody {
            guards,
            writes: writes.to_vec(),
            ..TxnBody::new(now_ms, happened.seal(hosted, now_ms)?)
        };
        match hosted.replica.propose(body, deadline).await {
            Ok(Decided::Committed(revision) | Decided::Known { revision, .. }) => {
                return Ok(revision);
            }
            Ok(Decided::Conflict { log_index, .. }) => hosted
                .replica
                .wait_applied(log_index.0, deadline)
                .await
                .map_err(|_| unavailable("this node lags behind the quorum; retry"))?,
            Err(ProposeError::OutcomeUnknown) => {
                return Err(outcome_unknown("the quorum did not answer in time"));
            }
            Err(error) => return Err(unavailable(error.to_string())),
        }
    }
    Err(unavailable("the records this rests on kept changing; retry"))
}

/// Commits writes that were worked out from records as these guards have them. If one of those has
/// changed nothing is committed, and the caller works it out anew or leaves it to whoever was first.
pub(crate) async fn commit_once(
    hosted: &Hosted,
    happened: &Happened,
    writes: &[Write],
    guards: BTreeMap<RecordId, Option<GuardDigest>>,
) -> Result<Revision, Status> {
    let mut guards = Some(guards);
    let once = || guards.take().ok_or_else(|| unavailable("a record changed in between; retry"));
    commit(hosted, happened, writes, once).await
}

/// Commits an entry that rests on nothing.
pub(crate) async fn note(hosted: &Hosted, happened: &Happened) -> Result<Revision, Status> {
    commit(hosted, happened, &[], || Ok(BTreeMap::new())).await
}

/// Commits an entry of something that has happened already. If the quorum does not take it in time
/// the caller is told so, and it is tried again until it is taken or the process ends.
pub(crate) async fn note_or_later(hosted: &Arc<Hosted>, happened: Happened) -> Result<(), Status> {
    let Err(status) = note(hosted, &happened).await else { return Ok(()) };
    let hosted = Arc::downgrade(hosted);
    tokio::spawn(async move {
        loop {
            tokio::time::sleep(RETRY_AFTER).await;
            let Some(hosted) = hosted.upgrade() else { return };
            if note(&hosted, &happened).await.is_ok() {
                return;
            }
        }
    });
    Err(status)
}

/// Cluster time; a node that has only just started waits until it has applied a stamp.
pub(crate) async fn wait_for_time(hosted: &Hosted, deadline: Instant) -> Result<u64, Status> {
    loop {
        if let Some(now_ms) = hosted.replica.now_ms() {
            return Ok(now_ms);
        }
        if Instant::now() >= deadline {
            return Err(unavailable("cluster time is not known: is there a quorum of nodes up?"));
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

fn unsealable(error: impl std::fmt::Display) -> Status {
    tracing::error!(%error, "an audit entry cannot be sealed");
    unavailable("internal error; the node's log has the reason")
}
