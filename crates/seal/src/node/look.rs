//! What a node's seal says of itself, and what it wants next. Nothing changes here.

use std::collections::BTreeMap;

use conclave_crypto::sharing::Share;

use super::{Memory, NodeSeal, SealState};
use crate::epoch::ShareEpoch;
use crate::ids::EpochNumber;
use crate::wrapped::{SealKind, Wrap, WrappedShare};

impl NodeSeal {
    /// How far the node is.
    pub fn state(&self) -> SealState {
        if !self.memory.opened.is_empty() {
            SealState::Open
        } else if self.counting().any(|epoch| self.memory.own.contains_key(&epoch.number)) {
            SealState::ShareReady
        } else {
            SealState::Sealed
        }
    }

    /// How many distinct operator shares are here.
    pub fn operator_shares_held(&self) -> u8 {
        self.pool.len()
    }

    /// This node's own share of a dealing: what it proves with, and what it gives.
    pub fn own_share(&self, of: EpochNumber) -> Option<&Share> {
        self.memory.own.get(&of)
    }

    /// The dealings to ask the other holders' shares of, the newest first. None once the newest
    /// dealing's root key is here.
    pub fn wanted(&self) -> Vec<&ShareEpoch> {
        let newest = self.epochs.as_ref().map(|epochs| epochs.newest().number);
        if newest.is_none_or(|newest| self.memory.opened.contains(&newest)) {
            return Vec::new();
        }
        let Memory { own, opened, .. } = &self.memory;
        let is_wanted = |epoch: &&ShareEpoch| {
            own.contains_key(&epoch.number) && !opened.contains(&epoch.number)
        };
        let mut wanted: Vec<&ShareEpoch> = self.counting().filter(is_wanted).collect();
        wanted.reverse();
        wanted
    }

    /// The share to give to this node's token next; none while the node is sealed by order.
    pub fn to_unwrap(&self) -> Option<&WrappedShare> {
        let locked = |share: &&WrappedShare| {
            share.wrap == Wrap::Pkcs11 && !self.memory.own.contains_key(&share.epoch)
        };
        let mut counting = self.counting().filter_map(|epoch| self.shares.get(&epoch.number));
        counting.rfind(locked).filter(|_| !self.held)
    }

    /// A share to wrap anew, because it is not under `kind`; once the node is open.
    pub fn to_rewrap(&self, kind: SealKind) -> Option<(EpochNumber, &Share)> {
        let other = |share: &&WrappedShare| share.wrap.kind() != kind;
        let mut counting = self.counting().filter_map(|epoch| self.shares.get(&epoch.number));
        let epoch = counting.rfind(other)?.epoch;
        let own = self.memory.own.get(&epoch).filter(|_| self.state() == SealState::Open)?;
        Some((epoch, own))
    }

    /// What this node's share of that dealing is wrapped with, if it is on its disk.
    pub fn sealed_with(&self, epoch: EpochNumber) -> Option<SealKind> {
        self.shares.get(&epoch).map(|share| share.wrap.kind())
    }

    /// This node's share of that dealing as it is on its disk.
    pub fn kept_share(&self, epoch: EpochNumber) -> Option<&WrappedShare> {
        self.shares.get(&epoch)
    }

    /// The shares on the disk, each with its seal.
    pub fn kept(&self) -> Vec<(EpochNumber, SealKind)> {
        self.shares.iter().map(|(epoch, share)| (*epoch, share.wrap.kind())).collect()
    }

    /// Whether the token's key of that epoch wraps nothing any more. That of a dealing still to be
    /// committed may be about to.
    pub fn is_token_key_gone(&self, epoch: EpochNumber) -> bool {
        match self.shares.get(&epoch) {
            Some(share) => share.wrap != Wrap::Pkcs11,
            None => self.epochs.as_ref().is_some_and(|epochs| {
                let newest = epochs.newest();
                epoch < newest.number || epoch == newest.number && newest.holder(self.me).is_none()
            }),
        }
    }

    /// Why the node is not open, for status; empty if it is.
    pub fn waits_for(&self) -> String {
        let Some(epochs) = &self.epochs else {
            return "waiting for the domain's records".to_owned();
        };
        let newest = epochs.newest().number;
        let usable = epochs.each().filter_map(|epoch| self.shares.get(&epoch.number)).last();
        match (self.state(), usable) {
            (SealState::Open, _) => String::new(),
            (SealState::ShareReady, _) => {
                let progress = |epoch: &ShareEpoch| {
                    let others = self.memory.collected.get(&epoch.number).map_or(0, BTreeMap::len);
                    let (threshold, number) = (epoch.threshold, epoch.number);
                    format!("has {} of {threshold} shares of epoch {number}", others + 1)
                };
                self.wanted().into_iter().map(progress).collect::<Vec<_>>().join(", ")
            }
            (SealState::Sealed, None) if self.shares.range(newest..).next().is_some() => {
                "has a share of a later epoch: catching up, or not a voter yet".to_owned()
            }
            (SealState::Sealed, None) if !epochs.is_holder(self.me) => {
                "holds no share: not a member yet, or left out of the newest dealing".to_owned()
            }
            (SealState::Sealed, None) => {
                format!("lacks its share of epoch {newest}: enrol the node anew")
            }
            (SealState::Sealed, Some(_)) if self.held => {
                "sealed by order: restart it, or enter operator shares, to end that".to_owned()
            }
            (SealState::Sealed, Some(share)) => match share.wrap.kind() {
                SealKind::Operator => "waiting for operator shares".to_owned(),
                SealKind::Pkcs11 => "waiting for its HSM".to_owned(),
            },
        }
    }
}
