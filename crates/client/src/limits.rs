//! How large a request may be, as the servers bound it too.

/// The largest plaintext that Encrypt takes.
pub const PLAINTEXT_BYTES_MAX: usize = 4096;

/// The largest message in either direction.
pub(crate) const MESSAGE_BYTES_MAX: usize = 4 * 1024 * 1024;
