//! SHA-256 (FIPS 180-4), by aws-lc-rs.

use aws_lc_rs::digest::{Context, SHA256};

/// Length of a SHA-256 digest, in bytes.
pub const DIGEST_LEN: usize = 32;

/// The digest of `parts` one after another.
///
/// Nothing separates the parts: where their lengths vary, the caller writes the lengths down too.
pub fn sha256(parts: &[&[u8]]) -> [u8; DIGEST_LEN] {
    let mut context = Context::new(&SHA256);
    for part in parts {
        context.update(part);
    }
    let mut out = [0; DIGEST_LEN];
    out.copy_from_slice(context.finish().as_ref());
    out
}
