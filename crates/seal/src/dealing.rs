//! Dealing a new root key to the members: when they change, and when an operator wants one.
//!
//! In this order, each step waiting for the one before:
//! 1. [`reserve`] the next epoch number, in a txn of its own. A share is filed under its number, so
//!    none is dealt twice.
//! 2. [`plan`] the dealing and send every member its delivery; each stores it and only then answers.
//! 3. When all new members and a majority of all have answered, commit [`Dealing::writes`], in the
//!    log entry that changes the members if they change.
//! 4. Whoever had not answered is sent its share again, by any node that has the root key, and
//!    acknowledges with a txn of its own ([`acknowledged`]). When nobody is missing, [`completed`].
//!
//! A plan that is given up between 2 and 3 costs a number. Members keep the shares of plans until a
//! newer dealing is committed.

use std::collections::BTreeMap;

use conclave_crypto::entropy::Entropy;
use conclave_crypto::hpke::HpkeError;
use conclave_crypto::secret::Key;
use conclave_crypto::sharing::{Share, SharingError};
use conclave_proto::record;
use conclave_store::{Kind, RecordId, Write};
use prost::Message;

use crate::delivery::Delivery;
use crate::epoch::{DealError, ShareEpoch, majority};
use crate::epochs::ShareEpochs;
use crate::ids::{DomainId, EpochNumber, OperatorGeneration, RaftId};
use crate::keyring::Keyring;
use crate::members::Recipient;
use crate::operator::{NodeSealRoot, OperatorKey, OperatorKeyRecord};
use crate::operator_share::{self, OperatorShareText, OperatorSplit};
use crate::wrapped::SealKind;

/// The public records that a dealing rests on and changes, from one reading.
#[derive(Debug, Clone)]
pub struct Ground {
    /// Who holds what.
    pub epochs: ShareEpochs,
    /// The domain keys under the root keys.
    pub domain_keys: record::DomainKeys,
    /// The operator key, and the root keys encrypted to it.
    pub operator: OperatorKeyRecord,
}

impl Ground {
    /// The records it stands in: what a txn that rests on it guards.
    pub const RECORDS: [Kind; 3] = [Kind::ShareEpoch, Kind::DomainKeys, Kind::OperatorKey];

    fn writes(self) -> Vec<Write> {
        vec![
            Write::put(RecordId::singleton(Kind::ShareEpoch), self.epochs.encode()),
            Write::put(RecordId::singleton(Kind::DomainKeys), self.domain_keys.encode_to_vec()),
            Write::put(RecordId::singleton(Kind::OperatorKey), self.operator.encode()),
        ]
    }

    /// Makes `newest` the complete dealing: what belongs to older root keys and operator keys goes.
    /// Gives back what is deleted with them.
    fn complete(&mut self, newest: ShareEpoch) -> Option<Write> {
        let number = newest.number;
        let owes_rotation = self.epochs.owes_rotation;
        self.epochs = ShareEpochs { complete: newest, pending: None, owes_rotation };
        self.domain_keys.wraps.retain(|wrap| wrap.share_epoch == number.0);
        self.operator.keep_roots(&[number]);
        let previous = self.operator.previous.take()?;
        Some(Write::delete(RecordId::numbered(Kind::NodeSealRoot, previous.generation.0)))
    }
}

/// A planned dealing.
#[derive(Debug)]
pub struct Dealing {
    /// The dealing; nobody has acknowledged yet.
    pub epoch: ShareEpoch,
    /// Its root key.
    pub root: Key,
    /// Every member's share.
    pub deliveries: Vec<Delivery>,
    ground: Ground,
    extra: Vec<Write>,
}

/// A new operator key, to be dealt to the operators together with a root key to the nodes.
#[derive(Debug)]
pub struct NewOperators {
    /// The key, of the next generation.
    pub key: OperatorKey,
    /// How it was split.
    pub split: OperatorSplit,
}

impl NewOperators {
    /// A new operator key after that of `record`, and the shares to hand to the operators.
    ///
    /// # Errors
    /// [`PlanError::Sharing`] says that the library is broken.
    pub fn after(
        record: &OperatorKeyRecord,
        domain: DomainId,
        split: OperatorSplit,
        entropy: &mut dyn Entropy,
    ) -> Result<(Self, Vec<OperatorShareText>), PlanError> {
        let generation = OperatorGeneration(record.generation.0 + 1);
        let key = OperatorKey { generation, key: Key::generate(entropy) };
        let shares = operator_share::deal(&key, domain, split, entropy)?;
        let texts = shares.iter().map(operator_share::OperatorShare::to_text).collect();
        Ok((Self { key, split }, texts))
    }
}

/// The next epoch number, and the write that reserves it. Guard the txn on the counter as read.
///
/// # Errors
/// [`PlanError::Counter`] if the counter is unreadable or behind the dealings that count.
pub fn reserve(counter: &[u8], current: &ShareEpochs) -> Result<(EpochNumber, Write), PlanError> {
    let last = record::ShareCounter::decode(counter).map_err(|_| PlanError::Counter)?.last_dealt;
    if last < current.newest().number.0 {
        return Err(PlanError::Counter);
    }
    let next = last.checked_add(1).ok_or(PlanError::Counter)?;
    let blob = record::ShareCounter { last_dealt: next }.encode_to_vec();
    Ok((EpochNumber(next), Write::put(RecordId::singleton(Kind::ShareCounter), blob)))
}

/// Deals a new root key to `members`, each with the seal it keeps shares under, as number `number`,
/// which was reserved for this plan alone. The keyring's domain keys come under it; its own root key
/// is not needed.
///
/// # Errors
/// [`PlanError`].
pub fn plan(
    keyring: &Keyring,
    ground: &Ground,
    number: EpochNumber,
    members: &[(Recipient, SealKind)],
    operators: Option<&NewOperators>,
    entropy: &mut dyn Entropy,
) -> Result<Dealing, PlanError> {
    let newest = ground.epochs.newest().number;
    if number <= newest {
        return Err(PlanError::NumberUsed { number, newest });
    }
    if !keyring.has_domain_keys(&ground.domain_keys) {
        return Err(PlanError::DomainKeys);
    }
    let domain = keyring.domain();
    let root = Key::generate(entropy);
    let mut ground = ground.clone();
    let mut extra = Vec::new();

    let new_seal = operators.map(|operators| operators.key.node_seal_root(domain));
    if let (Some(operators), Some(seal)) = (operators, &new_seal) {
        // Nodes may still hold shares under the generation before the present one.
        if ground.operator.previous.is_some() {
            return Err(PlanError::OperatorsPending);
        }
        let (planned, present) = (operators.key.generation, ground.operator.generation);
        if planned.0 != present.0 + 1 {
            return Err(PlanError::OperatorsChanged { planned, present });
        }
        let before =
            std::mem::replace(&mut ground.operator, operators.key.record(domain, operators.split));
        ground.operator.previous = Some(Box::new(OperatorKeyRecord { previous: None, ..before }));
        extra.push(keyring.node_seal_root_record(seal, entropy));
    }
    ground.operator.wrap_root(domain, number, &root, entropy)?;
    // A pending dealing that this one supersedes goes with its root key.
    let complete = ground.epochs.complete.number;
    ground.operator.keep_roots(&[complete, number]);
    ground.domain_keys.wraps.retain(|wrap| wrap.share_epoch == complete.0);
    ground.domain_keys.wraps.extend(keyring.wrap_domain_keys(&root, number, entropy));

    let ids: Vec<RaftId> = members.iter().map(|(member, _)| member.raft_id).collect();
    let (epoch, shares) = ShareEpoch::deal(domain, number, &root, &ids)?;
    let seal = match &new_seal {
        Some(seal) => seal,
        None => keyring.node_seal_root().ok_or(PlanError::NoNodeSeal)?,
    };
    let deliveries = deliver(seal, domain, number, members, &shares, entropy)?;
    Ok(Dealing { epoch, root, deliveries, ground, extra })
}

impl Dealing {
    /// What to commit once the members in `acknowledged` have stored their shares. Complete if that
    /// is all of them, or if whoever is missing is `left_out` and enrols anew; else pending.
    ///
    /// # Errors
    /// [`PlanError::TooFew`] unless they are a majority.
    pub fn writes(
        &self,
        acknowledged: &BTreeMap<RaftId, SealKind>,
        left_out: bool,
    ) -> Result<Vec<Write>, PlanError> {
        let mut epoch = self.epoch.clone();
        acknowledged.iter().for_each(|(member, seal)| epoch.acknowledge(*member, *seal));
        let (have, wanted) = (epoch.acknowledged(), majority(epoch.holders.len()));
        if have < wanted {
            return Err(PlanError::TooFew { have, wanted });
        }
        let mut ground = self.ground.clone();
        // Whoever was alone, or is not to be waited for, may know the domain key.
        ground.epochs.owes_rotation |=
            left_out || (ground.epochs.complete.threshold == 1 && epoch.threshold > 1);
        if left_out {
            epoch.holders.retain(|holder| holder.acknowledged.is_some());
        }
        let mut gone = None;
        if epoch.missing().next().is_none() {
            gone = ground.complete(epoch);
        } else {
            ground.epochs.pending = Some(epoch);
        }
        let mut writes = ground.writes();
        writes.extend(gone);
        writes.extend(self.extra.clone());
        Ok(writes)
    }
}

/// What `member` commits when it has stored its share of the pending dealing `number` and wrapped it
/// with `seal`; nothing if that is known already or not wanted.
pub fn acknowledged(
    epochs: &ShareEpochs,
    number: EpochNumber,
    member: RaftId,
    seal: SealKind,
) -> Option<Write> {
    let mut epochs = epochs.clone();
    let counting = [&mut epochs.complete].into_iter().chain(&mut epochs.pending);
    let epoch = counting.into_iter().find(|epoch| epoch.number == number)?;
    if epoch.holder(member)?.acknowledged == Some(seal) {
        return None;
    }
    epoch.acknowledge(member, seal);
    Some(Write::put(RecordId::singleton(Kind::ShareEpoch), epochs.encode()))
}

/// What makes the pending dealing the complete one, once nobody is missing any more.
pub fn completed(mut ground: Ground) -> Option<Vec<Write>> {
    let pending = ground.epochs.pending.take()?;
    if pending.missing().next().is_some() {
        return None;
    }
    let gone = ground.complete(pending);
    let mut writes = ground.writes();
    writes.extend(gone);
    Some(writes)
}

/// What leaves `member` out of the pending dealing: it holds no share then, and enrols anew.
///
/// # Errors
/// [`PlanError::NotMissing`] if nothing is pending, or not for `member`.
pub fn excluded(epochs: &ShareEpochs, member: RaftId) -> Result<Write, PlanError> {
    let mut epochs = epochs.clone();
    let pending = epochs.pending.as_mut().ok_or(PlanError::NotMissing { member })?;
    if !pending.missing().any(|missing| missing == member) {
        return Err(PlanError::NotMissing { member });
    }
    pending.holders.retain(|holder| holder.raft_id != member);
    Ok(Write::put(RecordId::singleton(Kind::ShareEpoch), epochs.encode()))
}

/// Encrypts each member's share to it; both lists are in the order of Raft ids.
pub(crate) fn deliver(
    seal: &NodeSealRoot,
    domain: DomainId,
    epoch: EpochNumber,
    members: &[(Recipient, SealKind)],
    shares: &[(RaftId, Share)],
    entropy: &mut dyn Entropy,
) -> Result<Vec<Delivery>, HpkeError> {
    let mut deliveries = Vec::with_capacity(members.len());
    for (raft_id, share) in shares {
        let member = members.iter().find(|(member, _)| member.raft_id == *raft_id);
        let (member, kind) = member.expect("shares were dealt to these members");
        deliveries.push(Delivery::new(member, *kind, domain, epoch, share, seal, entropy)?);
    }
    Ok(deliveries)
}

/// Why a dealing was not planned or not committed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    /// It cannot be read, or is behind the dealings that count.
    #[error("the counter of share epochs is broken or behind the committed epoch")]
    Counter,
    /// The number was not reserved for this plan.
    #[error("share epoch {number} is not after the newest one, {newest}; reserve a new number")]
    NumberUsed {
        /// As given.
        number: EpochNumber,
        /// The newest that counts.
        newest: EpochNumber,
    },
    /// The keyring lacks a domain key, or has one too many.
    #[error("this node's keyring lags behind the domain keys; retry in a moment")]
    DomainKeys,
    /// The keyring has no node-seal root.
    #[error("this node has no node-seal root to wrap shares with")]
    NoNodeSeal,
    /// Two generations of operator shares count already.
    #[error(
        "operator shares were dealt anew and not all nodes have followed; wait until no share epoch is pending, or leave out who will not come back"
    )]
    OperatorsPending,
    /// Other operator shares were dealt since these were made.
    #[error(
        "operator shares of generation {present} are there already; deal anew, and destroy these, which are of generation {planned}"
    )]
    OperatorsChanged {
        /// Of the shares that were made.
        planned: OperatorGeneration,
        /// Of the shares that count.
        present: OperatorGeneration,
    },
    /// Too few have stored their shares.
    #[error("{have} members have stored their new shares, it takes {wanted}: a majority")]
    TooFew {
        /// How many.
        have: usize,
        /// How many it takes.
        wanted: usize,
    },
    /// There is nothing to leave it out of.
    #[error("no dealing waits for the node with Raft id {member}")]
    NotMissing {
        /// Who.
        member: RaftId,
    },
    /// An enrolment or recovery key is a weak one.
    #[error(transparent)]
    WeakKey(#[from] HpkeError),
    /// The dealing.
    #[error(transparent)]
    Deal(#[from] DealError),
    /// The splitting of the operator key: a defect.
    #[error(transparent)]
    Sharing(#[from] SharingError),
}
