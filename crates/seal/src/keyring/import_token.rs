//! Sealing import tokens: what a caller holds between asking how to wrap key material and importing it.
//!
//! What is in one is the caller's to say; here it is bound to the key that it is for. Nobody keeps a
//! token, so it is never sealed again, and opens as long as its domain key is there.

use conclave_crypto::aead;
use conclave_crypto::entropy::Entropy;
use conclave_crypto::secret::Secret;

use super::Keyring;
use crate::labels;

impl Keyring {
    /// Seals the content of an import token for the key `key_id` alone, under the current domain key.
    pub fn seal_import_token(
        &self,
        key_id: &[u8; 16],
        content: &Secret,
        entropy: &mut dyn Entropy,
    ) -> Vec<u8> {
        let key = self.domain_keys.get(&self.current).expect("checked when the keyring was made");
        let aad = labels::import_token_aad(self.domain, self.current, key_id);
        let mut sealed = self.current.to_be_bytes().to_vec();
        sealed.extend_from_slice(&aead::seal(key, entropy, &aad, content.expose()));
        sealed
    }

    /// What [`Keyring::seal_import_token`] sealed.
    ///
    /// # Errors
    /// [`ImportTokenError`] if it was not sealed for this key in this domain, or its domain key is gone.
    pub fn open_import_token(
        &self,
        key_id: &[u8; 16],
        sealed: &[u8],
    ) -> Result<Secret, ImportTokenError> {
        let (epoch, sealed) =
            sealed.split_first_chunk::<4>().ok_or(ImportTokenError::NotAuthentic)?;
        let epoch = u32::from_be_bytes(*epoch);
        let Some(key) = self.domain_keys.get(&epoch) else {
            return Err(if (1..self.current).contains(&epoch) {
                ImportTokenError::Retired { epoch }
            } else {
                ImportTokenError::NotAuthentic
            });
        };
        let aad = labels::import_token_aad(self.domain, epoch, key_id);
        aead::open(key, &aad, sealed).map_err(|_| ImportTokenError::NotAuthentic)
    }
}

/// Why an import token did not open.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ImportTokenError {
    /// Another key's, another domain's, or a changed one.
    #[error("the import token was not sealed for this key")]
    NotAuthentic,
    /// Under a domain key that was retired.
    #[error("the import token is under domain key {epoch}, which is not here any more")]
    Retired {
        /// Under which domain key.
        epoch: u32,
    },
}
