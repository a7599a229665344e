//! Numbers with bounds, some with a default.

use crate::fields::bounds::check_number;
use crate::invalid::Invalid;
use crate::refusal::Refusal;
use crate::spec::named;

/// What GenerateDataKey and GenerateRandom give at most, in bytes.
pub const RANDOM_BYTES_MAX: u32 = 1024;

/// How long a key waits for its deletion: 7 to 30 days.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Days(u32);

impl Days {
    /// 30 if nothing is given.
    ///
    /// # Errors
    /// [`Invalid`] out of bounds.
    pub fn parse(days: Option<i32>) -> Result<Self, Refusal> {
        Ok(Self(check_number("pendingWindowInDays", days.unwrap_or(30), 7, 30)?))
    }

    pub(crate) fn get(self) -> u32 {
        self.0
    }

    pub(crate) fn after(self, now_ms: u64) -> u64 {
        after_days(now_ms, self.0)
    }
}

/// How often a key is rotated by itself: every 90 to 2560 days.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RotationPeriod(u32);

impl RotationPeriod {
    /// 365 days if nothing is given.
    ///
    /// # Errors
    /// [`Invalid`] out of bounds.
    pub fn parse(days: Option<i32>) -> Result<Self, Refusal> {
        Ok(Self(check_number("rotationPeriodInDays", days.unwrap_or(365), 90, 2560)?))
    }

    pub(crate) fn days(self) -> u32 {
        self.0
    }

    pub(crate) fn after(self, now_ms: u64) -> u64 {
        after_days(now_ms, self.0)
    }
}

/// Days of 24 hours, which is what cluster time knows.
pub(crate) fn after_days(now_ms: u64, days: u32) -> u64 {
    now_ms.saturating_add(u64::from(days) * 86_400_000)
}

named! {
    /// Data keys that have a name.
    DataKeySpec {
        Aes256 = "AES_256",
        Aes128 = "AES_128",
    }
}

/// The length of a data key: 1 to 1024 bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DataKeyBytes(u32);

impl DataKeyBytes {
    /// By number or by name, exactly one of them.
    ///
    /// # Errors
    /// [`Invalid`] out of bounds, for an unknown name, for neither or both.
    pub fn parse(bytes: Option<i32>, spec: &str) -> Result<Self, Refusal> {
        match (bytes, spec) {
            (Some(bytes), "") => {
                Ok(Self(check_number("numberOfBytes", bytes, 1, RANDOM_BYTES_MAX)?))
            }
            (None, spec) if !spec.is_empty() => match DataKeySpec::parse("keySpec", spec)? {
                DataKeySpec::Aes256 => Ok(Self(32)),
                DataKeySpec::Aes128 => Ok(Self(16)),
            },
            _ => Err(Invalid::DataKeyLength.into()),
        }
    }

    pub(crate) fn get(self) -> u32 {
        self.0
    }
}

/// How much randomness: 1 to 1024 bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RandomBytes(u32);

impl RandomBytes {
    /// There is no default.
    ///
    /// # Errors
    /// [`Invalid`] out of bounds, or if it is missing.
    pub fn parse(bytes: Option<i32>) -> Result<Self, Refusal> {
        let bytes = bytes.ok_or(Invalid::NoNumberOfBytes)?;
        Ok(Self(check_number("numberOfBytes", bytes, 1, RANDOM_BYTES_MAX)?))
    }

    pub(crate) fn get(self) -> u32 {
        self.0
    }
}

/// How much one page of a list holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PageLimit(u32);

impl PageLimit {
    /// `default` if nothing is given.
    ///
    /// # Errors
    /// [`Invalid`] out of 1 to `max`.
    pub fn parse(limit: Option<i32>, default: u32, max: u32) -> Result<Self, Refusal> {
        match limit {
            None => Ok(Self(default)),
            Some(limit) => Ok(Self(check_number("limit", limit, 1, max)?)),
        }
    }

    pub(crate) fn get(self) -> usize {
        self.0 as usize
    }
}
