//! When this node last heard its leader, and how long it therefore waits before it stands for
//! election.
//!
//! The configured times are the shortest. They are stretched, within bounds, by what is measured: a
//! leader whose messages come late (a busy machine, a slow network) is waited for longer, and so is
//! one that is far away, since an election takes two round trips. Nothing here reads a clock.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::types::RaftId;

/// A leader may be late by what it was late lately, this many times over.
const LATE_FACTOR: u32 = 4;
/// An election waits for this many round trips at least.
const ROUND_TRIP_FACTOR: u32 = 10;
/// The configured times are stretched no further than this.
const STRETCH_MAX: u32 = 8;
/// How much of the longest gap is forgotten with each message: half of it after about 350.
const FORGET: u32 = 512;

/// What was heard of leaders. Shared by whoever hears and whoever waits.
pub(crate) struct Hearing {
    shortest: Duration,
    longest: Duration,
    heard: Mutex<Heard>,
}

struct Heard {
    leader: (u64, RaftId),
    last: Instant,
    /// The longest gap between two messages of one leader, fading.
    late: Duration,
    /// Smoothed; zero before the first was measured.
    round_trip: Duration,
}

impl Hearing {
    /// `shortest` and `longest`: the configured election times.
    pub(crate) fn new(shortest: Duration, longest: Duration, now: Instant) -> Self {
        let heard =
            Heard { leader: (0, 0), last: now, late: Duration::ZERO, round_trip: Duration::ZERO };
        Self { shortest, longest, heard: Mutex::new(heard) }
    }

    /// The leader of that term was heard.
    pub(crate) fn hear(&self, term: u64, leader: RaftId, now: Instant) {
        let mut heard = self.lock();
        if (term, leader) < heard.leader {
            return; // It woke up and does not know yet that it was deposed.
        }
        if heard.leader == (term, leader) {
            // What is longer was no delay but an absence, and must not make the next one longer.
            let gap = now.saturating_duration_since(heard.last).min(self.longest);
            heard.late = gap.max(heard.late - heard.late / FORGET);
        }
        heard.leader = (term, leader);
        heard.last = now;
    }

    /// A call to the leader and back took that long.
    pub(crate) fn measure(&self, round_trip: Duration) {
        let mut heard = self.lock();
        heard.round_trip = match heard.round_trip {
            Duration::ZERO => round_trip,
            known => (known * 7 + round_trip) / 8,
        };
    }

    /// When a leader was heard last; at first, when this began.
    pub(crate) fn last(&self) -> Instant {
        self.lock().last
    }

    /// Whether any leader was heard since this began.
    pub(crate) fn has_heard(&self) -> bool {
        self.lock().leader != (0, 0)
    }

    /// How long a silence lasts before this node stands for election. `luck`: from 0 to 1, drawn
    /// anew each time, so that two nodes seldom stand at once.
    pub(crate) fn patience(&self, luck: f64) -> Duration {
        let measured = {
            let heard = self.lock();
            (heard.late * LATE_FACTOR).max(heard.round_trip * ROUND_TRIP_FACTOR)
        };
        let shortest = measured.clamp(self.shortest, self.shortest * STRETCH_MAX);
        let stretch = shortest.as_secs_f64() / self.shortest.as_secs_f64();
        let spread = self.longest.saturating_sub(self.shortest);
        shortest + spread.mul_f64(stretch * luck.clamp(0.0, 1.0))
    }

    fn lock(&self) -> MutexGuard<'_, Heard> {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn hearing(now: Instant) -> Hearing {
        Hearing::new(MS * 500, MS * 1000, now)
    }

    /// Hears the leader of term 1 this often, that far apart.
    fn hears(hearing: &Hearing, from: Instant, times: u32, apart: Duration) -> Instant {
        (0..times).for_each(|n| hearing.hear(1, 7, from + apart * n));
        from + apart * times
    }

    #[test]
    fn a_punctual_leader_is_waited_for_as_configured() {
        let now = Instant::now();
        let hearing = hearing(now);
        hears(&hearing, now, 50, MS * 100);
        hearing.measure(MS);
        assert_eq!(hearing.patience(0.0), MS * 500);
        assert_eq!(hearing.patience(1.0), MS * 1000);
    }

    #[test]
    fn a_late_leader_is_waited_for_longer_until_it_is_punctual_again() {
        let start = Instant::now();
        let hearing = hearing(start);
        let now = hears(&hearing, start, 3, MS * 400);
        assert_eq!(hearing.patience(0.0), MS * 1600);
        assert_eq!(hearing.patience(1.0), MS * 3200);
        hears(&hearing, now, 2000, MS * 100);
        assert_eq!(hearing.patience(0.0), MS * 500);
    }

    #[test]
    fn an_absence_stretches_nothing_beyond_bounds() {
        let start = Instant::now();
        let hearing = hearing(start);
        hears(&hearing, start, 2, Duration::from_secs(3600));
        assert_eq!(hearing.patience(0.0), MS * 4000);
        // Another leader's first message is late for nobody.
        let hearing = self::hearing(start);
        hearing.hear(1, 7, start);
        hearing.hear(2, 8, start + MS * 900);
        assert_eq!(hearing.patience(0.0), MS * 500);
    }

    #[test]
    fn a_distant_leader_is_given_ten_round_trips() {
        let hearing = hearing(Instant::now());
        hearing.measure(MS * 120);
        assert_eq!(hearing.patience(0.0), MS * 1200);
    }

    #[test]
    fn a_deposed_leader_counts_for_nothing() {
        let start = Instant::now();
        let hearing = hearing(start);
        hearing.hear(2, 8, start);
        hearing.hear(1, 7, start + MS * 300);
        assert_eq!(hearing.last(), start);
    }
}
