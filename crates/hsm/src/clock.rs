//! Notes when a call into the module began, so that another thread sees one that does not return.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use cryptoki::error::Error;

use crate::error::{HsmError, from_call};

/// The call that is under way, if any.
#[derive(Debug, Default)]
pub(crate) struct CallClock {
    began: Mutex<Option<Instant>>,
}

impl CallClock {
    /// Makes a call whose failure needs no closer look.
    pub(crate) fn call<T>(&self, call: impl FnOnce() -> Result<T, Error>) -> Result<T, HsmError> {
        self.watch(call).map_err(|error| from_call(&error))
    }

    /// Makes a call.
    pub(crate) fn watch<T>(&self, call: impl FnOnce() -> T) -> T {
        self.set(Some(Instant::now()));
        let answer = call();
        self.set(None);
        answer
    }

    /// How long the call under way has taken so far.
    pub(crate) fn under_way(&self) -> Option<Duration> {
        self.began.lock().unwrap_or_else(PoisonError::into_inner).map(|began| began.elapsed())
    }

    fn set(&self, began: Option<Instant>) {
        *self.began.lock().unwrap_or_else(PoisonError::into_inner) = began;
    }
}
