//! Texts with wildcards: `*` is any run of characters, `?` is any one.

use std::str::Chars;

/// A text that may have wildcards.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pattern(String);

impl Pattern {
    pub(crate) fn new(text: String) -> Self {
        Self(text)
    }

    /// As it was written.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether `text` is of this pattern.
    pub fn matches(&self, text: &str) -> bool {
        self.matches_by(text, |wanted, found| wanted == found)
    }

    /// The same in either case, as actions are compared.
    pub fn matches_any_case(&self, text: &str) -> bool {
        self.matches_by(text, |wanted, found| wanted.eq_ignore_ascii_case(&found))
    }

    /// Goes back only to the last `*`: a `*` that matched as little as it can leaves all that any
    /// earlier one could have left. So the time is at most the product of the lengths.
    fn matches_by(&self, text: &str, same: impl Fn(char, char) -> bool) -> bool {
        let (mut pattern, mut left) = (self.0.chars(), text.chars());
        let mut star: Option<(Chars<'_>, Chars<'_>)> = None;
        loop {
            let fits = match pattern.next() {
                Some('*') => {
                    star = Some((pattern.clone(), left.clone()));
                    true
                }
                Some(wanted) => {
                    left.next().is_some_and(|found| wanted == '?' || same(wanted, found))
                }
                None if left.next().is_none() => return true,
                None => false,
            };
            if fits {
                continue;
            }
            let Some((after, tried)) = &mut star else { return false };
            if tried.next().is_none() {
                return false;
            }
            (pattern, left) = (after.clone(), tried.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wildcards() {
        for (pattern, text, matches) in [
            ("", "", true),
            ("", "a", false),
            ("*", "", true),
            ("*", "anything", true),
            ("?", "", false),
            ("?", "ä", true),
            ("kms:*", "kms:Encrypt", true),
            ("kms:*", "kmsEncrypt", false),
            ("kms:Re*From", "kms:ReEncryptFrom", true),
            ("kms:Re*From", "kms:ReEncryptFromX", false),
            ("*a*b", "xaxbxab", true),
            ("*a*b", "xaxbxa", false),
            ("a**b?", "abbc", true),
            ("a?c", "abc", true),
            ("a?c", "ac", false),
            ("*", "*", true),
        ] {
            let pattern = Pattern::new(pattern.to_owned());
            assert_eq!(pattern.matches(text), matches, "{pattern:?} {text}");
        }
        assert!(Pattern::new("KMS:enc*".to_owned()).matches_any_case("kms:Encrypt"));
        assert!(!Pattern::new("KMS:enc*".to_owned()).matches("kms:Encrypt"));
    }

    /// The worst there is within a policy's length comes to an end while somebody waits.
    #[test]
    fn many_stars_take_no_time_to_speak_of() {
        let pattern = Pattern::new("*a".repeat(1000) + "b");
        assert!(!pattern.matches(&"a".repeat(2000)));
    }
}
