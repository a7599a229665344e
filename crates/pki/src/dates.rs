//! Unix seconds to the calendar: for certificates, and for the errors that name a day.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

pub(crate) const DAY_SECS: i64 = 86_400;

/// The last second that a certificate can name (9999-12-31, RFC 5280 section 4.1.2.5).
const LAST_SECOND: i64 = 253_402_300_799;

/// Whole seconds since 1970, or `None` for a clock that no certificate can express.
pub(crate) fn unix_secs(now: SystemTime) -> Option<i64> {
    let secs = i64::try_from(now.duration_since(UNIX_EPOCH).ok()?.as_secs()).ok()?;
    (secs <= LAST_SECOND).then_some(secs)
}

/// Seconds since 1970, held within what a certificate can name.
pub(crate) fn since_epoch(unix_secs: i64) -> Duration {
    Duration::from_secs(unix_secs.clamp(0, LAST_SECOND).unsigned_abs())
}

/// The day, as `2026-03-01`, in UTC.
pub(crate) fn day(unix_secs: i64) -> String {
    (rcgen::date_time_ymd(1970, 1, 1) + since_epoch(unix_secs)).date().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_are_utc_and_never_panic() {
        assert_eq!(day(0), "1970-01-01");
        assert_eq!(day(1_772_323_200), "2026-03-01");
        assert_eq!(day(i64::MIN), "1970-01-01");
        assert_eq!(day(i64::MAX), "9999-12-31");
    }
}
