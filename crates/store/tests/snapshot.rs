//! Snapshots hold all of the state, and a damaged one is refused.

#![allow(clippy::unwrap_used, reason = "a test program: what is missing fails it")]

mod common;

use common::*;
use conclave_proto::store as proto;
use conclave_proto::store::SnapshotItem;
use conclave_proto::store::snapshot_item::Item;
use conclave_store::limits::OUTCOMES_PER_ITEM;
use conclave_store::{MemoryStore, RecordId, RestoreError, Restorer, SnapshotError, State, View};
use proptest::prelude::*;
use prost::Message;

/// Two records, two writers with outcomes of every sort, one token.
fn varied() -> MemoryStore {
    let mut store = store();
    store.apply(&register(2)).unwrap();
    let txns = [
        txn(1).misses(key(2)).puts(key(2), "two").token(9, "created"),
        txn(2).misses(key(1)),
        txn(3).at(0),
        txn(4).token(9, "other"),
        txn(1).by(3).reads(key(1), "one"),
    ];
    let mut batch = batch_of(&txns);
    batch.txns.push(proto::Txn { writer: 3, sequence: 2, ..Default::default() });
    store.apply(&command(NOW, proto::command::Op::Batch(batch))).unwrap();
    store
}

fn restore(items: impl IntoIterator<Item = SnapshotItem>) -> Result<State, RestoreError> {
    let mut restorer = Restorer::new(DOMAIN);
    for item in items {
        restorer.push(item)?;
    }
    assert_eq!(restorer.raft(), Some(b"raft".as_slice()));
    restorer.finish()
}

#[test]
fn a_restored_state_is_the_state() {
    let store = varied();
    let state = restore(items(&store)).unwrap();
    state.validate();
    assert_eq!(items_of(&state, &store), items(&store));
    let empty = MemoryStore::new(DOMAIN);
    assert_eq!(items_of(&restore(items(&empty)).unwrap(), &empty), items(&empty));
}

/// A full window of many outcomes must not make an item that no frame can carry.
#[test]
fn a_long_window_spans_items() {
    let mut store = MemoryStore::new(DOMAIN);
    let txns = OUTCOMES_PER_ITEM as u64 * 2 + 1;
    for first in (1..=txns).step_by(512) {
        let batch_txns: Vec<_> =
            (first..(first + 512).min(txns + 1)).map(|n| txn(n).at(0)).collect();
        store.apply(&batch(&batch_txns)).unwrap();
    }
    let items = items(&store);
    let outcomes = items.iter().filter_map(|item| match &item.item {
        Some(Item::Writer(writer)) => Some(writer.outcomes.len()),
        _ => None,
    });
    let expected = [OUTCOMES_PER_ITEM, OUTCOMES_PER_ITEM, 1];
    assert_eq!(outcomes.collect::<Vec<_>>(), expected);
    assert_eq!(items_of(&restore(items.clone()).unwrap(), &store), items);
}

/// A disk that rotted must not spread by snapshot.
#[test]
fn a_blob_that_is_not_the_one_applied_makes_no_snapshot() {
    let store = varied();
    let rotten = |_: &RecordId| Ok::<_, ()>(b"rot".to_vec());
    let error = store.state().snapshot_items(vec![], rotten).find_map(Result::err);
    assert_eq!(error, Some(SnapshotError::Damaged { record: key(1) }));
    let unreadable = |_: &RecordId| Err::<Vec<u8>, _>("disk");
    let error = store.state().snapshot_items(vec![], unreadable).find_map(Result::err);
    assert_eq!(error, Some(SnapshotError::Blob { record: key(1), source: "disk" }));
}

/// Every way to change one item's meaning is found, by a bound, a count or the digest.
#[test]
fn what_is_altered_is_refused() {
    fn header(item: &mut Item) -> &mut proto::SnapshotHeader {
        let Item::Header(header) = item else { panic!("the first item is the header") };
        header
    }
    fn record(item: &mut Item) -> &mut proto::SnapshotRecord {
        let Item::Record(record) = item else { panic!("no record") };
        record
    }
    fn writer(item: &mut Item) -> &mut proto::SnapshotWriter {
        let Item::Writer(writer) = item else { panic!("no writer") };
        writer
    }
    fn token(item: &mut Item) -> &mut proto::SnapshotToken {
        let Item::Token(token) = item else { panic!("no token") };
        token
    }
    type Alter = fn(&mut Item);
    // Items: 0 header, 1 and 2 records, 3 and 4 writers, 5 token, 6 trailer.
    let altered: [(usize, Alter, &str); 34] = [
        (0, |i| header(i).format = 2, "Format"),
        (0, |i| header(i).feature_level = 2, "FeatureLevel"),
        (0, |i| header(i).feature_level = 0, "Header"),
        (0, |i| header(i).domain_id[0] ^= 1, "OtherDomain"),
        (0, |i| header(i).state_digest[0] ^= 1, "StateDigest"),
        (0, |i| header(i).state_digest.truncate(31), "Header"),
        (0, |i| header(i).records += 1, "Count"),
        (0, |i| header(i).writers -= 1, "Count"),
        (0, |i| header(i).tokens = 0, "Count"),
        (0, |i| header(i).tokens = u64::MAX, "Header"),
        (0, |i| header(i).audit_size += 1, "Head"),
        (0, |i| header(i).audit_hash.truncate(31), "Head"),
        (0, |i| header(i).segment = 0, "Header"),
        (0, |i| header(i).segment_first = 99, "Header"),
        (0, |i| header(i).segment_bytes = 0, "Header"),
        (0, |i| header(i).segment_bytes = u64::MAX, "Header"),
        (0, |i| header(i).token_horizon_ms = Some(0), "Header"),
        (0, |i| header(i).raft = vec![0; (64 << 10) + 1], "Header"),
        (0, |i| header(i).applied_index = 3, "Writer"),
        (1, |i| record(i).id[0] = 99, "Record"),
        (1, |i| record(i).id[1] = 99, "Order"),
        (1, |i| record(i).blob.push(0), "StateDigest"),
        (1, |i| record(i).blob = vec![0; (64 << 10) + 1], "BlobTooLarge"),
        (3, |i| writer(i).nonce.truncate(15), "Writer"),
        (3, |i| writer(i).raft_id = 0, "Writer"),
        (3, |i| writer(i).floor = 1, "Writer"),
        (3, |i| writer(i).outcomes.swap(0, 1), "Writer"),
        (3, |i| writer(i).outcomes[0].result = None, "Writer"),
        (4, |i| writer(i).raft_id = 1, "Writer"),
        (4, |i| writer(i).writer = 99, "Writer"),
        (5, |i| token(i).token.truncate(31), "Token"),
        (5, |i| token(i).answer = vec![0; 257], "Token"),
        (5, |i| token(i).revision = None, "Token"),
        (5, |i| token(i).time_ms += 1, "Token"),
    ];
    let whole = items(&varied());
    for (number, (at, alter, expected)) in altered.into_iter().enumerate() {
        let mut items = whole.clone();
        alter(items[at].item.as_mut().unwrap());
        let error = format!("{:?}", restore(items).unwrap_err());
        assert!(error.starts_with(expected), "case {number}: {error}, not {expected}");
    }
}

/// Grants under two keys, one of them used; conflicts on a scan and a quota.
fn families() -> MemoryStore {
    let mut store = store();
    let grants = grants_of(key(1));
    let txns = [
        txn(1).puts_under(key(1), grant(1), "g1").puts_under(key(2), grant(2), "g2"),
        txn(2).puts_under(key(1), grant(3), "g3").deletes(grant(1)).touches(key(1), 7),
        txn(3).fewer(grants, 1),
        txn(4).scans(&store, grants),
    ];
    store.apply(&batch(&txns)).unwrap();
    store
}

/// Parents, chains with their history, last uses and what conflicts were on survive.
#[test]
fn families_and_uses_are_restored() {
    let store = families();
    let mut state = restore(items(&store)).unwrap();
    state.validate();
    assert_eq!(items_of(&state, &store), items(&store));
    assert_eq!(state.scan_guard(&grants_of(key(1))), store.scan_guard(&grants_of(key(1))));
    assert_eq!(state.family(&grants_of(key(1)), None, 9), [grant(3)]);
    assert!(state.last_use(&key(1)).is_some());
    assert_eq!(state.state_digest(), store.clone().state_mut().state_digest());
}

/// A family whose chain or members are not those of the state is refused.
#[test]
fn altered_families_are_refused() {
    fn record(item: &mut Item) -> &mut proto::SnapshotRecord {
        let Item::Record(record) = item else { panic!("no record") };
        record
    }
    fn family(item: &mut Item) -> &mut proto::SnapshotFamily {
        let Item::Family(family) = item else { panic!("no family") };
        family
    }
    fn last_use(item: &mut Item) -> &mut proto::LastUse {
        record(item).last_use.as_mut().unwrap()
    }
    type Alter = fn(&mut Item);
    // Items: 0 header, 1 key 1, 2 grant 2, 3 grant 3, 4 and 5 families, 6 writer, 7 trailer.
    let altered: [(usize, Alter, &str); 16] = [
        (
            0,
            |i| {
                if let Item::Header(h) = i {
                    h.families = 1
                }
            },
            "Count",
        ),
        (1, |i| last_use(i).time_ms += 1, "LastUse"),
        (1, |i| last_use(i).audit_index = 3, "LastUse"),
        (1, |i| last_use(i).audit_index = 1, "StateDigest"),
        (1, |i| last_use(i).operation = 8, "StateDigest"),
        (1, |i| record(i).last_use = None, "StateDigest"),
        (2, |i| record(i).parent.clear(), "Family"),
        (2, |i| record(i).parent.truncate(16), "Record"),
        (2, |i| record(i).parent[0] = 99, "Record"),
        (2, |i| record(i).parent = record(i).id.clone(), "UnderItself"),
        (2, |i| record(i).parent = key(1).to_bytes().to_vec(), "Family"),
        (4, |i| family(i).family = None, "Family"),
        (4, |i| family(i).family.as_mut().unwrap().kind = 65, "Family"),
        (4, |i| family(i).chain.truncate(15), "Family"),
        (4, |i| family(i).chain[0] ^= 1, "StateDigest"),
        (5, |i| family(i).family.as_mut().unwrap().parent = key(1).to_bytes().to_vec(), "Order"),
    ];
    let whole = items(&families());
    assert_eq!(whole.len(), 8);
    for (number, (at, alter, expected)) in altered.into_iter().enumerate() {
        let mut items = whole.clone();
        alter(items[at].item.as_mut().unwrap());
        let error = format!("{:?}", restore(items).unwrap_err());
        assert!(error.starts_with(expected), "case {number}: {error}, not {expected}");
    }
    for at in 4..6 {
        let mut missing = whole.clone();
        missing.remove(at);
        let Some(Item::Trailer(trailer)) = &mut missing[6].item else { panic!() };
        trailer.items -= 1;
        assert!(matches!(restore(missing), Err(RestoreError::Count { what: "families", .. })));
    }
}

/// Items that are missing, doubled or swapped are found, wherever they are.
#[test]
fn order_and_completeness_are_enforced() {
    let whole = items(&varied());
    assert_eq!(whole.len(), 7);
    for at in 0..whole.len() {
        let mut missing = whole.clone();
        missing.remove(at);
        let mut doubled = whole.clone();
        doubled.insert(at, whole[at].clone());
        for wrong in [missing, doubled, whole[..at].to_vec()] {
            let mut restorer = Restorer::new(DOMAIN);
            let pushed = wrong.into_iter().try_for_each(|item| restorer.push(item).map(|_| ()));
            assert!(pushed.and_then(|()| restorer.finish().map(|_| ())).is_err(), "at {at}");
        }
        for other in 0..at {
            let mut swapped = whole.clone();
            swapped.swap(at, other);
            let mut restorer = Restorer::new(DOMAIN);
            assert!(swapped.into_iter().any(|item| restorer.push(item).is_err()), "{other} {at}");
        }
    }
    let mut restorer = Restorer::new(DOMAIN);
    assert_eq!(restorer.push(SnapshotItem { item: None }), Err(RestoreError::UnknownItem));
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// Bytes from a peer or a backup: refused or a valid state, never a panic.
    #[test]
    fn garbage_never_panics(
        flips in prop::collection::vec((0usize..7, any::<prop::sample::Index>(), any::<u8>()), 1..4),
    ) {
        let mut encoded = encode(&items(&varied()));
        for (item, index, byte) in flips {
            let at = index.index(encoded[item].len());
            encoded[item][at] = byte;
        }
        let mut restorer = Restorer::new(DOMAIN);
        let pushed = encoded.iter().all(|bytes| {
            SnapshotItem::decode(bytes.as_slice()).is_ok_and(|item| restorer.push(item).is_ok())
        });
        if pushed && let Ok(state) = restorer.finish() {
            state.validate();
        }
    }
}
