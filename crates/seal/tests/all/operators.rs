//! Operator shares: which make the operator key, and which are refused, and how.

use conclave_crypto::entropy::SeededEntropy;
use conclave_seal::operator_share::{OperatorShare, ShareTextError};
use conclave_seal::pool::{OperatorSharePool, POOL_KEPT_MS, PoolError, Progress};
use conclave_seal::{DomainId, EpochNumber, OperatorGeneration, OperatorSplit, found};

use crate::stage::{DOMAIN, Stage, input};

fn held(progress: &Progress) -> Option<(u8, u8)> {
    match progress {
        Progress::Held { held, threshold } => Some((*held, *threshold)),
        Progress::Complete(_) => None,
    }
}

/// Any 3 of 5 open, in any order, and 2 never do; what comes out opens the recovery wrap.
#[test]
fn every_subset_of_three_of_five_makes_the_operator_key_and_no_two_do() {
    let stage = Stage::new(3, 3, 5);
    let record = stage.operator_record();
    let mut subsets = 0;
    for a in 0..5 {
        for b in (0..5).filter(|&b| b != a) {
            for c in (0..5).filter(|&c| c != a && c != b) {
                let mut pool = OperatorSharePool::default();
                for (at, operator) in [a, b].into_iter().enumerate() {
                    let text = stage.share_text(operator);
                    let expected = Some((u8::try_from(at + 1).unwrap(), 3));
                    assert_eq!(held(&pool.add(text, DOMAIN, &record, 0).unwrap()), expected);
                    // The same share again counts once.
                    assert_eq!(held(&pool.add(text, DOMAIN, &record, 0).unwrap()), expected);
                }
                let Progress::Complete(key) =
                    pool.add(stage.share_text(c), DOMAIN, &record, 0).unwrap()
                else {
                    panic!("three shares are enough");
                };
                let root = key.unwrap_root(DOMAIN, &record, EpochNumber(1)).unwrap();
                assert!(root.ct_eq(stage.founding.keyring.root()));
                assert!(pool.is_empty());
                subsets += 1;
            }
        }
    }
    assert_eq!(subsets, 60);
}

#[test]
fn one_of_one_and_sixteen_of_sixteen_work_and_other_splits_are_refused() {
    for (k, m) in [(1, 1), (1, 3), (16, 16)] {
        let stage = Stage::new(1, k, m);
        let record = stage.operator_record();
        let mut pool = OperatorSharePool::default();
        for operator in 0..k - 1 {
            let text = stage.share_text(operator as usize);
            assert!(held(&pool.add(text, DOMAIN, &record, 0).unwrap()).is_some());
        }
        let text = stage.share_text(k as usize - 1);
        assert!(held(&pool.add(text, DOMAIN, &record, 0).unwrap()).is_none());
    }
    for (k, m) in [(0, 0), (0, 3), (4, 3), (3, 17), (257, 258), (1, 257)] {
        assert!(OperatorSplit::new(k, m).is_err(), "{k} of {m}");
    }
}

#[test]
fn shares_of_another_domain_generation_or_split_are_refused_and_the_pool_keeps_what_it_had() {
    let stage = Stage::new(3, 2, 3);
    let record = stage.operator_record();
    let mut pool = OperatorSharePool::default();
    pool.add(stage.share_text(0), DOMAIN, &record, 0).unwrap();

    let mut share = OperatorShare::from_text(stage.share_text(1)).unwrap();
    share.domain = DomainId([1; 16]);
    let refused = pool.add(share.to_text().expose(), DOMAIN, &record, 0).unwrap_err();
    assert_eq!(refused, PoolError::OtherDomain);

    let mut share = OperatorShare::from_text(stage.share_text(1)).unwrap();
    share.generation = OperatorGeneration(2);
    let refused = pool.add(share.to_text().expose(), DOMAIN, &record, 0).unwrap_err();
    let (given, wanted) = (OperatorGeneration(2), OperatorGeneration(1));
    assert_eq!(refused, PoolError::OtherGeneration { given, wanted });

    let mut share = OperatorShare::from_text(stage.share_text(1)).unwrap();
    share.share.x = 4;
    let refused = pool.add(share.to_text().expose(), DOMAIN, &record, 0).unwrap_err();
    assert_eq!(refused, PoolError::OtherSplit);

    assert_eq!(pool.len(), 1);
    assert!(held(&pool.add(stage.share_text(2), DOMAIN, &record, 0).unwrap()).is_none());
}

/// A domain that was founded, given up and founded again under the same id: shares of the first
/// attempt look right and are not.
#[test]
fn shares_of_an_older_dealing_do_not_fit_and_none_is_kept() {
    let stage = Stage::new(3, 2, 3);
    let older = found(&input(3, 2, 3), &mut SeededEntropy::from_number(99)).unwrap();
    let record = stage.operator_record();
    let mut pool = OperatorSharePool::default();
    pool.add(stage.share_text(0), DOMAIN, &record, 0).unwrap();
    for operator in [0, 1] {
        pool.clear();
        pool.add(stage.share_text(0), DOMAIN, &record, 0).unwrap();
        let text = older.operator_shares[operator].expose();
        assert_eq!(pool.add(text, DOMAIN, &record, 0).unwrap_err(), PoolError::DoNotFit);
        assert!(pool.is_empty());
    }
    pool.add(stage.share_text(0), DOMAIN, &record, 0).unwrap();
    assert!(held(&pool.add(stage.share_text(1), DOMAIN, &record, 0).unwrap()).is_none());
}

#[test]
fn operator_shares_are_forgotten_ten_minutes_after_the_first() {
    let stage = Stage::new(3, 3, 5);
    let record = stage.operator_record();
    let mut pool = OperatorSharePool::default();
    pool.add(stage.share_text(0), DOMAIN, &record, 50).unwrap();
    pool.add(stage.share_text(1), DOMAIN, &record, 50 + POOL_KEPT_MS - 1).unwrap();
    assert_eq!(pool.len(), 2);
    let progress = pool.add(stage.share_text(2), DOMAIN, &record, 50 + POOL_KEPT_MS).unwrap();
    assert_eq!(held(&progress), Some((1, 3)));
    pool.drop_old(u64::MAX);
    assert!(pool.is_empty());
}

/// One mistyped character anywhere is found, and no error or Debug repeats the text.
#[test]
fn a_mistyped_share_is_refused_without_being_repeated() {
    let stage = Stage::new(1, 2, 3);
    let text = stage.share_text(0);
    assert!(text.len() < 160, "{} bytes", text.len());
    for at in 0..text.len() {
        let mut typed = text.as_bytes().to_vec();
        typed[at] = if typed[at] == b'x' { b'y' } else { b'x' };
        let error = OperatorShare::from_text(std::str::from_utf8(&typed).unwrap()).unwrap_err();
        assert!(!error.to_string().contains(&text[30..40]));
    }
    assert_eq!(OperatorShare::from_text(&text[..80]).unwrap_err(), ShareTextError::Incomplete);
    assert_eq!(OperatorShare::from_text("hello").unwrap_err(), ShareTextError::NotAShare);
    let long = format!("{text}{text}");
    assert_eq!(
        OperatorShare::from_text(&long).unwrap_err(),
        ShareTextError::TooLong { found: long.len() }
    );
    assert!(OperatorShare::from_text(&format!("  {text}\r\n")).is_ok());
    assert_eq!(format!("{:?}", stage.founding.operator_shares[0]), "[operator share]");
    let share = OperatorShare::from_text(text).unwrap();
    assert!(format!("{share:?}").contains("[secret]"));
}
