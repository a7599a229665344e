//! The type that secrets are bytes of.

#![expect(unsafe_code, reason = "owns a slot of mapped memory")]

use std::fmt;
use std::ops::{Deref, DerefMut};
use std::ptr::NonNull;
use std::slice;

use zeroize::Zeroize;

use crate::arena::{self, Home};

/// A number of bytes on secret pages, fixed when it is made. Wiped on drop.
///
/// Moving it moves a pointer, so no copy of the bytes stays behind. It is not `Clone`, and says
/// nothing in `Debug`.
pub struct SecretBytes {
    /// Dangling if there are none.
    start: NonNull<u8>,
    len: usize,
    home: Home,
}

// SAFETY: it owns its bytes alone, as a boxed slice does.
unsafe impl Send for SecretBytes {}
// SAFETY: as above; shared, it gives out shared slices only.
unsafe impl Sync for SecretBytes {}

impl SecretBytes {
    /// `len` zeros, to be written in place.
    pub fn zeroed(len: usize) -> Self {
        if len == 0 {
            return Self { start: NonNull::dangling(), len, home: Home::Heap };
        }
        let (start, home) = arena::take(len);
        Self { start, len, home }
    }
}

impl Deref for SecretBytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        // SAFETY: `len` initialised bytes stand there, owned by this value; none if it dangles.
        unsafe { slice::from_raw_parts(self.start.as_ptr(), self.len) }
    }
}

impl DerefMut for SecretBytes {
    fn deref_mut(&mut self) -> &mut [u8] {
        // SAFETY: as for shared slices, and nobody else has a reference to this value.
        unsafe { slice::from_raw_parts_mut(self.start.as_ptr(), self.len) }
    }
}

impl Drop for SecretBytes {
    fn drop(&mut self) {
        if self.len == 0 {
            return;
        }
        self.zeroize();
        // SAFETY: the three are as `take` gave them, the bytes are zeros, and this value is gone.
        unsafe { arena::give_back(self.start, self.len, self.home) };
    }
}

impl fmt::Debug for SecretBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[secret]")
    }
}
