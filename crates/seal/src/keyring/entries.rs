//! Sealing audit entries, so that the store and the disk see commitments only, and opening them.

use conclave_crypto::aead;
use conclave_crypto::entropy::Entropy;
use conclave_crypto::hpke::{self, HpkeError, HpkePublicKey};
use conclave_proto::audit::{Entry, Opening, SealedEntry};
use prost::Message;

use super::Keyring;
use crate::ids::DomainId;
use crate::labels;

/// Key number 0: sealed to the intake key by a node that was not open.
const INTAKE: u32 = 0;

const SALT_LEN: usize = 32;

/// A sealed audit entry, opened, and found to be what its commitment stands for.
#[derive(Debug, Clone, PartialEq)]
pub struct OpenedEntry {
    /// The salt of the commitment.
    pub salt: [u8; SALT_LEN],
    /// The canonical encoding that was committed to.
    pub encoded: Vec<u8>,
    /// The entry.
    pub entry: Entry,
}

impl Keyring {
    /// Seals an audit entry under the newest audit key.
    pub fn seal_entry(&self, entry: &Entry, entropy: &mut dyn Entropy) -> SealedEntry {
        let (&number, key) =
            self.secrets.audit.last_key_value().expect("a keyring has at least one audit key");
        let (commitment, opening) = commit(entry, entropy);
        let sealed = aead::seal(key, entropy, &labels::audit_aad(self.domain, number), &opening);
        SealedEntry { key: number, commitment, sealed }
    }

    /// Opens an audit entry, whichever key it is under, and checks its commitment.
    ///
    /// # Errors
    /// [`EntryError`].
    pub fn open_entry(&self, sealed: &SealedEntry) -> Result<OpenedEntry, EntryError> {
        let opening = if sealed.key == INTAKE {
            let info = labels::intake_info(self.domain);
            let newest_first = self.secrets.intake.values().rev();
            newest_first
                .filter_map(|key| hpke::hpke_open(key, &info, &[], &sealed.sealed).ok())
                .next()
                .ok_or(EntryError::NotAuthentic { key: INTAKE })?
        } else {
            let number = sealed.key;
            let key =
                self.secrets.audit.get(&number).ok_or(EntryError::UnknownKey { key: number })?;
            aead::open(key, &labels::audit_aad(self.domain, number), &sealed.sealed)
                .map_err(|_| EntryError::NotAuthentic { key: number })?
        };
        let opening = Opening::decode(opening.expose()).map_err(|_| EntryError::Encoding)?;
        let salt = opening.salt.as_slice().try_into().map_err(|_| EntryError::Encoding)?;
        if conclave_audit::commitment(&salt, &opening.entry)[..] != sealed.commitment[..] {
            return Err(EntryError::Commitment);
        }
        let entry =
            conclave_audit::decode_entry(&opening.entry).map_err(|_| EntryError::Encoding)?;
        Ok(OpenedEntry { salt, encoded: opening.entry, entry })
    }
}

/// Seals an audit entry to the domain's intake key, which takes no secret: what a node does that is
/// not open.
///
/// # Errors
/// [`HpkeError`] if the intake key is none; a public-keys record that was applied holds a proper one.
pub fn seal_entry_to_intake(
    intake: &HpkePublicKey,
    domain: DomainId,
    entry: &Entry,
    entropy: &mut dyn Entropy,
) -> Result<SealedEntry, HpkeError> {
    let (commitment, opening) = commit(entry, entropy);
    let sealed = hpke::hpke_seal(intake, &labels::intake_info(domain), &[], &opening, entropy)?;
    Ok(SealedEntry { key: INTAKE, commitment, sealed })
}

fn commit(entry: &Entry, entropy: &mut dyn Entropy) -> (Vec<u8>, Vec<u8>) {
    let mut salt = [0; SALT_LEN];
    entropy.fill(&mut salt);
    let entry = conclave_audit::encode_entry(entry);
    let commitment = conclave_audit::commitment(&salt, &entry).to_vec();
    (commitment, Opening { salt: salt.to_vec(), entry }.encode_to_vec())
}

/// Why an audit entry did not open.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum EntryError {
    /// Its audit key is not in this keyring.
    #[error("the entry is under audit key {key}, which is not here")]
    UnknownKey {
        /// Its number.
        key: u32,
    },
    /// It was changed, or is another domain's.
    #[error("the entry was not sealed under audit key {key} of this domain")]
    NotAuthentic {
        /// Its number; 0 is the intake key.
        key: u32,
    },
    /// What came out is no entry.
    #[error("the entry opens, but to something that this version does not know")]
    Encoding,
    /// It says something else than what the chain committed to.
    #[error("the entry is not the one that the chain committed to")]
    Commitment,
}
