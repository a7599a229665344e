//! What a thief can make of shares, disks and keys that belong to different times.

use conclave_crypto::Key;
use conclave_crypto::entropy::SeededEntropy;
use conclave_crypto::sharing::{Share, combine};
use conclave_seal::keyring::KeyringError;
use conclave_seal::{Dealing, EpochNumber, Keyring, RaftId, SealKind, dealing};
use conclave_store::{Kind, MemoryStore, RecordId, View, Write};

use crate::stage::{DOMAIN, Stage, ground, recipients};

fn deal(store: &MemoryStore, keyring: &Keyring, number: u64, members: &[u64]) -> Dealing {
    let members = recipients(members.iter().copied());
    let entropy = &mut SeededEntropy::from_number(500 + number);
    dealing::plan(keyring, &ground(store), EpochNumber(number), &members, None, entropy).unwrap()
}

fn commit(store: &mut MemoryStore, dealing: &Dealing) {
    let holders = dealing.epoch.holders.iter();
    let all = holders.map(|holder| (holder.raft_id, SealKind::Operator)).collect();
    store.write(dealing.writes(&all, false).unwrap());
}

/// Every set of at least two of these shares, in the order given.
fn subsets(shares: &[Share]) -> Vec<Vec<Share>> {
    let copy = |share: &Share| Share { x: share.x, y: share.y.duplicate() };
    let chosen = |bits: u32| {
        let picked = shares.iter().enumerate().filter(|(at, _)| bits >> at & 1 == 1);
        picked.map(|(_, share)| copy(share)).collect::<Vec<_>>()
    };
    (0..1_u32 << shares.len()).map(chosen).filter(|set| set.len() >= 2).collect()
}

/// The removed node's share, its disk and every share that the others hold now, in any mixture: the root key
/// of its time does not come out, and the one that does opens nothing of its disk.
#[test]
fn a_removed_nodes_everything_with_all_current_shares_of_the_others_opens_nothing() {
    let mut stage = Stage::new(5, 1, 1);
    let removed = RaftId(5);
    let old_root = stage.founding.keyring.root().duplicate();
    let old = stage.founding.epoch.share_of(DOMAIN, &old_root, removed).unwrap();
    let image = stage.store.clone();

    let without = deal(&stage.store, &stage.founding.keyring, 2, &[1, 2, 3, 4]);
    commit(&mut stage.store, &without);
    let mut shares: Vec<Share> = (1..=4)
        .map(|id| without.epoch.share_of(DOMAIN, &without.root, RaftId(id)).unwrap())
        .collect();
    shares.push(old);

    let image_epochs = ground(&image).epochs;
    let mut right = 0;
    for set in subsets(&shares) {
        // Two shares at the same place do not even combine.
        let Ok(made) = combine(&set) else { continue };
        assert!(image_epochs.of_root(DOMAIN, &made).is_none(), "the old root key came out");
        assert!(matches!(Keyring::open(&made, &image), Err(KeyringError::OtherRoot)));
        right += usize::from(made.ct_eq(&without.root));
    }
    // Three or four of the four current shares make the current root key, and no other set does.
    assert_eq!(right, 5);
    // What stands in the records now is not under the old one.
    assert!(matches!(Keyring::open(&old_root, &stage.store), Err(KeyringError::OtherRoot)));
}

/// A lone node's share is the root key, and opens all that it had. Once three nodes have rotated the domain
/// key and sealed everything again, nothing that it had opens anything that is there.
#[test]
fn an_image_of_a_lone_node_opens_nothing_that_was_sealed_since_it_had_company() {
    let stage = Stage::new(1, 1, 1);
    let (mut store, lone) = (stage.store, stage.founding.keyring);
    let id = RecordId::new(Kind::Key, [4; 16]);
    let entropy = &mut SeededEntropy::from_number(9);
    store.write(vec![Write::put(id, lone.seal_record(&id, b"kept", entropy))]);
    let image = store.clone();

    let three = deal(&store, &lone, 2, &[1, 2, 3]);
    commit(&mut store, &three);
    assert!(ground(&store).epochs.owes_rotation);
    let keyring = Keyring::open(&three.root, &store).unwrap();
    let change = keyring.rotate_domain_key(&store, 1_000, entropy).unwrap();
    store.write(change.writes);
    assert!(!ground(&store).epochs.owes_rotation);
    let keyring = keyring.refreshed(&store).unwrap().unwrap();
    let kinds = Kind::ALL.into_iter().filter(|kind| !kind.is_public());
    let sealed: Vec<RecordId> = kinds.flat_map(|kind| store.list(kind, None, usize::MAX)).collect();
    for record in &sealed {
        let blob = store.blob(record).unwrap().unwrap();
        let content = keyring.open_record(record, &blob).unwrap();
        let again = keyring.seal_record(record, content.expose(), entropy);
        store.write(vec![Write::put(*record, again)]);
    }

    // All that the image gives: its root key, which opens its records, and with them every key of the time.
    let theirs = Keyring::open(lone.root(), &image).unwrap();
    assert!(theirs.open_record(&id, &image.blob(&id).unwrap().unwrap()).is_ok());
    assert!(matches!(Keyring::open(lone.root(), &store), Err(KeyringError::OtherRoot)));
    for record in &sealed {
        assert!(theirs.open_record(record, &store.blob(record).unwrap().unwrap()).is_err());
    }
    let entry = conclave_proto::audit::Entry {
        action: "Unseal".to_owned(),
        principal: "alice".to_owned(),
        outcome: conclave_proto::audit::Outcome::Success.into(),
        ..Default::default()
    };
    let intake = keyring.intake_public();
    let since = conclave_seal::seal_entry_to_intake(&intake, DOMAIN, &entry, entropy).unwrap();
    assert!(theirs.open_entry(&since).is_err());
    // Nor does the old root key come near the new one: each is drawn by itself.
    assert!(!Key::ct_eq(lone.root(), &three.root));
}
