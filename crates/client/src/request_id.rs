//! What makes a retry a retry: the id that all attempts of one request carry.

use std::{fmt, str::FromStr};

use thiserror::Error;
use uuid::Uuid;

/// As the server has it.
const BYTES_MAX: usize = 64;

/// The id of one request, the same in all its attempts.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct RequestId(String);

impl RequestId {
    /// A new random id (UUID version 4).
    pub fn random() -> Self {
        Self(Uuid::new_v4().to_string())
    }

    /// The id as it stands in metadata and in the audit log.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for RequestId {
    type Err = RequestIdError;

    fn from_str(text: &str) -> Result<Self, RequestIdError> {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
        if text.is_empty() || text.len() > BYTES_MAX || !text.bytes().all(allowed) {
            return Err(RequestIdError);
        }
        Ok(Self(text.to_owned()))
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A text that is no request id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("a request id is 1 to {BYTES_MAX} of A-Z, a-z, 0-9, '-', '_' and '.'; use a UUID")]
pub struct RequestIdError;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_fit_into_a_header() {
        assert!("retry-1".parse::<RequestId>().is_ok());
        assert!(RequestId::random().as_str().parse::<RequestId>().is_ok());
        let long = "a".repeat(BYTES_MAX + 1);
        for bad in ["", "a b", "a\n", "a/b", "ä", &long] {
            assert!(bad.parse::<RequestId>().is_err(), "{bad}");
        }
    }
}
