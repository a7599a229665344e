//! HMAC-SHA256 (RFC 2104, FIPS 198-1), by aws-lc-rs.
//!
//! To check a tag, compare it in constant time ([`hmac_sha256_verify`]), never with `==`.

use aws_lc_rs::hmac::{self, HMAC_SHA256};
use subtle::ConstantTimeEq;

use crate::digest::DIGEST_LEN;
use crate::secret::Key;

/// The tag of `parts` one after another under `key`.
///
/// Nothing separates the parts: where their lengths vary, the caller writes the lengths down too.
pub fn hmac_sha256(key: &Key, parts: &[&[u8]]) -> [u8; DIGEST_LEN] {
    let mut context = hmac::Context::with_key(&hmac::Key::new(HMAC_SHA256, key.expose()));
    for part in parts {
        context.update(part);
    }
    let mut out = [0; DIGEST_LEN];
    out.copy_from_slice(context.sign().as_ref());
    out
}

/// Whether `tag` is the whole tag of `parts` under `key`, found out in constant time.
pub fn hmac_sha256_verify(key: &Key, parts: &[&[u8]], tag: &[u8]) -> bool {
    hmac_sha256(key, parts).as_slice().ct_eq(tag).into()
}
