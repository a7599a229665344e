//! Secrets keep their bytes apart, come as zeros, and give everything back. One test a process, for
//! they count what the process has: this file has one that does everything in turn.

use std::collections::VecDeque;

use conclave_memory::{PageKind, SecretBytes, usage};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

/// Lengths around every border: none, a key, odd ones, slots, blocks, pages of their own.
fn lengths() -> impl Strategy<Value = usize> {
    // Under miri each byte takes its time.
    let long = if cfg!(miri) { 0 } else { 1 };
    prop_oneof![
        6 => Just(32_usize),
        2 => 0_usize..300,
        2 * long => 4_000_usize..9_000,
        long => 65_530_usize..65_542,
        long => 100_000_usize..140_000,
    ]
}

#[test]
fn secrets_keep_to_themselves_and_leave_nothing() {
    let before = usage();
    assert_eq!((before.secrets, before.on_heap), (0, 0));

    let cases = if cfg!(miri) { 2 } else { 200 };
    let config = Config { cases, failure_persistence: None, ..Config::default() };
    TestRunner::new(config)
        .run(&prop::collection::vec((lengths(), any::<u8>(), 0..3_u8), 1..60), |steps| {
            let mut held: VecDeque<(SecretBytes, u8)> = VecDeque::new();
            for (len, fill, after) in steps {
                let mut secret = SecretBytes::zeroed(len);
                prop_assert_eq!(secret.len(), len);
                prop_assert!(secret.iter().all(|byte| *byte == 0), "not zeros");
                secret.fill(fill);
                held.push_back((secret, fill));
                for _ in 0..after {
                    check(held.pop_front())?;
                }
            }
            held.into_iter().try_for_each(|one| check(Some(one)))
        })
        .unwrap();

    let after = usage();
    assert_eq!((after.secrets, after.on_heap), (0, 0));
    if !cfg!(miri) {
        assert_ne!(after.kind, PageKind::Heap, "this system gave no pages at all");
        many_keys_fit_on_few_pages();
        no_room_is_no_failure();
    }
}

fn check(one: Option<(SecretBytes, u8)>) -> Result<(), TestCaseError> {
    let Some((secret, fill)) = one else { return Ok(()) };
    prop_assert!(secret.iter().all(|byte| *byte == fill), "another secret wrote here");
    Ok(())
}

fn many_keys_fit_on_few_pages() {
    let keys: Vec<SecretBytes> = (0..100_000).map(|_| SecretBytes::zeroed(32)).collect();
    let now = usage();
    assert_eq!((now.secrets, now.on_heap), (keys.len(), 0));
    assert!(now.mapped < 5 << 20, "{} bytes for 100,000 keys", now.mapped);
    drop(keys);
    // What one class gave back serves another.
    let others: Vec<SecretBytes> = (0..700).map(|_| SecretBytes::zeroed(4_096)).collect();
    assert_eq!((usage().mapped, others.len()), (now.mapped, 700));
}

/// More than this process could ever map for one secret.
fn no_room_is_no_failure() {
    conclave_memory::prepare(PageKind::Heap);
    let mapped = usage().mapped;
    let secret = SecretBytes::zeroed(1 << 20);
    assert_eq!((usage().on_heap, usage().mapped), (1, mapped));
    drop(secret);
    assert_eq!(usage().on_heap, 0);
}
