//! From settings to a session that is logged in. Remembers a PIN that was refused, so that it is
//! never tried twice: three tries lock many a token.

use std::fmt;
use std::sync::Arc;

use conclave_crypto::Secret;
use cryptoki::error::{Error, RvError};
use cryptoki::mechanism::{MechanismInfo, MechanismType};
use cryptoki::session::{Session, UserType};
use cryptoki::slot::{Slot, TokenInfo};
use cryptoki::types::RawAuthPin;
use tracing::warn;

use crate::clock::CallClock;
use crate::error::{HsmError, from_call};
use crate::module::Module;
use crate::session::TokenSession;
use crate::settings::Settings;

/// Opens sessions with one token, one after another.
pub struct Connector {
    settings: Settings,
    clock: Arc<CallClock>,
    /// The PIN that the token refused last.
    refused: Option<Secret>,
}

/// A token in words, as it describes itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenDescription {
    /// Its label.
    pub label: String,
    /// Its serial number.
    pub serial: String,
    /// Who made it.
    pub manufacturer: String,
    /// What it is.
    pub model: String,
}

impl fmt::Display for TokenDescription {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { label, serial, manufacturer, model } = self;
        write!(f, "{label} ({manufacturer} {model}, serial {serial})")
    }
}

impl Connector {
    /// For the token in `settings`; touches nothing yet.
    pub fn new(settings: Settings) -> Self {
        Self::with_clock(settings, Arc::default())
    }

    pub(crate) fn with_clock(settings: Settings, clock: Arc<CallClock>) -> Self {
        Self { settings, clock, refused: None }
    }

    /// Loads the module if need be, initialises it, finds the token, checks what it can do and logs
    /// in with the PIN as it is found now. At most one login is tried.
    ///
    /// # Errors
    /// [`HsmError`]. After [`HsmError::PinRefused`] no login is tried before the PIN is another.
    pub fn connect(&mut self) -> Result<TokenSession, HsmError> {
        let pin = self.settings.pin.read()?;
        if self.refused.as_ref().is_some_and(|refused| refused.ct_eq(pin.expose())) {
            return Err(self.pin_refused());
        }
        let module = Module::open(&self.settings.module, &self.clock)?;
        let (slot, info) = module.find(&self.settings.token)?;
        let description = describe(&info);
        self.check_pin_state(&info, &description)?;
        self.check_mechanisms(&module, slot)?;
        let session = self.clock.call(|| module.library().open_rw_session(slot))?;
        self.log_in(&session, pin)?;
        Ok(TokenSession::new(
            session,
            module,
            slot,
            description,
            self.settings.iv,
            Arc::clone(&self.clock),
        ))
    }

    /// What the token says of its PIN, before a try is spent.
    fn check_pin_state(
        &self,
        info: &TokenInfo,
        description: &TokenDescription,
    ) -> Result<(), HsmError> {
        if info.user_pin_locked() {
            return Err(HsmError::PinLocked);
        }
        if !info.user_pin_initialized() {
            return Err(HsmError::PinNotReady);
        }
        if info.user_pin_final_try() {
            return Err(HsmError::PinLastTry { source_of_pin: self.settings.pin.clone() });
        }
        if info.user_pin_count_low() {
            warn!(token = %description, "somebody entered a wrong PIN since the last login; logging in once");
        }
        Ok(())
    }

    fn check_mechanisms(&self, module: &Module, slot: Slot) -> Result<(), HsmError> {
        self.mechanism(module, slot, MechanismType::AES_KEY_GEN, "CKM_AES_KEY_GEN")?;
        let gcm = self.mechanism(module, slot, MechanismType::AES_GCM, "CKM_AES_GCM")?;
        if !gcm.encrypt() || !gcm.decrypt() {
            return Err(HsmError::MechanismMissing {
                mechanism: "CKM_AES_GCM for C_Encrypt and C_Decrypt",
            });
        }
        Ok(())
    }

    /// Asks for one, not for the list: the crate logs an error for each entry that it does not know.
    fn mechanism(
        &self,
        module: &Module,
        slot: Slot,
        kind: MechanismType,
        name: &'static str,
    ) -> Result<MechanismInfo, HsmError> {
        match self.clock.watch(|| module.library().get_mechanism_info(slot, kind)) {
            Err(Error::Pkcs11(RvError::MechanismInvalid, _)) => {
                Err(HsmError::MechanismMissing { mechanism: name })
            }
            other => other.map_err(|error| from_call(&error)),
        }
    }

    fn log_in(&mut self, session: &Session, pin: Secret) -> Result<(), HsmError> {
        let raw = RawAuthPin::new(Box::new(pin.expose().to_vec()));
        match self.clock.watch(|| session.login_with_raw(UserType::User, &raw)) {
            Ok(()) | Err(Error::Pkcs11(RvError::UserAlreadyLoggedIn, _)) => {
                self.refused = None;
                Ok(())
            }
            Err(Error::Pkcs11(
                RvError::PinIncorrect | RvError::PinInvalid | RvError::PinLenRange,
                _,
            )) => {
                self.refused = Some(pin);
                Err(self.pin_refused())
            }
            Err(error) => Err(from_call(&error)),
        }
    }

    fn pin_refused(&self) -> HsmError {
        HsmError::PinRefused { source_of_pin: self.settings.pin.clone() }
    }
}

pub(crate) fn describe(info: &TokenInfo) -> TokenDescription {
    TokenDescription {
        label: info.label().to_owned(),
        serial: info.serial_number().to_owned(),
        manufacturer: info.manufacturer_id().to_owned(),
        model: info.model().to_owned(),
    }
}
