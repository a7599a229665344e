//! What asking for randomness looks like; who answers is in `entropy.rs`.

/// A source of uniformly random bytes.
///
/// It cannot fail: an implementation that can get no randomness must not return.
pub trait Entropy: Send {
    /// Overwrites all of `out`.
    fn fill(&mut self, out: &mut [u8]);
}
