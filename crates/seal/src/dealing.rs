//! Dealing the same root key anew, when members come or go.
//!
//! In this order, each step waiting for the one before:
//! 1. [`reserve`] the next epoch number, in a txn of its own. The coefficients derive from the
//!    number, so two dealings of one number would be two polynomials with common coefficients.
//! 2. [`plan`] the dealing and send every member its delivery; each stores it and only then answers.
//! 3. When all have answered, commit the plan in the log entry that changes the members.
//!
//! A plan that is given up between 2 and 3 costs a number. Members keep the shares of plans until a
//! newer dealing is committed.

use conclave_crypto::entropy::Entropy;
use conclave_crypto::hpke::HpkeError;
use conclave_crypto::sharing::Share;
use conclave_proto::record;
use conclave_store::{Kind, RecordId};
use prost::Message;

use crate::Write;
use crate::delivery::Delivery;
use crate::epoch::{DealError, ShareEpoch};
use crate::ids::{DomainId, EpochNumber, RaftId};
use crate::keyring::Keyring;
use crate::members::{MembersError, Recipient, recipients};
use crate::operator::NodeSealRoot;
use crate::wrapped::WrappedShare;

/// A planned dealing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dealing {
    /// The dealing as it will be committed: all its holders have acknowledged by then.
    pub epoch: ShareEpoch,
    /// The share-epoch and members records, for the log entry that changes the members.
    pub writes: Vec<Write>,
    /// Every member's share. New members need theirs and sealed ones cannot compute it; an open one
    /// may take its own from [`Keyring::wrap_own_share`] instead.
    pub deliveries: Vec<Delivery>,
}

/// The next epoch number, and the write that reserves it. Guard the txn on the counter as read.
///
/// # Errors
/// [`PlanError::Counter`] if the counter is unreadable or behind the committed epoch.
pub fn reserve(counter: &[u8], current: &ShareEpoch) -> Result<(EpochNumber, Write), PlanError> {
    let last = record::ShareCounter::decode(counter).map_err(|_| PlanError::Counter)?.last_dealt;
    if last < current.number.0 {
        return Err(PlanError::Counter);
    }
    let next = last.checked_add(1).ok_or(PlanError::Counter)?;
    let blob = record::ShareCounter { last_dealt: next }.encode_to_vec();
    Ok((EpochNumber(next), (RecordId::singleton(Kind::ShareCounter), Some(blob))))
}

/// Deals the keyring's root key to `members`, the record as it is to be, under `number`, which was
/// reserved for this plan alone.
///
/// # Errors
/// [`PlanError`].
pub fn plan(
    keyring: &Keyring,
    current: &ShareEpoch,
    number: EpochNumber,
    members: &record::Members,
    entropy: &mut dyn Entropy,
) -> Result<Dealing, PlanError> {
    if number <= current.number {
        return Err(PlanError::NumberUsed { number, current: current.number });
    }
    if current.root_generation != keyring.root_generation()
        || !current.is_root(keyring.domain(), keyring.root())
    {
        return Err(PlanError::OtherRoot);
    }
    let seal = keyring.node_seal_root().ok_or(PlanError::NoNodeSeal)?;
    let recipients = recipients(&members.members)?;
    let ids: Vec<RaftId> = recipients.iter().map(|member| member.raft_id).collect();
    let domain = keyring.domain();
    let (epoch, shares) =
        ShareEpoch::deal(domain, number, keyring.root(), current.root_generation, &ids)?;
    let deliveries = deliver(seal, domain, number, &recipients, &shares, entropy)?;

    let mut members = members.clone();
    members.members.sort_by_key(|member| member.raft_id);
    let writes = vec![
        (RecordId::singleton(Kind::Members), Some(members.encode_to_vec())),
        (RecordId::singleton(Kind::ShareEpoch), Some(epoch.encode())),
    ];
    Ok(Dealing { epoch, writes, deliveries })
}

/// Wraps and encrypts each member's share; both lists are in the order of Raft ids.
pub(crate) fn deliver(
    seal: &NodeSealRoot,
    domain: DomainId,
    epoch: EpochNumber,
    members: &[Recipient],
    shares: &[(RaftId, Share)],
    entropy: &mut dyn Entropy,
) -> Result<Vec<Delivery>, HpkeError> {
    let mut deliveries = Vec::with_capacity(members.len());
    for (member, (raft_id, share)) in members.iter().zip(shares) {
        assert_eq!(
            member.raft_id, *raft_id,
            "members and shares are both in the order of Raft ids"
        );
        let key = seal.node_key(domain, &member.name);
        let wrapped = WrappedShare::wrap(&key, domain, epoch, share, entropy);
        deliveries.push(Delivery::seal(*raft_id, &member.enrolment_key, &wrapped, entropy)?);
    }
    Ok(deliveries)
}

/// Why a dealing was not planned.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    /// It cannot be read, or is behind the committed epoch.
    #[error("the counter of share epochs is broken or behind the committed epoch")]
    Counter,
    /// The number was not reserved for this plan.
    #[error("share epoch {number} is not after the committed one, {current}; reserve a new number")]
    NumberUsed {
        /// As given.
        number: EpochNumber,
        /// The committed one.
        current: EpochNumber,
    },
    /// The keyring is of another root key than the committed epoch.
    #[error("this node's root key is not that of the committed share epoch; unseal it again")]
    OtherRoot,
    /// The keyring has no node-seal root.
    #[error("this node has no node-seal root to wrap shares with")]
    NoNodeSeal,
    /// The members.
    #[error(transparent)]
    Members(#[from] MembersError),
    /// A member's enrolment key is a weak one.
    #[error(transparent)]
    EnrolmentKey(#[from] HpkeError),
    /// The dealing.
    #[error(transparent)]
    Deal(#[from] DealError),
}
