//! Members come and go while nodes crash and messages are lost or come twice.
//!
//! The model: a log of committed records, nodes that apply it at their own pace, one planner that
//! may give up a plan for another at any time, and commits with whoever has answered as soon as a
//! majority has. Whoever has not is given its share later, or is excluded. A crash takes a node's
//! memory and throws its applied state back to the beginning of the log; its disk keeps what was
//! persisted.

use std::collections::{BTreeMap, BTreeSet};

use conclave_crypto::entropy::SeededEntropy;
use conclave_crypto::{Key, Share};
use conclave_proto::{peer, record};
use conclave_seal::exchange::{Giver, Parties, ask};
use conclave_seal::{
    Dealing, Effect, EpochNumber, Keyring, NodeSeal, RaftId, SealKind, SealState, ShareEpoch,
    ShareEpochs, WrappedShare, dealing, delivery,
};
use proptest::prelude::*;
use prost::Message;

use crate::stage::{DOMAIN, Stage, enrolment, ground, name, recipients, wrapped};

const NODES: u64 = 5;

#[derive(Debug, Clone)]
enum Step {
    /// Give up the plan there is, if any, and deal to the nodes whose bits are set.
    Plan {
        members: u8,
    },
    /// A message arrives: it may be kept to arrive again, and the acknowledgement may be lost.
    Deliver {
        message: usize,
        again: bool,
        ack_lost: bool,
    },
    /// A message arrives, and the node crashes before it has stored anything.
    DeliverAndCrash {
        message: usize,
    },
    Lose {
        message: usize,
    },
    /// The planner commits, if a majority has answered.
    Commit,
    /// Somebody with the newest root key sends a node its share of the pending dealing again.
    DeliverPending {
        node: u64,
    },
    /// A node that has stored its share of the pending dealing says so in a txn.
    Acknowledge {
        node: u64,
    },
    Exclude {
        node: u64,
    },
    Complete,
    Apply {
        node: u64,
    },
    Crash {
        node: u64,
    },
    Unseal {
        node: u64,
    },
}

fn step() -> impl Strategy<Value = Step> {
    let node = || 1..=NODES;
    let message = any::<usize>();
    prop_oneof![
        1 => (1..32u8).prop_map(|members| Step::Plan { members }),
        12 => (message, any::<bool>(), prop::bool::weighted(0.2))
            .prop_map(|(message, again, ack_lost)| Step::Deliver { message, again, ack_lost }),
        1 => message.prop_map(|message| Step::DeliverAndCrash { message }),
        1 => message.prop_map(|message| Step::Lose { message }),
        3 => Just(Step::Commit),
        4 => node().prop_map(|node| Step::DeliverPending { node }),
        6 => node().prop_map(|node| Step::Acknowledge { node }),
        1 => node().prop_map(|node| Step::Exclude { node }),
        3 => Just(Step::Complete),
        8 => node().prop_map(|node| Step::Apply { node }),
        2 => node().prop_map(|node| Step::Crash { node }),
        2 => node().prop_map(|node| Step::Unseal { node }),
    ]
}

struct Node {
    seal: NodeSeal,
    disk: BTreeMap<EpochNumber, Vec<u8>>,
    /// How much of the log it has applied since its start.
    applied: usize,
    unsealed: bool,
}

/// A dealing that is planned, what it was planned on, and who has answered.
struct Plan {
    dealing: Dealing,
    rests_on: ShareEpochs,
    acks: BTreeSet<u64>,
}

struct World {
    stage: Stage,
    nodes: BTreeMap<u64, Node>,
    log: Vec<ShareEpochs>,
    roots: BTreeMap<EpochNumber, Key>,
    counter: Vec<u8>,
    plan: Option<Plan>,
    messages: Vec<(u64, peer::StoreShareRequest)>,
    entropy: SeededEntropy,
}

impl World {
    /// Three founders of five nodes; the founding is committed, nobody has applied it yet.
    fn new() -> Self {
        let stage = Stage::new(3, 1, 1);
        let root = stage.founding.keyring.root().duplicate();
        let mut world = Self {
            log: vec![stage.epochs()],
            roots: BTreeMap::from([(EpochNumber(1), root)]),
            counter: record::ShareCounter { last_dealt: 1 }.encode_to_vec(),
            plan: None,
            messages: Vec::new(),
            entropy: SeededEntropy::from_number(3),
            nodes: BTreeMap::new(),
            stage,
        };
        for id in 1..=NODES {
            let seal = NodeSeal::new(DOMAIN, RaftId(id), name(id), []);
            let node = Node { seal, disk: BTreeMap::new(), applied: 0, unsealed: false };
            world.nodes.insert(id, node);
        }
        for delivery in world.stage.founding.deliveries.clone() {
            let request = delivery.to_request(&world.stage.founding.epoch);
            assert!(world.deliver(delivery.to.0, &request));
        }
        world
    }

    /// The newest committed records.
    fn epochs(&self) -> &ShareEpochs {
        self.log.last().unwrap()
    }

    fn write(&mut self, writes: Vec<conclave_store::Write>) {
        self.stage.store.write(writes);
        self.log.push(self.stage.epochs());
    }

    fn run(&mut self, step: &Step) {
        match *step {
            Step::Plan { members: bits } => self.plan(bits),
            Step::Deliver { message, again, ack_lost } => {
                if let Some((to, request)) = self.take(message) {
                    let stored = self.deliver(to, &request);
                    let number = ShareEpoch::parse(&request.plan).unwrap().number;
                    if let Some(Plan { dealing, acks, .. }) = &mut self.plan
                        && stored
                        && !ack_lost
                        && dealing.epoch.number == number
                    {
                        acks.insert(to);
                    }
                    if again || ack_lost {
                        self.messages.push((to, request));
                    }
                }
            }
            Step::DeliverAndCrash { message } => {
                if let Some((to, request)) = self.take(message) {
                    let disk = self.nodes[&to].disk.clone();
                    self.deliver(to, &request);
                    self.nodes.get_mut(&to).unwrap().disk = disk;
                    self.crash(to);
                    self.messages.push((to, request));
                }
            }
            Step::Lose { message } => drop(self.take(message)),
            Step::Commit => self.commit(),
            Step::DeliverPending { node } => self.deliver_pending(node),
            Step::Acknowledge { node } => self.acknowledge(node),
            Step::Exclude { node } => {
                if let Ok(write) = dealing::excluded(self.epochs(), RaftId(node)) {
                    self.write(vec![write]);
                }
            }
            Step::Complete => {
                if let Some(writes) = dealing::completed(ground(&self.stage.store)) {
                    self.write(writes);
                }
            }
            Step::Apply { node } => self.apply(node),
            Step::Crash { node } => self.crash(node),
            Step::Unseal { node } => self.unseal(node),
        }
    }

    fn take(&mut self, message: usize) -> Option<(u64, peer::StoreShareRequest)> {
        let count = self.messages.len();
        (count > 0).then(|| self.messages.remove(message % count))
    }

    fn plan(&mut self, bits: u8) {
        let (number, write) = dealing::reserve(&self.counter, self.epochs()).unwrap();
        self.counter = write.blob().unwrap().to_vec();
        let members = recipients((1..=NODES).filter(|id| bits >> (id - 1) & 1 == 1));
        let (keyring, ground) = (&self.stage.founding.keyring, ground(&self.stage.store));
        let dealing =
            dealing::plan(keyring, &ground, number, &members, None, &mut self.entropy).unwrap();
        let requests = dealing.deliveries.iter();
        self.messages.extend(requests.map(|d| (d.to.0, d.to_request(&dealing.epoch))));
        let rests_on = self.epochs().clone();
        self.plan = Some(Plan { dealing, rests_on, acks: BTreeSet::new() });
    }

    /// Whether the node stored it, and so would acknowledge.
    fn deliver(&mut self, to: u64, request: &peer::StoreShareRequest) -> bool {
        let (share, plan) =
            delivery::open_request(request, &enrolment(to), DOMAIN, RaftId(to)).unwrap();
        let node = self.nodes.get_mut(&to).unwrap();
        let Ok(effects) = node.seal.store_share(wrapped(share), None, &plan) else { return false };
        node.carry_out(effects);
        true
    }

    fn deliver_pending(&mut self, to: u64) {
        let Some(pending) = self.epochs().pending.clone() else { return };
        if pending.missing().all(|missing| missing != RaftId(to)) {
            return;
        }
        let keyring = Keyring::open(&self.roots[&pending.number], &self.stage.store).unwrap();
        let (member, seal) = recipients([to]).remove(0);
        let delivery = keyring.deliver(&pending, &member, seal, &mut self.entropy).unwrap();
        self.deliver(to, &delivery.to_request(&pending));
    }

    fn acknowledge(&mut self, id: u64) {
        let node = &self.nodes[&id];
        let newest = self.epochs().newest().number;
        if node.applied == self.log.len()
            && let Some(seal) = node.seal.sealed_with(newest)
            && let Some(write) = dealing::acknowledged(self.epochs(), newest, RaftId(id), seal)
        {
            self.write(vec![write]);
        }
    }

    /// A plan rests on the records as they were: whatever was committed since makes it void.
    fn commit(&mut self) {
        let Some(plan) = self.plan.take() else { return };
        let Plan { dealing, rests_on, acks } = &plan;
        let acknowledged = acks.iter().map(|id| (RaftId(*id), SealKind::Operator)).collect();
        let is_current = rests_on == self.epochs();
        match dealing.writes(&acknowledged, false) {
            Ok(writes) if is_current => {
                self.roots.insert(dealing.epoch.number, dealing.root.duplicate());
                self.write(writes);
            }
            Ok(_) => {}
            Err(_) => self.plan = Some(plan),
        }
    }

    fn apply(&mut self, id: u64) {
        let operator = self.stage.operator_record();
        let node = self.nodes.get_mut(&id).unwrap();
        if let Some(epochs) = self.log.get(node.applied) {
            node.applied += 1;
            node.seal.operator_key_changed(operator);
            let effects = node.seal.epochs_changed(epochs.clone());
            node.carry_out(effects);
            node.unsealed &= node.seal.state() != SealState::Sealed;
        }
    }

    fn crash(&mut self, id: u64) {
        let node = self.nodes.get_mut(&id).unwrap();
        let shares = node.disk.values().map(|bytes| WrappedShare::parse(bytes).unwrap());
        node.seal = NodeSeal::new(DOMAIN, RaftId(id), name(id), shares);
        node.applied = 0;
        node.unsealed = false;
    }

    fn unseal(&mut self, id: u64) {
        let node = self.nodes.get_mut(&id).unwrap();
        if let Ok(effects) = node.seal.operator_share(self.stage.share_text(0), 0) {
            node.unsealed = node.seal.state() != SealState::Sealed;
            node.carry_out(effects);
        }
    }

    fn check(&self) {
        let committed = self.epochs();
        for epoch in committed.each() {
            for holder in epoch.holders.iter().filter(|holder| holder.acknowledged.is_some()) {
                let disk = &self.nodes[&holder.raft_id.0].disk;
                assert!(disk.contains_key(&epoch.number), "a holder lost its share: {holder:?}");
            }
        }
        if let Some(Plan { dealing, rests_on, acks }) = &self.plan {
            for id in acks.iter().filter(|_| rests_on == committed) {
                assert!(self.nodes[id].disk.contains_key(&dealing.epoch.number));
            }
        }
        for (id, node) in &self.nodes {
            // One that was excluded may not have heard of it yet.
            for epoch in committed.each().filter(|epoch| epoch.holder(RaftId(*id)).is_some()) {
                if let Some(own) = node.seal.own_share(epoch.number) {
                    epoch.check_share(DOMAIN, RaftId(*id), own).unwrap();
                }
            }
            let is_settled = committed.pending.is_none() && node.applied == self.log.len();
            if is_settled && committed.complete.holder(RaftId(*id)).is_some() {
                assert!(node.disk.keys().all(|number| *number >= committed.complete.number));
            }
        }
    }

    /// A cold start of everyone; the nodes whose bits are set get their operators, and then ask
    /// each other. Says who is open, and that those have a root key that counts.
    fn cold_start(&mut self, bits: u8) -> BTreeSet<u64> {
        for id in 1..=NODES {
            self.crash(id);
            (0..self.log.len()).for_each(|_| self.apply(id));
        }
        let chosen = (1..=NODES).filter(|id| bits >> (id - 1) & 1 == 1);
        chosen.for_each(|id| self.unseal(id));

        let epochs = self.epochs().clone();
        for epoch in epochs.each() {
            for asker in epoch.holders.iter().map(|holder| holder.raft_id) {
                for giver in epoch.holders.iter().map(|holder| holder.raft_id) {
                    if asker != giver
                        && let Some(share) = self.ask(asker, giver, &epochs, epoch)
                    {
                        let seal = &mut self.nodes.get_mut(&asker.0).unwrap().seal;
                        for effect in seal.share_received(giver, epoch.number, share).unwrap() {
                            let Effect::Opened { root, .. } = effect else { panic!("{effect:?}") };
                            assert!(root.ct_eq(&self.roots[&epoch.number]));
                            assert!(Keyring::open(&root, &self.stage.store).is_ok());
                        }
                    }
                }
            }
        }
        let open = self.nodes.iter().filter(|(_, node)| node.seal.state() == SealState::Open);
        open.map(|(id, _)| *id).collect()
    }

    fn ask(
        &mut self,
        asker: RaftId,
        giver: RaftId,
        epochs: &ShareEpochs,
        epoch: &ShareEpoch,
    ) -> Option<Share> {
        let own = self.nodes[&asker.0].seal.own_share(epoch.number)?;
        let given = self.nodes[&giver.0].seal.own_share(epoch.number)?;
        let mut side = Giver::new(DOMAIN, giver);
        let nonce = side.challenge(asker, epochs, 0, &mut self.entropy).unwrap();
        let parties = Parties { asker, giver };
        let (ask, request) = ask(own, DOMAIN, epoch.number, parties, &nonce, &mut self.entropy);
        let release = side.check(&request, epochs, 0).unwrap();
        let response = release.answer(given, &mut self.entropy).unwrap();
        Some(ask.receive(&response, epoch).unwrap())
    }

    /// Who opens if the nodes whose bits are set are unsealed: whoever holds a share of a dealing
    /// of which enough are.
    fn able(&self, bits: u8) -> BTreeSet<u64> {
        let mut able = BTreeSet::new();
        for epoch in self.epochs().each() {
            let holders = epoch.holders.iter().map(|holder| holder.raft_id.0);
            let unsealed = holders.filter(|id| {
                bits >> (id - 1) & 1 == 1 && self.nodes[id].disk.contains_key(&epoch.number)
            });
            let unsealed: BTreeSet<u64> = unsealed.collect();
            if unsealed.len() >= usize::from(epoch.threshold) {
                able.extend(unsealed);
            }
        }
        able
    }
}

impl Node {
    fn carry_out(&mut self, effects: Vec<Effect>) {
        for effect in effects {
            match effect {
                Effect::PersistShare { epoch, bytes } => drop(self.disk.insert(epoch, bytes)),
                Effect::DeleteShare { epoch, .. } => drop(self.disk.remove(&epoch)),
                Effect::Opened { .. } | Effect::DropKeyring => {}
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever happens on the way: whoever acknowledged a dealing that counts has its share on disk,
    /// and a cold start opens the domain exactly when enough holders of one such dealing are unsealed.
    #[test]
    fn no_change_of_members_loses_a_share(
        steps in prop::collection::vec(step(), 0..160),
        unsealed in 0..32u8,
    ) {
        let mut world = World::new();
        for step in &steps {
            world.run(step);
            world.check();
        }
        let able = world.able(unsealed);
        let open = world.cold_start(unsealed);
        prop_assert_eq!(open, able, "epochs {:?}", world.epochs());
        // All of them together always open it.
        prop_assert!(world.cold_start(0b11111).len() >= usize::from(world.epochs().complete.threshold));
    }
}

/// The way it goes when nothing goes wrong, so that the property above is known to reach it.
#[test]
fn a_domain_grows_from_three_to_five_and_shrinks_to_one() {
    let mut world = World::new();
    for bits in [0b11111, 0b00001] {
        world.run(&Step::Plan { members: bits });
        world.run(&Step::Commit);
        let before = world.log.len();
        while !world.messages.is_empty() {
            world.run(&Step::Deliver { message: 0, again: false, ack_lost: false });
        }
        world.run(&Step::Commit);
        assert_eq!(world.log.len(), before + 1);
        assert!(world.epochs().pending.is_none());
        world.check();
        let threshold = usize::from(world.epochs().complete.threshold);
        assert_eq!(world.cold_start(0b11111).len(), bits.count_ones() as usize);
        let too_few = (1 << (threshold - 1)) - 1;
        assert!(world.cold_start(too_few).is_empty());
    }
}
