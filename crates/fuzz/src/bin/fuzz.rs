//! libFuzzer on the target that `CONCLAVE_FUZZ_TARGET` names; `scripts/fuzz` runs it.
#![no_main]

use std::sync::LazyLock;

use conclave_fuzz::{TARGETS, Target, check};

static CHOSEN: LazyLock<&Target> = LazyLock::new(|| {
    let name = std::env::var("CONCLAVE_FUZZ_TARGET").unwrap_or_default();
    let found = TARGETS.iter().find(|target| target.name == name);
    found.expect("CONCLAVE_FUZZ_TARGET names a target")
});

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    check(&CHOSEN, input);
});
