//! Times in UTC: how they are shown, and how `--since` and `--until` are written.

use std::{str::FromStr, time::SystemTime};

use thiserror::Error;

const DAY_SECS: i64 = 86_400;

/// Milliseconds since the Unix epoch as `2026-03-01T12:00:00Z`, or `-` for none.
pub(crate) fn utc(ms: u64) -> String {
    if ms == 0 {
        return "-".to_owned();
    }
    utc_secs(i64::try_from(ms / 1000).unwrap_or(i64::MAX))
}

/// Seconds since the Unix epoch as `2026-03-01T12:00:00Z`.
pub(crate) fn utc_secs(secs: i64) -> String {
    let (days, second) = (secs.div_euclid(DAY_SECS), secs.rem_euclid(DAY_SECS));
    let (year, month, day) = civil_from_days(days);
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}

/// A moment on the command line: `2026-03-01T12:00:00Z`, `2026-03-01`, or `15m` ago.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum When {
    /// Milliseconds since the Unix epoch.
    At(u64),
    /// Milliseconds before now.
    Ago(u64),
}

impl When {
    /// Milliseconds since the Unix epoch.
    pub(crate) fn ms(self, now: SystemTime) -> u64 {
        let now = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_millis();
        match self {
            Self::At(ms) => ms,
            Self::Ago(ms) => u64::try_from(now).unwrap_or(u64::MAX).saturating_sub(ms),
        }
    }
}

impl FromStr for When {
    type Err = WhenError;

    fn from_str(text: &str) -> Result<Self, WhenError> {
        ago(text).or_else(|| at(text)).ok_or(WhenError)
    }
}

/// A moment to come, on the command line: `2026-03-01T12:00:00Z`, `2026-03-01`, or `30d` from now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Until {
    /// Milliseconds since the Unix epoch.
    At(u64),
    /// Milliseconds from now.
    In(u64),
}

impl Until {
    /// Milliseconds since the Unix epoch.
    pub(crate) fn ms(self, now: SystemTime) -> u64 {
        match self {
            Self::At(ms) => ms,
            Self::In(ms) => When::Ago(0).ms(now).saturating_add(ms),
        }
    }
}

impl FromStr for Until {
    type Err = UntilError;

    fn from_str(text: &str) -> Result<Self, UntilError> {
        match text.parse() {
            Ok(When::At(ms)) => Ok(Self::At(ms)),
            Ok(When::Ago(ms)) => Ok(Self::In(ms)),
            Err(WhenError) => Err(UntilError),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error(
    "write a time as 2026-03-01T12:00:00Z or 2026-03-01 (UTC), or as 90s, 15m, 2h, 7d from now"
)]
pub(crate) struct UntilError;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("write a time as 2026-03-01T12:00:00Z or 2026-03-01 (UTC), or as 90s, 15m, 2h, 7d ago")]
pub(crate) struct WhenError;

fn ago(text: &str) -> Option<When> {
    let (number, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    let unit_ms = match unit {
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return None,
    };
    digits(number).and_then(|number| number.checked_mul(unit_ms)).map(When::Ago)
}

fn at(text: &str) -> Option<When> {
    let (date, clock) = match text.split_once('T') {
        Some((date, clock)) => (date, clock.strip_suffix('Z')?),
        None => (text, "00:00:00"),
    };
    let [year, month, day] = numbers(date, '-', [4, 2, 2])?;
    let [hour, minute, second] = numbers(clock, ':', [2, 2, 2])?;
    if year < 1970 || hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let days = days_from_civil(year, month, day);
    // A day that the month has not is another day of the calendar.
    if civil_from_days(days) != (year, month, day) {
        return None;
    }
    let secs = days * DAY_SECS + hour * 3600 + minute * 60 + second;
    u64::try_from(secs).ok().map(|secs| When::At(secs * 1000))
}

fn numbers(text: &str, between: char, lengths: [usize; 3]) -> Option<[i64; 3]> {
    let mut found = [0; 3];
    let mut parts = text.split(between);
    for (number, length) in found.iter_mut().zip(lengths) {
        let part = parts.next().filter(|part| part.len() == length)?;
        *number = i64::try_from(digits(part)?).ok()?;
    }
    parts.next().is_none().then_some(found)
}

fn digits(text: &str) -> Option<u64> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| text.parse().ok()).flatten()
}

/// Howard Hinnant's `civil_from_days`: years from March, in eras of 400.
fn civil_from_days(days: i64) -> (i64, i64, i64) {
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted.div_euclid(146_097), shifted.rem_euclid(146_097));
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    (year_of_era + era * 400 + i64::from(month <= 2), month, day)
}

/// Howard Hinnant's `days_from_civil`.
fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let year = year - i64::from(month <= 2);
    let (era, year_of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let shifted_month = if month > 2 { month - 3 } else { month + 9 };
    let day_of_year = (153 * shifted_month + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_shown_in_utc() {
        assert_eq!(utc(0), "-");
        assert_eq!(utc(951_782_400_001), "2000-02-29T00:00:00Z");
        assert_eq!(utc_secs(1_772_366_400), "2026-03-01T12:00:00Z");
        assert!(utc(u64::MAX).ends_with('Z'), "the largest time does not overflow");
    }

    #[test]
    fn times_are_read_in_utc() {
        for (text, when) in [
            ("2000-02-29", When::At(951_782_400_000)),
            ("2026-03-01T12:00:00Z", When::At(1_772_366_400_000)),
            ("90s", When::Ago(90_000)),
            ("7d", When::Ago(604_800_000)),
        ] {
            assert_eq!(text.parse(), Ok(when), "{text}");
        }
        for bad in [
            "",
            "s",
            "-1s",
            "2025-02-29",
            "2026-3-1",
            "2026-03-01T12:00:00",
            "1969-12-31",
            "2026-03-01T24:00:00Z",
            "99999999999999999999s",
            "é",
        ] {
            assert_eq!(bad.parse::<When>(), Err(WhenError), "{bad}");
            assert_eq!(bad.parse::<Until>(), Err(UntilError), "{bad}");
        }
        let now = SystemTime::UNIX_EPOCH + std::time::Duration::from_millis(5);
        assert_eq!("2d".parse::<Until>().map(|until| until.ms(now)), Ok(172_800_005));
        assert_eq!("1970-01-02".parse::<Until>().map(|until| until.ms(now)), Ok(86_400_000));
    }
}
