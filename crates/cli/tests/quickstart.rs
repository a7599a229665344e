//! `scripts/quickstart`, as the README tells everybody to run it, but for the build: with the binary
//! that is under test.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test fails where this does")]

use std::path::Path;
use std::process::Command;

#[test]
fn the_quickstart_runs_to_its_end() {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../scripts/quickstart");
    let output =
        Command::new(script).env("CONCLAVE_BIN", env!("CARGO_BIN_EXE_conclave")).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    println!("{said}");
    let complained = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}: {complained}", output.status);
    for step in 1..=7 {
        assert!(said.contains(&format!("\n{step}. ")), "no step {step}");
    }
    let last = said.trim_end().lines().next_back().unwrap();
    assert!(last.starts_with("Done. "), "{last}");
}
