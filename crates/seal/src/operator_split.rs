//! Into how many shares the operator key is split, checked.

/// The most operator shares of one key.
pub const OPERATOR_SHARES_MAX: u8 = 16;

/// k of m: how many shares there are, and how many of them make the operator key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OperatorSplit {
    threshold: u8,
    shares: u8,
}

impl OperatorSplit {
    /// `threshold` of `shares`.
    ///
    /// # Errors
    /// [`SplitError`] unless 1 ≤ threshold ≤ shares ≤ [`OPERATOR_SHARES_MAX`].
    pub fn new(threshold: u32, shares: u32) -> Result<Self, SplitError> {
        let error = SplitError { threshold, shares };
        let split = Self {
            threshold: u8::try_from(threshold).map_err(|_| error)?,
            shares: u8::try_from(shares).map_err(|_| error)?,
        };
        let fits = (1..=split.shares).contains(&split.threshold);
        if fits && split.shares <= OPERATOR_SHARES_MAX { Ok(split) } else { Err(error) }
    }

    /// k: how many shares make the operator key.
    pub fn threshold(&self) -> u8 {
        self.threshold
    }

    /// m: how many shares there are.
    pub fn shares(&self) -> u8 {
        self.shares
    }
}

impl std::fmt::Display for OperatorSplit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}-of-{}", self.threshold, self.shares)
    }
}

/// How an operator key cannot be split.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "{threshold} of {shares} operator shares cannot be; choose k of m with 1 ≤ k ≤ m ≤ 16, such as 3 of 5"
)]
pub struct SplitError {
    /// k as given.
    pub threshold: u32,
    /// m as given.
    pub shares: u32,
}
