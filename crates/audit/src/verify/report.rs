//! What a verified export proves, in words that do not promise more.

use std::fmt;

use crate::checkpoint::Checkpoint;
use crate::note::VerifierKey;

/// Everything that was proven.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// Size, root, head and time, as signed and as found.
    pub checkpoint: Checkpoint,
    /// Cluster time of the first entry, milliseconds since the Unix epoch.
    pub first_ms: Option<u64>,
    /// Cluster time of the last entry.
    pub last_ms: Option<u64>,
    /// The key that signed the checkpoint: the one that was given.
    pub signed_by: VerifierKey,
    /// How many expectations were given; all of them were met.
    pub expectations_met: usize,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Checkpoint { origin, size, root, head, time_ms } = &self.checkpoint;
        let (root, head, time) = (hex::encode(root), hex::encode(head), Utc(*time_ms));
        writeln!(f, "{origin}: {size} entries, all as they were committed")?;
        if let (Some(first), Some(last)) = (self.first_ms, self.last_ms) {
            writeln!(f, "  entries    {} to {}", Utc(first), Utc(last))?;
        }
        writeln!(f, "  root       {root}")?;
        writeln!(f, "  head       {head}")?;
        writeln!(f, "  checkpoint {time}, signed by {}", self.signed_by)?;
        match self.expectations_met {
            0 => write!(
                f,
                "Proven for the first {size} entries, as of {time}, not that nothing came \
                 later. Keep {size}:{root} and pass it as --expect next time."
            ),
            1 => write!(f, "It contains the log as it was expected. Next time: {size}:{root}"),
            n => write!(f, "It contains all {n} expected states. Next time: {size}:{root}"),
        }
    }
}

/// Milliseconds since the Unix epoch, shown as a date and time in UTC.
struct Utc(u64);

impl fmt::Display for Utc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (seconds, millis) = (self.0 / 1000, self.0 % 1000);
        let (days, second) = (seconds / 86_400, seconds % 86_400);
        // Howard Hinnant's `civil_from_days`: years from March, in eras of 400.
        let shifted = days + 719_468;
        let (era, day_of_era) = (shifted / 146_097, shifted % 146_097);
        let year_of_era =
            (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let shifted_month = (5 * day_of_year + 2) / 153;
        let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
        let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
        let year = era * 400 + year_of_era + u64::from(month <= 2);
        let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
        write!(f, "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{millis:03}Z")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_shown_in_utc() {
        assert_eq!(Utc(0).to_string(), "1970-01-01T00:00:00.000Z");
        assert_eq!(Utc(951_782_400_001).to_string(), "2000-02-29T00:00:00.001Z");
        assert_eq!(Utc(1_767_225_599_999).to_string(), "2025-12-31T23:59:59.999Z");
        // The largest time that fits must not overflow.
        assert!(Utc(u64::MAX).to_string().ends_with('Z'));
    }
}
