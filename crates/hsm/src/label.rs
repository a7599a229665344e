//! What a key is called in the token.

use std::fmt;
use std::str::FromStr;

/// Longest label, bytes. Some tokens take no more than 127.
pub const KEY_LABEL_LEN_MAX: usize = 100;

/// A key's label (`CKA_LABEL`): 1 to 100 printable ASCII characters without spaces.
///
/// Several nodes may share one token, so whoever makes labels puts the domain, the node and the
/// share epoch into them.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyLabel(String);

/// A text that cannot label a key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "a key label has 1 to {KEY_LABEL_LEN_MAX} printable ASCII characters and no space, not {text:?}"
)]
pub struct KeyLabelError {
    /// The text.
    pub text: String,
}

impl KeyLabel {
    /// The label as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for KeyLabel {
    type Err = KeyLabelError;

    fn from_str(text: &str) -> Result<Self, KeyLabelError> {
        let fits = (1..=KEY_LABEL_LEN_MAX).contains(&text.len())
            && text.bytes().all(|byte| byte.is_ascii_graphic());
        if fits { Ok(Self(text.to_owned())) } else { Err(KeyLabelError { text: text.to_owned() }) }
    }
}

impl fmt::Display for KeyLabel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_bounded_printable_ascii() {
        let longest = "x".repeat(KEY_LABEL_LEN_MAX);
        for good in ["conclave/00ff/n1/3", "x", &longest] {
            assert_eq!(good.parse::<KeyLabel>().unwrap().as_str(), good);
        }
        for bad in ["", "a b", "a\n", "é", &format!("{longest}x")] {
            assert!(bad.parse::<KeyLabel>().is_err(), "{bad:?}");
        }
    }
}
