//! What takes too long to be computed where others wait: the private operations of RSA keys, and the
//! check of key material that comes from outside.
//!
//! A decision that needs such a result ends without a plan and says what is to be computed. The shell
//! computes it wherever nobody waits, and has the request decided again, from fresher state: that
//! decision finds the result, if it is of the key material that it would use.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

/// What is to be computed before a request can be decided.
pub struct Computation(Box<dyn FnOnce() + Send>);

impl Computation {
    /// Computes it; the request keeps what came of it.
    pub fn run(self) {
        (self.0)();
    }
}

impl fmt::Debug for Computation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Computation")
    }
}

/// A result that a request is decided by, and what it was computed with: the id of a key material, or
/// the hash of an import token.
type Place<T> = Mutex<Option<([u8; 32], Arc<T>)>>;

pub(crate) struct Computed<T>(Arc<Place<T>>);

impl<T> Default for Computed<T> {
    fn default() -> Self {
        Self(Arc::default())
    }
}

impl<T> fmt::Debug for Computed<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Computed")
    }
}

impl<T: Send + Sync + 'static> Computed<T> {
    /// What came of it, or what is to be computed first.
    pub(crate) fn get(
        &self,
        with: [u8; 32],
        compute: impl FnOnce() -> T + Send + 'static,
    ) -> Result<Arc<T>, Computation> {
        let done = self.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some((_, result)) = done.filter(|(of, _)| *of == with) {
            return Ok(result);
        }
        let place = Arc::clone(&self.0);
        Err(Computation(Box::new(move || {
            let result = Arc::new(compute());
            *place.lock().unwrap_or_else(PoisonError::into_inner) = Some((with, result));
        })))
    }
}
