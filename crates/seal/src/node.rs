//! One node's way in one domain: sealed → share-ready → open.
//!
//! [`NodeSeal`] never acts: what happens is told to it, and it answers with [`Effect`]s. The caller
//! carries them out in order, [`Effect::PersistShare`] durably *before* it acknowledges anything;
//! if it cannot, it stops the node. What a crash loses is everything but the persisted shares and
//! the applied records, and with those [`NodeSeal::new`] begins again.
//!
//! Shares are kept by two rules. A share of a plan is kept until a newer epoch is committed, for
//! nobody knows here whether the plan was. A share of an older epoch goes once a newer one is
//! committed *and* this node has its share of that, or holds none by right.

mod errors;

use std::collections::BTreeMap;

use conclave_crypto::secret::Key;
use conclave_crypto::sharing::Share;

pub use errors::{CollectError, StoreShareError, UnsealError};

use crate::epoch::ShareEpoch;
use crate::ids::{DomainId, EpochNumber, RaftId};
use crate::operator::{NodeSealKey, OperatorKeyRecord};
use crate::pool::{OperatorSharePool, Progress};
use crate::wrapped::WrappedShare;

/// The most shares kept at once: each unfinished plan costs one until the next finished one.
pub const SHARES_KEPT_MAX: usize = 1024;

/// How far a node is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SealState {
    /// It has not unwrapped its share.
    Sealed,
    /// It has its own share and asks the others for theirs.
    ShareReady,
    /// It has the root key.
    Open,
}

impl SealState {
    /// As status shows it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Sealed => "sealed",
            Self::ShareReady => "share-ready",
            Self::Open => "open",
        }
    }
}

/// What the caller has to do.
#[derive(Debug)]
pub enum Effect {
    /// Write the file `shares/<epoch>`, durably.
    PersistShare {
        /// Of which epoch.
        epoch: EpochNumber,
        /// The file's content.
        bytes: Vec<u8>,
    },
    /// Remove the files of all epochs below this one.
    DeleteSharesBelow(EpochNumber),
    /// Ask these members for their shares, again and again until the state changes.
    AskForShares {
        /// Of which epoch.
        epoch: EpochNumber,
        /// Whom: every other holder whose share is not here yet.
        of: Vec<RaftId>,
    },
    /// The root key: open the keyring.
    Opened(Key),
    /// This node is no member any more: drop the keyring.
    DropKeyring,
}

/// The seal of one node in one domain.
#[derive(Debug)]
pub struct NodeSeal {
    domain: DomainId,
    me: RaftId,
    name: String,
    /// By epoch, as the disk holds them.
    shares: BTreeMap<EpochNumber, WrappedShare>,
    /// The committed records, as far as this node has applied them.
    epoch: Option<ShareEpoch>,
    operator: Option<OperatorKeyRecord>,
    pool: OperatorSharePool,
    unlocked: Option<Unlocked>,
}

/// What a node has in memory once its operators were there.
#[derive(Debug)]
struct Unlocked {
    /// Unwraps the shares of later epochs too, without a ceremony.
    node_key: NodeSealKey,
    own: Option<Share>,
    /// Others' shares of the committed epoch, verified; gone as soon as the node is open.
    collected: BTreeMap<RaftId, Share>,
    open: bool,
}

impl NodeSeal {
    /// A sealed node called `name`, with the shares found on its disk.
    pub fn new(
        domain: DomainId,
        me: RaftId,
        name: String,
        shares: impl IntoIterator<Item = WrappedShare>,
    ) -> Self {
        let shares = shares.into_iter().map(|share| (share.epoch, share)).collect();
        Self {
            domain,
            me,
            name,
            shares,
            epoch: None,
            operator: None,
            pool: OperatorSharePool::default(),
            unlocked: None,
        }
    }

    /// How far the node is.
    pub fn state(&self) -> SealState {
        match &self.unlocked {
            Some(unlocked) if unlocked.open => SealState::Open,
            Some(unlocked) if unlocked.own.is_some() => SealState::ShareReady,
            _ => SealState::Sealed,
        }
    }

    /// How many distinct operator shares are here.
    pub fn operator_shares_held(&self) -> u8 {
        self.pool.len()
    }

    /// The committed epoch and this node's own share of it: what it proves with, and what it gives.
    pub fn own_share(&self) -> Option<(&ShareEpoch, &Share)> {
        Some((self.epoch.as_ref()?, self.unlocked.as_ref()?.own.as_ref()?))
    }

    /// Why the node is not open, for status; empty if it is.
    pub fn waits_for(&self) -> String {
        let Some(epoch) = &self.epoch else {
            return "waiting for the domain's records".to_owned();
        };
        match (self.state(), &self.unlocked) {
            (SealState::Open, _) => String::new(),
            (SealState::ShareReady, Some(unlocked)) => format!(
                "has {} of {} shares of epoch {}",
                unlocked.collected.len() + 1,
                epoch.threshold,
                epoch.number
            ),
            _ if self.shares.range(epoch.number..).any(|(number, _)| *number > epoch.number) => {
                "has a share of a later epoch: catching up, or not a voter yet".to_owned()
            }
            _ if epoch.holder(self.me).is_none() => "holds no share: not a member yet".to_owned(),
            _ if !self.shares.contains_key(&epoch.number) => {
                format!("lacks its share of epoch {}: enrol the node anew", epoch.number)
            }
            _ => "waiting for operator shares".to_owned(),
        }
    }

    /// The operator key record was applied.
    pub fn operator_key_changed(&mut self, record: OperatorKeyRecord) {
        self.operator = Some(record);
    }

    /// A share-epoch record was applied, or is found applied at a start.
    pub fn epoch_changed(&mut self, epoch: ShareEpoch) -> Vec<Effect> {
        if self.epoch.as_ref().is_some_and(|known| known.number >= epoch.number) {
            return Vec::new();
        }
        let number = epoch.number;
        let is_holder = epoch.holder(self.me).is_some();
        let mut effects = Vec::new();
        if !is_holder && self.unlocked.is_some() {
            self.seal_now();
            effects.push(Effect::DropKeyring);
        }
        self.epoch = Some(epoch);

        let has_share = self.shares.contains_key(&number);
        let has_older = self.shares.range(..number).next().is_some();
        if has_older && (has_share || !is_holder) {
            self.shares = self.shares.split_off(&number);
            effects.push(Effect::DeleteSharesBelow(number));
        }
        // A share that does not unwrap leaves an unlocked node waiting; status says what it lacks.
        let _ = self.unwrap_own();
        effects.extend(self.advance());
        effects
    }

    /// An operator's share was entered.
    ///
    /// # Errors
    /// [`UnsealError`]; what was held stays, unless it says otherwise.
    pub fn operator_share(&mut self, text: &str, now_ms: u64) -> Result<Vec<Effect>, UnsealError> {
        if self.state() != SealState::Sealed {
            return Ok(Vec::new());
        }
        let record = self.operator.as_ref().ok_or(UnsealError::NotCaughtUp)?;
        match self.pool.add(text, self.domain, record, now_ms)? {
            Progress::Held { .. } => Ok(Vec::new()),
            Progress::Complete(operator) => {
                let seal = operator.node_seal_root(self.domain);
                let node_key = seal.node_key(self.domain, &self.name);
                self.unlocked =
                    Some(Unlocked { node_key, own: None, collected: BTreeMap::new(), open: false });
                self.unwrap_own()?;
                Ok(self.advance())
            }
        }
    }

    /// A member's share came, out of [`crate::exchange::Ask::receive`].
    ///
    /// # Errors
    /// [`CollectError`] if it is not that member's, or the root key does not come out.
    pub fn share_received(
        &mut self,
        from: RaftId,
        of: EpochNumber,
        share: Share,
    ) -> Result<Vec<Effect>, CollectError> {
        let (Some(epoch), Some(unlocked)) = (&self.epoch, &mut self.unlocked) else {
            return Ok(Vec::new());
        };
        // Answers may be late: the node is open, or the epoch has changed.
        if unlocked.open || unlocked.own.is_none() || of != epoch.number || from == self.me {
            return Ok(Vec::new());
        }
        epoch.check_share(self.domain, from, &share)?;
        unlocked.collected.insert(from, share);
        self.try_open()
    }

    /// A share of a plan came, out of [`crate::delivery::open_request`] or
    /// [`crate::Keyring::wrap_own_share`]. Acknowledge it once the effects are carried out.
    ///
    /// # Errors
    /// [`StoreShareError`]; nothing is kept.
    pub fn store_share(
        &mut self,
        share: WrappedShare,
        plan: &ShareEpoch,
    ) -> Result<Vec<Effect>, StoreShareError> {
        let number = plan.number;
        if share.domain != self.domain || share.epoch != number {
            return Err(StoreShareError::OtherPlan);
        }
        let place = plan.holder(self.me).map(|holder| holder.x);
        if place != Some(share.x) {
            return Err(StoreShareError::NotMyPlace { me: self.me });
        }
        // A delivery that comes again is acknowledged again and replaces nothing. Another share under
        // the same number would be of another dealing: acknowledging it could lose the right one.
        if let Some(held) = self.shares.get(&number) {
            let unwraps =
                |unlocked: &Unlocked| held.unwrap(&unlocked.node_key, plan, self.me).is_ok();
            if *held != share && !self.unlocked.as_ref().is_some_and(unwraps) {
                return Err(StoreShareError::AnotherHeld { epoch: number });
            }
            return Ok(vec![Effect::PersistShare { epoch: number, bytes: held.encode() }]);
        }
        if let Some(committed) = self.epoch.as_ref().map(|epoch| epoch.number)
            && number <= committed
        {
            return Err(StoreShareError::Superseded { plan: number, committed });
        }
        if let Some(wanted) = self.operator.as_ref().map(|record| record.generation)
            && share.generation != wanted
        {
            return Err(StoreShareError::OtherGeneration { found: share.generation, wanted });
        }
        if let Some(unlocked) = &self.unlocked
            && unlocked.node_key.generation == share.generation
        {
            share.unwrap(&unlocked.node_key, plan, self.me)?;
        }
        if self.shares.len() >= SHARES_KEPT_MAX {
            return Err(StoreShareError::TooMany);
        }
        let bytes = share.encode();
        self.shares.insert(number, share);
        Ok(vec![Effect::PersistShare { epoch: number, bytes }])
    }

    /// The root key that was handed out with [`Effect::Opened`] could not be used: back to
    /// share-ready, to open again with [`NodeSeal::reopen`].
    pub fn close(&mut self) {
        if let Some(unlocked) = &mut self.unlocked {
            unlocked.open = false;
        }
    }

    /// Tries to open again, with the shares that are here.
    pub fn reopen(&mut self) -> Vec<Effect> {
        self.advance()
    }

    /// Wipes every key and operator share at once. The wrapped shares stay.
    pub fn seal_now(&mut self) {
        self.pool.clear();
        self.unlocked = None;
    }

    /// Time has passed: operator shares are dropped when their time is over.
    pub fn tick(&mut self, now_ms: u64) {
        self.pool.drop_old(now_ms);
    }

    /// Unwraps the share of the committed epoch; others' shares of an older one are dropped.
    fn unwrap_own(&mut self) -> Result<(), UnsealError> {
        let Some(unlocked) = &mut self.unlocked else { return Ok(()) };
        unlocked.own = None;
        unlocked.collected.clear();
        let epoch = self.epoch.as_ref().ok_or(UnsealError::NotCaughtUp)?;
        let number = epoch.number;
        let share = self.shares.get(&number).ok_or(UnsealError::NoShare { epoch: number })?;
        unlocked.own = Some(share.unwrap(&unlocked.node_key, epoch, self.me)?);
        Ok(())
    }

    /// What follows from having unwrapped: the root at threshold 1, else asking the others.
    fn advance(&mut self) -> Vec<Effect> {
        // One share that was verified makes the root key or nothing does; then asking is all there is.
        match self.try_open() {
            Ok(effects) if !effects.is_empty() => return effects,
            _ => {}
        }
        let (SealState::ShareReady, Some(epoch)) = (self.state(), &self.epoch) else {
            return Vec::new();
        };
        let others = epoch.holders.iter().map(|holder| holder.raft_id).filter(|id| *id != self.me);
        vec![Effect::AskForShares { epoch: epoch.number, of: others.collect() }]
    }

    fn try_open(&mut self) -> Result<Vec<Effect>, CollectError> {
        let (Some(epoch), Some(unlocked)) = (&self.epoch, &mut self.unlocked) else {
            return Ok(Vec::new());
        };
        let Some(own) = unlocked.own.as_ref().filter(|_| !unlocked.open) else {
            return Ok(Vec::new());
        };
        let threshold = usize::from(epoch.threshold);
        if unlocked.collected.len() + 1 < threshold {
            return Ok(Vec::new());
        }
        let copy = |share: &Share| Share { x: share.x, y: share.y.duplicate() };
        let shares: Vec<Share> = std::iter::once(own)
            .chain(unlocked.collected.values())
            .take(threshold)
            .map(copy)
            .collect();
        unlocked.collected.clear();
        let root = epoch.combine(self.domain, &shares)?;
        unlocked.open = true;
        Ok(vec![Effect::Opened(root)])
    }
}
