//! One node's way in one domain: sealed → share-ready → open.
//!
//! [`NodeSeal`] never acts: what happens is told to it, and it answers with [`Effect`]s. The caller
//! carries them out in order, [`Effect::PersistShare`] durably *before* it acknowledges anything; if it
//! cannot, it stops the node or says so ([`NodeSeal::not_persisted`]). What a crash loses is everything but the persisted shares and
//! the applied records, and with those [`NodeSeal::new`] begins again.
//!
//! Shares are kept by two rules. A share of a plan is kept until a newer dealing is committed, for
//! nobody knows here whether the plan was. A share of an older dealing goes once a newer one is
//! complete *and* this node has its share of that, or holds none by right.

mod errors;
mod look;

use std::collections::{BTreeMap, BTreeSet};

use conclave_crypto::secret::Key;
use conclave_crypto::sharing::Share;

pub use errors::{CollectError, StoreShareError, UnsealError};

use crate::epoch::ShareEpoch;
use crate::epochs::ShareEpochs;
use crate::ids::{DomainId, EpochNumber, OperatorGeneration, RaftId};
use crate::operator::{NodeSealKey, OperatorKey, OperatorKeyRecord};
use crate::pool::{OperatorSharePool, Progress};
use crate::wrapped::{SealKind, UnwrapError, Wrap, WrappedShare};

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

    /// The state of that name, if there is one.
    pub fn parse(name: &str) -> Option<Self> {
        [Self::Sealed, Self::ShareReady, Self::Open].into_iter().find(|s| s.as_str() == name)
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
    /// Remove the file of that epoch, and what wrapped it in the token if `seal` says so.
    DeleteShare {
        /// Of which epoch.
        epoch: EpochNumber,
        /// What it was wrapped with.
        seal: SealKind,
    },
    /// A root key that counts: open the keyring with it.
    Opened {
        /// Of which epoch.
        epoch: EpochNumber,
        /// The key.
        root: Key,
    },
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
    epochs: Option<ShareEpochs>,
    operator: Option<OperatorKeyRecord>,
    pool: OperatorSharePool,
    /// Sealed by order: the token is not asked until an operator says so.
    held: bool,
    memory: Memory,
}

/// What is gone with a restart or a sealing.
#[derive(Debug, Default)]
struct Memory {
    /// What unwraps shares under the operator seal: had from the operators, or from the keyring.
    node_keys: BTreeMap<OperatorGeneration, NodeSealKey>,
    /// This node's own shares, of dealings that count and of plans, unwrapped and verified.
    own: BTreeMap<EpochNumber, Share>,
    /// Others' shares of dealings that count, verified; gone as soon as their root key is made.
    collected: BTreeMap<EpochNumber, BTreeMap<RaftId, Share>>,
    /// The dealings whose root keys were handed out.
    opened: BTreeSet<EpochNumber>,
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
            epochs: None,
            operator: None,
            pool: OperatorSharePool::default(),
            held: false,
            memory: Memory::default(),
        }
    }

    /// The operator key record was applied.
    pub fn operator_key_changed(&mut self, record: OperatorKeyRecord) {
        self.operator = Some(record);
    }

    /// A share-epoch record was applied, or is found applied at a start.
    pub fn epochs_changed(&mut self, epochs: ShareEpochs) -> Vec<Effect> {
        let complete = epochs.complete.number;
        if self.epochs.as_ref().is_some_and(|known| known.complete.number > complete) {
            return Vec::new();
        }
        let mut effects = Vec::new();
        // One that never was a holder may be open by the operators' key, to become one.
        let was_holder = self.epochs.as_ref().is_some_and(|known| known.is_holder(self.me));
        if was_holder && !epochs.is_holder(self.me) && self.state() != SealState::Sealed {
            self.seal_now();
            effects.push(Effect::DropKeyring);
        }

        let newest = epochs.newest().number;
        let mine = |number: EpochNumber| {
            epochs.get(number).is_some_and(|epoch| epoch.holder(self.me).is_some())
        };
        let is_safe =
            self.shares.contains_key(&complete) || epochs.complete.holder(self.me).is_none();
        // What comes after the newest may be a plan that is still to be committed.
        let goes = |number: &EpochNumber| *number <= newest && !mine(*number);
        if is_safe {
            let gone = self.shares.extract_if(.., |number, _| goes(number));
            effects.extend(
                gone.map(|(epoch, share)| Effect::DeleteShare { epoch, seal: share.wrap.kind() }),
            );
        }
        self.memory.own.retain(|number, _| !goes(number));
        self.memory.collected.retain(|number, _| mine(*number));
        self.epochs = Some(epochs);
        self.unwrap_own();
        effects.extend(self.advance());
        effects
    }

    /// An operator's share was entered. A node that is sealed by order goes on.
    ///
    /// # Errors
    /// [`UnsealError`]; what was held stays, unless it says otherwise.
    pub fn operator_share(&mut self, text: &str, now_ms: u64) -> Result<Vec<Effect>, UnsealError> {
        if self.state() != SealState::Sealed {
            return Ok(Vec::new());
        }
        let Some(operator) = self.collect(text, now_ms)? else { return Ok(Vec::new()) };
        // The operators end what one of them ordered; a token goes on by itself then.
        if std::mem::take(&mut self.held) && self.to_unwrap().is_some() {
            return Ok(Vec::new());
        }
        let root = operator.node_seal_root(self.domain);
        let effects = self.learn(root.node_key(self.domain, &self.name));
        if self.state() == SealState::Sealed {
            self.check_unwrapped(operator.generation)?;
        }
        Ok(effects)
    }

    /// Adds an operator's share to those that are here; the operator key once there are enough.
    ///
    /// # Errors
    /// [`UnsealError`]; what was held stays, unless it says otherwise.
    pub fn collect(&mut self, text: &str, now_ms: u64) -> Result<Option<OperatorKey>, UnsealError> {
        let record = self.operator.as_ref().ok_or(UnsealError::NotCaughtUp)?;
        match self.pool.add(text, self.domain, record, now_ms)? {
            Progress::Held { .. } => Ok(None),
            Progress::Complete(operator) => Ok(Some(operator)),
        }
    }

    /// A key came that unwraps shares under the operator seal.
    pub fn learn(&mut self, key: NodeSealKey) -> Vec<Effect> {
        self.memory.node_keys.insert(key.generation, key);
        self.unwrap_own();
        self.advance()
    }

    /// Whether the key for that operator generation is here.
    pub fn knows(&self, generation: OperatorGeneration) -> bool {
        self.memory.node_keys.contains_key(&generation)
    }

    /// The token has unwrapped what [`NodeSeal::to_unwrap`] gave.
    ///
    /// # Errors
    /// [`UnwrapError`] if it is not this node's share.
    pub fn unwrapped(&mut self, of: EpochNumber, y: &[u8]) -> Result<Vec<Effect>, UnwrapError> {
        let epoch = self.epochs.as_ref().and_then(|epochs| epochs.get(of));
        let (Some(epoch), Some(share)) = (epoch, self.shares.get(&of)) else {
            return Ok(Vec::new());
        };
        if self.held {
            return Ok(Vec::new());
        }
        let own = share.unwrapped(y, epoch, self.me)?;
        self.memory.own.insert(of, own);
        Ok(self.advance())
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
        // Answers may be late: the root key is here, or the dealing does not count any more.
        let Some(epoch) = self.wanted().into_iter().find(|epoch| epoch.number == of) else {
            return Ok(Vec::new());
        };
        if from == self.me {
            return Ok(Vec::new());
        }
        epoch.check_share(self.domain, from, &share)?;
        self.memory.collected.entry(of).or_default().insert(from, share);
        self.try_open(of)
    }

    /// A share of a plan came, wrapped by now; `own` is what it wraps, if this node knows.
    /// Acknowledge it once the effects are carried out.
    ///
    /// # Errors
    /// [`StoreShareError`]; nothing is kept.
    pub fn store_share(
        &mut self,
        share: WrappedShare,
        own: Option<Share>,
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
        let counts = self.epochs.as_ref().and_then(|epochs| epochs.get(number));
        if let Some(newest) = self.epochs.as_ref().map(|epochs| epochs.newest().number)
            && number <= newest
            && counts.is_none()
        {
            return Err(StoreShareError::Superseded { plan: number, newest });
        }
        if counts.is_some_and(|epoch| epoch.root_check != plan.root_check) {
            return Err(StoreShareError::OtherPlan);
        }
        // A delivery that comes again is acknowledged again and replaces nothing: a number is dealt
        // once, and what is held may be all there is.
        if let Some(held) = self.shares.get(&number) {
            return Ok(vec![Effect::PersistShare { epoch: number, bytes: held.encode() }]);
        }
        if let Wrap::Operator(found) = share.wrap {
            let known = self.operator.as_ref().map(|record| record.generation);
            if let Some(wanted) = known.filter(|wanted| found < *wanted) {
                return Err(StoreShareError::OtherGeneration { found, wanted });
            }
            if let Some(key) = self.memory.node_keys.get(&found) {
                share.unwrap(key, plan, self.me)?;
            }
        }
        if self.shares.len() >= SHARES_KEPT_MAX {
            return Err(StoreShareError::TooMany);
        }
        if let Some(own) = own {
            plan.check_share(self.domain, self.me, &own).map_err(UnwrapError::from)?;
            self.memory.own.insert(number, own);
        }
        let mut effects = vec![Effect::PersistShare { epoch: number, bytes: share.encode() }];
        self.shares.insert(number, share);
        // It may be of a dealing that was committed without this node.
        self.unwrap_own();
        effects.extend(self.advance());
        Ok(effects)
    }

    /// A share that is on the disk is wrapped anew, with another seal.
    pub fn rewrapped(&mut self, share: WrappedShare) -> Vec<Effect> {
        if !self.shares.contains_key(&share.epoch) {
            return Vec::new();
        }
        let effect = Effect::PersistShare { epoch: share.epoch, bytes: share.encode() };
        self.shares.insert(share.epoch, share);
        vec![effect]
    }

    /// The disk refused a share of that epoch: what it had `before` ([`NodeSeal::kept_share`]) is all
    /// there is.
    pub fn not_persisted(&mut self, epoch: EpochNumber, before: Option<WrappedShare>) {
        match before {
            Some(share) => drop(self.shares.insert(epoch, share)),
            None => {
                self.shares.remove(&epoch);
                self.memory.own.remove(&epoch);
                self.memory.opened.remove(&epoch);
            }
        }
    }

    /// A root key that came by another way: from the operators, or because this node dealt it.
    pub fn adopt(&mut self, epoch: EpochNumber) {
        self.memory.opened.insert(epoch);
        self.memory.collected.remove(&epoch);
    }

    /// The root key that was handed out with [`Effect::Opened`] could not be used: it is wanted
    /// again.
    pub fn close(&mut self, epoch: EpochNumber) {
        self.memory.opened.remove(&epoch);
    }

    /// Tries to open again, with the shares that are here.
    pub fn reopen(&mut self) -> Vec<Effect> {
        self.advance()
    }

    /// Wipes every key and operator share at once. The wrapped shares stay.
    pub fn seal_now(&mut self) {
        self.pool.clear();
        self.memory = Memory::default();
    }

    /// As [`NodeSeal::seal_now`], by an operator's order: a token does not undo it.
    pub fn seal_by_order(&mut self) {
        self.seal_now();
        self.held = true;
    }

    /// Time has passed: operator shares are dropped when their time is over.
    pub fn tick(&mut self, now_ms: u64) {
        self.pool.drop_old(now_ms);
    }

    /// The dealings that count, the older one first.
    fn counting(&self) -> impl DoubleEndedIterator<Item = &ShareEpoch> {
        let counting: Vec<&ShareEpoch> = self.epochs.iter().flat_map(ShareEpochs::each).collect();
        counting.into_iter()
    }

    /// Unwraps the shares of the dealings that count with the operators' keys that are here. What
    /// does not unwrap is waited for; status says so.
    fn unwrap_own(&mut self) {
        let Some(epochs) = &self.epochs else { return };
        for epoch in epochs.each() {
            if self.memory.own.contains_key(&epoch.number) {
                continue;
            }
            let Some(share) = self.shares.get(&epoch.number) else { continue };
            let Wrap::Operator(generation) = share.wrap else { continue };
            if let Some(key) = self.memory.node_keys.get(&generation)
                && let Ok(own) = share.unwrap(key, epoch, self.me)
            {
                self.memory.own.insert(epoch.number, own);
            }
        }
    }

    /// Why the operators' key of that generation has unwrapped nothing.
    fn check_unwrapped(&self, generation: OperatorGeneration) -> Result<(), UnsealError> {
        let epochs = self.epochs.as_ref().ok_or(UnsealError::NotCaughtUp)?;
        let newest = epochs.newest();
        let share = epochs.each().filter_map(|epoch| self.shares.get(&epoch.number)).last();
        let share = share.ok_or(UnsealError::NoShare { epoch: newest.number })?;
        match share.wrap {
            Wrap::Pkcs11 => Err(UnsealError::NeedsItsToken),
            Wrap::Operator(wanted) if wanted != generation => {
                Err(UnsealError::OtherGeneration { given: generation, wanted })
            }
            Wrap::Operator(_) => Err(UnsealError::Unwrap(UnwrapError::NotAuthentic)),
        }
    }

    /// What follows from having unwrapped: the root key at threshold 1, or with shares that came before.
    fn advance(&mut self) -> Vec<Effect> {
        let wanted: Vec<EpochNumber> =
            self.wanted().into_iter().map(|epoch| epoch.number).collect();
        // Shares that were verified make the root key or nothing does; then asking is all there is.
        wanted
            .into_iter()
            .find_map(|of| self.try_open(of).ok().filter(|e| !e.is_empty()))
            .unwrap_or_default()
    }

    fn try_open(&mut self, of: EpochNumber) -> Result<Vec<Effect>, CollectError> {
        let Some(epoch) = self.epochs.as_ref().and_then(|epochs| epochs.get(of)) else {
            return Ok(Vec::new());
        };
        let Memory { own, collected, opened, .. } = &mut self.memory;
        let threshold = usize::from(epoch.threshold);
        let others = collected.get(&of);
        let Some(own) = own.get(&of).filter(|_| !opened.contains(&of)) else {
            return Ok(Vec::new());
        };
        if others.map_or(0, BTreeMap::len) + 1 < threshold {
            return Ok(Vec::new());
        }
        let copy = |share: &Share| Share { x: share.x, y: share.y.duplicate() };
        let others = others.into_iter().flat_map(BTreeMap::values);
        let shares: Vec<Share> =
            std::iter::once(own).chain(others).take(threshold).map(copy).collect();
        collected.remove(&of);
        let root = epoch.combine(self.domain, &shares)?;
        opened.insert(of);
        Ok(vec![Effect::Opened { epoch: of, root }])
    }
}
