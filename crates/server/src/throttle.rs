//! How fast one principal may go on at this node.
//!
//! Each principal has a bucket of its own, kept as the one instant of the generic cell rate
//! algorithm (ITU-T I.371): when the bucket is full again. What is turned away is counted by
//! principal, and summed up in the audit log once a minute, so that nobody can fill the disks with
//! denials.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use conclave_pki::Kind;
use tokio::sync::watch;
use tonic::metadata::MetadataValue;
use tonic::{Code, Request, Status};
use tracing::warn;

use crate::audited::{Happened, note};
use crate::listener::{Connection, told_to};
use crate::node::Node;
use crate::refusals::named;

/// Principals whose rate is known at once; all beyond share one bucket. A bucket that is full again
/// and has nothing to tell gives way.
const PRINCIPALS_MAX: usize = 4_096;
/// Between summaries in the audit log.
pub(crate) const SUMMARY_EVERY: Duration = Duration::from_secs(60);
/// Attempts to unseal that may be refused at once, and a second after that: each is an audit entry.
const UNSEALS_BURST: u32 = 60;
const UNSEALS_PER_SECOND: u32 = 1;
/// Header of a refusal: milliseconds until a request may succeed (gRPC retry design, A6).
const RETRY_AFTER_MS: &str = "grpc-retry-pushback-ms";
/// The principal of the shared bucket: no principal can have this name.
const OTHERS: &str = "(others)";

/// The buckets of a node.
pub(crate) struct Throttle {
    /// What one request takes of a bucket.
    each: Duration,
    /// What a full bucket holds.
    burst: Duration,
    buckets: Mutex<Buckets>,
}

#[derive(Default)]
struct Buckets {
    by_principal: HashMap<String, Bucket>,
    others: Bucket,
}

#[derive(Clone, Copy, Default)]
struct Bucket {
    /// When it is full again; none or past: it is.
    full_at: Option<Instant>,
    /// Turned away and not in the audit log yet.
    untold: u64,
}

impl Throttle {
    pub(crate) fn new(per_second: u32, burst: u32) -> Self {
        let each = Duration::from_secs(1) / per_second.max(1);
        Self { each, burst: each * burst.max(1), buckets: Mutex::default() }
    }

    /// For attempts to unseal.
    pub(crate) fn for_unsealing() -> Self {
        Self::new(UNSEALS_PER_SECOND, UNSEALS_BURST)
    }

    /// Takes one request out of the principal's bucket.
    ///
    /// # Errors
    /// How long until there is one again.
    pub(crate) fn take(&self, principal: &str, now: Instant) -> Result<(), Duration> {
        let mut buckets = self.buckets();
        let bucket = buckets.of(principal, now);
        let full_at = bucket.full_at.filter(|at| *at > now).unwrap_or(now) + self.each;
        let filling = full_at.duration_since(now);
        if filling > self.burst {
            bucket.untold += 1;
            return Err(filling - self.burst);
        }
        bucket.full_at = Some(full_at);
        Ok(())
    }

    /// Puts one back: it cost nothing after all.
    pub(crate) fn put_back(&self, principal: &str, now: Instant) {
        let mut buckets = self.buckets();
        let bucket = buckets.of(principal, now);
        bucket.full_at = bucket.full_at.and_then(|at| at.checked_sub(self.each));
    }

    /// Whom the audit log does not know to have been turned away yet, and how often.
    fn untold(&self) -> Vec<(String, u64)> {
        let buckets = self.buckets();
        let others = (OTHERS.to_owned(), buckets.others.untold);
        let each = buckets.by_principal.iter().map(|(name, bucket)| (name.clone(), bucket.untold));
        each.chain([others]).filter(|(_, untold)| *untold > 0).collect()
    }

    /// The audit log knows of that many now.
    fn told(&self, principal: &str, count: u64) {
        let mut buckets = self.buckets();
        let bucket = match buckets.by_principal.get_mut(principal) {
            Some(bucket) => bucket,
            None => &mut buckets.others,
        };
        bucket.untold = bucket.untold.saturating_sub(count);
    }

    fn buckets(&self) -> MutexGuard<'_, Buckets> {
        self.buckets.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Buckets {
    fn of(&mut self, principal: &str, now: Instant) -> &mut Bucket {
        if !self.by_principal.contains_key(principal) {
            if self.by_principal.len() >= PRINCIPALS_MAX {
                self.by_principal
                    .retain(|_, bucket| bucket.untold > 0 || bucket.full_at > Some(now));
            }
            if self.by_principal.len() >= PRINCIPALS_MAX {
                return &mut self.others;
            }
        }
        self.by_principal.entry(principal.to_owned()).or_default()
    }
}

/// What stands before every service of the api listener: a client's request passes if its
/// principal is within its rate.
pub(crate) fn gate(
    node: &Arc<Node>,
) -> impl Fn(Request<()>) -> Result<Request<()>, Status> + Clone + Send + Sync + 'static + use<> {
    let node = Arc::downgrade(node);
    move |request| {
        let Some(node) = node.upgrade() else { return Ok(request) };
        let who = Connection::of(&request)?;
        // Nodes are no principals: all they may call here is status.
        if who.identity.kind() == Kind::Client {
            limit(&node, &node.throttle, who.identity.name())?;
        }
        Ok(request)
    }
}

/// Refuses what is over the principal's rate, and counts it.
pub(crate) fn limit(node: &Node, throttle: &Throttle, principal: &str) -> Result<(), Status> {
    let Err(wait) = throttle.take(principal, Instant::now()) else { return Ok(()) };
    node.request_counters.throttled.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    let wait_ms = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX).max(1);
    let mut status = named(
        Code::ResourceExhausted,
        "ThrottlingException",
        format!(
            "too many requests of this principal at this node; nothing was done, retry in {wait_ms} ms"
        ),
    );
    status.metadata_mut().insert(RETRY_AFTER_MS, MetadataValue::from(wait_ms));
    Err(status)
}

/// Tells the audit log once a minute whom this node turned away, until told to stop. What the
/// quorum does not take is told a minute later, with what came since.
pub(crate) async fn tell(node: Weak<Node>, mut stop: watch::Receiver<bool>) {
    loop {
        tokio::select! {
            () = tokio::time::sleep(SUMMARY_EVERY) => {}
            () = told_to(&mut stop) => return,
        }
        let Some(node) = node.upgrade() else { return };
        for (throttle, of) in [(&node.throttle, "requests"), (&node.unseals, "Unseal")] {
            for (principal, count) in throttle.untold() {
                tell_one(&node, throttle, of, principal, count).await;
            }
        }
    }
}

async fn tell_one(node: &Node, throttle: &Throttle, of: &str, principal: String, count: u64) {
    // Without a domain there is no audit log. The counts stay.
    let Some(hosted) = node.hosted().filter(|hosted| hosted.is_founded()) else { return };
    let happened = Happened {
        principal: principal.clone(),
        action: "Throttle",
        resources: vec![hosted.name.clone()],
        parameters: vec![("count", count.to_string()), ("of", of.to_owned())],
        refused: format!("ThrottlingException: {count} turned away since the last such entry"),
        ..Happened::default()
    };
    match note(&hosted, &happened).await {
        Ok(_) => throttle.told(&principal, count),
        Err(status) => warn!(count, reason = status.message(), "throttling is not audited yet"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn a_bucket_gives_its_burst_and_then_its_rate() {
        let throttle = Throttle::new(100, 5);
        let began = Instant::now();
        let taken = |now: Instant| (0..1_000).filter(|_| throttle.take("a", now).is_ok()).count();
        assert_eq!(taken(began), 5);
        assert_eq!(throttle.take("a", began), Err(10 * MS), "when there is one again");
        assert_eq!(taken(began + 9 * MS), 0);
        assert_eq!(taken(began + 10 * MS), 1);
        assert_eq!(taken(began + 500 * MS), 5, "no more than a burst is saved up");
        assert!(throttle.take("b", began).is_ok(), "each principal has its own");
        throttle.put_back("a", began + 500 * MS);
        assert_eq!(taken(began + 500 * MS), 1);
    }

    #[test]
    fn principals_are_bounded_and_counts_are_told_once() {
        let throttle = Throttle::new(1, 1);
        let now = Instant::now();
        for number in 0..PRINCIPALS_MAX {
            assert!(throttle.take(&number.to_string(), now).is_ok());
        }
        assert!(throttle.take("late", now).is_ok(), "the shared bucket's one");
        assert!(throttle.take("later", now).is_err());
        assert!(throttle.take("7", now).is_err());
        let mut untold = throttle.untold();
        untold.sort();
        assert_eq!(untold, [(OTHERS.to_owned(), 1), ("7".to_owned(), 1)]);
        untold.iter().for_each(|(principal, count)| throttle.told(principal, *count));
        assert!(throttle.untold().is_empty());

        let later = now + Duration::from_secs(2);
        assert!(throttle.take("late", later).is_ok());
        assert_eq!(throttle.buckets().by_principal.len(), 1, "full ones gave way");
    }
}
