//! Every target on a fixed sequence of inputs: the same on every machine, a second or two each.
//! What it finds stays in `regressions/` for good, and is tried first.

use conclave_fuzz::{TARGETS, Target, check, mutate};
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

#[track_caller]
fn run(name: &str) {
    let target: &Target =
        TARGETS.iter().find(|target| target.name == name).expect("the list names targets");
    let seeds = target.seeds();
    for (number, seed) in (target.valid)().iter().enumerate() {
        assert!(
            check(target, seed),
            "valid input {number} was refused: what does this target test?"
        );
    }
    for seed in &seeds {
        check(target, seed);
    }
    let config = Config { cases: target.brief, failure_persistence: None, ..Config::default() };
    let rng = TestRng::deterministic_rng(RngAlgorithm::ChaCha);
    let outcome = TestRunner::new_with_rng(config, rng).run(&mutate::inputs(seeds), |input| {
        check(target, &input);
        Ok(())
    });
    if let Err(failure) = outcome {
        panic!("{failure}\nkeep that input as crates/fuzz/regressions/{name}/WHAT-IT-SHOWS");
    }
}

macro_rules! each {
    ($($name:ident),* $(,)?) => {
        $(
            #[test]
            fn $name() {
                run(stringify!($name));
            }
        )*

        #[test]
        fn no_target_is_left_out() {
            let run = [$(stringify!($name)),*];
            let all: Vec<&str> = TARGETS.iter().map(|target| target.name).collect();
            assert_eq!(run.as_slice(), all);
        }
    };
}

each![
    kms_request,
    json_request,
    cluster_request,
    peer_request,
    peer_answer,
    store_command,
    raft_entry,
    log_record,
    snapshot_file,
    audit_segment,
    node_folder,
    sealed_record,
    public_record,
    export_file,
    checkpoint_note,
    audit_entry,
    operator_share,
    ciphertext,
    config_toml,
    certificate,
    names_and_addresses,
    key_policy,
];
