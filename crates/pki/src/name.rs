//! The three names that stand in certificates: of a cluster, a node and a principal.
//!
//! Lower case only, and no character that a URI would escape: two names that differ on the page
//! differ in the certificate, and there is one spelling of each.

use std::{fmt, str::FromStr};

use thiserror::Error;

/// A name outside its rule.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{found:?} is no {what}: use {rule}")]
pub struct NameError {
    what: &'static str,
    rule: &'static str,
    /// At most [`SHOWN_CHARS_MAX`] characters of what was given.
    found: String,
}

/// How much of a refused name or URI an error repeats: enough to recognise it, too little to
/// flood a log from the other side of a connection.
pub(crate) const SHOWN_CHARS_MAX: usize = 128;

pub(crate) fn shown(text: &str) -> String {
    text.chars().take(SHOWN_CHARS_MAX).collect()
}

const NAME_BYTES_MAX: usize = 63;

macro_rules! name {
    ($(#[$doc:meta])* $name:ident, $what:literal, $others:literal, $rule:literal) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(String);

        impl FromStr for $name {
            type Err = NameError;

            fn from_str(text: &str) -> Result<Self, NameError> {
                if follows_rule(text, $others) {
                    return Ok(Self(text.to_owned()));
                }
                Err(NameError { what: $what, rule: $rule, found: shown(text) })
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }
    };
}

name!(
    /// The name of a cluster: the trust domain of its certificates.
    ClusterName,
    "cluster name",
    b"-",
    "1 to 63 of a-z, 0-9 and '-', beginning with a letter or digit"
);
name!(
    /// The stable name of a node.
    NodeName,
    "node name",
    b"._-",
    "1 to 63 of a-z, 0-9, '.', '_' and '-', beginning with a letter or digit"
);
name!(
    /// The name of a principal: who a client certificate names.
    PrincipalName,
    "principal name",
    b"._-",
    "1 to 63 of a-z, 0-9, '.', '_' and '-', beginning with a letter or digit"
);

fn follows_rule(text: &str, others: &[u8]) -> bool {
    let alphanumeric = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    text.len() <= NAME_BYTES_MAX
        && text.bytes().next().is_some_and(alphanumeric)
        && text.bytes().all(|byte| alphanumeric(byte) || others.contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_have_one_spelling() {
        let longest = "a".repeat(63);
        for good in ["a", "0", "a-b", "eu-west-1", &longest] {
            assert!(good.parse::<ClusterName>().is_ok(), "{good}");
            assert!(good.parse::<NodeName>().is_ok(), "{good}");
            assert!(good.parse::<PrincipalName>().is_ok(), "{good}");
        }
        let too_long = "a".repeat(64);
        for bad in ["", "-a", ".a", "_a", "A", "a/b", "a b", "a%41", "ä", "a\n", "..", &too_long] {
            assert!(bad.parse::<ClusterName>().is_err(), "{bad}");
            assert!(bad.parse::<NodeName>().is_err(), "{bad}");
            assert!(bad.parse::<PrincipalName>().is_err(), "{bad}");
        }
        assert!("a.b_c".parse::<PrincipalName>().is_ok());
        assert!("a.b".parse::<ClusterName>().is_err());
    }

    #[test]
    fn an_error_says_the_rule_and_stays_short() {
        let error = "X".repeat(100_000).parse::<NodeName>().unwrap_err().to_string();
        assert!(error.len() < 300 && error.contains("is no node name: use 1 to 63 of"));
    }
}
