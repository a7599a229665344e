//! What goes wrong with a token, and whose turn it is then: ours, later, or a person's.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use cryptoki::context::Function;
use cryptoki::error::{Error, RvError};

use crate::label::KeyLabel;
use crate::pin::{PinError, PinSource};
use crate::settings::TokenSelector;
use crate::wrapped::{AAD_LEN_MAX, PLAINTEXT_LEN_MAX};

/// Who can do something about an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Remedy {
    /// It may pass: try again later, nothing else is needed.
    RetryLater,
    /// It stays until a person changes the configuration, the token or its PIN.
    NeedsPerson,
}

/// Why the token did not do what it was asked. No message holds a PIN or a key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HsmError {
    /// The module cannot be loaded.
    #[error("cannot load the PKCS#11 module {path}: {reason}; check seal.pkcs11.module and that the vendor's software is installed", path = path.display())]
    Module {
        /// The module.
        path: PathBuf,
        /// What the loader said.
        reason: String,
    },
    /// Something else in this process uses the module.
    #[error("the PKCS#11 module {path} is in use by this process already, perhaps by a call that has not returned; restart the node if this stays", path = path.display())]
    ModuleInUse {
        /// The module.
        path: PathBuf,
    },
    /// No such token.
    #[error(
        "no token {selector} is present; put it in, or check seal.pkcs11 against `pkcs11-tool --module … --list-token-slots`"
    )]
    TokenAbsent {
        /// The token looked for.
        selector: TokenSelector,
    },
    /// Several such tokens.
    #[error("{found} tokens {selector} are present; name one by seal.pkcs11.token_serial")]
    TokenAmbiguous {
        /// The token looked for.
        selector: TokenSelector,
        /// How many there are.
        found: usize,
    },
    /// The token cannot do what is needed.
    #[error(
        "the token has no {mechanism}, which is needed; see `pkcs11-tool --module … --list-mechanisms` and docs/hsm.md"
    )]
    MechanismMissing {
        /// The mechanism.
        mechanism: &'static str,
    },
    /// There is no PIN to log in with.
    #[error(transparent)]
    Pin(#[from] PinError),
    /// The token refused the PIN. It is not tried again.
    #[error(
        "the token refused the PIN in {source_of_pin}; it will not be tried again, lest the token be locked. Correct it there and it is read again; if the token's PIN was changed to it instead, restart the node"
    )]
    PinRefused {
        /// Where it was read.
        source_of_pin: PinSource,
    },
    /// One more wrong PIN would lock the token.
    #[error(
        "the token is one wrong PIN away from being locked, so no login is tried; log in by hand (`pkcs11-tool --module … --login --list-objects`), which resets the count, and check {source_of_pin}"
    )]
    PinLastTry {
        /// Where the PIN would be read.
        source_of_pin: PinSource,
    },
    /// Too many wrong PINs.
    #[error("the token's user PIN is locked; unlock it with the security officer's PIN")]
    PinLocked,
    /// There is no user PIN yet, or it must be changed first.
    #[error(
        "the token has no user PIN yet, or wants a new one; initialise the token and set the PIN with the vendor's tool"
    )]
    PinNotReady,
    /// More than one key of that name.
    #[error(
        "{found} keys in the token are labelled {label}; remove all but the one in use with the vendor's tool"
    )]
    DuplicateKeys {
        /// The label.
        label: KeyLabel,
        /// How many there are.
        found: usize,
    },
    /// The key is gone.
    #[error(
        "the token does not hold the key {label} that this was wrapped with; put in the token it was made in, or let the node enrol anew"
    )]
    KeyAbsent {
        /// The label.
        label: KeyLabel,
    },
    /// A key of that name is not what it must be.
    #[error(
        "the key {label} in the token must not be used: {why}; remove it if nothing else needs it, and check what the token allows"
    )]
    KeyUnfit {
        /// The label.
        label: KeyLabel,
        /// What is wrong with it.
        why: &'static str,
    },
    /// A destroyed key is still there.
    #[error(
        "the token says that it destroyed the key {label}, yet lists it; remove it with the vendor's tool"
    )]
    NotDestroyed {
        /// The label.
        label: KeyLabel,
    },
    /// Altered bytes, or another use.
    #[error(
        "what was wrapped with the key {label} is damaged or belongs to something else; if the disk is sound, let the node enrol anew"
    )]
    NotAuthentic {
        /// The label.
        label: KeyLabel,
    },
    /// Not bytes that were wrapped here.
    #[error(
        "{bytes} bytes are not something that was wrapped by a token; if the disk is sound, let the node enrol anew"
    )]
    Malformed {
        /// How many bytes.
        bytes: usize,
    },
    /// More than a token is asked to encrypt.
    #[error(
        "a token wraps at most {PLAINTEXT_LEN_MAX} bytes with {AAD_LEN_MAX} of context, not {bytes}"
    )]
    TooLong {
        /// How many bytes.
        bytes: usize,
    },
    /// The token's answer makes no sense.
    #[error(
        "the token answered {function} with something unusable: {what}; check seal.pkcs11.iv and the vendor's release notes"
    )]
    Unusable {
        /// The call.
        function: &'static str,
        /// What was wrong.
        what: &'static str,
    },
    /// A call failed for a reason that will not pass by itself.
    #[error("the token refuses {function}: {code}; check its policy and the rights of its user")]
    Refused {
        /// The call.
        function: String,
        /// The vendor's answer, as `CKR_…`.
        code: String,
    },
    /// A call failed; the session is given up and opened anew.
    #[error(
        "the HSM failed in {function}: {code}; it is tried again by itself, look at the HSM if this stays"
    )]
    Failed {
        /// The call.
        function: String,
        /// The vendor's answer, as `CKR_…`.
        code: String,
    },
    /// Not connected at the moment.
    #[error("the HSM is not ready: {why}")]
    NotReady {
        /// What happened last.
        why: Arc<HsmError>,
    },
    /// The first connection is still being made.
    #[error("the HSM is being connected")]
    Connecting,
    /// A call does not return.
    #[error("the HSM has not answered for {} s; look at the HSM and its connection, restart the node if it answers others", for_.as_secs())]
    NotAnswering {
        /// For how long.
        for_: Duration,
    },
    /// The HSM answers, but the whole took too long.
    #[error("the HSM took longer than {} s; it is tried again by itself, look at its load if this stays", limit.as_secs())]
    TooSlow {
        /// The limit.
        limit: Duration,
    },
    /// Too many wait already.
    #[error("{waiting} requests wait for the HSM already; try again")]
    Busy {
        /// How many.
        waiting: usize,
    },
    /// The worker has ended.
    #[error("the HSM worker has ended; restart the node")]
    WorkerEnded,
}

impl HsmError {
    /// Who can do something about it.
    pub fn remedy(&self) -> Remedy {
        match self {
            Self::TokenAbsent { .. }
            | Self::Failed { .. }
            | Self::Connecting
            | Self::NotAnswering { .. }
            | Self::TooSlow { .. }
            | Self::Busy { .. } => Remedy::RetryLater,
            Self::NotReady { why } => why.remedy(),
            Self::Module { .. }
            | Self::ModuleInUse { .. }
            | Self::TokenAmbiguous { .. }
            | Self::MechanismMissing { .. }
            | Self::Pin(_)
            | Self::PinRefused { .. }
            | Self::PinLastTry { .. }
            | Self::PinLocked
            | Self::PinNotReady
            | Self::DuplicateKeys { .. }
            | Self::KeyAbsent { .. }
            | Self::KeyUnfit { .. }
            | Self::NotDestroyed { .. }
            | Self::NotAuthentic { .. }
            | Self::Malformed { .. }
            | Self::TooLong { .. }
            | Self::Unusable { .. }
            | Self::Refused { .. }
            | Self::WorkerEnded => Remedy::NeedsPerson,
        }
    }

    /// Whether a new connection may help where this one failed.
    pub(crate) fn wants_new_connection(&self) -> bool {
        matches!(self, Self::Failed { .. } | Self::TokenAbsent { .. })
    }
}

/// What a failed call means wherever it was made. Callers that know more look at the code first.
pub(crate) fn from_call(error: &Error) -> HsmError {
    let Error::Pkcs11(code, function) = error else {
        return match error {
            Error::NullFunctionPointer => HsmError::Refused {
                function: "a call".to_owned(),
                code: "the module does not have that function".to_owned(),
            },
            // Conversions: an answer that does not fit its type.
            _ => HsmError::Failed { function: "a call".to_owned(), code: error.to_string() },
        };
    };
    match code {
        RvError::PinLocked => HsmError::PinLocked,
        RvError::PinExpired | RvError::UserPinNotInitialized => HsmError::PinNotReady,
        code if passes(*code) => {
            HsmError::Failed { function: function_name(*function), code: code_name(*code) }
        }
        code => HsmError::Refused { function: function_name(*function), code: code_name(*code) },
    }
}

/// As in the standard: `C_EncryptInit`.
fn function_name(function: Function) -> String {
    format!("C_{function:?}")
}

/// As in the standard: `CKR_DEVICE_ERROR`. The crate's own text is a paragraph each.
fn code_name(code: RvError) -> String {
    match code {
        RvError::VendorDefined(code) | RvError::UnknownErrorCode(code) => format!("{code:#010x}"),
        code => {
            let mut name = "CKR".to_owned();
            for letter in format!("{code:?}").chars() {
                if letter.is_ascii_uppercase() {
                    name.push('_');
                }
                name.push(letter.to_ascii_uppercase());
            }
            name
        }
    }
}

/// Whether a failure may pass with a new session, or once the HSM is back. In doubt it may: a
/// module's own codes are mostly about its connection.
fn passes(code: RvError) -> bool {
    !matches!(
        code,
        RvError::ActionProhibited
            | RvError::ArgumentsBad
            | RvError::AttributeReadOnly
            | RvError::AttributeSensitive
            | RvError::AttributeTypeInvalid
            | RvError::AttributeValueInvalid
            | RvError::CantLock
            | RvError::DeviceMemory
            | RvError::FipsSelfTestFailed
            | RvError::FunctionNotSupported
            | RvError::KeyFunctionNotPermitted
            | RvError::KeySizeRange
            | RvError::KeyTypeInconsistent
            | RvError::MechanismInvalid
            | RvError::MechanismParamInvalid
            | RvError::NeedToCreateThreads
            | RvError::SessionReadOnly
            | RvError::TemplateIncomplete
            | RvError::TemplateInconsistent
            | RvError::TokenWriteProtected
            | RvError::UserTypeInvalid
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_named_as_the_standard_names_them() {
        let failed = |code| from_call(&Error::Pkcs11(code, Function::EncryptInit)).to_string();
        assert!(failed(RvError::DeviceRemoved).contains("C_EncryptInit: CKR_DEVICE_REMOVED"));
        assert!(failed(RvError::VendorDefined(0x8000_0102)).contains("0x80000102"));
    }

    #[test]
    fn what_passes_is_told_from_what_stays() {
        let remedy = |code| from_call(&Error::Pkcs11(code, Function::Decrypt)).remedy();
        for code in [
            RvError::DeviceError,
            RvError::DeviceRemoved,
            RvError::TokenNotPresent,
            RvError::SessionHandleInvalid,
            RvError::SessionClosed,
            RvError::UserNotLoggedIn,
            RvError::CryptokiNotInitialized,
            RvError::GeneralError,
            RvError::FunctionFailed,
            RvError::OperationActive,
            RvError::VendorDefined(0x8000_0001),
        ] {
            assert_eq!(remedy(code), Remedy::RetryLater, "{code:?}");
        }
        for code in [
            RvError::PinLocked,
            RvError::PinExpired,
            RvError::UserPinNotInitialized,
            RvError::MechanismInvalid,
            RvError::KeyFunctionNotPermitted,
            RvError::TokenWriteProtected,
        ] {
            assert_eq!(remedy(code), Remedy::NeedsPerson, "{code:?}");
        }
        let waiting = HsmError::NotReady { why: Arc::new(HsmError::PinLocked) };
        assert_eq!(waiting.remedy(), Remedy::NeedsPerson);
    }
}
