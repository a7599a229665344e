//! What applying commands does: each test is a script of commands and everything they did.

#![allow(clippy::unwrap_used, reason = "a test program: what is missing fails it")]

mod common;

use std::slice::from_ref;

use common::*;
use conclave_proto::store as proto;
use conclave_proto::store::command::Op;
use conclave_store::limits::{MAX_TXNS_PER_BATCH, WRITER_WINDOW};
use conclave_store::{
    Fatal, Kind, MemoryStore, Outcome, RecordId, Rejection, State, View, Write, check_command,
    member_change,
};

/// The plain case: guards hold, so writes, a step and a revision.
#[test]
fn a_txn_takes_effect_whole() {
    let mut store = store();
    let update = txn(1).reads(key(1), "one").misses(key(2)).puts(key(2), "two").deletes(key(1));
    check(
        &mut store,
        &batch(&[update]),
        &[
            "txn 1/1 committed 3.0",
            "Key 2 = two",
            "Key 1 = nothing",
            "step 1 of 1/1 at 3.0 in segment 1",
        ],
    );
    assert_eq!(store.list(Kind::Key, None, 9), [key(2)]);
}

/// What was decided by stale reading has no effect at all, not even an audit step.
#[test]
fn a_changed_record_conflicts() {
    let mut store = store();
    check(
        &mut store,
        &batch(&[txn(1).reads(key(1), "old").puts(key(1), "x")]),
        &["txn 1/1 conflict 3 Key 1"],
    );
    check(
        &mut store,
        &batch(&[txn(2).misses(key(1)).puts(key(1), "x")]),
        &["txn 1/2 conflict 4 Key 1"],
    );
    check(
        &mut store,
        &batch(&[txn(3).reads(key(1), "one").reads(key(7), "gone")]),
        &["txn 1/3 conflict 5 Key 7"],
    );
}

/// Within one batch the first of two rivals wins; the others go on.
#[test]
fn txns_see_the_writes_of_earlier_ones_in_their_batch() {
    let mut store = store();
    let rivals = [
        txn(1).reads(key(1), "one").puts(key(1), "uno"),
        txn(2).reads(key(1), "one").puts(key(1), "eins"),
        txn(3).reads(key(1), "uno").puts(key(3), "drei"),
    ];
    check(
        &mut store,
        &batch(&rivals),
        &[
            "txn 1/1 committed 3.0",
            "txn 1/2 conflict 3 Key 1",
            "txn 1/3 committed 3.2",
            "Key 1 = uno",
            "Key 3 = drei",
            "step 1 of 1/1 at 3.0 in segment 1",
            "step 2 of 1/3 at 3.2 in segment 1",
        ],
    );
}

/// A proposer whose leader vanished sends the same txn again, and must not act twice.
#[test]
fn a_resent_txn_gets_its_first_outcome() {
    let mut store = store();
    let once = txn(1).puts(key(2), "two");
    let lost = txn(2).misses(key(2));
    let effect = ["Key 2 = two", "step 1 of 1/1 at 3.0 in segment 1"];
    let ends = ["txn 1/1 committed 3.0", "txn 1/2 conflict 3 Key 2"];
    let both = batch(&[once.clone(), lost]);
    check(&mut store, &both, &[ends[0], ends[1], effect[0], effect[1]]);
    check(&mut store, &both, &ends);
    // Even where the guard that failed would hold by now, or its content is another.
    check(
        &mut store,
        &batch(&[txn(3).deletes(key(2))]),
        &["txn 1/3 committed 5.0", "Key 2 = nothing", "step 2 of 1/3 at 5.0 in segment 1"],
    );
    check(&mut store, &both, &ends);
    check(&mut store, &batch(&[once.clone(), once]), &[ends[0], ends[0]]);
}

/// A client that retries through another node gets the first answer.
#[test]
fn a_known_token_gets_the_first_answer() {
    let mut store = store();
    check(&mut store, &register(2), &["writer 3 of Raft id 2"]);
    let create = txn(1).misses(key(2)).puts(key(2), "two").token(9, "created");
    check(
        &mut store,
        &batch(from_ref(&create)),
        &["txn 1/1 committed 4.0", "Key 2 = two", "step 1 of 1/1 at 4.0 in segment 1"],
    );
    // Neither the guard nor the clock matters by now.
    let again = create.clone().by(3).at(NOW + 60_000).token(9, "second");
    check(&mut store, &batch(from_ref(&again)), &["txn 3/1 known 4.0 created"]);
    check(&mut store, &batch(&[again]), &["txn 3/1 known 4.0 created"]);
    // A conflict takes no token.
    let conflicting = txn(2).misses(key(2)).token(8, "no");
    check(&mut store, &batch(&[conflicting]), &["txn 1/2 conflict 7 Key 2"]);
    check(
        &mut store,
        &batch(&[txn(3).token(8, "yes"), txn(4).token(8, "no")]),
        &["txn 1/3 committed 8.0", "txn 1/4 known 8.0 yes", "step 2 of 1/3 at 8.0 in segment 1"],
    );
}

/// Five seconds either way; beyond, whoever decided had another idea of the time.
#[test]
fn a_decision_too_far_from_its_stamp_conflicts() {
    let mut store = store();
    let times = [NOW - 5_001, NOW - 5_000, NOW + 5_000, NOW + 5_001];
    let txns: Vec<_> = (1..).zip(times).map(|(sequence, time)| txn(sequence).at(time)).collect();
    check(
        &mut store,
        &batch(&txns),
        &[
            "txn 1/1 conflict 3 time",
            "txn 1/2 committed 3.1",
            "txn 1/3 committed 3.2",
            "txn 1/4 conflict 3 time",
            "step 1 of 1/2 at 3.1 in segment 1",
            "step 2 of 1/3 at 3.2 in segment 1",
        ],
    );
}

/// A leader whose clock is behind cannot turn time back, nor date an audit step before the last.
#[test]
fn stamps_only_rise() {
    let mut store = store();
    let later = command(NOW + 9_000, Op::Batch(batch_of(&[txn(1).at(NOW + 9_000)])));
    store.apply(&later).unwrap();
    check(
        &mut store,
        &batch(&[txn(2), txn(3).at(NOW + 9_001)]),
        &["txn 1/2 conflict 4 time", "txn 1/3 committed 4.1", "step 2 of 1/3 at 4.1 in segment 1"],
    );
    assert_eq!(store.steps().last().unwrap().time_ms, NOW + 9_000);
    assert_eq!(store.state().time().0, NOW + 9_000);
}

/// A node that started again must not be answered for the txns of its former life.
#[test]
fn registering_drops_the_older_writer_of_the_same_raft_id() {
    let mut store = store();
    check(&mut store, &register(2), &["writer 3 of Raft id 2"]);
    check(&mut store, &register(1), &["writer 4 of Raft id 1"]);
    check(
        &mut store,
        &batch(&[txn(100), txn(1).by(3), txn(1).by(4), txn(1).by(99)]),
        &[
            "txn 1/100 rejected UnknownWriter",
            "txn 3/1 committed 5.1",
            "txn 4/1 committed 5.2",
            "txn 99/1 rejected UnknownWriter",
            "step 1 of 3/1 at 5.1 in segment 1",
            "step 2 of 4/1 at 5.2 in segment 1",
        ],
    );
    assert!(!store.state().knows_writer(1) && store.state().knows_writer(4));
}

/// A registration nobody could recognise, or of no node, is passed over, the same everywhere.
#[test]
fn a_misshapen_registration_has_no_effect() {
    let mut store = store();
    let nonce = vec![0; 16];
    for register in [
        proto::RegisterWriter { raft_id: 5, nonce: vec![0; 15] },
        proto::RegisterWriter { raft_id: 0, nonce },
    ] {
        check(&mut store, &command(NOW, Op::RegisterWriter(register)), &[]);
    }
    assert!(store.state().knows_writer(1));
}

/// Raft's membership is changed by the log itself, so nothing can refuse the records that go with it.
#[test]
fn a_membership_change_writes_and_is_audited() {
    let mut store = store();
    let members = RecordId::singleton(Kind::Members);
    let change = member_change(&[Write::put(members, b"a, b".to_vec())], sealed(1)).unwrap();
    check(
        &mut store,
        &command(NOW, Op::MemberChange(change)),
        &["Members 0 = a, b", "step 1 of 0/3 at 3.0 in segment 1"],
    );
    let unaudited = proto::MemberChange { writes: vec![], audit: None };
    let fatal = store.apply(&command(NOW, Op::MemberChange(unaudited))).unwrap_err();
    assert!(matches!(fatal, Fatal::MemberChange(_)));
}

/// The note is what replicas compare: it follows from the records and the chain alone.
#[test]
fn a_checkpoint_notes_digest_and_head() {
    let mut store = store();
    let before = store.apply(&checkpoint()).unwrap().checkpoint.unwrap();
    assert_eq!((before.index.0, before.head), (3, store.state().head().hash));
    assert_eq!(before.state_digest, store.state_mut().state_digest());
    store.apply(&batch(&[txn(1).puts(key(2), "two")])).unwrap();
    let changed = store.apply(&checkpoint()).unwrap().checkpoint.unwrap();
    assert!(changed.state_digest != before.state_digest && changed.head != before.head);
    store.apply(&batch(&[txn(2).deletes(key(2))])).unwrap();
    let back = store.apply(&checkpoint()).unwrap().checkpoint.unwrap();
    assert!(back.state_digest == before.state_digest && back.head != changed.head);
}

/// A misshapen txn is refused alone, and stays refused.
#[test]
fn what_is_misshapen_is_rejected_alone() {
    type Spoil = fn(&mut proto::Txn);
    let spoilt: [Spoil; 13] = [
        |t| t.guards[0] = 7,
        |t| t.audit = None,
        |t| t.audit.as_mut().unwrap().commitment.truncate(31),
        |t| t.audit.as_mut().unwrap().sealed.clear(),
        |t| t.audit.as_mut().unwrap().sealed = vec![0; (64 << 10) + 1],
        |t| t.writes[0].record.truncate(16),
        |t| t.writes[0].op = Some(proto::write::Op::Put(vec![0; (64 << 10) + 1])),
        |t| t.writes[0].op = Some(proto::write::Op::Delete(false)),
        |t| t.writes.push(t.writes[0].clone()),
        |t| t.token = vec![0; 31],
        |t| t.answer = vec![0; 257],
        |t| t.token.clear(),
        |t| t.guards = vec![0; 65],
    ];
    for (number, spoil) in spoilt.into_iter().enumerate() {
        let mut store = store();
        let good = txn(1).reads(key(1), "one").puts(key(2), "two").token(1, "a");
        let other = txn(2).reads(key(1), "one");
        let mut batch = batch_of(&[good.clone(), other]);
        spoil(&mut batch.txns[0]);
        let batch = command(NOW, Op::Batch(batch));
        let ends = ["txn 1/1 rejected Malformed", "txn 1/2 committed 3.1"];
        println!("case {number}");
        check(&mut store, &batch, &[ends[0], ends[1], "step 1 of 1/2 at 3.1 in segment 1"]);
        check(&mut store, &batch, &ends);
        // Sequences are never used again, not even for something better.
        check(&mut store, &common::batch(&[good]), &[ends[0]]);
    }
}

/// Guards of no shape spoil only the txns that name them.
#[test]
fn a_misshapen_guard_spoils_the_txns_that_name_it() {
    for (record, digest) in
        [(vec![64; 16], vec![]), (key(1).to_bytes().to_vec(), vec![0; 15]), (vec![], vec![0; 16])]
    {
        let mut store = store();
        let mut batch = batch_of(&[txn(1).reads(key(1), "one"), txn(2)]);
        batch.guards[0] = proto::Guard { record, digest, family: None };
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

/// A batch beyond its bounds is refused whole, except where the answer is already known.
#[test]
fn an_oversized_batch_is_rejected_whole() {
    let mut store = store();
    let mut batch = batch_of(&[txn(100)]);
    let other = batch_of(&[txn(1)]).txns.remove(0);
    let many = (1..=MAX_TXNS_PER_BATCH as u64).map(|n| proto::Txn { sequence: n, ..other.clone() });
    batch.txns.extend(many);
    let applied = store.apply(&command(NOW, Op::Batch(batch))).unwrap();
    let shown = show(&Ok(applied.clone()));
    assert!(shown.starts_with("txn 1/100 committed 2.0\ntxn 1/1 rejected Malformed"), "{shown}");
    assert!(applied.steps.is_empty());
}

/// What another version may understand must not be passed over, and must not half happen.
#[test]
fn what_this_version_does_not_know_stops_it() {
    let newer = proto::Command { feature_level: 2, ..batch(&[txn(1)]) };
    let nothing = proto::Command { op: None, ..batch(&[txn(1)]) };
    let spoil = |change: fn(&mut proto::Batch)| {
        // The known txn ahead must not have taken effect either.
        let mut batch = batch_of(&[txn(1), txn(2).reads(key(1), "one").puts(key(2), "two")]);
        change(&mut batch);
        command(NOW, Op::Batch(batch))
    };
    let kind = spoil(|batch| batch.txns[1].writes[0].record[0] = 77);
    let guard = spoil(|batch| batch.guards[0].record[0] = 78);
    let write = spoil(|batch| batch.txns[1].writes[0].op = None);
    let mut store = store();
    let before = items(&store);
    for (command, expected) in [
        (&newer, Fatal::FeatureLevel { needed: 2 }),
        (&nothing, Fatal::UnknownOperation),
        (&kind, Fatal::UnknownKind { kind: 77 }),
        (&guard, Fatal::UnknownKind { kind: 78 }),
        (&write, Fatal::UnknownWrite),
    ] {
        assert_eq!(store.apply(command), Err(expected.clone()));
        assert_eq!(check_command(command), Err(expected));
    }
    assert_eq!(items(&store), before);
    assert_eq!(check_command(&batch(&[txn(1)])), Ok(()));
}

/// A replica that lost its place in the log must not go on from another.
#[test]
fn log_entries_are_applied_in_order_and_once() {
    let mut state = State::new(DOMAIN);
    assert_eq!(state.apply_blank(0), Ok(()));
    assert_eq!(state.apply_blank(1), Ok(()));
    assert_eq!(state.apply_blank(0), Err(Fatal::OutOfOrder { index: 0, applied: 1 }));
    assert_eq!(state.apply_blank(3), Err(Fatal::OutOfOrder { index: 3, applied: 1 }));
    let repeated = state.apply(1, &checkpoint());
    assert_eq!(repeated, Err(Fatal::OutOfOrder { index: 1, applied: 1 }));
    assert!(state.apply(2, &checkpoint()).is_ok());
}

/// Segments roll by bytes and at the same step everywhere; a step larger than one gets its own.
#[test]
fn segments_roll_before_the_step_that_would_not_fit() {
    let mut state = State::with_segment_bytes(DOMAIN, 300);
    state.apply(1, &register(1)).unwrap();
    let mut large = txn(4);
    large.body.audit.sealed = vec![0; 1000];
    let applied = state.apply(2, &batch(&[txn(1), txn(2), txn(3), large, txn(5)]));
    let shown = show(&applied);
    let segments: Vec<_> = applied.unwrap().steps.iter().map(|(segment, _)| *segment).collect();
    assert_eq!(segments, [1, 1, 2, 3, 4], "{shown}");
    assert!(shown.ends_with("rolled"));
    let position = state.segment();
    assert_eq!((position.number, position.first), (4, 4));
    let applied = state.apply(3, &batch(&[txn(6)])).unwrap();
    assert!(!applied.rolled && applied.steps[0].0 == 4);
}

/// The window is long but has an end, and what fell out is refused rather than done again.
#[test]
fn sequences_below_the_window_are_refused() {
    let mut store = MemoryStore::new(DOMAIN);
    let mut next = 1;
    while next <= WRITER_WINDOW as u64 + 10 {
        let txns: Vec<_> = (next..).take(512).map(|n| txn(n).misses(key(1)).at(0)).collect();
        store.apply(&batch(&txns)).unwrap();
        next += 512;
    }
    let floor = next - 1 - WRITER_WINDOW as u64;
    let at = store.applied().0 + 1;
    let first_kept = (floor / 512) + 2;
    check(
        &mut store,
        &batch(&[txn(0), txn(floor), txn(floor + 1), txn(next)]),
        &[
            "txn 1/0 rejected BelowWindow",
            &format!("txn 1/{floor} rejected BelowWindow"),
            &format!("txn 1/{} conflict {first_kept} time", floor + 1),
            &format!("txn 1/{next} committed {at}.3"),
            &format!("step 0 of 1/{next} at {at}.3 in segment 1"),
        ],
    );
}

/// Upper crates test against this store, so it must behave as a replica's view does.
#[test]
fn the_memory_store_reads_what_was_committed() {
    let mut store = MemoryStore::new(DOMAIN);
    store.write(vec![Write::put(key(1), b"one".to_vec()), Write::put(key(2), b"two".to_vec())]);
    let update = txn(1).reads(key(1), "one").puts(key(1), "uno").deletes(key(2));
    assert!(matches!(store.commit(update.body.clone(), NOW), Outcome::Committed(_)));
    assert!(matches!(store.commit(update.body, NOW), Outcome::Conflict { .. }));
    assert_eq!(store.blob(&key(1)).unwrap().as_deref(), Some(b"uno".as_slice()));
    assert_eq!(store.blob(&key(2)).unwrap(), None);
    assert_eq!(store.guard(&key(1)), Some(guard_of("uno")));
    assert_eq!((store.list(Kind::Key, None, 9), store.applied().0), (vec![key(1)], 4));
    let mut oversized = txn(2);
    oversized.body.answer = vec![0; 300];
    assert_eq!(store.commit(oversized.body, NOW), Outcome::Rejected(Rejection::Malformed));
    assert_eq!(store.steps().len(), 2);
}
