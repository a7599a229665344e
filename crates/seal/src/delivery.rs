//! A share on its way to its holder: wrapped by the holder's seal first, then encrypted to the key
//! pair that the holder made for its data folder.
//!
//! So neither a disk with an enrolment key nor a recorded connection gives a share away: the wrap
//! still takes the operators.

use conclave_crypto::entropy::Entropy;
use conclave_crypto::hpke::{self, HpkeError, HpkePrivateKey, HpkePublicKey};
use conclave_proto::{peer, store};

use crate::epoch::{ShareEpoch, ShareEpochError};
use crate::ids::{DomainId, EpochNumber, OperatorGeneration, RaftId};
use crate::labels;
use crate::wrapped::{WRAPPED_SHARE_LEN_MAX, WrappedShare, WrappedShareError};

/// A member's wrapped share, encrypted to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delivery {
    /// To whom.
    pub to: RaftId,
    /// Of which share epoch.
    pub epoch: EpochNumber,
    /// Under which operator key's seal.
    pub generation: OperatorGeneration,
    /// HPKE.
    pub encrypted: Vec<u8>,
}

impl Delivery {
    /// Encrypts `share` to the node `to`.
    ///
    /// # Errors
    /// [`HpkeError::WeakPublicKey`] if the enrolment key is none that an honest node makes.
    pub fn seal(
        to: RaftId,
        enrolment_key: &HpkePublicKey,
        share: &WrappedShare,
        entropy: &mut dyn Entropy,
    ) -> Result<Self, HpkeError> {
        let info = labels::delivery_info(share.domain, share.epoch, to);
        let encrypted = hpke::hpke_seal(enrolment_key, &info, &[], &share.encode(), entropy)?;
        Ok(Self { to, epoch: share.epoch, generation: share.generation, encrypted })
    }

    /// The call that brings it. `plan` is the dealing as it will be committed.
    pub fn to_request(&self, plan: &ShareEpoch) -> peer::StoreShareRequest {
        let record = conclave_store::RecordId::singleton(conclave_store::Kind::ShareEpoch);
        peer::StoreShareRequest {
            epoch: self.epoch.0,
            generation: self.generation.0,
            encrypted: self.encrypted.clone(),
            plan: Some(store::Write {
                record: record.to_bytes().to_vec(),
                op: Some(store::write::Op::Put(plan.encode())),
            }),
        }
    }
}

/// The wrapped share and the plan that a call brought; the receiver's side of
/// [`Delivery::to_request`].
///
/// # Errors
/// [`DeliveryError`].
pub fn open_request(
    request: &peer::StoreShareRequest,
    enrolment: &HpkePrivateKey,
    domain: DomainId,
    me: RaftId,
) -> Result<(WrappedShare, ShareEpoch), DeliveryError> {
    let plan = match request.plan.as_ref().and_then(|write| write.op.as_ref()) {
        Some(store::write::Op::Put(blob)) => ShareEpoch::parse(blob)?,
        _ => return Err(DeliveryError::NoPlan),
    };
    let share =
        open_delivery(enrolment, domain, EpochNumber(request.epoch), me, &request.encrypted)?;
    if plan.number != share.epoch || request.generation != share.generation.0 {
        return Err(DeliveryError::Mismatch);
    }
    Ok((share, plan))
}

/// The wrapped share that was encrypted to this node.
///
/// # Errors
/// [`DeliveryError`].
pub fn open_delivery(
    enrolment: &HpkePrivateKey,
    domain: DomainId,
    epoch: EpochNumber,
    me: RaftId,
    encrypted: &[u8],
) -> Result<WrappedShare, DeliveryError> {
    if encrypted.len() > WRAPPED_SHARE_LEN_MAX + hpke::OVERHEAD {
        return Err(DeliveryError::NotForMe);
    }
    let info = labels::delivery_info(domain, epoch, me);
    let opened =
        hpke::hpke_open(enrolment, &info, &[], encrypted).map_err(|_| DeliveryError::NotForMe)?;
    let share = WrappedShare::parse(opened.expose())?;
    if share.domain != domain || share.epoch != epoch {
        return Err(DeliveryError::Mismatch);
    }
    Ok(share)
}

/// Why a delivered share was not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DeliveryError {
    /// It is encrypted to another key, or for another domain, epoch or Raft id.
    #[error(
        "the share was not encrypted to this node's enrolment key; take the key from the node again and deal anew"
    )]
    NotForMe,
    /// What came out is no wrapped share.
    #[error(transparent)]
    Share(#[from] WrappedShareError),
    /// The plan is not readable.
    #[error(transparent)]
    Plan(#[from] ShareEpochError),
    /// There is no plan.
    #[error("the share came without the share epoch it belongs to")]
    NoPlan,
    /// Share, call and plan speak of different things.
    #[error("the share does not belong to the share epoch it came with")]
    Mismatch,
}
