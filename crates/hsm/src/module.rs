//! The vendor's shared library: loaded once, initialised for one connection at a time.
//!
//! PKCS#11 keeps one state for a whole process, so that finalising a module ends every session
//! there is. Hence one [`Module`] per library at a time. The library itself stays loaded until the
//! process ends: several vendors' crash when they are unloaded.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use cryptoki::context::{CInitializeArgs, CInitializeFlags, Function, Pkcs11};
use cryptoki::error::{Error, RvError};
use cryptoki::slot::{Slot, TokenInfo};
use tracing::debug;

use crate::clock::CallClock;
use crate::error::{HsmError, from_call};
use crate::settings::TokenSelector;

/// A library that has been loaded.
struct Loaded {
    path: PathBuf,
    library: Pkcs11,
    in_use: bool,
}

static LOADED: Mutex<Vec<Loaded>> = Mutex::new(Vec::new());

fn loaded() -> MutexGuard<'static, Vec<Loaded>> {
    LOADED.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A module that has been initialised; finalised when dropped.
pub(crate) struct Module {
    path: PathBuf,
    library: Pkcs11,
    clock: Arc<CallClock>,
}

impl Module {
    pub(crate) fn open(path: &Path, clock: &Arc<CallClock>) -> Result<Self, HsmError> {
        let library = clock.watch(|| take(path))?;
        let module = Self { path: path.to_owned(), library, clock: Arc::clone(clock) };
        let args = CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK);
        match clock.watch(|| module.library.initialize(args)) {
            // Left over from a connection that could not be ended.
            Ok(()) | Err(Error::Pkcs11(RvError::CryptokiAlreadyInitialized, _)) => Ok(module),
            Err(error) => Err(from_call(&error)),
        }
    }

    /// The one slot whose token is meant, and what the token says of itself.
    pub(crate) fn find(&self, selector: &TokenSelector) -> Result<(Slot, TokenInfo), HsmError> {
        let slots = self.clock.call(|| self.library.get_slots_with_token())?;
        let mut found = Vec::new();
        let mut failed = None;
        for slot in slots {
            if matches!(selector, TokenSelector::Slot(id) if *id != slot.id()) {
                continue;
            }
            match self.token_info(slot) {
                Ok(info) if is_meant(selector, &info) => found.push((slot, info)),
                Ok(_) => {}
                // Another reader's trouble is not ours, unless the token is found nowhere else.
                Err(error) => failed = Some(error),
            }
        }
        match (found.len(), found.pop(), failed) {
            (1, Some(only), _) => Ok(only),
            (0, _, Some(error)) => Err(error),
            (0, _, None) => Err(HsmError::TokenAbsent { selector: selector.clone() }),
            (found, _, _) => Err(HsmError::TokenAmbiguous { selector: selector.clone(), found }),
        }
    }

    pub(crate) fn token_info(&self, slot: Slot) -> Result<TokenInfo, HsmError> {
        self.clock.call(|| self.library.get_token_info(slot))
    }

    pub(crate) fn library(&self) -> &Pkcs11 {
        &self.library
    }
}

impl Drop for Module {
    fn drop(&mut self) {
        if let Err(error) = self.clock.watch(|| self.library.clone().finalize()) {
            // Of no consequence: the next connection takes an initialised module as it is.
            debug!(error = %from_call(&error), "the module could not be finalised");
        }
        for entry in loaded().iter_mut().filter(|entry| entry.path == self.path) {
            entry.in_use = false;
        }
    }
}

/// Loads a library, or takes it up again.
fn take(path: &Path) -> Result<Pkcs11, HsmError> {
    let mut loaded = loaded();
    if let Some(entry) = loaded.iter_mut().find(|entry| entry.path == path) {
        if entry.in_use {
            return Err(HsmError::ModuleInUse { path: path.to_owned() });
        }
        entry.in_use = true;
        return Ok(entry.library.clone());
    }
    let library = Pkcs11::new(path).map_err(|error| match error {
        Error::Pkcs11(_, Function::GetFunctionList | Function::GetInterface) => from_call(&error),
        other => HsmError::Module { path: path.to_owned(), reason: other.to_string() },
    })?;
    loaded.push(Loaded { path: path.to_owned(), library: library.clone(), in_use: true });
    Ok(library)
}

fn is_meant(selector: &TokenSelector, info: &TokenInfo) -> bool {
    match selector {
        TokenSelector::Label(label) => info.label() == label,
        TokenSelector::Serial(serial) => info.serial_number() == serial,
        TokenSelector::Slot(_) => true,
    }
}
