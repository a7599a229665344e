//! Members come and go while nodes crash and messages are lost or come twice.
//!
//! The model: a log of committed share epochs, nodes that apply it at their own pace, one planner
//! that may give up a plan for another at any time. A crash takes a node's memory and throws its
//! applied state back to the beginning of the log; its disk keeps what was persisted.

use std::collections::{BTreeMap, BTreeSet};

use conclave_crypto::Share;
use conclave_crypto::entropy::SeededEntropy;
use conclave_proto::{peer, record};
use conclave_seal::exchange::{Giver, Parties, ask};
use conclave_seal::{
    Dealing, Effect, EpochNumber, NodeSeal, RaftId, SealState, ShareEpoch, WrappedShare, dealing,
    delivery,
};
use proptest::prelude::*;
use prost::Message;

use crate::stage::{DOMAIN, Stage, enrolment, members, name};

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
    /// The planner commits, if everyone has acknowledged.
    Commit,
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
    let node = 1..=NODES;
    let message = any::<usize>();
    prop_oneof![
        1 => (1..32u8).prop_map(|members| Step::Plan { members }),
        12 => (message, any::<bool>(), prop::bool::weighted(0.2))
            .prop_map(|(message, again, ack_lost)| Step::Deliver { message, again, ack_lost }),
        1 => message.prop_map(|message| Step::DeliverAndCrash { message }),
        1 => message.prop_map(|message| Step::Lose { message }),
        6 => Just(Step::Commit),
        6 => node.clone().prop_map(|node| Step::Apply { node }),
        2 => node.clone().prop_map(|node| Step::Crash { node }),
        2 => node.prop_map(|node| Step::Unseal { node }),
    ]
}

struct Node {
    seal: NodeSeal,
    disk: BTreeMap<EpochNumber, Vec<u8>>,
    /// How much of the log it has applied since its start.
    applied: usize,
    unsealed: bool,
}

struct World {
    stage: Stage,
    nodes: BTreeMap<u64, Node>,
    log: Vec<ShareEpoch>,
    counter: Vec<u8>,
    plan: Option<(Dealing, BTreeSet<u64>)>,
    messages: Vec<(u64, peer::StoreShareRequest)>,
    entropy: SeededEntropy,
}

impl World {
    /// Three founders of five nodes; the founding is committed, nobody has applied it yet.
    fn new() -> Self {
        let stage = Stage::new(3, 1, 1);
        let mut world = Self {
            log: vec![stage.founding.epoch.clone()],
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
            let request = delivery.to_request(&world.log[0]);
            assert!(world.deliver(delivery.to.0, &request));
        }
        world
    }

    fn run(&mut self, step: &Step) {
        match *step {
            Step::Plan { members: bits } => self.plan(bits),
            Step::Deliver { message, again, ack_lost } => {
                if let Some((to, request)) = self.take(message) {
                    let stored = self.deliver(to, &request);
                    if let Some((dealing, acks)) = &mut self.plan
                        && stored
                        && !ack_lost
                        && dealing.epoch.number.0 == request.epoch
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
        let current = self.log.last().unwrap();
        let (number, (_, counter)) = dealing::reserve(&self.counter, current).unwrap();
        self.counter = counter.unwrap();
        let members = members((1..=NODES).filter(|id| bits >> (id - 1) & 1 == 1));
        let keyring = &self.stage.founding.keyring;
        let dealing = dealing::plan(keyring, current, number, &members, &mut self.entropy).unwrap();
        let requests = dealing.deliveries.iter();
        self.messages.extend(requests.map(|d| (d.to.0, d.to_request(&dealing.epoch))));
        self.plan = Some((dealing, BTreeSet::new()));
    }

    /// Whether the node stored it, and so would acknowledge.
    fn deliver(&mut self, to: u64, request: &peer::StoreShareRequest) -> bool {
        let (share, plan) =
            delivery::open_request(request, &enrolment(to), DOMAIN, RaftId(to)).unwrap();
        let node = self.nodes.get_mut(&to).unwrap();
        let Ok(effects) = node.seal.store_share(share, &plan) else { return false };
        node.carry_out(effects);
        true
    }

    fn commit(&mut self) {
        let complete = |(dealing, acks): &(Dealing, BTreeSet<u64>)| {
            dealing.epoch.holders.iter().all(|holder| acks.contains(&holder.raft_id.0))
        };
        if let Some((dealing, _)) = self.plan.take_if(|plan| complete(plan)) {
            self.log.push(dealing.epoch);
        }
    }

    fn apply(&mut self, id: u64) {
        let operator = self.stage.operator_record();
        let node = self.nodes.get_mut(&id).unwrap();
        if let Some(epoch) = self.log.get(node.applied) {
            node.applied += 1;
            node.seal.operator_key_changed(operator);
            let effects = node.seal.epoch_changed(epoch.clone());
            node.carry_out(effects);
            node.unsealed &= epoch.holder(RaftId(id)).is_some();
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
        let committed = self.log.last().unwrap();
        for holder in &committed.holders {
            let disk = &self.nodes[&holder.raft_id.0].disk;
            assert!(disk.contains_key(&committed.number), "a holder lost its share: {holder:?}");
        }
        if let Some((dealing, acks)) = &self.plan {
            for id in acks {
                assert!(self.nodes[id].disk.contains_key(&dealing.epoch.number));
            }
        }
        for (id, node) in &self.nodes {
            // Who was unsealed and is a member stays unsealed through every change of epochs.
            assert!(!node.unsealed || node.seal.state() != SealState::Sealed, "node {id}");
            if let Some((epoch, own)) = node.seal.own_share() {
                epoch.check_share(DOMAIN, RaftId(*id), own).unwrap();
            }
            if node.applied == self.log.len() && committed.holder(RaftId(*id)).is_some() {
                assert!(node.disk.keys().all(|number| *number >= committed.number));
            }
        }
    }

    /// A cold start of everyone; the nodes whose bits are set get their operators, and then ask
    /// each other. Says how many are open, and that those have the right root.
    fn cold_start(&mut self, bits: u8) -> usize {
        for id in 1..=NODES {
            self.crash(id);
            (0..self.log.len()).for_each(|_| self.apply(id));
        }
        let chosen = (1..=NODES).filter(|id| bits >> (id - 1) & 1 == 1);
        chosen.for_each(|id| self.unseal(id));

        let epoch = self.log.last().unwrap().clone();
        for asker in epoch.holders.iter().map(|holder| holder.raft_id) {
            for giver in epoch.holders.iter().map(|holder| holder.raft_id) {
                if asker != giver
                    && let Some(share) = self.ask(asker, giver, &epoch)
                {
                    let seal = &mut self.nodes.get_mut(&asker.0).unwrap().seal;
                    for effect in seal.share_received(giver, epoch.number, share).unwrap() {
                        let Effect::Opened(root) = effect else { panic!("{effect:?}") };
                        assert!(root.ct_eq(self.stage.founding.keyring.root()));
                    }
                }
            }
        }
        self.nodes.values().filter(|node| node.seal.state() == SealState::Open).count()
    }

    fn ask(&mut self, asker: RaftId, giver: RaftId, epoch: &ShareEpoch) -> Option<Share> {
        let (_, own) = self.nodes[&asker.0].seal.own_share()?;
        let (_, given) = self.nodes[&giver.0].seal.own_share()?;
        let mut side = Giver::new(DOMAIN, giver);
        let nonce = side.challenge(asker, epoch, 0, &mut self.entropy).unwrap();
        let parties = Parties { asker, giver };
        let (ask, request) = ask(own, DOMAIN, epoch.number, parties, &nonce, &mut self.entropy);
        let release = side.check(&request, epoch, 0).unwrap();
        let response = release.answer(given, &mut self.entropy).unwrap();
        Some(ask.receive(&response, epoch).unwrap())
    }
}

impl Node {
    fn carry_out(&mut self, effects: Vec<Effect>) {
        for effect in effects {
            match effect {
                Effect::PersistShare { epoch, bytes } => drop(self.disk.insert(epoch, bytes)),
                Effect::DeleteSharesBelow(epoch) => self.disk = self.disk.split_off(&epoch),
                Effect::AskForShares { .. } | Effect::Opened(_) | Effect::DropKeyring => {}
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever happens on the way: every holder of the committed epoch has its share on disk, and a
    /// cold start opens the domain exactly when as many holders as the threshold are unsealed.
    #[test]
    fn no_change_of_members_loses_a_share(
        steps in prop::collection::vec(step(), 0..120),
        unsealed in 0..32u8,
    ) {
        let mut world = World::new();
        for step in &steps {
            world.run(step);
            world.check();
        }
        let epoch = world.log.last().unwrap().clone();
        let able = epoch.holders.iter().filter(|holder| unsealed >> (holder.raft_id.0 - 1) & 1 == 1);
        let able = able.count();
        let open = world.cold_start(unsealed);
        let expected = if able >= usize::from(epoch.threshold) { able } else { 0 };
        prop_assert_eq!(open, expected, "epoch {:?}", epoch);
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
        world.check();
        let threshold = usize::from(world.log.last().unwrap().threshold);
        assert_eq!(world.cold_start(0b11111), bits.count_ones() as usize);
        let too_few = (1 << (threshold - 1)) - 1;
        assert_eq!(world.cold_start(too_few), 0);
    }
}
