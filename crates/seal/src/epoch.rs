//! One dealing: a root key of its own, and who holds which share of it.
//!
//! The coefficients derive from the root key and the epoch number, so whoever has the root computes
//! any member's share again. A number is dealt once and never again (see [`crate::dealing`]), so it
//! names the root key, too.

use conclave_crypto::ed25519::VerifyingKey;
use conclave_crypto::secret::Key;
use conclave_crypto::sharing::{self, Share, SharingError};
use conclave_proto::record;
use prost::Message;

use crate::ids::{DomainId, EpochNumber, RaftId};
use crate::labels;
use crate::members::MEMBERS_MAX;
use crate::wrapped::SealKind;

/// A dealing, checked: numbers are not zero, no place or member is named twice, the threshold can be
/// reached, every verification key is a point. The record that holds it is [`crate::ShareEpochs`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShareEpoch {
    /// The number of this dealing.
    pub number: EpochNumber,
    /// How many shares make the root key.
    pub threshold: u8,
    /// Who holds a share, in the order of the record.
    pub holders: Vec<Holder>,
    /// What a reconstructed root key is checked against.
    pub root_check: [u8; 32],
}

/// One member's place in a dealing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holder {
    /// Who.
    pub raft_id: RaftId,
    /// Where its share is, 1 to 255.
    pub x: u8,
    /// What its share is checked against, and its signatures.
    pub verification_key: VerifyingKey,
    /// What it wrapped its share with, once it has said that it stored it durably.
    pub acknowledged: Option<SealKind>,
}

/// How many of `voters` are a majority: the threshold of every dealing.
pub fn majority(voters: usize) -> usize {
    voters / 2 + 1
}

impl ShareEpoch {
    /// Deals `root` to `members` in the order of their Raft ids, at x = 1, 2, 3 …; the threshold is
    /// their majority. None of them has acknowledged yet.
    ///
    /// # Errors
    /// [`DealError`] if there are no members or too many, one is named twice, or a number is 0.
    pub fn deal(
        domain: DomainId,
        number: EpochNumber,
        root: &Key,
        members: &[RaftId],
    ) -> Result<(Self, Vec<(RaftId, Share)>), DealError> {
        if members.is_empty() || members.len() > MEMBERS_MAX {
            return Err(DealError::Members { found: members.len() });
        }
        if number.0 == 0 {
            return Err(DealError::NumberZero);
        }
        let mut members = members.to_vec();
        members.sort_unstable();
        if members.first() == Some(&RaftId(0)) {
            return Err(DealError::NumberZero);
        }
        if let Some(pair) = members.windows(2).find(|pair| pair[0] == pair[1]) {
            return Err(DealError::MemberTwice { raft_id: pair[0] });
        }

        let places = u8::try_from(members.len()).map_err(|_| DealError::NumberZero)?;
        let threshold = places / 2 + 1;
        let xs: Vec<u8> = (1..=places).collect();
        let coefficients = labels::share_coefficients(root, domain, number, threshold);
        let shares = sharing::deal(root, threshold, &xs, &coefficients)?;

        let holders = members
            .iter()
            .zip(&shares)
            .map(|(&raft_id, share)| Holder {
                raft_id,
                x: share.x,
                verification_key: labels::share_signing_key(&share.y, domain, number, share.x)
                    .verifying_key(),
                acknowledged: None,
            })
            .collect();
        let root_check = *labels::root_check(root, domain, number).expose();
        let epoch = Self { number, threshold, holders, root_check };
        Ok((epoch, members.into_iter().zip(shares).collect()))
    }

    /// The share of `member`, computed again from the root key and checked against the record.
    ///
    /// # Errors
    /// [`ShareError`] if it is no holder, or the record is of another root key.
    pub fn share_of(
        &self,
        domain: DomainId,
        root: &Key,
        member: RaftId,
    ) -> Result<Share, ShareError> {
        let holder = self.holder(member).ok_or(ShareError::NotAHolder { raft_id: member })?;
        let coefficients = labels::share_coefficients(root, domain, self.number, self.threshold);
        let share = sharing::share_at(root, self.threshold, holder.x, &coefficients)
            .map_err(|_| ShareError::Wrong { raft_id: member })?;
        self.check_share(domain, member, &share)?;
        Ok(share)
    }

    /// Whether `share` is `member`'s.
    ///
    /// # Errors
    /// [`ShareError`] if `member` is no holder or this is not its share.
    pub fn check_share(
        &self,
        domain: DomainId,
        member: RaftId,
        share: &Share,
    ) -> Result<(), ShareError> {
        let holder = self.holder(member).ok_or(ShareError::NotAHolder { raft_id: member })?;
        let key = labels::share_signing_key(&share.y, domain, self.number, share.x);
        if share.x != holder.x || key.verifying_key() != holder.verification_key {
            return Err(ShareError::Wrong { raft_id: member });
        }
        Ok(())
    }

    /// Whether `root` is the root key that was dealt, found out in constant time.
    pub fn is_root(&self, domain: DomainId, root: &Key) -> bool {
        let check = labels::root_check(root, domain, self.number);
        check.ct_eq(&Key::from_array(Box::new(self.root_check)))
    }

    /// The root key that `shares` make.
    ///
    /// # Errors
    /// [`CombineError`] if there are fewer than the threshold, or they do not make it.
    pub fn combine(&self, domain: DomainId, shares: &[Share]) -> Result<Key, CombineError> {
        if shares.len() < usize::from(self.threshold) {
            return Err(CombineError::TooFew { held: shares.len(), threshold: self.threshold });
        }
        let root = sharing::combine(shares).map_err(|_| CombineError::NotTheRoot)?;
        if self.is_root(domain, &root) { Ok(root) } else { Err(CombineError::NotTheRoot) }
    }

    /// The place of `member`, if it has one.
    pub fn holder(&self, member: RaftId) -> Option<&Holder> {
        self.holders.iter().find(|holder| holder.raft_id == member)
    }

    /// How many holders have acknowledged.
    pub fn acknowledged(&self) -> usize {
        self.holders.iter().filter(|holder| holder.acknowledged.is_some()).count()
    }

    /// Who has not acknowledged.
    pub fn missing(&self) -> impl Iterator<Item = RaftId> {
        let missing = self.holders.iter().filter(|holder| holder.acknowledged.is_none());
        missing.map(|holder| holder.raft_id)
    }

    /// Notes that `member` has stored its share, wrapped with `seal`.
    pub fn acknowledge(&mut self, member: RaftId, seal: SealKind) {
        if let Some(holder) = self.holders.iter_mut().find(|holder| holder.raft_id == member) {
            holder.acknowledged = Some(seal);
        }
    }

    /// As it is stored and sent.
    pub fn encode(&self) -> Vec<u8> {
        self.to_proto().encode_to_vec()
    }

    pub(crate) fn to_proto(&self) -> record::ShareEpoch {
        let holders = self.holders.iter().map(|holder| record::ShareHolder {
            raft_id: holder.raft_id.0,
            x: holder.x.into(),
            verification_key: holder.verification_key.as_bytes().to_vec(),
            acknowledged: holder.acknowledged.is_some(),
            seal: holder.acknowledged.map(SealKind::as_str).unwrap_or_default().to_owned(),
        });
        record::ShareEpoch {
            epoch: self.number.0,
            threshold: self.threshold.into(),
            holders: holders.collect(),
            root_check: self.root_check.to_vec(),
            pending: None,
            owes_rotation: false,
        }
    }

    /// A dealing as it came, checked.
    ///
    /// # Errors
    /// [`ShareEpochError`] if it does not describe a dealing.
    pub fn parse(bytes: &[u8]) -> Result<Self, ShareEpochError> {
        let message = record::ShareEpoch::decode(bytes).map_err(|_| ShareEpochError::Encoding)?;
        Self::from_proto(message)
    }

    pub(crate) fn from_proto(record: record::ShareEpoch) -> Result<Self, ShareEpochError> {
        if record.epoch == 0 {
            return Err(ShareEpochError::NumberZero);
        }
        if record.pending.is_some() || record.owes_rotation {
            return Err(ShareEpochError::Pending);
        }
        if record.holders.len() > MEMBERS_MAX {
            return Err(ShareEpochError::Holders { found: record.holders.len() });
        }
        let threshold = u8::try_from(record.threshold).unwrap_or(0);
        if threshold == 0 || usize::from(threshold) > record.holders.len() {
            return Err(ShareEpochError::Threshold {
                threshold: record.threshold,
                holders: record.holders.len(),
            });
        }
        let root_check =
            record.root_check.as_slice().try_into().map_err(|_| ShareEpochError::RootCheck)?;

        let mut holders: Vec<Holder> = Vec::with_capacity(record.holders.len());
        for holder in record.holders {
            let raft_id = RaftId(holder.raft_id);
            let x = u8::try_from(holder.x).unwrap_or(0);
            let taken = holders.iter().any(|other| other.raft_id == raft_id || other.x == x);
            if raft_id.0 == 0 || x == 0 || taken {
                return Err(ShareEpochError::Place { raft_id, x: holder.x });
            }
            let verification_key = VerifyingKey::from_bytes(&holder.verification_key)
                .map_err(|_| ShareEpochError::VerificationKey { raft_id })?;
            let seal = SealKind::parse(&holder.seal);
            let acknowledged = match (holder.acknowledged, seal) {
                (false, None) if holder.seal.is_empty() => None,
                (true, Some(seal)) => Some(seal),
                _ => return Err(ShareEpochError::Seal { raft_id }),
            };
            holders.push(Holder { raft_id, x, verification_key, acknowledged });
        }
        Ok(Self { number: EpochNumber(record.epoch), threshold, holders, root_check })
    }
}

/// Why a root key was not dealt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DealError {
    /// A domain has at least one member and at most [`MEMBERS_MAX`].
    #[error("a root key is dealt to 1 to {MEMBERS_MAX} members, not to {found}")]
    Members {
        /// How many there were.
        found: usize,
    },
    /// The same node twice.
    #[error("node with Raft id {raft_id} is named twice; name each member once")]
    MemberTwice {
        /// Which one.
        raft_id: RaftId,
    },
    /// Raft ids and epochs start at 1.
    #[error("Raft ids and share epochs start at 1")]
    NumberZero,
    /// The sharing itself refused: a defect.
    #[error(transparent)]
    Sharing(#[from] SharingError),
}

/// Why a share is not what it should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ShareError {
    /// The share epoch knows no such member.
    #[error("the node with Raft id {raft_id} holds no share of this epoch")]
    NotAHolder {
        /// Who.
        raft_id: RaftId,
    },
    /// It does not fit its verification key.
    #[error("the share of the node with Raft id {raft_id} does not fit its verification key")]
    Wrong {
        /// Whose.
        raft_id: RaftId,
    },
}

/// Why shares did not make a root key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CombineError {
    /// There are not enough yet.
    #[error("{held} shares are here, the root key takes {threshold}")]
    TooFew {
        /// How many are here.
        held: usize,
        /// How many it takes.
        threshold: u8,
    },
    /// What they make fails the check value.
    #[error("the shares do not make the root key of this epoch")]
    NotTheRoot,
}

/// Why a blob is no share-epoch record. A replica whose state agrees with the others holds none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ShareEpochError {
    /// Not the protobuf message.
    #[error("the share-epoch record cannot be decoded")]
    Encoding,
    /// A number is missing.
    #[error("the share-epoch record has no epoch")]
    NumberZero,
    /// A pending dealing where none can be, or one that does not come after the complete one.
    #[error("the share-epoch record has a pending dealing that cannot be")]
    Pending,
    /// An acknowledgement without a known seal, or a seal without one.
    #[error("the share-epoch record does not say what Raft id {raft_id} wrapped its share with")]
    Seal {
        /// Whose.
        raft_id: RaftId,
    },
    /// More holders than a domain has members.
    #[error("the share-epoch record names {found} holders, the limit is {MEMBERS_MAX}")]
    Holders {
        /// How many it names.
        found: usize,
    },
    /// A threshold of none, or one that cannot be reached.
    #[error("the share-epoch record has threshold {threshold} with {holders} holders")]
    Threshold {
        /// As written.
        threshold: u32,
        /// How many holders there are.
        holders: usize,
    },
    /// A member or place is 0 or named twice.
    #[error(
        "the share-epoch record gives Raft id {raft_id} the place {x}, which is 0 or not its own"
    )]
    Place {
        /// Whose.
        raft_id: RaftId,
        /// As written.
        x: u32,
    },
    /// A verification key that is none.
    #[error("the share-epoch record has no proper verification key for Raft id {raft_id}")]
    VerificationKey {
        /// Whose.
        raft_id: RaftId,
    },
    /// The check value has another length than 32 bytes.
    #[error("the share-epoch record has no proper root check value")]
    RootCheck,
}
