//! Families, quotas and last uses: each test is a script of commands and everything they did.

#![allow(clippy::unwrap_used, reason = "a test program: what is missing fails it")]

mod common;

use common::*;
use conclave_proto::store as proto;
use conclave_proto::store::command::Op;
use conclave_proto::store::guard::Family as Wire;
use conclave_store::limits::MAX_TOUCHES_PER_TXN;
use conclave_store::{
    BatchBuilder, BodyError, Family, Fatal, Kind, LastUse, MemoryStore, Outcome, RecordId,
    Rejection, TimeMs, Touch, TxnBody, View, Write, check_command, member_change,
};

/// A store whose key 1 has the grants 1 and 2, at log index 3.
fn granted() -> MemoryStore {
    let mut store = store();
    let grants = txn(90).puts_under(key(1), grant(1), "g1").puts_under(key(1), grant(2), "g2");
    store.apply(&batch(&[grants])).unwrap();
    store
}

fn conflict(outcome: &str, index: u64) -> String {
    format!("txn 1/1 conflict {index} {outcome}")
}

/// Whoever listed a family is told of every change of its members, and of nothing else.
#[test]
fn a_scan_fails_when_the_members_changed() {
    let grants = grants_of(key(1));
    let changes: [(T, bool); 8] = [
        (txn(2).puts_under(key(1), grant(3), "g3"), true),
        (txn(2).deletes(grant(1)), true),
        (txn(2).puts_under(key(2), grant(1), "g1"), true),
        (txn(2).puts(grant(1), "renewed"), false),
        (txn(2).puts_under(key(1), grant(1), "renewed"), false),
        (txn(2).puts(grant(3), "under nothing").puts_under(key(2), grant(4), "elsewhere"), false),
        (txn(2).puts_under(key(1), RecordId::singleton(Kind::KeyPolicy), "policy"), false),
        (txn(2).deletes(key(1)).touches(grant(1), 1), false),
    ];
    for (number, (change, conflicts)) in changes.into_iter().enumerate() {
        let mut store = granted();
        let listed = txn(1).scans(&store, grants);
        store.apply(&batch(&[change])).unwrap();
        let shown = show(&store.apply(&batch(&[listed])));
        let expected = if conflicts {
            "txn 1/1 conflict 5 scan Grant under Key 1"
        } else {
            "txn 1/1 committed 5.0"
        };
        assert_eq!(shown.lines().next(), Some(expected), "case {number}");
    }
}

/// A set that was listed as empty is guarded too, and one that is empty again is the one listed.
#[test]
fn an_empty_family_is_a_reading_like_any_other() {
    let mut store = store();
    let none = txn(1).scans(&store, grants_of(key(1)));
    assert_eq!(none.body.scans[&grants_of(key(1))], None);
    let begun = txn(2).puts_under(key(1), grant(1), "g1");
    check(
        &mut store,
        &batch(&[begun, none]),
        &[
            "txn 1/2 committed 3.0",
            &conflict("scan Grant under Key 1", 3),
            "Grant 1 = g1",
            "step 1 of 1/2 at 3.0 in segment 1",
        ],
    );
    let again = txn(4).deletes(grant(1));
    let mut none = txn(3);
    none.body.scans.insert(grants_of(key(1)), None);
    let shown = show(&store.apply(&batch(&[again, none])));
    assert!(shown.starts_with("txn 1/4 committed 4.0\ntxn 1/3 committed 4.1"), "{shown}");
}

/// A quota is counted before the txn's own writes and after those of the txns before it: of rivals
/// in one batch exactly as many commit as there is room for.
#[test]
fn a_quota_holds_within_a_batch() {
    let grants = grants_of(key(1));
    let create = |n: u8| txn(n.into()).fewer(grants, 3).puts_under(key(1), grant(n), "g");
    let mut store = store();
    let batch_of_five: Vec<_> = (1..=5).map(create).collect();
    let applied = store.apply(&batch(&batch_of_five));
    let shown = show(&applied);
    let ends: Vec<_> = shown.lines().take(5).collect();
    assert_eq!(
        ends,
        [
            "txn 1/1 committed 3.0",
            "txn 1/2 committed 3.1",
            "txn 1/3 committed 3.2",
            "txn 1/4 conflict 3 fewer Grant under Key 1",
            "txn 1/5 conflict 3 fewer Grant under Key 1",
        ]
    );
    // One leaves, and there is room for whoever comes after it, in the same batch.
    let shown = show(&store.apply(&batch(&[create(6), txn(7).deletes(grant(1)), create(8)])));
    let ends: Vec<_> = shown.lines().take(3).collect();
    assert_eq!(
        ends,
        [
            "txn 1/6 conflict 4 fewer Grant under Key 1",
            "txn 1/7 committed 4.1",
            "txn 1/8 committed 4.2"
        ]
    );
    assert_eq!(store.count(&grants), 3);
}

/// The txn's own writes do not count, neither what it adds nor what it takes away.
#[test]
fn a_quota_does_not_see_the_writes_of_its_own_txn() {
    let grants = grants_of(key(1));
    let mut store = granted();
    let swap = txn(1).fewer(grants, 2).deletes(grant(1)).puts_under(key(1), grant(3), "g3");
    let shown = show(&store.apply(&batch(&[swap])));
    assert_eq!(shown, "txn 1/1 conflict 4 fewer Grant under Key 1");
    let three = (3..6).fold(txn(2).fewer(grants, 3), |t, n| t.puts_under(key(1), grant(n), "g"));
    assert!(show(&store.apply(&batch(&[three]))).starts_with("txn 1/2 committed"));
    assert_eq!(store.count(&grants), 5);
}

/// A new blob does not move its record: sealing again knows nothing of parents.
#[test]
fn a_record_stays_where_it_is_until_it_is_moved_or_deleted() {
    let (mut store, of_one, of_two) = (granted(), grants_of(key(1)), grants_of(key(2)));
    let listed = |store: &MemoryStore| {
        [of_one, of_two].map(|family| {
            assert_eq!(store.count(&family) as usize, store.family(&family, None, 9).len());
            assert_eq!(store.scan_guard(&family).is_none(), store.count(&family) == 0);
            store.family(&family, None, 9)
        })
    };
    assert_eq!(listed(&store), [vec![grant(1), grant(2)], vec![]]);
    store.write(vec![Write::put(grant(1), b"again".to_vec())]);
    assert_eq!(listed(&store), [vec![grant(1), grant(2)], vec![]]);
    store.write(vec![Write::put(grant(2), b"moved".to_vec()).under(key(2))]);
    assert_eq!(listed(&store), [vec![grant(1)], vec![grant(2)]]);
    store.write(vec![Write::delete(key(2)), Write::delete(grant(1))]);
    assert_eq!(listed(&store), [vec![], vec![grant(2)]], "a parent is but a name");
    store.write(vec![Write::put(grant(1), b"new".to_vec())]);
    assert_eq!(listed(&store), [vec![], vec![grant(2)]], "who comes back is under nothing");
    assert_eq!(store.state().parent(&grant(2)), Some(key(2)));
}

/// A touch is noted with time and audit step, and disturbs nobody who read the record.
#[test]
fn a_touch_notes_the_last_use_and_changes_nothing_else() {
    let mut store = granted();
    let before = store.scan_guard(&grants_of(key(1)));
    let uses = [
        txn(1).reads(key(1), "one").touches(key(1), 7).touches(key(9), 7),
        txn(2).misses(key(9)).reads(key(1), "one").touches(key(1), 8).touches(key(1), 9),
        txn(3).misses(key(1)).touches(key(1), 10),
    ];
    check(
        &mut store,
        &batch(&uses),
        &[
            "txn 1/1 committed 4.0",
            "txn 1/2 committed 4.1",
            "txn 1/3 conflict 4 Key 1",
            "step 2 of 1/1 at 4.0 in segment 1",
            "step 3 of 1/2 at 4.1 in segment 1",
        ],
    );
    let last = LastUse { time: TimeMs(NOW), operation: 9, audit_index: 3 };
    assert_eq!((store.last_use(&key(1)), store.last_use(&key(9))), (Some(last), None));
    assert_eq!(store.scan_guard(&grants_of(key(1))), before);
}

/// A record's uses go with it: another under the same id was not used yet.
#[test]
fn a_deletion_forgets_the_last_use() {
    let mut store = store();
    store.apply(&batch(&[txn(1).touches(key(1), 7)])).unwrap();
    store.apply(&batch(&[txn(2).puts(key(1), "uno")])).unwrap();
    assert!(store.last_use(&key(1)).is_some(), "a new blob is still the same record");
    store.apply(&batch(&[txn(3).deletes(key(1)).touches(key(1), 8)])).unwrap();
    assert_eq!(store.last_use(&key(1)), None);
    store.apply(&batch(&[txn(4).puts(key(1), "eins")])).unwrap();
    assert_eq!(store.last_use(&key(1)), None);
    let at_birth = txn(5).puts(key(2), "two").touches(key(2), 1);
    store.apply(&batch(&[at_birth])).unwrap();
    assert_eq!(store.last_use(&key(2)).map(|last| last.operation), Some(1));
}

/// Replicas that differ in a parent, a chain or a last use differ in their digest, and an undone
/// difference leaves none behind.
#[test]
fn the_state_digest_covers_families_and_uses() {
    let digest = |writes: &[T]| {
        let mut store = store();
        for (sequence, write) in (200..).zip(writes) {
            let mut write = write.clone();
            write.id.sequence = sequence;
            store.apply(&batch(&[write])).unwrap();
        }
        let peeked = items(&store)[0].clone();
        let Some(proto::snapshot_item::Item::Header(header)) = peeked.item else { panic!() };
        let digest = store.state_mut().state_digest();
        assert_eq!(header.state_digest, digest);
        digest
    };
    let put = |t: T| digest(&[t]);
    let plain = put(txn(1).puts(grant(1), "g"));
    let under_one = put(txn(1).puts_under(key(1), grant(1), "g"));
    let under_two = put(txn(1).puts_under(key(2), grant(1), "g"));
    let come = |n| txn(1).puts_under(key(1), grant(n), "g");
    let (one_two, two_one) = (digest(&[come(1), come(2)]), digest(&[come(2), come(1)]));
    let used = put(txn(1).puts(grant(1), "g").touches(grant(1), 1));
    let used_otherwise = put(txn(1).puts(grant(1), "g").touches(grant(1), 2));
    let all = [plain, under_one, under_two, one_two, two_one, used, used_otherwise];
    assert_eq!(std::collections::BTreeSet::from(all).len(), all.len());
    assert_eq!(digest(&[come(1).touches(grant(1), 1), txn(1).deletes(grant(1))]), digest(&[]));
    assert_eq!(digest(&[come(1), txn(1).deletes(grant(1)), txn(1).puts(grant(1), "g")]), plain);
}

/// Misshapen guards and touches spoil the txns that have them, and no other.
#[test]
fn what_is_misshapen_is_rejected_alone() {
    fn scan(batch: &mut proto::Batch) -> (&mut proto::Guard, proto::Scan) {
        let guard = &mut batch.guards[0];
        let Some(Wire::Scan(scan)) = guard.family.take() else { panic!() };
        (guard, scan)
    }
    fn set(batch: &mut proto::Batch, change: fn(&mut proto::Scan)) {
        let (guard, mut on) = scan(batch);
        change(&mut on);
        guard.family = Some(Wire::Scan(on));
    }
    fn fewer(batch: &mut proto::Batch) {
        let (guard, on) = scan(batch);
        guard.family = Some(Wire::Fewer(proto::Fewer { family: on.family, than: 0 }));
    }
    type Spoil = fn(&mut proto::Batch);
    let spoilt: [Spoil; 12] = [
        |b| set(b, |scan| scan.family = None),
        |b| set(b, |scan| scan.digest = vec![0; 15]),
        |b| set(b, |scan| scan.family.as_mut().unwrap().parent.truncate(16)),
        fewer,
        |b| b.guards[0].record = key(1).to_bytes().to_vec(),
        |b| b.guards[0].digest = vec![0; 16],
        |b| b.txns[0].writes[0].parent = vec![64; 16],
        |b| b.txns[0].writes[0].parent = b.txns[0].writes[0].record.clone(),
        |b| b.txns[0].writes[0].op = Some(proto::write::Op::Delete(true)),
        |b| b.txns[0].touches[0].record.truncate(16),
        |b| b.txns[0].touches = vec![b.txns[0].touches[0].clone(); MAX_TOUCHES_PER_TXN + 1],
        |b| b.txns[0].guards = vec![0; 65],
    ];
    for (number, spoil) in spoilt.into_iter().enumerate() {
        let mut store = store();
        let good = txn(1)
            .scans(&store, grants_of(key(1)))
            .puts_under(key(1), grant(1), "g1")
            .touches(grant(1), 7);
        let mut batch = batch_of(&[good, txn(2)]);
        spoil(&mut batch);
        println!("case {number}");
        check(
            &mut store,
            &command(NOW, Op::Batch(batch)),
            &[
                "txn 1/1 rejected Malformed",
                "txn 1/2 committed 3.1",
                "step 1 of 1/2 at 3.1 in segment 1",
            ],
        );
    }
}

/// What another version may understand stops this one, wherever it stands.
#[test]
fn unknown_kinds_of_families_parents_and_touches_are_fatal() {
    type Spoil = fn(&mut proto::Batch);
    let spoilt: [Spoil; 5] = [
        |b| {
            let Some(Wire::Fewer(fewer)) = &mut b.guards[0].family else { panic!() };
            fewer.family.as_mut().unwrap().kind = 77;
        },
        |b| {
            let Some(Wire::Fewer(fewer)) = &mut b.guards[0].family else { panic!() };
            fewer.family.as_mut().unwrap().parent[0] = 77;
        },
        |b| b.txns[0].writes[0].parent[0] = 77,
        |b| b.txns[0].touches[0].record[0] = 77,
        // Though a write before it is misshapen.
        |b| {
            b.txns[0].writes[0].record.truncate(3);
            b.txns[0].touches[0].record[0] = 77;
        },
    ];
    let good =
        txn(1).fewer(grants_of(key(1)), 1).puts_under(key(1), grant(1), "g1").touches(grant(1), 7);
    for spoil in spoilt {
        let mut batch = batch_of(std::slice::from_ref(&good));
        spoil(&mut batch);
        let fatal = check_command(&command(NOW, Op::Batch(batch)));
        assert_eq!(fatal, Err(Fatal::UnknownKind { kind: 77 }));
    }
}

/// What a proposer would be refused for, it is told before it sends anything.
#[test]
fn a_body_is_checked_before_it_is_sent() {
    let grants = grants_of(key(1));
    let never = txn(1).fewer(grants, 0).body;
    assert_eq!(never.validate(), Err(BodyError::FewerThanNone { family: grants }));
    let itself = txn(1).puts_under(key(1), key(1), "").body;
    assert_eq!(itself.validate(), Err(BodyError::UnderItself { record: key(1) }));
    let writes = [Write::put(key(1), vec![]).under(key(1))];
    assert!(member_change(&writes, sealed(1)).is_err());
    let touches = vec![Touch { record: key(1), operation: 1 }; MAX_TOUCHES_PER_TXN + 1];
    let often = TxnBody { touches, ..txn(1).body };
    assert_eq!(often.validate(), Err(BodyError::TooManyTouches { count: 9 }));
    let families = (0..65).map(|n| (Family::new(key(n), Kind::Grant), 1));
    let wide = TxnBody { fewer: families.collect(), ..txn(1).body };
    assert_eq!(wide.validate(), Err(BodyError::TooManyGuards { count: 65 }));
    let mut store = store();
    assert_eq!(store.commit(wide, NOW), Outcome::Rejected(Rejection::Malformed));
}

/// Guards of every sort travel once, however many txns have them.
#[test]
fn equal_guards_are_sent_once() {
    let (store, grants) = (granted(), grants_of(key(1)));
    let mut builder = BatchBuilder::new();
    for sequence in 1..=9 {
        let t = txn(sequence).reads(key(1), "one").scans(&store, grants).fewer(grants, 5);
        builder.push(t.id, &t.body).unwrap();
    }
    let other = txn(10).fewer(grants, 6);
    builder.push(other.id, &other.body).unwrap();
    let batch = builder.finish(0, [0; 32]);
    assert_eq!(batch.guards.len(), 4);
    assert_eq!(batch.txns[0].guards, [0, 1, 2]);
    assert_eq!(batch.txns[8].guards, [0, 1, 2]);
    assert_eq!(batch.txns[9].guards, [3]);
}
