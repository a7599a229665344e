//! Cluster time: the lower median of the voters' own clocks, which no single clock can move.
//!
//! The leader hears each voter's wall clock with every answer to AppendEntries and stamps batches
//! by it; everyone else knows the last stamp applied and how long ago that was. A wall clock is
//! read in one place only, [`WallClock`]; everything in between runs on the monotonic clock.
//! Nobody changes leader because of a clock.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::types::RaftId;

/// A voter's clock counts for this long after it was heard.
pub const HEARD_MAX: Duration = Duration::from_secs(2);
/// Clocks remembered; a domain has fewer members.
const PEERS_MAX: usize = 64;

/// The node's own wall clock.
pub trait WallClock: Send + Sync + 'static {
    /// Milliseconds since 1970.
    fn now_ms(&self) -> u64;
}

/// The operating system's clock.
pub struct SystemClock;

impl WallClock for SystemClock {
    fn now_ms(&self) -> u64 {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
    }
}

/// What this node knows of the time, its own and everyone's.
pub struct ClusterClock {
    wall: Arc<dyn WallClock>,
    heard: Mutex<BTreeMap<RaftId, Reading>>,
    stamped: Mutex<Option<Reading>>,
    steady: Mutex<Steady>,
}

/// A clock's value and the moment, on our monotonic clock, at which it had it.
#[derive(Clone, Copy)]
struct Reading {
    ms: u64,
    at: Instant,
}

impl Reading {
    fn carried_to(self, now: Instant) -> u64 {
        let passed = now.saturating_duration_since(self.at).as_millis();
        self.ms.saturating_add(u64::try_from(passed).unwrap_or(u64::MAX))
    }
}

impl ClusterClock {
    pub(crate) fn new(wall: Arc<dyn WallClock>) -> Self {
        Self { wall, heard: Mutex::default(), stamped: Mutex::default(), steady: Mutex::default() }
    }

    /// This node's own wall clock, as it tells it to a leader.
    pub(crate) fn own_ms(&self) -> u64 {
        self.wall.now_ms()
    }

    /// Notes that `peer` said its clock is at `ms`.
    pub(crate) fn hear(&self, peer: RaftId, ms: u64, at: Instant) {
        let mut heard = lock(&self.heard);
        if heard.len() >= PEERS_MAX {
            heard.retain(|_, reading| at.saturating_duration_since(reading.at) < HEARD_MAX);
        }
        heard.insert(peer, Reading { ms, at });
    }

    /// Whether `peer` was heard lately.
    pub(crate) fn hears(&self, peer: RaftId, now: Instant) -> bool {
        lock(&self.heard).get(&peer).is_some_and(|reading| is_fresh(reading, now))
    }

    /// The stamp a leader `me` gives a batch now, under a configuration of one voter set, or two
    /// while it is joint. `None`: the clocks of a majority of a set are not known.
    pub(crate) fn stamp(
        &self,
        me: RaftId,
        configs: &[BTreeSet<RaftId>],
        now: Instant,
    ) -> Option<u64> {
        let heard = lock(&self.heard);
        let own = self.wall.now_ms();
        let read = |voter: &RaftId| read(&heard, (me, own), voter, now);
        // Of two sets, the earlier time: neither may be moved ahead by the other's clocks.
        configs.iter().map(|voters| lower_median(voters, read)).min().flatten()
    }

    /// The latest time that a majority of each voter set say their own clocks have passed. What destroys
    /// something goes by this and not by the stamp, which goes by those of a majority that were heard; and
    /// by what is [steady](Self::steady) of it.
    pub(crate) fn passed(
        &self,
        me: RaftId,
        configs: &[BTreeSet<RaftId>],
        now: Instant,
    ) -> Option<u64> {
        let own = self.wall.now_ms();
        let heard = lock(&self.heard);
        let read = |voter: &RaftId| read(&heard, (me, own), voter, now);
        configs.iter().map(|voters| passed_by_majority(voters, read)).min().flatten()
    }

    /// What was passed at this look and at every one since one at least [`HEARD_MAX`] ago. A reading counts
    /// for that long, so two clocks that are wrong one after the other may look wrong together once; by
    /// then the first has been heard again. `None` begins anew.
    pub(crate) fn steady(&self, passed: Option<u64>, now: Instant) -> Option<u64> {
        lock(&self.steady).look(passed, now)
    }

    /// Notes the stamp of an applied batch.
    pub(crate) fn applied(&self, stamp_ms: u64) {
        *lock(&self.stamped) = Some(Reading { ms: stamp_ms, at: Instant::now() });
    }

    /// Cluster time as a proposer sees it: the last stamp applied and what has passed since. `None`
    /// before any stamp.
    pub(crate) fn now_ms(&self) -> Option<u64> {
        lock(&self.stamped).map(|reading| reading.carried_to(Instant::now()))
    }
}

/// The least of what was passed, in the window that goes on and in the one before.
#[derive(Default)]
struct Steady {
    before: Option<u64>,
    window: Option<(Instant, u64)>,
}

impl Steady {
    fn look(&mut self, passed: Option<u64>, now: Instant) -> Option<u64> {
        let Some(passed) = passed else {
            *self = Self::default();
            return None;
        };
        let least = match self.window {
            Some((began, least)) if now.saturating_duration_since(began) < HEARD_MAX => {
                self.window = Some((began, least.min(passed)));
                least.min(passed)
            }
            ended => {
                self.before = ended.map(|(_, least)| least);
                self.window = Some((now, passed));
                passed
            }
        };
        self.before.map(|before| before.min(least))
    }
}

fn is_fresh(reading: &Reading, now: Instant) -> bool {
    now.saturating_duration_since(reading.at) <= HEARD_MAX
}

fn read(
    heard: &BTreeMap<RaftId, Reading>,
    (me, own_ms): (RaftId, u64),
    voter: &RaftId,
    now: Instant,
) -> Option<u64> {
    match heard.get(voter) {
        _ if *voter == me => Some(own_ms),
        Some(reading) if is_fresh(reading, now) => Some(reading.carried_to(now)),
        _ => None,
    }
}

fn passed_by_majority(
    voters: &BTreeSet<RaftId>,
    read: impl Fn(&RaftId) -> Option<u64>,
) -> Option<u64> {
    let mut clocks: Vec<u64> = voters.iter().filter_map(read).collect();
    clocks.sort_unstable_by(|a, b| b.cmp(a));
    clocks.get(voters.len() / 2).copied()
}

fn lower_median(voters: &BTreeSet<RaftId>, read: impl Fn(&RaftId) -> Option<u64>) -> Option<u64> {
    let mut clocks: Vec<u64> = voters.iter().filter_map(read).collect();
    if clocks.len() * 2 <= voters.len() {
        return None;
    }
    clocks.sort_unstable();
    Some(clocks[(clocks.len() - 1) / 2])
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Nothing panics while it holds one of these, and the value is whole at every point.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;

    struct Fixed(AtomicU64);

    impl WallClock for Fixed {
        fn now_ms(&self) -> u64 {
            self.0.load(Ordering::Relaxed)
        }
    }

    fn clock(own: u64) -> ClusterClock {
        ClusterClock::new(Arc::new(Fixed(AtomicU64::new(own))))
    }

    fn voters(ids: &[RaftId]) -> BTreeSet<RaftId> {
        ids.iter().copied().collect()
    }

    const TWO_YEARS: u64 = 2 * 365 * 86_400_000;

    /// A voter that is not heard has passed nothing; of those that are, one ahead moves nothing.
    #[test]
    fn a_majority_of_all_voters_must_have_passed_a_time() {
        let now = Instant::now();
        let set = [voters(&[1, 2, 3, 4, 5])];
        let two_years_ahead = clock(1_000_000);
        assert_eq!(two_years_ahead.passed(1, &set, now), None);
        two_years_ahead.hear(2, 1_000, now);
        assert_eq!(two_years_ahead.passed(1, &set, now), None);
        two_years_ahead.hear(3, 1_010, now);
        assert_eq!(two_years_ahead.passed(1, &set, now), Some(1_000));
        assert_eq!(two_years_ahead.stamp(1, &set, now), Some(1_010));
        two_years_ahead.hear(4, 1_020, now);
        two_years_ahead.hear(5, 5, now);
        assert_eq!(two_years_ahead.passed(1, &set, now), Some(1_010));
        assert_eq!(two_years_ahead.passed(1, &[voters(&[1])], now), Some(1_000_000));
        let joint = [voters(&[1, 2, 3]), voters(&[1, 5])];
        assert_eq!(two_years_ahead.passed(1, &joint, now), Some(5));
    }

    /// One voter's clock is put right, then the leader's own goes wrong, before the other is heard again.
    #[test]
    fn clocks_that_are_wrong_one_after_the_other_have_passed_nothing() {
        let set = [voters(&[1, 2, 3])];
        let own = Arc::new(Fixed(AtomicU64::new(1_000)));
        let clock = ClusterClock::new(Arc::clone(&own) as Arc<dyn WallClock>);
        let mut now = Instant::now();
        let mut look = |second_says: Option<u64>| {
            now += Duration::from_millis(900);
            second_says.into_iter().for_each(|ms| clock.hear(2, ms, now));
            clock.hear(3, 1_000, now);
            clock.steady(clock.passed(1, &set, now), now)
        };
        assert_eq!([look(Some(TWO_YEARS)), look(Some(TWO_YEARS))], [None, None]);
        assert_eq!([look(Some(TWO_YEARS)), look(Some(TWO_YEARS))], [None, Some(1_000)]);
        own.0.store(TWO_YEARS, Ordering::Relaxed);
        for second_says in [None, Some(1_000), Some(1_000), Some(1_000), Some(1_000), None] {
            assert!(look(second_says).is_some_and(|passed| passed < 10_000));
        }
        // Two that stay wrong are a majority.
        let two_wrong: Vec<_> = (0..7).map(|_| look(Some(TWO_YEARS))).collect();
        assert!(two_wrong[..3].iter().flatten().all(|passed| *passed < 10_000), "{two_wrong:?}");
        assert_eq!(two_wrong[6], Some(TWO_YEARS));
        assert_eq!(clock.steady(None, now), None);
        assert_eq!(clock.steady(Some(TWO_YEARS), now), None);
    }

    #[test]
    fn one_clock_two_years_ahead_moves_nothing() {
        let now = Instant::now();
        let set = [voters(&[1, 2, 3])];
        // A follower's.
        let follower = clock(1_000);
        follower.hear(2, TWO_YEARS, now);
        assert_eq!(follower.stamp(1, &set, now), Some(1_000));
        follower.hear(3, 1_010, now);
        assert_eq!(follower.stamp(1, &set, now), Some(1_010));
        // The leader's own.
        let leader = clock(TWO_YEARS);
        leader.hear(2, 1_000, now);
        assert_eq!(leader.stamp(1, &set, now), Some(1_000));
    }

    #[test]
    fn no_majority_no_stamp() {
        let now = Instant::now();
        let clock = clock(1_000);
        assert_eq!(clock.stamp(1, &[voters(&[1])], now), Some(1_000));
        assert_eq!(clock.stamp(1, &[voters(&[1, 2, 3])], now), None);
        clock.hear(2, 5, now);
        let late = now + HEARD_MAX + Duration::from_millis(1);
        assert_eq!(clock.stamp(1, &[voters(&[1, 2, 3])], late), None);
        // A joint configuration needs a majority of both.
        assert_eq!(clock.stamp(1, &[voters(&[1, 2]), voters(&[1, 4, 5])], now), None);
        // A leader that votes no more still stamps by those who do.
        assert_eq!(clock.stamp(9, &[voters(&[2])], now), Some(5));
    }

    #[test]
    fn a_heard_clock_is_carried() {
        let now = Instant::now();
        let clock = clock(0);
        clock.hear(2, 1_000, now);
        assert_eq!(clock.stamp(9, &[voters(&[2])], now + Duration::from_millis(700)), Some(1_700));
    }

    #[test]
    fn a_proposer_knows_no_time_before_the_first_stamp() {
        let clock = clock(7);
        assert_eq!(clock.now_ms(), None);
        clock.applied(5_000);
        assert!((5_000..6_000).contains(&clock.now_ms().unwrap()));
    }
}
