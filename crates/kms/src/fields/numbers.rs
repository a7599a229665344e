//! Numbers with bounds, some with a default that 0 stands for.

use crate::fields::bounds::check_number;
use crate::refusal::Refusal;

/// What GenerateDataKey and GenerateRandom give at most, in bytes.
pub const RANDOM_BYTES_MAX: u32 = 1024;
const PAGE_MAX: u32 = 1000;

/// How long a key waits for its deletion: 7 to 30 days.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Days(u32);

impl Days {
    /// 0 stands for 30.
    ///
    /// # Errors
    /// [`Invalid`] out of bounds.
    pub fn parse(days: u32) -> Result<Self, Refusal> {
        Ok(Self(check_number("pendingWindowInDays", if days == 0 { 30 } else { days }, 7, 30)?))
    }

    pub(crate) fn get(self) -> u32 {
        self.0
    }

    pub(crate) fn ms(self) -> u64 {
        u64::from(self.0) * 86_400_000
    }
}

/// The length of a data key: 1 to 1024 bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DataKeyBytes(u32);

impl DataKeyBytes {
    /// 0 stands for 32, an AES-256 key.
    ///
    /// # Errors
    /// [`Invalid`] out of bounds.
    pub fn parse(bytes: u32) -> Result<Self, Refusal> {
        let bytes = if bytes == 0 { 32 } else { bytes };
        Ok(Self(check_number("numberOfBytes", bytes, 1, RANDOM_BYTES_MAX)?))
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
    /// [`Invalid`] out of bounds.
    pub fn parse(bytes: u32) -> Result<Self, Refusal> {
        Ok(Self(check_number("numberOfBytes", bytes, 1, RANDOM_BYTES_MAX)?))
    }

    pub(crate) fn get(self) -> u32 {
        self.0
    }
}

/// How much one page of a list holds: 1 to 1000.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PageLimit(u32);

impl PageLimit {
    /// 0 stands for 100.
    ///
    /// # Errors
    /// [`Invalid`] out of bounds.
    pub fn parse(limit: u32) -> Result<Self, Refusal> {
        Ok(Self(check_number("limit", if limit == 0 { 100 } else { limit }, 1, PAGE_MAX)?))
    }

    pub(crate) fn get(self) -> usize {
        self.0 as usize
    }
}
