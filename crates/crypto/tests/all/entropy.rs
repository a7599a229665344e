//! The seeded stream is pinned, because simulations replay from it; the system's is random.

use conclave_crypto::{Entropy, Key, SeededEntropy, SystemEntropy, hmac_sha256};

use crate::key;

#[test]
fn the_seeded_stream_is_hmac_in_counter_mode() {
    let mut stream = [0; 96];
    SeededEntropy::new([7; 32]).fill(&mut stream);
    for (n, block) in stream.chunks(32).enumerate() {
        assert_eq!(block, hmac_sha256(&key(7), &[&(n as u64).to_be_bytes()]));
    }
}

#[test]
fn slicing_does_not_change_the_stream() {
    let (mut whole, mut sliced) = ([0; 100], [0; 100]);
    SeededEntropy::from_number(3).fill(&mut whole);
    let mut entropy = SeededEntropy::from_number(3);
    let mut rest = &mut sliced[..];
    for len in [0, 1, 31, 33, 0, 35] {
        let (now, later) = rest.split_at_mut(len);
        entropy.fill(now);
        rest = later;
    }
    assert_eq!(whole, sliced);
}

#[test]
fn seeds_differ() {
    let one = Key::generate(&mut SeededEntropy::from_number(1));
    let other = Key::generate(&mut SeededEntropy::from_number(2));
    assert!(!one.ct_eq(&other));
}

#[test]
fn the_system_never_repeats() {
    assert!(!Key::generate(&mut SystemEntropy).ct_eq(&Key::generate(&mut SystemEntropy)));
}
