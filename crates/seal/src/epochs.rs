//! The share-epoch record: the complete dealing, and the one that is to take its place.
//!
//! A dealing is committed once enough of its holders have stored their shares: complete if all have,
//! else pending beside the one before. While it is pending the root keys of both open the domain, so
//! whoever was away opens with its old share and is given the new one. When the last holder has
//! acknowledged, or was excluded, the pending dealing becomes the complete one, and everybody
//! destroys its older shares.

use conclave_crypto::secret::Key;
use conclave_proto::record;
use prost::Message;

use crate::epoch::{ShareEpoch, ShareEpochError};
use crate::ids::{DomainId, EpochNumber, RaftId};

/// What the share-epoch record says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShareEpochs {
    /// The last dealing that all its holders acknowledged.
    pub complete: ShareEpoch,
    /// A later one that some have yet to acknowledge.
    pub pending: Option<ShareEpoch>,
    /// Whether the domain key is to be rotated once nothing is pending: somebody who is not a member
    /// any more, or not alone any more, could reach it.
    pub owes_rotation: bool,
}

impl ShareEpochs {
    /// The pending dealing if there is one, else the complete one.
    pub fn newest(&self) -> &ShareEpoch {
        self.pending.as_ref().unwrap_or(&self.complete)
    }

    /// Those that count, the older one first.
    pub fn each(&self) -> impl Iterator<Item = &ShareEpoch> {
        std::iter::once(&self.complete).chain(&self.pending)
    }

    /// The dealing of that number, if it counts.
    pub fn get(&self, number: EpochNumber) -> Option<&ShareEpoch> {
        self.each().find(|epoch| epoch.number == number)
    }

    /// Whether `member` holds a share that counts.
    pub fn is_holder(&self, member: RaftId) -> bool {
        self.each().any(|epoch| epoch.holder(member).is_some())
    }

    /// The dealing whose root key this is, if it counts.
    pub fn of_root(&self, domain: DomainId, root: &Key) -> Option<&ShareEpoch> {
        self.each().find(|epoch| epoch.is_root(domain, root))
    }

    /// The record's blob.
    pub fn encode(&self) -> Vec<u8> {
        let pending = self.pending.as_ref().map(|epoch| Box::new(epoch.to_proto()));
        let owes_rotation = self.owes_rotation;
        record::ShareEpoch { pending, owes_rotation, ..self.complete.to_proto() }.encode_to_vec()
    }

    /// A record's blob, checked.
    ///
    /// # Errors
    /// [`ShareEpochError`] if it does not describe a dealing, or two in order.
    pub fn parse(blob: &[u8]) -> Result<Self, ShareEpochError> {
        let mut record = record::ShareEpoch::decode(blob).map_err(|_| ShareEpochError::Encoding)?;
        let pending = record.pending.take().map(|pending| ShareEpoch::from_proto(*pending));
        let owes_rotation = std::mem::take(&mut record.owes_rotation);
        let complete = ShareEpoch::from_proto(record)?;
        let epochs = Self { complete, pending: pending.transpose()?, owes_rotation };
        let is_complete = epochs.complete.missing().next().is_none();
        let in_order =
            epochs.pending.as_ref().is_none_or(|later| later.number > epochs.complete.number);
        if is_complete && in_order { Ok(epochs) } else { Err(ShareEpochError::Pending) }
    }
}
