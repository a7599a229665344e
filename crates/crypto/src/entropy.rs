//! Where randomness comes from: an argument, so that the core replays from a seed.
//!
//! [`SystemEntropy`] is the only code of the pure crates that reaches the operating system. The
//! shell makes one and passes it in; nothing in the core makes its own.

use std::convert::Infallible;
use std::fmt;

use aws_lc_rs::rand::{SecureRandom, SystemRandom};
use rand_core::{TryCryptoRng, TryRng};
use zeroize::Zeroize;

use crate::hmac::hmac_sha256;
use crate::secret::Key;
pub use crate::source::Entropy;

/// The operating system's randomness, through aws-lc-rs.
#[derive(Debug, Default, Clone, Copy)]
pub struct SystemEntropy;

impl Entropy for SystemEntropy {
    /// # Panics
    /// If the operating system has no randomness to give: going on would mean guessable keys.
    fn fill(&mut self, out: &mut [u8]) {
        SystemRandom::new().fill(out).expect("the operating system gives randomness");
    }
}

/// A stream fixed by its seed, for tests and simulation only: whoever knows the seed knows every key.
///
/// Block n is HMAC-SHA256(seed, n as 8 bytes big-endian), counted from 0. How a caller slices the
/// stream into calls does not change it.
pub struct SeededEntropy {
    seed: Key,
    next_block: u64,
    block: [u8; 32],
    used: usize,
}

impl SeededEntropy {
    /// The stream of a 256-bit seed.
    pub fn new(seed: [u8; 32]) -> Self {
        Self { seed: Key::from_array(Box::new(seed)), next_block: 0, block: [0; 32], used: 32 }
    }

    /// The stream of a short seed, as a simulation prints it.
    pub fn from_number(seed: u64) -> Self {
        let mut bytes = [0; 32];
        bytes[24..].copy_from_slice(&seed.to_be_bytes());
        Self::new(bytes)
    }
}

impl Entropy for SeededEntropy {
    fn fill(&mut self, out: &mut [u8]) {
        for byte in out {
            if self.used == self.block.len() {
                self.block = hmac_sha256(&self.seed, &[&self.next_block.to_be_bytes()]);
                self.next_block += 1;
                self.used = 0;
            }
            *byte = self.block[self.used];
            self.used += 1;
        }
    }
}

impl Drop for SeededEntropy {
    fn drop(&mut self) {
        self.block.zeroize();
    }
}

impl fmt::Debug for SeededEntropy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SeededEntropy")
            .field("next_block", &self.next_block)
            .finish_non_exhaustive()
    }
}

/// An [`Entropy`] as the random generator that rand_core's users ask for.
pub(crate) struct EntropyRng<'a>(pub(crate) &'a mut dyn Entropy);

impl TryRng for EntropyRng<'_> {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        let mut bytes = [0; 4];
        self.0.fill(&mut bytes);
        Ok(u32::from_le_bytes(bytes))
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        let mut bytes = [0; 8];
        self.0.fill(&mut bytes);
        Ok(u64::from_le_bytes(bytes))
    }

    fn try_fill_bytes(&mut self, out: &mut [u8]) -> Result<(), Infallible> {
        self.0.fill(out);
        Ok(())
    }
}

impl TryCryptoRng for EntropyRng<'_> {}
