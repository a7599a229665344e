//! The power-on self-tests hold here, and each of them can fail.

use conclave_crypto::self_test::{Algorithm, check, known_answers};

#[test]
fn every_algorithm_gives_its_known_answer() {
    assert_eq!(check(&known_answers()), Ok(()));
    let all = known_answers().len();
    assert_eq!(all, 15, "an algorithm was added or left out");
}

#[test]
fn a_wrong_answer_names_its_algorithm_alone() {
    for wrong in 0..known_answers().len() {
        let mut answers = known_answers();
        let spoilt = answers.remove(wrong).spoilt();
        let algorithm = spoilt.algorithm;
        answers.insert(wrong, spoilt);
        let failed = check(&answers).unwrap_err();
        assert_eq!(failed.failed, [algorithm]);
        assert!(failed.to_string().contains(&algorithm.to_string()));
    }
}

#[test]
fn every_failure_is_named() {
    let answers: Vec<_> = known_answers().into_iter().map(|answer| answer.spoilt()).collect();
    let failed = check(&answers).unwrap_err();
    assert_eq!(failed.failed.len(), answers.len());
    assert!(failed.to_string().contains("SHA-256, HMAC-SHA256, "), "{failed}");
    assert_eq!(failed.failed[3], Algorithm::Xaes256Gcm);
}
