//! The node's TLS material in force, and its replacement while the node runs.
//!
//! The files are read again every few seconds, and at once on SIGHUP. A set that differs is checked
//! whole (key, chain, kind, name, dates) before it is taken; one that does not hold is refused with
//! a line in the log and a count, and the old one stays. What is taken serves new connections;
//! open ones go on, as long as their own certificates are still trusted (see `listener`).

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use conclave_pki::{
    ClusterName, ConfigError, Kind, MaterialError, TlsFiles, TlsMaterial, TlsPem,
    api_server_config, peer_server_config,
};
use tokio::signal::unix::Signal;
use tokio::sync::watch;
use tokio_rustls::rustls::ServerConfig;
use tracing::{error, info, warn};

/// Between looks at the files.
const LOOK_EVERY: Duration = Duration::from_secs(2);
/// A refused set is tried again this often: one that is not valid yet becomes so.
const RETRY_EVERY: Duration = Duration::from_secs(60);
/// Days before an end at which the log says so, once each.
const WARN_DAYS: [i64; 3] = [30, 7, 1];
const DAY_SECS: i64 = 86_400;

/// What a node's connections are made with, checked.
pub(crate) struct InForce {
    pub(crate) material: TlsMaterial,
    pub(crate) api: Arc<ServerConfig>,
    pub(crate) peer: Arc<ServerConfig>,
}

impl InForce {
    pub(crate) fn new(material: TlsMaterial, cluster: &ClusterName) -> Result<Self, ConfigError> {
        let api = api_server_config(&material, cluster)?;
        let peer = peer_server_config(&material, cluster)?;
        Ok(Self { material, api, peer })
    }
}

/// The material in force, for all who make or take connections.
pub(crate) struct Certificates {
    files: TlsFiles,
    cluster: ClusterName,
    in_force: watch::Sender<Arc<InForce>>,
    /// SHA-256 of the files the material was first read from.
    first_digest: [u8; 32],
    replaced: AtomicU64,
    refused: AtomicU64,
}

impl Certificates {
    /// Reads and checks the files.
    pub(crate) fn load(files: &TlsFiles) -> Result<Self, LoadError> {
        let pem = TlsPem::read(files).map_err(MaterialError::from)?;
        let material = pem.check(&[Kind::Node], SystemTime::now())?;
        let cluster = material.identity().cluster().clone();
        let in_force = InForce::new(material, &cluster)?;
        Ok(Self {
            files: files.clone(),
            cluster,
            in_force: watch::Sender::new(Arc::new(in_force)),
            first_digest: pem.digest(),
            replaced: AtomicU64::new(0),
            refused: AtomicU64::new(0),
        })
    }

    pub(crate) fn in_force(&self) -> Arc<InForce> {
        Arc::clone(&self.in_force.borrow())
    }

    /// Follows what is in force.
    pub(crate) fn watch(&self) -> watch::Receiver<Arc<InForce>> {
        self.in_force.subscribe()
    }

    /// Sets that were taken since the start.
    pub(crate) fn replaced(&self) -> u64 {
        self.replaced.load(Ordering::Relaxed)
    }

    /// Sets that were refused since the start.
    pub(crate) fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }

    /// Watches the files and the dates until the task is dropped.
    pub(crate) async fn keep(self: Arc<Self>, mut hangup: Signal) {
        let mut looking = Looking::new(self.first_digest);
        let mut warned = Warned::default();
        loop {
            warned.look(&self.in_force().material, unix_now());
            let ordered = tokio::select! {
                () = tokio::time::sleep(LOOK_EVERY) => false,
                _ = hangup.recv() => true,
            };
            let files = self.files.clone();
            let read = tokio::task::spawn_blocking(move || {
                TlsPem::read(&files).map_err(|error| error.to_string())
            });
            let Ok(read) = read.await else { continue };
            let seen = read.as_ref().map(TlsPem::digest).map_err(Clone::clone);
            match looking.next(seen.clone(), ordered, Instant::now()) {
                Next::Leave => {}
                Next::Try { tell } => self.try_take(read, seen, tell, &mut looking),
            }
        }
    }

    fn try_take(
        &self,
        read: Result<TlsPem, String>,
        seen: Seen,
        tell: bool,
        looking: &mut Looking,
    ) {
        let taken = read.and_then(|pem| self.take(&pem).map_err(|error| error.to_string()));
        match taken {
            Ok(in_force) => {
                looking.taken(seen);
                self.replaced.fetch_add(1, Ordering::Relaxed);
                let material = &in_force.material;
                info!(
                    serial = material.identity().serial(),
                    not_after = material.not_after(),
                    authorities = material.authorities(),
                    "TLS files replaced"
                );
            }
            Err(reason) => {
                looking.refused(seen, Instant::now());
                if tell {
                    self.refused.fetch_add(1, Ordering::Relaxed);
                    warn!(reason, "new TLS files refused; the old ones stay in force");
                }
            }
        }
    }

    fn take(&self, pem: &TlsPem) -> Result<Arc<InForce>, LoadError> {
        let material = pem.check(&[Kind::Node], SystemTime::now())?;
        material.check_replaces(&self.in_force.borrow().material)?;
        let in_force = Arc::new(InForce::new(material, &self.cluster)?);
        self.in_force.send_replace(Arc::clone(&in_force));
        Ok(in_force)
    }
}

/// Why TLS files cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LoadError {
    #[error(transparent)]
    Material(#[from] MaterialError),
    #[error(transparent)]
    Config(#[from] ConfigError),
}

/// Seconds since the epoch by this machine's clock: what certificates' dates are compared with.
pub(crate) fn unix_now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}

/// What the files looked like: their digest, or why they could not be read.
type Seen = Result<[u8; 32], String>;

/// When to try what is on disk.
struct Looking {
    in_force: Seen,
    /// Seen once: tried when it is still so at the next look, since files are replaced one by one.
    settling: Option<Seen>,
    refused: Option<(Seen, Instant)>,
}

#[derive(Debug, PartialEq, Eq)]
enum Next {
    Leave,
    Try { tell: bool },
}

impl Looking {
    fn new(in_force: [u8; 32]) -> Self {
        Self { in_force: Ok(in_force), settling: None, refused: None }
    }

    fn next(&mut self, seen: Seen, ordered: bool, now: Instant) -> Next {
        if seen == self.in_force {
            self.settling = None;
            self.refused = None;
            return Next::Leave;
        }
        if ordered {
            return Next::Try { tell: true };
        }
        if let Some((refused, at)) = &self.refused
            && *refused == seen
        {
            let again = now.saturating_duration_since(*at) >= RETRY_EVERY;
            return if again { Next::Try { tell: false } } else { Next::Leave };
        }
        if self.settling.as_ref() == Some(&seen) {
            return Next::Try { tell: true };
        }
        self.settling = Some(seen);
        Next::Leave
    }

    fn taken(&mut self, seen: Seen) {
        *self = Self { in_force: seen, settling: None, refused: None };
    }

    fn refused(&mut self, seen: Seen, now: Instant) {
        self.settling = None;
        self.refused = Some((seen, now));
    }
}

/// Which ends the log has spoken of: (end, days that were left at most).
#[derive(Default)]
struct Warned {
    certificate: Option<(i64, i64)>,
    authority: Option<(i64, i64)>,
}

impl Warned {
    fn look(&mut self, material: &TlsMaterial, now: i64) {
        Self::one(&mut self.certificate, "this node's certificate", material.not_after(), now);
        Self::one(&mut self.authority, "the authority", material.authority_not_after(), now);
    }

    fn one(last: &mut Option<(i64, i64)>, what: &str, not_after: i64, now: i64) {
        let Some(days) = threshold(not_after, now) else { return };
        if *last == Some((not_after, days)) {
            return;
        }
        *last = Some((not_after, days));
        if days == 0 {
            error!(not_after, "{what} has expired: replace the files");
        } else {
            warn!(not_after, "{what} expires in less than {days} days: replace the files");
        }
    }
}

/// The smallest of [`WARN_DAYS`] that is left, 0 once it is over; none while there is time.
fn threshold(not_after: i64, now: i64) -> Option<i64> {
    if not_after < now {
        return Some(0);
    }
    WARN_DAYS.into_iter().rev().find(|days| not_after - now < days * DAY_SECS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_on_disk_is_tried_once_it_has_settled() {
        let now = Instant::now();
        let mut looking = Looking::new([0; 32]);
        let (one, two) = (|| Ok([1; 32]), || Ok([2; 32]));
        assert_eq!(looking.next(Ok([0; 32]), false, now), Next::Leave);
        assert_eq!(looking.next(one(), false, now), Next::Leave, "half of it may be written");
        assert_eq!(looking.next(two(), false, now), Next::Leave, "it changed again");
        assert_eq!(looking.next(two(), false, now), Next::Try { tell: true });
        looking.refused(two(), now);
        assert_eq!(looking.next(two(), false, now), Next::Leave, "told once");
        let later = now + RETRY_EVERY;
        assert_eq!(
            looking.next(two(), false, later),
            Next::Try { tell: false },
            "its day may come"
        );
        assert_eq!(looking.next(two(), true, now), Next::Try { tell: true }, "by order");
        looking.taken(two());
        assert_eq!(looking.next(two(), false, now), Next::Leave);
        assert_eq!(looking.next(one(), true, now), Next::Try { tell: true });
        let unreadable = || Err("no such file".to_owned());
        assert_eq!(looking.next(unreadable(), false, now), Next::Leave);
        assert_eq!(looking.next(unreadable(), false, now), Next::Try { tell: true });
    }

    #[test]
    fn warnings_come_at_30_7_and_1_days_and_at_the_end() {
        let days = |days: i64| threshold(days * DAY_SECS, 0);
        assert_eq!([days(31), days(30), days(29), days(7)], [None, None, Some(30), Some(30)]);
        assert_eq!([days(6), days(1), days(0)], [Some(7), Some(7), Some(1)]);
        assert_eq!(threshold(-1, 0), Some(0));
    }
}
