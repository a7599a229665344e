//! From founding to an open node, and what an open node's keyring does.

use conclave_audit::VerifierKey;
use conclave_crypto::entropy::SeededEntropy;
use conclave_crypto::hpke::HpkePublicKey;
use conclave_crypto::secret::Key;
use conclave_proto::audit::{Entry, Outcome};
use conclave_proto::record;
use conclave_seal::delivery::DeliveryError;
use conclave_seal::keyring::{ANSWER_LEN_MAX, AnswerError, EntryError, KeyringError, RecordError};
use conclave_seal::members::MembersError;
use conclave_seal::node::{StoreShareError, UnsealError};
use conclave_seal::{
    Dealing, DomainId, Effect, EpochNumber, FoundingInput, Keyring, NodeSeal, RaftId, SealKind,
    SealState, ShareEpochs, dealing, delivery, found, seal_entry_to_intake,
};
use conclave_store::{Kind, RecordId, View};
use prost::Message;

use crate::stage::{
    ACCOUNT, DOMAIN, Stage, enrolment, ground, input, member, name, recipients, wrapped,
};

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
        assert!(unseal(&stage, node).is_empty());
        assert_eq!(node.state(), SealState::ShareReady);
        assert_eq!(node.waits_for(), "has 1 of 2 shares of epoch 1");
        assert_eq!(node.wanted().len(), 1);
        assert_eq!(node.wanted()[0].holders[at].raft_id, RaftId(at as u64 + 1));
    }
    let number = stage.founding.epoch.number;
    let share = nodes[1].own_share(number).unwrap();
    let copy = conclave_crypto::Share { x: share.x, y: share.y.duplicate() };
    let effects = nodes[0].share_received(RaftId(2), number, copy).unwrap();
    let [Effect::Opened { root, .. }] = effects.as_slice() else { panic!("{effects:?}") };
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
    let [Effect::Opened { root, .. }] = effects.as_slice() else { panic!("{effects:?}") };
    assert!(root.ct_eq(stage.founding.keyring.root()));
}

/// A change of members passes an open node by: it stays open, has its new share at once, and wants
/// the new root key. The one that was removed is told to drop its keyring, and has no share left.
#[test]
fn an_open_node_stays_open_through_a_change_of_members_and_a_removed_one_does_not() {
    let mut stage = Stage::new(1, 1, 1);
    let mut node = stage.node(1);
    unseal(&stage, &mut node);
    assert_eq!(node.state(), SealState::Open);
    assert!(node.wanted().is_empty());

    let three = deal(&stage, 2, 1..=3);
    let (own, plan) = open(&three, 1, 1).unwrap();
    let effects = node.store_share(own, None, &plan).unwrap();
    assert!(matches!(effects.as_slice(), [Effect::PersistShare { epoch, .. }] if epoch.0 == 2));
    commit(&mut stage, &three, 1..=3);
    let effects = node.epochs_changed(stage.epochs());
    assert!(matches!(effects.as_slice(), [Effect::DeleteShare { epoch, .. }] if epoch.0 == 1));
    assert_eq!(node.state(), SealState::Open);
    assert_eq!(node.own_share(EpochNumber(2)).unwrap().x, 1);
    assert_eq!(node.wanted()[0].threshold, 2);
    let share = three.epoch.share_of(DOMAIN, &three.root, RaftId(3)).unwrap();
    let effects = node.share_received(RaftId(3), EpochNumber(2), share).unwrap();
    let [Effect::Opened { root, .. }] = effects.as_slice() else { panic!("{effects:?}") };
    assert!(root.ct_eq(&three.root));
    assert!(node.wanted().is_empty());

    let two = deal(&stage, 3, 2..=3);
    commit(&mut stage, &two, 2..=3);
    let effects = node.epochs_changed(stage.epochs());
    assert!(matches!(effects.as_slice(), [Effect::DropKeyring, Effect::DeleteShare { .. }]));
    assert_eq!(node.state(), SealState::Sealed);
    assert!(node.own_share(EpochNumber(3)).is_none());
}

/// The records a dealing changes, with a keyring that is the founding's: its domain keys do not change.
fn deal(stage: &Stage, number: u64, members: impl IntoIterator<Item = u64>) -> Dealing {
    let (keyring, members) = (&stage.founding.keyring, recipients(members));
    let ground = ground(&stage.store);
    let entropy = &mut SeededEntropy::from_number(100 + number);
    dealing::plan(keyring, &ground, EpochNumber(number), &members, None, entropy).unwrap()
}

fn open(
    dealing: &Dealing,
    to: u64,
    opener: u64,
) -> Result<(conclave_seal::WrappedShare, conclave_seal::ShareEpoch), DeliveryError> {
    let delivery = dealing.deliveries.iter().find(|delivery| delivery.to == RaftId(to)).unwrap();
    let request = delivery.to_request(&dealing.epoch);
    delivery::open_request(&request, &enrolment(opener), DOMAIN, RaftId(opener))
        .map(|(share, plan)| (wrapped(share), plan))
}

fn commit(stage: &mut Stage, dealing: &Dealing, acknowledged: impl IntoIterator<Item = u64>) {
    let all = acknowledged.into_iter().map(|id| (RaftId(id), SealKind::Operator)).collect();
    stage.store.write(dealing.writes(&all, false).unwrap());
}

/// While some have yet to acknowledge, either root key opens the domain; afterwards the new one does.
#[test]
fn both_root_keys_open_the_domain_while_a_dealing_is_pending_and_then_only_the_new_one() {
    let mut stage = Stage::new(3, 1, 1);
    let id = RecordId::new(Kind::Key, [4; 16]);
    let blob = stage.founding.keyring.seal_record(&id, b"content", &mut entropy());
    let old = stage.founding.keyring.root().duplicate();
    let dealing = deal(&stage, 2, 1..=3);
    let too_few = [(RaftId(1), SealKind::Operator)].into();
    assert!(dealing.writes(&too_few, false).is_err());
    commit(&mut stage, &dealing, 1..=2);
    assert!(stage.epochs().pending.is_some());
    for root in [&old, &dealing.root] {
        let keyring = Keyring::open(root, &stage.store).unwrap();
        assert!(keyring.open_record(&id, &blob).unwrap().ct_eq(b"content"));
    }
    let mut operators = conclave_seal::pool::OperatorSharePool::default();
    let record = stage.operator_record();
    let conclave_seal::pool::Progress::Complete(operator) =
        operators.add(stage.share_text(0), DOMAIN, &record, 0).unwrap()
    else {
        panic!("one of one")
    };
    for (epoch, root) in [(1, &old), (2, &dealing.root)] {
        assert!(operator.unwrap_root(DOMAIN, &record, EpochNumber(epoch)).unwrap().ct_eq(root));
    }

    // Whoever has the new root key can give the third its share, and that acknowledges it.
    let keyring = Keyring::open(&dealing.root, &stage.store).unwrap();
    let third = recipients([3]).remove(0).0;
    let pending = stage.epochs().pending.unwrap();
    let again = keyring.deliver(&pending, &third, SealKind::Operator, &mut entropy()).unwrap();
    let mut node = stage.node(3);
    node.epochs_changed(stage.epochs());
    let request = again.to_request(&pending);
    let (share, plan) = delivery::open_request(&request, &enrolment(3), DOMAIN, RaftId(3)).unwrap();
    node.store_share(wrapped(share), None, &plan).unwrap();
    assert!(dealing::completed(ground(&stage.store)).is_none());
    let seal = node.sealed_with(pending.number).unwrap();
    let write = dealing::acknowledged(&stage.epochs(), pending.number, RaftId(3), seal).unwrap();
    stage.store.write(vec![write]);
    assert!(dealing::acknowledged(&stage.epochs(), pending.number, RaftId(3), seal).is_none());
    stage.store.write(dealing::completed(ground(&stage.store)).unwrap());

    assert!(matches!(Keyring::open(&old, &stage.store), Err(KeyringError::OtherRoot)));
    assert!(Keyring::open(&dealing.root, &stage.store).is_ok());
    let record = stage.operator_record();
    assert!(operator.unwrap_root(DOMAIN, &record, EpochNumber(1)).is_err());
    assert!(operator.unwrap_root(DOMAIN, &record, EpochNumber(2)).is_ok());
    // A keyring that was opened before reads on with its domain keys.
    let older = stage.founding.keyring.refreshed(&stage.store).unwrap().unwrap();
    assert!(older.open_record(&id, &blob).is_ok());
    assert_eq!(older.root_epoch(), EpochNumber(1));
}

/// A later dealing takes a pending one's place, never the complete one's; an excluded member is not
/// waited for, nor is anybody in a hurry.
#[test]
fn a_pending_dealing_is_superseded_or_goes_on_without_whoever_is_excluded() {
    let mut stage = Stage::new(3, 1, 1);
    let second = deal(&stage, 2, 1..=3);
    commit(&mut stage, &second, 1..=2);
    let third = deal(&stage, 3, 1..=3);
    commit(&mut stage, &third, 2..=3);
    let epochs = stage.epochs();
    assert_eq!((epochs.complete.number, epochs.newest().number), (EpochNumber(1), EpochNumber(3)));
    assert!(Keyring::open(&second.root, &stage.store).is_err());
    assert!(Keyring::open(stage.founding.keyring.root(), &stage.store).is_ok());

    assert!(dealing::excluded(&epochs, RaftId(2)).is_err());
    stage.store.write(vec![dealing::excluded(&epochs, RaftId(1)).unwrap()]);
    stage.store.write(dealing::completed(ground(&stage.store)).unwrap());
    let holders: Vec<u64> = stage.epochs().complete.holders.iter().map(|h| h.raft_id.0).collect();
    assert_eq!(holders, [2, 3]);

    let hurried = deal(&stage, 4, 1..=3);
    let all = [1, 2].map(|id| (RaftId(id), SealKind::Pkcs11)).into();
    stage.store.write(hurried.writes(&all, true).unwrap());
    let ShareEpochs { complete, pending: None, owes_rotation: true } = stage.epochs() else {
        panic!("pending")
    };
    assert_eq!((complete.threshold, complete.holders.len()), (2, 2));
}

/// What a joiner does not take: a share that is another's, of another plan, or that comes too late.
#[test]
fn a_share_that_is_not_this_nodes_is_not_stored() {
    let mut stage = Stage::new(3, 1, 1);
    let (second, third) = (deal(&stage, 2, 1..=4), deal(&stage, 3, 1..=4));
    assert_eq!(open(&second, 4, 3).unwrap_err(), DeliveryError::NotForMe);

    let mut joiner = NodeSeal::new(DOMAIN, RaftId(4), name(4), []);
    joiner.operator_key_changed(stage.operator_record());
    joiner.epochs_changed(stage.epochs());
    let (share, _) = open(&second, 4, 4).unwrap();
    let refused = joiner.store_share(share.clone(), None, &third.epoch).unwrap_err();
    assert_eq!(refused, StoreShareError::OtherPlan);
    let (others, _) = open(&second, 3, 3).unwrap();
    let refused = joiner.store_share(others, None, &second.epoch).unwrap_err();
    assert_eq!(refused, StoreShareError::NotMyPlace { me: RaftId(4) });

    joiner.store_share(share.clone(), None, &second.epoch).unwrap();
    assert!(joiner.waits_for().contains("not a voter yet"));
    // Again, after a lost acknowledgement: what was stored is stored again.
    let effects = joiner.store_share(share.clone(), None, &second.epoch).unwrap();
    let [Effect::PersistShare { bytes, .. }] = effects.as_slice() else { panic!("{effects:?}") };
    assert_eq!(*bytes, share.encode());

    let mut late = NodeSeal::new(DOMAIN, RaftId(4), name(4), []);
    commit(&mut stage, &third, 1..=4);
    late.epochs_changed(stage.epochs());
    let refused = late.store_share(share, None, &second.epoch).unwrap_err();
    let (plan, newest) = (EpochNumber(2), EpochNumber(3));
    assert_eq!(refused, StoreShareError::Superseded { plan, newest });
}

/// A node under an HSM gets its share bare, wraps it, and needs nobody to open; a sealing by order
/// holds until an operator ends it.
#[test]
fn a_node_with_a_token_opens_by_itself_and_stays_sealed_by_order() {
    let founders = vec![(member(1), SealKind::Pkcs11)];
    let input = FoundingInput { members: founders, ..input(1, 1, 1) };
    let founding = found(&input, &mut entropy()).unwrap();
    let mut store = conclave_store::MemoryStore::new(DOMAIN.0);
    store.write(founding.writes.clone());
    let request = founding.deliveries[0].to_request(&founding.epoch);
    let (share, plan) = delivery::open_request(&request, &enrolment(1), DOMAIN, RaftId(1)).unwrap();
    let conclave_seal::Delivered::Bare(share) = share else { panic!("{share:?}") };
    // The token: it turns every byte round.
    let turned: Vec<u8> = share.y.expose().iter().map(|byte| !byte).collect();
    let by_token =
        conclave_seal::WrappedShare::by_token(DOMAIN, plan.number, share.x, turned.clone());
    let read = conclave_seal::WrappedShare::parse(&by_token.encode()).unwrap();
    assert_eq!(read, by_token);

    let mut node = NodeSeal::new(DOMAIN, RaftId(1), name(1), [read]);
    assert!(node.to_unwrap().is_none());
    node.operator_key_changed(ground(&store).operator);
    node.epochs_changed(ground(&store).epochs);
    assert_eq!(node.waits_for(), "waiting for its HSM");
    let refused = node.operator_share(founding.operator_shares[0].expose(), 0).unwrap_err();
    assert_eq!(refused, UnsealError::NeedsItsToken);
    for round in 0..2 {
        let wrapped = node.to_unwrap().unwrap().wrapped().to_vec();
        assert!(node.unwrapped(plan.number, &[7; 32]).is_err());
        let y: Vec<u8> = wrapped.iter().map(|byte| !byte).collect();
        let effects = node.unwrapped(plan.number, &y).unwrap();
        assert!(
            matches!(effects.as_slice(), [Effect::Opened { .. }]),
            "round {round}: {effects:?}"
        );
        node.seal_by_order();
        assert!(node.to_unwrap().is_none());
        assert!(node.unwrapped(plan.number, &y).unwrap().is_empty());
        assert!(node.waits_for().contains("sealed by order"));
        assert!(!node.is_token_key_gone(plan.number));
        assert!(node.is_token_key_gone(EpochNumber(0)));
        let by_operators = node.operator_share(founding.operator_shares[0].expose(), 0).unwrap();
        assert!(by_operators.is_empty());
    }
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
    node.epochs_changed(stage.epochs());
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
    let everything: Vec<u8> = writes.iter().flat_map(|it| it.blob().unwrap().to_vec()).collect();
    let contains = |needle: &[u8]| everything.windows(needle.len()).any(|window| window == needle);
    assert!(contains(b"node-2") && !contains(b"alice"));
    assert!(!contains(stage.founding.keyring.root().expose()));
    for write in writes.iter().filter(|write| !write.record.kind().is_public()) {
        stage.founding.keyring.open_record(&write.record, write.blob().unwrap()).unwrap();
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
    refused(|input| input.members[1].0 = member(1));
    refused(|input| input.members[0].0.raft_id = 0);
    let weak = refused(|input| input.members[0].0.enrolment_key = vec![0; 32]);
    assert!(weak.to_string().contains("small order"));
    let short = refused(|input| input.members[0].0.enrolment_key = vec![0; 31]);
    assert_eq!(short, MembersError::EnrolmentKey { name: name(1) }.into());
}
