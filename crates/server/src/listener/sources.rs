//! Who may have how many connections: quotas taken before anything is read.
//!
//! A connection whose certificate has not been checked yet counts apart from those that have been
//! let in, in all and by source, so that a host without a certificate can neither fill the listener
//! nor keep others from shaking hands. Over a quota, a connection is closed at once: a client goes
//! on to the next node instead of waiting.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Handshakes at once, from everywhere.
const HANDSHAKES_MAX: usize = 1_024;
/// Handshakes at once from one source. Above what a well-connected host opens at a time, well
/// below [`HANDSHAKES_MAX`].
const HANDSHAKES_PER_SOURCE_MAX: usize = 128;

/// How many connections a listener holds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Quota {
    /// In all.
    pub(crate) connections: usize,
    /// From one address.
    pub(crate) per_source: usize,
}

/// The connections of one listener by where they come from.
pub(crate) struct Sources {
    quota: Quota,
    counts: Mutex<Counts>,
}

#[derive(Default)]
struct Counts {
    all: Count,
    /// Only sources that have any.
    by_source: HashMap<IpAddr, Count>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Count {
    shaking: usize,
    let_in: usize,
}

/// A place at the listener, given back when dropped.
pub(crate) struct Place {
    sources: Arc<Sources>,
    source: IpAddr,
    is_in: bool,
}

impl Sources {
    pub(crate) fn new(quota: Quota) -> Arc<Self> {
        Arc::new(Self { quota, counts: Mutex::default() })
    }

    /// A place for a handshake, or none if a quota is used up.
    pub(crate) fn admit(self: &Arc<Self>, address: IpAddr) -> Option<Place> {
        let source = source(address);
        let mut counts = self.counts();
        let of = counts.by_source.get(&source).copied().unwrap_or_default();
        let fits = counts.all.shaking < HANDSHAKES_MAX
            && counts.all.let_in < self.quota.connections
            && of.shaking < HANDSHAKES_PER_SOURCE_MAX
            && of.let_in < self.quota.per_source;
        if !fits {
            return None;
        }
        counts.all.shaking += 1;
        counts.by_source.entry(source).or_default().shaking += 1;
        Some(Place { sources: Arc::clone(self), source, is_in: false })
    }

    /// Connections that have been let in.
    pub(crate) fn let_in(&self) -> usize {
        self.counts().all.let_in
    }

    fn counts(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Place {
    /// The certificate was good. False if meanwhile others took what was left.
    pub(crate) fn let_in(&mut self) -> bool {
        let mut counts = self.sources.counts();
        let quota = self.sources.quota;
        let of = counts.by_source.get(&self.source).copied().unwrap_or_default();
        if counts.all.let_in >= quota.connections || of.let_in >= quota.per_source {
            return false;
        }
        for count in counts.both(self.source) {
            count.shaking -= 1;
            count.let_in += 1;
        }
        drop(counts);
        self.is_in = true;
        true
    }
}

impl Counts {
    fn both(&mut self, source: IpAddr) -> [&mut Count; 2] {
        [&mut self.all, self.by_source.entry(source).or_default()]
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut counts = self.sources.counts();
        for count in counts.both(self.source) {
            if self.is_in {
                count.let_in -= 1;
            } else {
                count.shaking -= 1;
            }
        }
        if counts.by_source.get(&self.source) == Some(&Count::default()) {
            counts.by_source.remove(&self.source);
        }
    }
}

/// One host: an IPv4 address, or the /64 that an IPv6 host picks its addresses from.
fn source(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => IpAddr::V4(address),
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn a_source_without_a_certificate_leaves_room_for_others() {
        let sources = Sources::new(Quota { connections: 4, per_source: 2 });
        let shaking: Vec<Place> =
            std::iter::from_fn(|| sources.admit(ip("10.0.0.1"))).take(10_000).collect();
        assert_eq!(shaking.len(), HANDSHAKES_PER_SOURCE_MAX);
        let mut other = sources.admit(ip("10.0.0.2")).unwrap();
        assert!(other.let_in());
        drop(shaking);
        assert!(sources.admit(ip("10.0.0.1")).is_some());
        assert_eq!(sources.let_in(), 1);
        drop(other);
        assert!(sources.counts().by_source.is_empty(), "nothing is kept of who has gone");
    }

    #[test]
    fn quotas_hold_in_all_and_by_source() {
        let sources = Sources::new(Quota { connections: 3, per_source: 2 });
        let enter = |from: &str| {
            let mut place = sources.admit(ip(from))?;
            place.let_in().then_some(place)
        };
        let (a, b) = (enter("2001:db8::1").unwrap(), enter("2001:db8::2").unwrap());
        assert!(enter("2001:db8::3").is_none(), "one /64 is one source");
        let mut late = sources.admit(ip("10.0.0.1")).unwrap();
        let c = enter("10.0.0.2").unwrap();
        assert!(!late.let_in(), "the last place went while it was shaking hands");
        drop((a, late));
        assert!(enter("::ffff:10.0.0.2").is_some());
        drop((b, c));
        assert_eq!(sources.let_in(), 0);
    }
}
