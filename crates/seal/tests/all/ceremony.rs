//! From founding to an open node, and what an open node's keyring does.

use conclave_audit::VerifierKey;
use conclave_crypto::entropy::SeededEntropy;
use conclave_crypto::hpke::HpkePublicKey;
use conclave_crypto::secret::Key;
use conclave_proto::audit::{Entry, Outcome};
use conclave_proto::record;
use conclave_seal::dealing::PlanError;
use conclave_seal::delivery::DeliveryError;
use conclave_seal::keyring::{ANSWER_LEN_MAX, AnswerError, EntryError, KeyringError, RecordError};
use conclave_seal::members::MembersError;
use conclave_seal::node::{StoreShareError, UnsealError};
use conclave_seal::{
    Dealing, DomainId, Effect, EpochNumber, FoundingInput, Keyring, NodeSeal, RaftId, SealState,
    dealing, delivery, found, seal_entry_to_intake,
};
use conclave_store::{Kind, RecordId, View};
use prost::Message;

use crate::stage::{ACCOUNT, DOMAIN, Stage, enrolment, input, member, members, name};

fn entropy() -> SeededEntropy {
    SeededEntropy::from_number(77)
}

fn entry() -> Entry {
    Entry {
        action: "Init".to_owned(),
        principal: "alice".to_owned(),
        outcome: Outcome::Success.into(),
        ..Entry::default()
    }
}

fn unseal(stage: &Stage, node: &mut NodeSeal) -> Vec<Effect> {
    let threshold = usize::from(stage.operator_record().split.threshold());
    (0..threshold).flat_map(|at| node.operator_share(stage.share_text(at), 0).unwrap()).collect()
}

/// Three nodes, each with its operators, and the shares passed on: all open, none below two.
#[test]
fn a_founded_domain_opens_at_its_threshold_and_not_below() {
    let stage = Stage::new(3, 2, 3);
    let mut nodes: Vec<NodeSeal> = (1..=3).map(|id| stage.node(id)).collect();
    for (at, node) in nodes.iter_mut().enumerate() {
        assert_eq!(node.state(), SealState::Sealed);
        assert_eq!(node.waits_for(), "waiting for operator shares");
        let effects = unseal(&stage, node);
        assert_eq!(node.state(), SealState::ShareReady);
        assert_eq!(node.waits_for(), "has 1 of 2 shares of epoch 1");
        let [Effect::AskForShares { of, .. }] = effects.as_slice() else { panic!("{effects:?}") };
        assert_eq!(of.len(), 2);
        assert!(!of.contains(&RaftId(at as u64 + 1)));
    }
    let (epoch, share) = nodes[1].own_share().unwrap();
    let number = epoch.number;
    let copy = conclave_crypto::Share { x: share.x, y: share.y.duplicate() };
    let effects = nodes[0].share_received(RaftId(2), number, copy).unwrap();
    let [Effect::Opened(root)] = effects.as_slice() else { panic!("{effects:?}") };
    assert_eq!(nodes[0].state(), SealState::Open);
    let keyring = Keyring::open(root, &stage.store).unwrap();
    assert_eq!(keyring.domain(), DOMAIN);

    nodes[0].seal_now();
    assert_eq!(nodes[0].state(), SealState::Sealed);
    unseal(&stage, &mut nodes[0]);
    assert_eq!(nodes[0].state(), SealState::ShareReady);
}

#[test]
fn a_single_node_opens_with_its_operators_alone() {
    let stage = Stage::new(1, 1, 1);
    let mut node = stage.node(1);
    let effects = unseal(&stage, &mut node);
    let [Effect::Opened(root)] = effects.as_slice() else { panic!("{effects:?}") };
    assert!(root.ct_eq(stage.founding.keyring.root()));
}

/// A change of members passes an open node by: it stays open and has its new share at once. The
/// one that was removed is told to drop its keyring, and has no share left.
#[test]
fn an_open_node_stays_open_through_a_change_of_members_and_a_removed_one_does_not() {
    let stage = Stage::new(1, 1, 1);
    let keyring = &stage.founding.keyring;
    let first = &stage.founding.epoch;
    let mut node = stage.node(1);
    unseal(&stage, &mut node);
    assert_eq!(node.state(), SealState::Open);

    let blob = stage.store.blob(&RecordId::singleton(Kind::ShareCounter)).unwrap().unwrap();
    let (number, _) = dealing::reserve(&blob, first).unwrap();
    let three = dealing::plan(keyring, first, number, &members(1..=3), &mut entropy()).unwrap();
    let own = keyring.wrap_own_share(&three.epoch, RaftId(1), &name(1), &mut entropy()).unwrap();
    let effects = node.store_share(own, &three.epoch).unwrap();
    assert!(matches!(effects.as_slice(), [Effect::PersistShare { epoch, .. }] if *epoch == number));
    let effects = node.epoch_changed(three.epoch.clone());
    assert!(matches!(effects.as_slice(), [Effect::DeleteSharesBelow(below)] if *below == number));
    assert_eq!(node.state(), SealState::Open);
    let (epoch, share) = node.own_share().unwrap();
    assert_eq!((epoch.threshold, share.x), (2, 1));

    let refused = dealing::plan(keyring, &three.epoch, number, &members(2..=3), &mut entropy());
    assert!(matches!(refused, Err(PlanError::NumberUsed { .. })));
    let number = EpochNumber(number.0 + 1);
    let two =
        dealing::plan(keyring, &three.epoch, number, &members(2..=3), &mut entropy()).unwrap();
    let effects = node.epoch_changed(two.epoch);
    assert!(matches!(effects.as_slice(), [Effect::DropKeyring, Effect::DeleteSharesBelow(_)]));
    assert_eq!(node.state(), SealState::Sealed);
    assert!(node.own_share().is_none());
}

/// What a joiner does not take: a share that is another's, of another plan, or that comes too late.
#[test]
fn a_share_that_is_not_this_nodes_is_not_stored() {
    let stage = Stage::new(3, 1, 1);
    let (keyring, first) = (&stage.founding.keyring, &stage.founding.epoch);
    let plan = |number| {
        dealing::plan(keyring, first, EpochNumber(number), &members(1..=4), &mut entropy()).unwrap()
    };
    let open = |dealing: &Dealing, to: u64, opener: u64| {
        let delivery =
            dealing.deliveries.iter().find(|delivery| delivery.to == RaftId(to)).unwrap();
        let request = delivery.to_request(&dealing.epoch);
        delivery::open_request(&request, &enrolment(opener), DOMAIN, RaftId(opener))
    };
    let (second, third) = (plan(2), plan(3));
    assert_eq!(open(&second, 4, 3).unwrap_err(), DeliveryError::NotForMe);

    let mut joiner = NodeSeal::new(DOMAIN, RaftId(4), name(4), []);
    joiner.operator_key_changed(stage.operator_record());
    joiner.epoch_changed(first.clone());
    let (share, _) = open(&second, 4, 4).unwrap();
    let refused = joiner.store_share(share.clone(), &third.epoch).unwrap_err();
    assert_eq!(refused, StoreShareError::OtherPlan);
    let (others, _) = open(&second, 3, 3).unwrap();
    let refused = joiner.store_share(others, &second.epoch).unwrap_err();
    assert_eq!(refused, StoreShareError::NotMyPlace { me: RaftId(4) });

    joiner.store_share(share.clone(), &second.epoch).unwrap();
    assert!(joiner.waits_for().contains("not a voter yet"));
    // Again, after a lost acknowledgement: what was stored is stored again. Another share under the
    // same number is refused by a sealed node, which cannot tell whether it is of the same dealing.
    let effects = joiner.store_share(share.clone(), &second.epoch).unwrap();
    let [Effect::PersistShare { bytes, .. }] = effects.as_slice() else { panic!("{effects:?}") };
    assert_eq!(*bytes, share.encode());
    let mut entropy = SeededEntropy::from_number(78);
    let another = keyring.wrap_own_share(&second.epoch, RaftId(4), &name(4), &mut entropy).unwrap();
    let refused = joiner.store_share(another.clone(), &second.epoch).unwrap_err();
    assert_eq!(refused, StoreShareError::AnotherHeld { epoch: EpochNumber(2) });
    joiner.operator_share(stage.share_text(0), 0).unwrap_err();
    let effects = joiner.store_share(another, &second.epoch).unwrap();
    let [Effect::PersistShare { bytes, .. }] = effects.as_slice() else { panic!("{effects:?}") };
    assert_eq!(*bytes, share.encode());

    let mut late = NodeSeal::new(DOMAIN, RaftId(4), name(4), []);
    late.epoch_changed(third.epoch.clone());
    let refused = late.store_share(share, &second.epoch).unwrap_err();
    let (plan, committed) = (EpochNumber(2), EpochNumber(3));
    assert_eq!(refused, StoreShareError::Superseded { plan, committed });
}

/// A share that was dealt to another member, or of another epoch, opens nothing.
#[test]
fn a_node_takes_only_the_senders_own_share() {
    let stage = Stage::new(3, 1, 1);
    let mut node = stage.node(1);
    unseal(&stage, &mut node);
    let root = stage.founding.keyring.root();
    let epoch = &stage.founding.epoch;
    let third = || epoch.share_of(DOMAIN, root, RaftId(3)).unwrap();
    assert!(node.share_received(RaftId(2), epoch.number, third()).is_err());
    let stranger = node.share_received(RaftId(9), epoch.number, third());
    assert!(stranger.is_err());
    assert_eq!(node.state(), SealState::ShareReady);
}

/// Operators at a node that has not caught up: it says so and goes on by itself later.
#[test]
fn a_node_unsealed_too_early_says_what_it_waits_for() {
    let stage = Stage::new(1, 1, 1);
    let mut node = NodeSeal::new(DOMAIN, RaftId(1), name(1), []);
    assert_eq!(node.operator_share(stage.share_text(0), 0).unwrap_err(), UnsealError::NotCaughtUp);
    node.operator_key_changed(stage.operator_record());
    node.epoch_changed(stage.founding.epoch.clone());
    let refused = node.operator_share(stage.share_text(0), 0).unwrap_err();
    assert_eq!(refused, UnsealError::NoShare { epoch: stage.founding.epoch.number });
    assert!(node.waits_for().contains("enrol the node anew"));
}

#[test]
fn the_keyring_read_from_the_records_is_the_one_that_was_founded() {
    let stage = Stage::new(3, 2, 3);
    let founded = &stage.founding.keyring;
    let opened = Keyring::open(founded.root(), &stage.store).unwrap();
    assert!(opened.refreshed(&stage.store).unwrap().is_none());
    assert!(founded.refreshed(&stage.store).unwrap().is_some());

    let alice = opened.name_id(Kind::Principal, ACCOUNT, "alice");
    assert_eq!(alice, founded.name_id(Kind::Principal, ACCOUNT, "alice"));
    let blob = stage.store.blob(&alice).unwrap().expect("the first operator is a principal");
    let principal =
        record::Principal::decode(opened.open_record(&alice, &blob).unwrap().expose()).unwrap();
    assert_eq!(principal.roles, [i32::from(record::Role::Operator)]);

    let sealed = founded.seal_entry(&entry(), &mut entropy());
    assert_eq!(opened.open_entry(&sealed).unwrap().entry, entry());
    let key: VerifierKey = stage.founding.verifier_key.parse().unwrap();
    assert_eq!(*key.key(), opened.audit_signing_key().verifying_key());
    assert_eq!(key.name(), "conclave/example.org/eu-1");

    let wrong = Key::from_slice(&[1; 32]).unwrap();
    assert!(matches!(Keyring::open(&wrong, &stage.store), Err(KeyringError::OtherRoot)));
}

/// Every record of the founding stands where the store expects it, and is sealed unless public.
#[test]
fn the_founding_txn_writes_each_record_once_and_nothing_secret_in_clear() {
    let stage = Stage::new(3, 2, 3);
    let writes = &stage.founding.writes;
    assert_eq!(stage.founding.guards().len(), writes.len());
    assert_eq!(writes.len(), 14);
    let everything: Vec<u8> = writes.iter().flat_map(|(_, blob)| blob.clone().unwrap()).collect();
    let contains = |needle: &[u8]| everything.windows(needle.len()).any(|window| window == needle);
    assert!(contains(b"node-2") && !contains(b"alice"));
    assert!(!contains(stage.founding.keyring.root().expose()));
    for (id, blob) in writes.iter().filter(|(id, _)| !id.kind().is_public()) {
        stage.founding.keyring.open_record(id, blob.as_ref().unwrap()).unwrap();
    }
}

#[test]
fn a_record_opens_under_its_own_id_and_in_its_own_domain_only() {
    let keyring = Stage::new(1, 1, 1).founding.keyring;
    let id = RecordId::new(Kind::Key, [4; 16]);
    let blob = keyring.seal_record(&id, b"content", &mut entropy());
    assert!(keyring.open_record(&id, &blob).unwrap().ct_eq(b"content"));

    for other in [RecordId::new(Kind::Alias, [4; 16]), RecordId::new(Kind::Key, [5; 16])] {
        let refused = keyring.open_record(&other, &blob).unwrap_err();
        assert_eq!(refused, RecordError::NotAuthentic { record: other });
    }
    let elsewhere = FoundingInput { domain_id: DomainId([9; 16]), ..input(1, 1, 1) };
    let elsewhere = found(&elsewhere, &mut SeededEntropy::from_number(1)).unwrap().keyring;
    assert!(elsewhere.open_record(&id, &blob).is_err());
}

#[test]
fn names_tokens_and_answers_tell_apart_what_differs() {
    let keyring = Stage::new(1, 1, 1).founding.keyring;
    let id = |kind, account, name| keyring.name_id(kind, account, name);
    assert_ne!(id(Kind::Alias, "1", "2x"), id(Kind::Alias, "12", "x"));
    assert_ne!(id(Kind::Alias, "1", "x").id(), id(Kind::Principal, "1", "x").id());

    let token = keyring.token("alice", "r1");
    assert_ne!(token, keyring.token("alicer", "1"));
    let key_id = keyring.derived_key_id(&token);
    assert_eq!((key_id[6] >> 4, key_id[8] >> 6), (4, 2));
    assert_eq!(key_id, keyring.derived_key_id(&token));

    let answer = [7; ANSWER_LEN_MAX];
    let sealed = keyring.seal_answer(&token, &answer, &mut entropy()).unwrap();
    assert_eq!(sealed.len(), 256);
    assert!(keyring.open_answer(&token, &sealed).unwrap().ct_eq(&answer));
    let other = keyring.token("alice", "r2");
    assert_eq!(keyring.open_answer(&other, &sealed).unwrap_err(), AnswerError::NotAuthentic);
    assert!(keyring.seal_answer(&token, &[0; ANSWER_LEN_MAX + 1], &mut entropy()).is_err());
}

#[test]
fn entries_of_nodes_that_are_not_open_are_read_with_the_intake_key() {
    let stage = Stage::new(1, 1, 1);
    let blob = stage.store.blob(&RecordId::singleton(Kind::PublicKeys)).unwrap().unwrap();
    let intake = record::PublicKeys::decode(&*blob).unwrap().intake;
    let intake = HpkePublicKey::from_bytes(&intake).unwrap();
    let mut sealed = seal_entry_to_intake(&intake, DOMAIN, &entry(), &mut entropy()).unwrap();
    let keyring = &stage.founding.keyring;
    assert_eq!(keyring.open_entry(&sealed).unwrap().entry, entry());

    sealed.commitment[0] ^= 1;
    assert_eq!(keyring.open_entry(&sealed).unwrap_err(), EntryError::Commitment);
    sealed.key = 2;
    assert_eq!(keyring.open_entry(&sealed).unwrap_err(), EntryError::UnknownKey { key: 2 });
    sealed.key = 1;
    assert_eq!(keyring.open_entry(&sealed).unwrap_err(), EntryError::NotAuthentic { key: 1 });
}

#[test]
fn a_founding_that_describes_no_domain_is_refused() {
    let refused = |change: fn(&mut FoundingInput)| {
        let mut input = input(3, 2, 3);
        change(&mut input);
        found(&input, &mut entropy()).unwrap_err()
    };
    refused(|input| input.domain_name = "EU".to_owned());
    refused(|input| input.account = "12".to_owned());
    refused(|input| input.cluster = String::new());
    refused(|input| input.creator = "a b".to_owned());
    refused(|input| input.members.clear());
    refused(|input| input.members[1] = member(1));
    refused(|input| input.members[0].raft_id = 0);
    let weak = refused(|input| input.members[0].enrolment_key = vec![0; 32]);
    assert!(weak.to_string().contains("small order"));
    let short = refused(|input| input.members[0].enrolment_key = vec![0; 31]);
    assert_eq!(short, MembersError::EnrolmentKey { name: name(1) }.into());
}
