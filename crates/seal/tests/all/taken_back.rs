//! What does not come to count: a share that the disk refused, and operator shares that others were
//! faster with.

use conclave_crypto::entropy::SeededEntropy;
use conclave_seal::dealing::{self, NewOperators, PlanError};
use conclave_seal::{
    EpochNumber, OperatorGeneration, OperatorSplit, RaftId, SealKind, WrappedShare, delivery,
};

use crate::stage::{DOMAIN, Stage, enrolment, ground, recipients, wrapped};

/// Nothing may be acknowledged, nor the token's key destroyed, for what is not on the disk.
#[test]
fn a_share_that_the_disk_refused_is_not_kept() {
    let stage = Stage::new(1, 1, 1);
    let (mut node, first, second) = (stage.node(1), EpochNumber(1), EpochNumber(2));
    let before = node.kept_share(first).cloned();
    let in_token = WrappedShare::by_token(DOMAIN, first, 1, vec![1; 64]);
    node.rewrapped(in_token);
    assert_eq!(node.sealed_with(first), Some(SealKind::Pkcs11));
    node.not_persisted(first, before.clone());
    assert_eq!(node.sealed_with(first), Some(SealKind::Operator));
    assert_eq!(node.kept_share(first), before.as_ref());
    assert!(node.is_token_key_gone(first));

    let entropy = &mut SeededEntropy::from_number(1);
    let (keyring, ground) = (&stage.founding.keyring, ground(&stage.store));
    let dealt = dealing::plan(keyring, &ground, second, &recipients([1]), None, entropy).unwrap();
    let request = dealt.deliveries[0].to_request(&dealt.epoch);
    let (share, plan) = delivery::open_request(&request, &enrolment(1), DOMAIN, RaftId(1)).unwrap();
    let share = wrapped(share);
    node.store_share(share.clone(), None, &plan).unwrap();
    assert_eq!(node.sealed_with(second), Some(SealKind::Operator));
    node.not_persisted(second, None);
    assert_eq!(node.sealed_with(second), None);
    // It comes again, and the disk takes it.
    node.store_share(share, None, &plan).unwrap();
    assert_eq!(node.sealed_with(second), Some(SealKind::Operator));
}

/// Two sets of operator shares of one generation must never count one after the other: whoever has the
/// first could not tell that they open nothing any more.
#[test]
fn operator_shares_of_a_generation_that_is_there_already_are_not_dealt() {
    let mut stage = Stage::new(1, 1, 1);
    let entropy = &mut SeededEntropy::from_number(2);
    let split = OperatorSplit::new(1, 1).unwrap();
    let record = stage.operator_record();
    let mut made = || NewOperators::after(&record, DOMAIN, split, entropy).unwrap().0;
    let (first, second) = (made(), made());
    let plan = |stage: &Stage, number: u64, operators: &NewOperators| {
        let entropy = &mut SeededEntropy::from_number(number);
        let (ground, number) = (ground(&stage.store), EpochNumber(number));
        let keyring = &stage.founding.keyring;
        dealing::plan(keyring, &ground, number, &recipients([1]), Some(operators), entropy)
    };
    let dealt = plan(&stage, 2, &first).unwrap();
    let acknowledged = [(RaftId(1), SealKind::Operator)].into();
    stage.store.write(dealt.writes(&acknowledged, false).unwrap());
    let refused = plan(&stage, 3, &second).unwrap_err();
    let [planned, present] = [OperatorGeneration(2); 2];
    assert_eq!(refused, PlanError::OperatorsChanged { planned, present });
}
