//! Which token to use, and how to get into it.

use std::fmt;
use std::path::PathBuf;

use crate::pin::PinSource;

/// Everything needed to open a token. Holds no secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The vendor's PKCS#11 module: a shared library.
    pub module: PathBuf,
    /// Which of its tokens.
    pub token: TokenSelector,
    /// Where the user PIN is.
    pub pin: PinSource,
    /// Who chooses the initialisation vectors.
    pub iv: IvSource,
}

/// Names one token of a module.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TokenSelector {
    /// By its label.
    Label(String),
    /// By its serial number.
    Serial(String),
    /// By its slot's id. SoftHSM, among others, gives a token a new slot when it is made anew.
    Slot(u64),
}

impl fmt::Display for TokenSelector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Label(label) => write!(f, "with the label {label:?}"),
            Self::Serial(serial) => write!(f, "with the serial number {serial:?}"),
            Self::Slot(slot) => write!(f, "in slot {slot}"),
        }
    }
}

/// Who chooses the initialisation vector of an encryption.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum IvSource {
    /// This program, from the token's randomness. What most modules expect.
    #[default]
    Node,
    /// The token, which writes it back into the parameters: AWS CloudHSM, and modules in a FIPS
    /// mode that refuse any other.
    Token,
}
