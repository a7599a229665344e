//! `[memory]`: which pages secrets lie on.

use conclave_memory::PageKind;
use serde::Deserialize;

/// `[memory]` as it is written.
#[derive(Debug, Deserialize, Default)]
#[serde(deny_unknown_fields)]
pub(super) struct RawMemory {
    #[serde(default)]
    secret_pages: SecretPages,
}

#[derive(Clone, Copy, Debug, Default, Deserialize)]
enum SecretPages {
    #[default]
    #[serde(rename = "memfd_secret")]
    MemfdSecret,
    #[serde(rename = "mlock")]
    Mlock,
}

impl RawMemory {
    /// The best pages that are to be used; worse ones where the system has none of these.
    pub(super) fn best_pages(&self) -> PageKind {
        match self.secret_pages {
            SecretPages::MemfdSecret => PageKind::Secret,
            SecretPages::Mlock => PageKind::Locked,
        }
    }
}
