//! A share on its way to its holder, encrypted to the key pair that the holder made for its data
//! folder.
//!
//! To a holder under the `operator` seal it comes wrapped, for a sealed node could not wrap it
//! itself; so neither a disk with an enrolment key nor a recorded connection gives it away: the wrap
//! still takes the operators. A holder under another seal wraps it itself, so it comes bare.

use conclave_crypto::entropy::Entropy;
use conclave_crypto::hpke::{self, HpkeError, HpkePrivateKey};
use conclave_crypto::secret::Key;
use conclave_crypto::sharing::Share;
use conclave_proto::peer;
use conclave_proto::seal::{BareShare, DeliveredShare, delivered_share};
use prost::Message;
use zeroize::{Zeroize, Zeroizing};

use crate::epoch::{ShareEpoch, ShareEpochError, ShareError};
use crate::ids::{DomainId, EpochNumber, RaftId};
use crate::labels;
use crate::members::Recipient;
use crate::operator::NodeSealRoot;
use crate::wrapped::{SealKind, WRAPPED_SHARE_LEN_MAX, WrappedShare, WrappedShareError};

/// A member's share, encrypted to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delivery {
    /// To whom.
    pub to: RaftId,
    /// HPKE.
    encrypted: Vec<u8>,
}

/// A share that arrived.
#[derive(Debug)]
pub enum Delivered {
    /// Wrapped for this node's operators.
    Wrapped(WrappedShare),
    /// To be wrapped by this node's own seal, and checked against the dealing already.
    Bare(Share),
}

impl Delivery {
    /// Encrypts `share` of `epoch` to its holder, who keeps it under `kind` of seal.
    ///
    /// # Errors
    /// [`HpkeError::WeakPublicKey`] if the enrolment key is none that an honest node makes.
    pub fn new(
        to: &Recipient,
        kind: SealKind,
        domain: DomainId,
        epoch: EpochNumber,
        share: &Share,
        seal: &NodeSealRoot,
        entropy: &mut dyn Entropy,
    ) -> Result<Self, HpkeError> {
        let share = match kind {
            SealKind::Operator => {
                let key = seal.node_key(domain, &to.name);
                let wrapped = WrappedShare::by_operators(&key, domain, epoch, share, entropy);
                delivered_share::Share::Wrapped(wrapped.to_proto())
            }
            SealKind::Pkcs11 => delivered_share::Share::Bare(BareShare {
                domain_id: domain.0.to_vec(),
                epoch: epoch.0,
                x: share.x.into(),
                share: share.y.expose().to_vec(),
            }),
        };
        let mut message = DeliveredShare { share: Some(share) };
        let encoded = Zeroizing::new(message.encode_to_vec());
        if let Some(delivered_share::Share::Bare(bare)) = &mut message.share {
            bare.share.zeroize();
        }
        let info = labels::delivery_info(domain, epoch, to.raft_id);
        let encrypted = hpke::hpke_seal(&to.enrolment_key, &info, &[], &encoded, entropy)?;
        Ok(Self { to: to.raft_id, encrypted })
    }

    /// The call that brings it.
    pub fn to_request(&self, plan: &ShareEpoch) -> peer::StoreShareRequest {
        peer::StoreShareRequest { encrypted: self.encrypted.clone(), plan: plan.encode() }
    }
}

/// The share and the plan that a call brought; the receiver's side of [`Delivery::to_request`].
///
/// # Errors
/// [`DeliveryError`].
pub fn open_request(
    request: &peer::StoreShareRequest,
    enrolment: &HpkePrivateKey,
    domain: DomainId,
    me: RaftId,
) -> Result<(Delivered, ShareEpoch), DeliveryError> {
    let plan = ShareEpoch::parse(&request.plan)?;
    let share = open_delivery(enrolment, domain, &plan, me, &request.encrypted)?;
    Ok((share, plan))
}

/// The share of `plan` that was encrypted to this node.
///
/// # Errors
/// [`DeliveryError`].
pub fn open_delivery(
    enrolment: &HpkePrivateKey,
    domain: DomainId,
    plan: &ShareEpoch,
    me: RaftId,
    encrypted: &[u8],
) -> Result<Delivered, DeliveryError> {
    if encrypted.len() > WRAPPED_SHARE_LEN_MAX + hpke::OVERHEAD {
        return Err(DeliveryError::NotForMe);
    }
    let info = labels::delivery_info(domain, plan.number, me);
    let opened =
        hpke::hpke_open(enrolment, &info, &[], encrypted).map_err(|_| DeliveryError::NotForMe)?;
    let message = DeliveredShare::decode(opened.expose()).map_err(|_| DeliveryError::Mismatch)?;
    match message.share {
        Some(delivered_share::Share::Wrapped(wrapped)) => {
            let share = WrappedShare::from_proto(wrapped)?;
            if share.domain != domain || share.epoch != plan.number {
                return Err(DeliveryError::Mismatch);
            }
            Ok(Delivered::Wrapped(share))
        }
        Some(delivered_share::Share::Bare(mut bare)) => {
            let y = Key::from_slice(&bare.share);
            bare.share.zeroize();
            let (Ok(y), Ok(x)) = (y, u8::try_from(bare.x)) else {
                return Err(DeliveryError::Mismatch);
            };
            if bare.domain_id != domain.0 || bare.epoch != plan.number.0 {
                return Err(DeliveryError::Mismatch);
            }
            let share = Share { x, y };
            plan.check_share(domain, me, &share)?;
            Ok(Delivered::Bare(share))
        }
        None => Err(DeliveryError::Mismatch),
    }
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
    Wrapped(#[from] WrappedShareError),
    /// What came out is not this node's share.
    #[error(transparent)]
    Share(#[from] ShareError),
    /// The plan is not readable.
    #[error(transparent)]
    Plan(#[from] ShareEpochError),
    /// Share and plan speak of different things.
    #[error("the share does not belong to the share epoch it came with")]
    Mismatch,
}
