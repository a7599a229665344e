//! A node's own share as its disk holds it: wrapped by the node's seal.
//!
//! Under the `operator` seal it is XAES-256-GCM under the node-seal key, which derives from the
//! operator key. Under the `pkcs11` seal it is what the token made of it. Either binds domain, epoch,
//! place and the node's name.

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
/// As associated data has it where there is no operator key.
const NO_GENERATION: OperatorGeneration = OperatorGeneration(0);

/// The longest encoded wrapped share that is looked at, in bytes; a real one has about 120.
pub const WRAPPED_SHARE_LEN_MAX: usize = 512;

/// What protects a node's own share at rest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SealKind {
    /// The operators, who enter their shares at each start.
    Operator,
    /// A hardware security module, spoken to by PKCS#11.
    Pkcs11,
}

impl SealKind {
    /// As files, records and status have it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Operator => "operator",
            Self::Pkcs11 => "pkcs11",
        }
    }

    /// The seal of that name, if there is one.
    pub fn parse(name: &str) -> Option<Self> {
        [Self::Operator, Self::Pkcs11].into_iter().find(|kind| kind.as_str() == name)
    }
}

/// A wrapped share, checked as far as it can be without its seal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WrappedShare {
    /// Of which domain.
    pub domain: DomainId,
    /// Of which share epoch.
    pub epoch: EpochNumber,
    /// Its place.
    pub x: u8,
    /// By what.
    pub wrap: Wrap,
    wrapped: Vec<u8>,
}

/// What a share is wrapped with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wrap {
    /// The node-seal key of that operator generation.
    Operator(OperatorGeneration),
    /// The token's key of the share's epoch.
    Pkcs11,
}

impl Wrap {
    /// Which seal that is.
    pub fn kind(self) -> SealKind {
        match self {
            Self::Operator(_) => SealKind::Operator,
            Self::Pkcs11 => SealKind::Pkcs11,
        }
    }

    fn generation(self) -> OperatorGeneration {
        match self {
            Self::Operator(generation) => generation,
            Self::Pkcs11 => NO_GENERATION,
        }
    }
}

impl WrappedShare {
    /// Wraps `share` for the node that `key` belongs to.
    pub fn by_operators(
        key: &NodeSealKey,
        domain: DomainId,
        epoch: EpochNumber,
        share: &Share,
        entropy: &mut dyn Entropy,
    ) -> Self {
        let wrap = Wrap::Operator(key.generation);
        let aad = aad(domain, epoch, share.x, wrap, &key.name);
        let wrapped = aead::seal(&key.key, entropy, &aad, share.y.expose());
        Self { domain, epoch, x: share.x, wrap, wrapped }
    }

    /// What the token made of the share at `x`, given [`WrappedShare::token_aad`] with it.
    pub fn by_token(domain: DomainId, epoch: EpochNumber, x: u8, wrapped: Vec<u8>) -> Self {
        Self { domain, epoch, x, wrap: Wrap::Pkcs11, wrapped }
    }

    /// The associated data with which the token of the node called `name` wraps and unwraps.
    pub fn token_aad(domain: DomainId, epoch: EpochNumber, x: u8, name: &str) -> Vec<u8> {
        aad(domain, epoch, x, Wrap::Pkcs11, name)
    }

    /// What to give to the token.
    pub fn wrapped(&self) -> &[u8] {
        &self.wrapped
    }

    /// Unwraps the share of `member` with the operators' key for this node, and checks it against
    /// its epoch.
    ///
    /// # Errors
    /// [`UnwrapError`].
    pub fn unwrap(
        &self,
        key: &NodeSealKey,
        epoch: &ShareEpoch,
        member: RaftId,
    ) -> Result<Share, UnwrapError> {
        if self.wrap != Wrap::Operator(key.generation) {
            return Err(UnwrapError::OtherSeal);
        }
        let aad = aad(self.domain, self.epoch, self.x, self.wrap, &key.name);
        let y = aead::open(&key.key, &aad, &self.wrapped).map_err(|_| UnwrapError::NotAuthentic)?;
        self.unwrapped(y.expose(), epoch, member)
    }

    /// The share of `member` out of what its seal gave back, checked against its epoch.
    ///
    /// # Errors
    /// [`UnwrapError`].
    pub fn unwrapped(
        &self,
        y: &[u8],
        epoch: &ShareEpoch,
        member: RaftId,
    ) -> Result<Share, UnwrapError> {
        if self.epoch != epoch.number {
            return Err(UnwrapError::OtherEpoch { found: self.epoch, wanted: epoch.number });
        }
        let y = Key::from_slice(y).map_err(|_| UnwrapError::NotAuthentic)?;
        let share = Share { x: self.x, y };
        epoch.check_share(self.domain, member, &share)?;
        Ok(share)
    }

    /// What the file `shares/<epoch>` holds.
    pub fn encode(&self) -> Vec<u8> {
        self.to_proto().encode_to_vec()
    }

    pub(crate) fn to_proto(&self) -> seal::WrappedShare {
        seal::WrappedShare {
            format: FORMAT,
            domain_id: self.domain.0.to_vec(),
            epoch: self.epoch.0,
            x: self.x.into(),
            seal: self.wrap.kind().as_str().to_owned(),
            generation: self.wrap.generation().0,
            wrapped: self.wrapped.clone(),
        }
    }

    /// A file's content, checked.
    ///
    /// # Errors
    /// [`WrappedShareError`] if it is no wrapped share that this version knows.
    pub fn parse(bytes: &[u8]) -> Result<Self, WrappedShareError> {
        if bytes.len() > WRAPPED_SHARE_LEN_MAX {
            return Err(WrappedShareError::Encoding);
        }
        let message = seal::WrappedShare::decode(bytes).map_err(|_| WrappedShareError::Encoding)?;
        Self::from_proto(message)
    }

    pub(crate) fn from_proto(message: seal::WrappedShare) -> Result<Self, WrappedShareError> {
        if message.format != FORMAT {
            return Err(WrappedShareError::Format { found: message.format });
        }
        let wrap = match SealKind::parse(&message.seal).ok_or(WrappedShareError::Seal)? {
            SealKind::Operator => Wrap::Operator(OperatorGeneration(message.generation)),
            SealKind::Pkcs11 => Wrap::Pkcs11,
        };
        let x = u8::try_from(message.x).ok().filter(|&x| x > 0);
        let is_numbered = (message.generation == 0) == (wrap == Wrap::Pkcs11);
        if message.epoch == 0 || !is_numbered {
            return Err(WrappedShareError::Encoding);
        }
        Ok(Self {
            domain: DomainId::from_slice(&message.domain_id)
                .map_err(|_| WrappedShareError::Encoding)?,
            epoch: EpochNumber(message.epoch),
            x: x.ok_or(WrappedShareError::Encoding)?,
            wrap,
            wrapped: message.wrapped,
        })
    }
}

fn aad(domain: DomainId, epoch: EpochNumber, x: u8, wrap: Wrap, name: &str) -> Vec<u8> {
    let seal = wrap.kind().as_str();
    labels::wrapped_share_aad(domain, epoch, x, wrap.generation(), seal, name)
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
    #[error("the wrapped share is of a seal that this version does not know; upgrade the node")]
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
    /// It is under another operator key, or under a token's.
    #[error("the wrapped share is under another seal than the key given")]
    OtherSeal,
    /// Key, name or content are not those it was wrapped with.
    #[error("the wrapped share was changed, or is another node's; enrol the node anew")]
    NotAuthentic,
    /// It opened, but is not what was dealt.
    #[error(transparent)]
    Share(#[from] ShareError),
}
