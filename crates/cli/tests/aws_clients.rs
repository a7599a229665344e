//! `scripts/aws-clients`: real AWS clients against a cluster, with the binary that is under test.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a test fails where this does, and says loudly what it left out"
)]

use std::path::Path;
use std::process::Command;

#[test]
fn aws_clients_find_what_they_know() {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../scripts/aws-clients");
    let output =
        Command::new(script).env("CONCLAVE_BIN", env!("CARGO_BIN_EXE_conclave")).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    println!("{said}");
    let complained = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}: {complained}", output.status);
    let last = said.trim_end().lines().next_back().unwrap();
    if last.starts_with("!! SKIPPED, NOT TESTED: ") {
        eprintln!("{last}");
    } else {
        assert!(last.starts_with("Done. "), "{last}");
    }
}
