//! A node's own share as its disk holds it: wrapped by the node's seal.
//!
//! Only the `operator` seal is here: XAES-256-GCM under the node-seal key, bound to domain, epoch,
//! place, operator generation and the node's name.

use conclave_crypto::aead;
use conclave_crypto::entropy::Entropy;
use conclave_crypto::secret::Key;
use conclave_crypto::sharing::Share;
use conclave_proto::seal;
use prost::Message;

use crate::epoch::{ShareEpoch, ShareError};
use crate::ids::{DomainId, EpochNumber, OperatorGeneration, RaftId};
use crate::labels;
use crate::operator::NodeSealKey;

const FORMAT: u32 = 1;
const SEAL: &str = "operator";

/// The longest encoded wrapped share that is looked at, in bytes; a real one has about 120.
pub const WRAPPED_SHARE_LEN_MAX: usize = 512;

/// A wrapped share, checked as far as it can be without its seal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WrappedShare {
    /// Of which domain.
    pub domain: DomainId,
    /// Of which share epoch.
    pub epoch: EpochNumber,
    /// Its place.
    pub x: u8,
    /// Under which operator key's seal.
    pub generation: OperatorGeneration,
    wrapped: Vec<u8>,
}

impl WrappedShare {
    /// Wraps `share` for the node that `key` belongs to.
    pub fn wrap(
        key: &NodeSealKey,
        domain: DomainId,
        epoch: EpochNumber,
        share: &Share,
        entropy: &mut dyn Entropy,
    ) -> Self {
        let generation = key.generation;
        let aad = labels::wrapped_share_aad(domain, epoch, share.x, generation, SEAL, &key.name);
        let wrapped = aead::seal(&key.key, entropy, &aad, share.y.expose());
        Self { domain, epoch, x: share.x, generation, wrapped }
    }

    /// Unwraps the share of `member` and checks it against the record of its epoch.
    ///
    /// # Errors
    /// [`UnwrapError`].
    pub fn unwrap(
        &self,
        key: &NodeSealKey,
        epoch: &ShareEpoch,
        member: RaftId,
    ) -> Result<Share, UnwrapError> {
        if self.epoch != epoch.number {
            return Err(UnwrapError::OtherEpoch { found: self.epoch, wanted: epoch.number });
        }
        if self.generation != key.generation {
            return Err(UnwrapError::OtherGeneration {
                found: self.generation,
                wanted: key.generation,
            });
        }
        let aad = labels::wrapped_share_aad(
            self.domain,
            self.epoch,
            self.x,
            self.generation,
            SEAL,
            &key.name,
        );
        let y = aead::open(&key.key, &aad, &self.wrapped).map_err(|_| UnwrapError::NotAuthentic)?;
        let y = Key::from_slice(y.expose()).map_err(|_| UnwrapError::NotAuthentic)?;
        let share = Share { x: self.x, y };
        epoch.check_share(self.domain, member, &share)?;
        Ok(share)
    }

    /// What the file `shares/<epoch>` holds.
    pub fn encode(&self) -> Vec<u8> {
        seal::WrappedShare {
            format: FORMAT,
            domain_id: self.domain.0.to_vec(),
            epoch: self.epoch.0,
            x: self.x.into(),
            seal: SEAL.to_owned(),
            generation: self.generation.0,
            wrapped: self.wrapped.clone(),
        }
        .encode_to_vec()
    }

    /// A file's or a delivery's content, checked.
    ///
    /// # Errors
    /// [`WrappedShareError`] if it is no wrapped share that this version knows.
    pub fn parse(bytes: &[u8]) -> Result<Self, WrappedShareError> {
        if bytes.len() > WRAPPED_SHARE_LEN_MAX {
            return Err(WrappedShareError::Encoding);
        }
        let message = seal::WrappedShare::decode(bytes).map_err(|_| WrappedShareError::Encoding)?;
        if message.format != FORMAT {
            return Err(WrappedShareError::Format { found: message.format });
        }
        if message.seal != SEAL {
            return Err(WrappedShareError::Seal);
        }
        let x = u8::try_from(message.x).ok().filter(|&x| x > 0);
        if message.epoch == 0 || message.generation == 0 {
            return Err(WrappedShareError::Encoding);
        }
        Ok(Self {
            domain: DomainId::from_slice(&message.domain_id)
                .map_err(|_| WrappedShareError::Encoding)?,
            epoch: EpochNumber(message.epoch),
            x: x.ok_or(WrappedShareError::Encoding)?,
            generation: OperatorGeneration(message.generation),
            wrapped: message.wrapped,
        })
    }
}

/// Why bytes are no wrapped share.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum WrappedShareError {
    /// Not the protobuf message, or a field of it cannot be.
    #[error("this is no wrapped share; if it is a file, the disk is damaged: enrol the node anew")]
    Encoding,
    /// A format of a later version.
    #[error("the wrapped share has format {found}, this version knows {FORMAT}; upgrade the node")]
    Format {
        /// As written.
        found: u32,
    },
    /// A seal that this version does not have.
    #[error(
        "the wrapped share is of another seal than \"{SEAL}\"; start the node with its own seal"
    )]
    Seal,
}

/// Why a wrapped share did not open.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum UnwrapError {
    /// It is of another epoch than it is wanted for.
    #[error("the wrapped share is of epoch {found}, wanted is {wanted}")]
    OtherEpoch {
        /// The share's.
        found: EpochNumber,
        /// The record's.
        wanted: EpochNumber,
    },
    /// It is under another operator key.
    #[error("the wrapped share is under operator generation {found}, the key given is of {wanted}")]
    OtherGeneration {
        /// The share's.
        found: OperatorGeneration,
        /// The key's.
        wanted: OperatorGeneration,
    },
    /// Key, name or content are not those it was wrapped with.
    #[error("the wrapped share was changed, or is another node's; enrol the node anew")]
    NotAuthentic,
    /// It opened, but is not what was dealt.
    #[error(transparent)]
    Share(#[from] ShareError),
}
