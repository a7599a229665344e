//! What a domain signs about its log: a C2SP `tlog-checkpoint` with two extension lines.
//!
//! ```text
//! conclave/<cluster>/<domain>
//! <size>
//! <base64 of the RFC 6962 root>
//! head <base64 of the chain's hash>
//! time <milliseconds since the Unix epoch>
//! ```

use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use conclave_crypto::SigningKey;

use crate::note::{self, NoteError, VerifierKey};
use crate::{Hash, Head};

/// Most bytes of a cluster's or a domain's name within an origin.
pub const MAX_LABEL: usize = 63;

/// The one name of a log: `conclave/<cluster>/<domain>`. Its audit key is named so too.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Origin(String);

impl Origin {
    /// The origin of the log of `domain` in `cluster`, by their names.
    ///
    /// # Errors
    /// [`OriginError`] if either has other characters than letters, digits, `.`, `-` and `_`.
    pub fn new(cluster: &str, domain: &str) -> Result<Self, OriginError> {
        format!("conclave/{cluster}/{domain}").parse()
    }

    /// As it stands in a checkpoint.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Origin {
    type Err = OriginError;

    fn from_str(text: &str) -> Result<Self, OriginError> {
        let good = |label: &str| {
            (1..=MAX_LABEL).contains(&label.len())
                && label.bytes().all(|b| b.is_ascii_alphanumeric() || b".-_".contains(&b))
        };
        let labels = text.strip_prefix("conclave/").and_then(|rest| rest.split_once('/'));
        match labels {
            Some((cluster, domain)) if good(cluster) && good(domain) => Ok(Self(text.to_owned())),
            _ => Err(OriginError),
        }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The state of a log at some time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkpoint {
    /// Which log.
    pub origin: Origin,
    /// How many entries it has.
    pub size: u64,
    /// RFC 6962 root over all steps.
    pub root: Hash,
    /// The chain's hash after the last step.
    pub head: Hash,
    /// Cluster time when it was signed, milliseconds since the Unix epoch.
    pub time_ms: u64,
}

impl Checkpoint {
    /// What there is to say of `head`.
    pub fn of(origin: Origin, head: &Head, time_ms: u64) -> Self {
        Self { origin, size: head.size, root: head.root(), head: head.hash, time_ms }
    }

    /// The signed note. The signing key's name is the origin.
    pub fn sign(&self, key: &SigningKey) -> String {
        note::sign(&self.body(), self.origin.as_str(), key)
    }

    /// The checkpoint in `note`, if `key` signed exactly these bytes.
    ///
    /// # Errors
    /// [`NoteError`].
    pub fn verify(note: &str, key: &VerifierKey) -> Result<Self, NoteError> {
        let text = note::open(note, key)?;
        let checkpoint = Self::parse(text).ok_or(NoteError::NotACheckpoint)?;
        // One checkpoint has one text, and one text one note: numbers and base64 have no second
        // spelling here, nor has a signature, since verification refuses non-canonical ones.
        match checkpoint.body() == text && checkpoint.origin.as_str() == key.name() {
            true => Ok(checkpoint),
            false => Err(NoteError::NotACheckpoint),
        }
    }

    fn body(&self) -> String {
        format!(
            "{}\n{}\n{}\nhead {}\ntime {}\n",
            self.origin,
            self.size,
            STANDARD.encode(self.root),
            STANDARD.encode(self.head),
            self.time_ms
        )
    }

    fn parse(text: &str) -> Option<Self> {
        let digest = |line: &str| STANDARD.decode(line).ok()?.try_into().ok();
        let mut lines = text.lines();
        let checkpoint = Self {
            origin: lines.next()?.parse().ok()?,
            size: lines.next()?.parse().ok()?,
            root: digest(lines.next()?)?,
            head: digest(lines.next()?.strip_prefix("head ")?)?,
            time_ms: lines.next()?.strip_prefix("time ")?.parse().ok()?,
        };
        lines.next().is_none().then_some(checkpoint)
    }
}

/// Why a text is no origin.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "an audit log is named conclave/CLUSTER/DOMAIN, each name 1 to {MAX_LABEL} letters, digits, '.', '-' or '_'"
)]
pub struct OriginError;
