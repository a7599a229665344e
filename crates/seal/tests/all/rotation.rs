//! The domain key rotated, everything sealed again, and the old one gone: by one node, and by several
//! that know no better.

use std::collections::BTreeMap;

use conclave_crypto::Key;
use conclave_crypto::entropy::{Entropy, SeededEntropy};
use conclave_proto::audit::SealedEntry;
use conclave_proto::record;
use conclave_seal::keyring::resealing::{NothingOlder, PAGE_RECORDS_MAX, Walk, sealed_epoch};
use conclave_seal::keyring::rotation::{
    DOMAIN_KEYS_MAX, DomainKeyChange, DomainKeyEpochs, DomainKeyError, RETIRE_AFTER_MS,
};
use conclave_seal::keyring::{AnswerError, RecordError};
use conclave_seal::{EpochNumber, Keyring, RaftId, SealKind, dealing};
use conclave_store::{GuardDigest, Kind, MemoryStore, Outcome, RecordId, TxnBody, View, Write};
use prost::Message;

use crate::stage::{Stage, ground, recipients};

const NOW_MS: u64 = 1_000_000;
const PLAYS: u64 = 30;
/// Turns of a play: long enough for several walks, which look at each kind of record in a turn of its own.
const TURNS: u64 = 600;

type Guards = BTreeMap<RecordId, Option<GuardDigest>>;

fn txn(guards: Guards, writes: Vec<Write>, now_ms: u64) -> TxnBody {
    let audit = SealedEntry { key: 1, commitment: vec![0; 32], sealed: vec![0] };
    TxnBody { guards, writes, ..TxnBody::new(now_ms, audit) }
}

fn commit(store: &mut MemoryStore, change: DomainKeyChange, now_ms: u64) -> bool {
    let body = txn(change.guards, change.writes, now_ms);
    matches!(store.commit(body, now_ms), Outcome::Committed(_))
}

fn sealed_records(store: &MemoryStore) -> Vec<RecordId> {
    let kinds = Kind::ALL.into_iter().filter(|kind| !kind.is_public());
    kinds.flat_map(|kind| store.list(kind, None, usize::MAX)).collect()
}

fn epoch_of(store: &MemoryStore, id: &RecordId) -> u32 {
    sealed_epoch(&store.blob(id).unwrap().unwrap()).unwrap()
}

/// A founded domain with `count` keys of the service, and its keyring.
fn domain(count: u64) -> (MemoryStore, Keyring, SeededEntropy) {
    let Stage { founding, mut store } = Stage::new(1, 1, 1);
    let keyring = Keyring::open(founding.keyring.root(), &store).unwrap();
    let mut entropy = SeededEntropy::from_number(7);
    for number in 0..count {
        let id = RecordId::numbered(Kind::Key, number);
        let blob = keyring.seal_record(&id, &number.to_be_bytes(), &mut entropy);
        store.write(vec![Write::put(id, blob)]);
    }
    (store, keyring, entropy)
}

/// One whole walk that seals again what it finds; how many that were.
fn seal_all_again(store: &mut MemoryStore, keyring: &Keyring, entropy: &mut SeededEntropy) -> u64 {
    let mut walk = Walk::new(store).unwrap().unwrap();
    while !walk.is_over() {
        let page = walk.look(store).unwrap();
        let mut guards: Guards = page.older.iter().map(|it| (it.id, it.guard)).collect();
        guards.extend([keyring.domain_keys_guard()]);
        let writes = keyring.seal_again(&page.older, entropy).unwrap();
        if !writes.is_empty() {
            let body = txn(guards, writes, NOW_MS);
            body.validate().unwrap();
            assert!(matches!(store.commit(body, NOW_MS), Outcome::Committed(_)));
        }
        walk.pass(&page);
    }
    walk.older()
}

fn proof(store: &MemoryStore) -> Option<NothingOlder> {
    let mut walk = Walk::new(store).unwrap().unwrap();
    while !walk.is_over() {
        walk.pass(&walk.look(store).unwrap());
    }
    walk.nothing_older()
}

#[test]
fn after_rotation_sealing_again_and_retirement_nothing_needs_the_old_key() {
    let count = 3 * PAGE_RECORDS_MAX as u64 + 1;
    let (mut store, keyring, mut entropy) = domain(count);
    let image = store.clone();
    let token = keyring.token("alice", "r1");
    let answer = keyring.seal_answer(&token, b"done", &mut entropy).unwrap();
    assert_eq!(
        DomainKeyEpochs::read(&store).unwrap().unwrap(),
        DomainKeyEpochs { current: 1, older: vec![], since_ms: 0 }
    );

    let change = keyring.rotate_domain_key(&store, NOW_MS, &mut entropy).unwrap();
    assert!(commit(&mut store, change, NOW_MS));
    assert!(!keyring.knows_domain_keys_of(&store));
    let rotated = keyring.refreshed(&store).unwrap().unwrap();
    assert!(rotated.knows_domain_keys_of(&store));
    assert_eq!(
        DomainKeyEpochs::read(&store).unwrap().unwrap(),
        DomainKeyEpochs { current: 2, older: vec![1], since_ms: NOW_MS }
    );
    // Both open what was, the newest seals.
    let id = RecordId::numbered(Kind::Key, 0);
    let blob = store.blob(&id).unwrap().unwrap();
    assert!(rotated.open_record(&id, &blob).unwrap().ct_eq(&0_u64.to_be_bytes()));
    assert_eq!(sealed_epoch(&rotated.seal_record(&id, b"", &mut entropy)), Some(2));
    assert!(rotated.open_answer(&token, &answer).unwrap().ct_eq(b"done"));

    assert_eq!(proof(&store), None, "all but the new intake key is still under the first");
    let sealed = sealed_records(&store);
    assert_eq!(seal_all_again(&mut store, &rotated, &mut entropy), sealed.len() as u64 - 1);
    assert_eq!(seal_all_again(&mut store, &rotated, &mut entropy), 0);
    assert!(sealed.iter().all(|id| epoch_of(&store, id) == 2));
    let nothing_older = proof(&store).unwrap();
    // The keyring's own records were sealed again too.
    let rotated = rotated.refreshed(&store).unwrap().unwrap();

    let early = NOW_MS + RETIRE_AFTER_MS - 1;
    let refused = rotated.retire_domain_keys(&store, early, nothing_older).unwrap_err();
    assert!(matches!(refused, DomainKeyError::TooSoon { left_ms: 1 }));
    let late = early + 1;
    let change = rotated.retire_domain_keys(&store, late, nothing_older).unwrap();
    assert!(commit(&mut store, change, late));
    let after = rotated.refreshed(&store).unwrap().unwrap();
    assert!(DomainKeyEpochs::read(&store).unwrap().unwrap().older.is_empty());
    for number in 0..count {
        let id = RecordId::numbered(Kind::Key, number);
        let opened = after.open_record(&id, &store.blob(&id).unwrap().unwrap()).unwrap();
        assert!(opened.ct_eq(&number.to_be_bytes()));
    }
    // A retry that comes after all: nobody is told anything wrong.
    let unknown = after.open_answer(&token, &answer).unwrap_err();
    assert_eq!(unknown, AnswerError::UnknownEpoch { epoch: 1 });

    // Who has the disk as it was, and the root key as well, opens nothing of what is there now; and the
    // keys that are there now open nothing of that image.
    let theirs = Keyring::open(keyring.root(), &image).unwrap();
    for record in &sealed_records(&image) {
        let now = store.blob(record).unwrap().unwrap();
        let then = image.blob(record).unwrap().unwrap();
        assert!(theirs.open_record(record, &then).is_ok());
        let unknown = |epoch| RecordError::UnknownEpoch { record: *record, epoch };
        assert_eq!(theirs.open_record(record, &now).unwrap_err(), unknown(2));
        assert_eq!(after.open_record(record, &then).unwrap_err(), unknown(1));
    }
}

/// A stored format: without its time it is one from before there were rotations.
#[test]
fn golden_domain_keys() {
    let wrap = |epoch| record::DomainKeyWrap { epoch, wrapped: vec![0xaa], ..Default::default() };
    let mut keys = record::DomainKeys { current: 2, wraps: vec![wrap(1), wrap(2)], since_ms: 300 };
    let bytes = "0802120508011a01aa120508021a01aa18ac02";
    assert_eq!(hex::encode(keys.encode_to_vec()), bytes);
    let read = |keys: &record::DomainKeys| {
        let mut store = MemoryStore::new([1; 16]);
        store.write(vec![Write::put(RecordId::singleton(Kind::DomainKeys), keys.encode_to_vec())]);
        DomainKeyEpochs::read(&store).unwrap().unwrap()
    };
    let epochs = DomainKeyEpochs { current: 2, older: vec![1], since_ms: 300 };
    assert_eq!(read(&keys), epochs);
    keys.since_ms = 0;
    assert_eq!(read(&keys), DomainKeyEpochs { since_ms: 0, ..epochs });
}

#[test]
fn rotations_may_overtake_the_sealing_but_not_without_end() {
    let (mut store, mut keyring, mut entropy) = domain(3);
    for _ in 1..DOMAIN_KEYS_MAX {
        let change = keyring.rotate_domain_key(&store, NOW_MS, &mut entropy).unwrap();
        assert!(commit(&mut store, change, NOW_MS));
        keyring = keyring.refreshed(&store).unwrap().unwrap();
        let number = u64::from(keyring.domain_key_epoch());
        let id = RecordId::numbered(Kind::Key, number);
        let blob = keyring.seal_record(&id, b"of its time", &mut entropy);
        store.write(vec![Write::put(id, blob)]);
    }
    let refused = keyring.rotate_domain_key(&store, NOW_MS, &mut entropy).unwrap_err();
    assert!(matches!(refused, DomainKeyError::TooMany { older } if older == DOMAIN_KEYS_MAX - 1));

    seal_all_again(&mut store, &keyring, &mut entropy);
    let keyring = keyring.refreshed(&store).unwrap().unwrap();
    let late = NOW_MS + RETIRE_AFTER_MS;
    let change = keyring.retire_domain_keys(&store, late, proof(&store).unwrap()).unwrap();
    assert_eq!((change.epochs.current as usize, change.epochs.older.len()), (DOMAIN_KEYS_MAX, 0));
    assert!(commit(&mut store, change, late));
    let keyring = keyring.refreshed(&store).unwrap().unwrap();
    let opens = |id| keyring.open_record(id, &store.blob(id).unwrap().unwrap()).is_ok();
    assert!(sealed_records(&store).iter().all(opens));
}

/// The largest records there may be: a page of them still is a txn.
#[test]
fn pages_fit_into_txns_and_miss_nothing() {
    let (mut store, keyring, mut entropy) = domain(0);
    let large = vec![1; (64 << 10) - 100];
    for number in 0..2 * PAGE_RECORDS_MAX as u64 {
        let id = RecordId::numbered(Kind::Alias, number);
        let blob = keyring.seal_record(&id, &large, &mut entropy);
        store.write(vec![Write::put(id, blob)]);
    }
    let change = keyring.rotate_domain_key(&store, NOW_MS, &mut entropy).unwrap();
    assert!(commit(&mut store, change, NOW_MS));
    let keyring = keyring.refreshed(&store).unwrap().unwrap();
    let sealed = sealed_records(&store);
    assert_eq!(seal_all_again(&mut store, &keyring, &mut entropy), sealed.len() as u64 - 1);
    assert!(sealed.iter().all(|id| epoch_of(&store, id) == 2));
}

/// Nodes that are not open seal their entries to a new key from then on; what they sealed to the one
/// before is read all the same.
#[test]
fn the_intake_key_is_replaced_with_the_domain_key() {
    let (mut store, keyring, mut entropy) = domain(0);
    let entry = conclave_proto::audit::Entry {
        action: "Unseal".to_owned(),
        principal: "alice".to_owned(),
        outcome: conclave_proto::audit::Outcome::Success.into(),
        ..Default::default()
    };
    let intake = |store: &MemoryStore| {
        let blob = store.blob(&RecordId::singleton(Kind::PublicKeys)).unwrap().unwrap();
        let keys = record::PublicKeys::decode(&*blob).unwrap();
        conclave_crypto::HpkePublicKey::from_bytes(&keys.intake).unwrap()
    };
    let seal = |store: &MemoryStore| {
        let entropy = &mut SeededEntropy::from_number(8);
        conclave_seal::seal_entry_to_intake(&intake(store), keyring.domain(), &entry, entropy)
            .unwrap()
    };
    let before = seal(&store);
    let change = keyring.rotate_domain_key(&store, NOW_MS, &mut entropy).unwrap();
    assert!(commit(&mut store, change, NOW_MS));
    let rotated = keyring.refreshed(&store).unwrap().unwrap();
    assert_eq!(rotated.intake_public(), intake(&store));
    assert_ne!(rotated.intake_public(), keyring.intake_public());
    let after = seal(&store);
    for sealed in [&before, &after] {
        assert_eq!(rotated.open_entry(sealed).unwrap().entry, entry);
    }
    assert!(keyring.open_entry(&after).is_err());
}

/// Several nodes that write, refresh, rotate, seal again and retire as they please, on what they knew
/// when they looked, their txns committing in any order or never. What holds: once a walk has found
/// nothing, nothing comes back; nothing is lost; everything opens.
#[test]
fn however_stale_the_nodes_are_nothing_comes_back_under_a_retired_key() {
    let (store, keyring, _) = domain(PAGE_RECORDS_MAX as u64);
    let mut retirements = 0;
    for seed in 0..PLAYS {
        retirements += play(&store, keyring.root(), seed, true).unwrap();
    }
    assert!(retirements > PLAYS / 4, "{retirements}");
    // The guard is what does it: without it the same play goes wrong.
    assert!((0..PLAYS).any(|seed| play(&store, keyring.root(), seed, false).is_err()));
}

struct Node {
    keyring: Keyring,
    walk: Option<Walk>,
    proof: Option<NothingOlder>,
    /// Decided, and not proposed yet.
    decided: Vec<Decided>,
}

struct Decided {
    body: TxnBody,
    /// What the record holds once it is committed.
    meant: Option<(RecordId, u64)>,
    retires: bool,
}

/// How many retirements there were, or what went wrong.
fn play(founded: &MemoryStore, root: &Key, seed: u64, guarded: bool) -> Result<u64, String> {
    let mut store = founded.clone();
    let mut contents: BTreeMap<RecordId, u64> =
        store.list(Kind::Key, None, usize::MAX).into_iter().zip(0..).collect();
    let mut entropy = SeededEntropy::from_number(1_000 + seed);
    let new_node = |store: &MemoryStore| Node {
        keyring: Keyring::open(root, store).unwrap(),
        walk: None,
        proof: None,
        decided: Vec::new(),
    };
    let mut nodes = [new_node(&store), new_node(&store), new_node(&store)];
    let (mut floor, mut now_ms, mut retirements) = (0, NOW_MS, 0);
    for _ in 0..TURNS {
        let mut dice = [0; 4];
        entropy.fill(&mut dice);
        let mut committed = false;
        let [who, what, which, content] = dice.map(u64::from);
        let node = &mut nodes[who as usize % 3];
        let mut guards = Guards::from([node.keyring.domain_keys_guard()]);
        if !guarded {
            guards.clear();
        }
        match what % 16 {
            // A service's write, of a key that is there or a new one.
            0..=2 => {
                let id = RecordId::numbered(Kind::Key, which);
                guards.insert(id, store.guard(&id));
                let plaintext = content.to_be_bytes();
                let blob = node.keyring.seal_record(&id, &plaintext, &mut entropy);
                let body = txn(guards, vec![Write::put(id, blob)], now_ms);
                node.decided.push(Decided { body, meant: Some((id, content)), retires: false });
            }
            3 => {
                if let Some(next) = node.keyring.refreshed(&store).unwrap() {
                    node.keyring = next;
                }
            }
            // Not at every turn, or nobody would ever be done.
            4 if which < 24 => {
                let change = node.keyring.rotate_domain_key(&store, now_ms, &mut entropy);
                if let Ok(DomainKeyChange { guards, writes, .. }) = change {
                    let body = txn(guards, writes, now_ms);
                    node.decided.push(Decided { body, meant: None, retires: false });
                }
            }
            // A page of a walk, sealed again where it must be.
            4..=8 => {
                // The sealer is quick; what the service decides may lie about for long.
                let walk = match &mut node.walk {
                    Some(walk) if !walk.is_over() => walk,
                    walk => walk.insert(Walk::new(&store).unwrap().unwrap()),
                };
                let page = walk.look(&store).unwrap();
                walk.pass(&page);
                node.proof = walk.nothing_older().or(node.proof);
                guards.extend(page.older.iter().map(|it| (it.id, it.guard)));
                // A stale keyring may not open what newer ones sealed: then nothing is proposed.
                if let Ok(writes) = node.keyring.seal_again(&page.older, &mut entropy) {
                    let outcome = store.commit(txn(guards, writes, now_ms), now_ms);
                    committed = matches!(outcome, Outcome::Committed(_));
                }
            }
            9 => now_ms += RETIRE_AFTER_MS / 4,
            10 => {
                let Some(proof) = node.proof else { continue };
                let change = node.keyring.retire_domain_keys(&store, now_ms, proof);
                if let Ok(DomainKeyChange { guards, writes, epochs }) = change {
                    let retires = DomainKeyEpochs::read(&store).unwrap().as_ref() != Some(&epochs);
                    let body = txn(guards, writes, now_ms);
                    node.decided.push(Decided { body, meant: None, retires });
                }
            }
            _ if node.decided.is_empty() => {}
            _ => {
                let decided = node.decided.remove(which as usize % node.decided.len());
                // Cluster time goes with it: what is old by time is not the point here.
                let mut body = decided.body;
                body.now_ms = now_ms;
                if matches!(store.commit(body, now_ms), Outcome::Committed(_)) {
                    contents.extend(decided.meant);
                    retirements += u64::from(decided.retires);
                    committed = true;
                }
            }
        }
        floor = nodes
            .iter()
            .filter_map(|node| node.proof)
            .map(NothingOlder::than)
            .fold(floor, u32::max);
        if !committed || floor == 0 {
            continue;
        }
        let back = sealed_records(&store).into_iter().find(|id| epoch_of(&store, id) < floor);
        if let Some(id) = back {
            return Err(format!("seed {seed}: {id} is under an epoch below {floor}"));
        }
    }
    let keyring = Keyring::open(root, &store).map_err(|error| error.to_string())?;
    for (id, content) in contents {
        let blob = store.blob(&id).unwrap().unwrap();
        let opened = keyring.open_record(&id, &blob).map_err(|error| error.to_string())?;
        if !opened.ct_eq(&content.to_be_bytes()) {
            return Err(format!("seed {seed}: {id} holds something else"));
        }
    }
    Ok(retirements)
}

/// A new domain key is wrapped under one root key, so not while there are two. And a node that still
/// has an old root key knows when the domain keys are no longer those that it has.
#[test]
fn a_rotation_waits_for_a_pending_root_key_and_leaves_no_old_one_behind() {
    let Stage { founding, mut store } = Stage::new(2, 1, 1);
    let mut entropy = SeededEntropy::from_number(7);
    let old = Keyring::open(founding.keyring.root(), &store).unwrap();
    let members = recipients([1, 2]);
    let number = EpochNumber(2);
    let dealing =
        dealing::plan(&old, &ground(&store), number, &members, None, &mut entropy).unwrap();
    let both = [1, 2].map(|id| (RaftId(id), SealKind::Operator));

    let mut pending = store.clone();
    let mut epochs = ground(&store).epochs;
    epochs.pending = Some(dealing.epoch.clone());
    pending.write(vec![Write::put(RecordId::singleton(Kind::ShareEpoch), epochs.encode())]);
    let refused = old.rotate_domain_key(&pending, NOW_MS, &mut entropy).unwrap_err();
    assert!(matches!(refused, DomainKeyError::Pending));

    store.write(dealing.writes(&both.into(), false).unwrap());
    // The domain keys are the same, so it reads on; but new ones come under the new root key.
    let old = old.refreshed(&store).unwrap().unwrap();
    assert!(old.knows_domain_keys_of(&store));
    let refused = old.rotate_domain_key(&store, NOW_MS, &mut entropy).unwrap_err();
    assert!(matches!(refused, DomainKeyError::Stale));
    let new = Keyring::open(&dealing.root, &store).unwrap();
    let change = new.rotate_domain_key(&store, NOW_MS, &mut entropy).unwrap();
    assert!(commit(&mut store, change, NOW_MS));

    // From now on what it seals must not commit: its guard stays the one of the keys that it has.
    assert!(old.refreshed(&store).unwrap().is_none());
    assert!(!old.knows_domain_keys_of(&store));
    assert_ne!(old.domain_keys_guard().1, store.guard(&RecordId::singleton(Kind::DomainKeys)));
    // Nor may it deal: it would leave the new domain key out.
    let third = EpochNumber(3);
    assert!(dealing::plan(&old, &ground(&store), third, &members, None, &mut entropy).is_err());
    assert_eq!(new.refreshed(&store).unwrap().unwrap().domain_key_epoch(), 2);
}
