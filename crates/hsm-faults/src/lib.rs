//! For tests alone: SoftHSM tokens in temporary folders ([`softhsm`]), and a PKCS#11 module that
//! stands before SoftHSM's and fails as a file tells it, call by call ([`control`]).
//!
//! The module is this very crate as a shared library, [`module_path`]. Whoever loads it has two
//! variables in its environment: [`CONTROL_VARIABLE`], and SoftHSM's own `SOFTHSM2_CONF`.

use std::path::PathBuf;

pub mod control;
mod proxy;
pub mod softhsm;

/// The environment variable that names the control file.
pub const CONTROL_VARIABLE: &str = "CONCLAVE_HSM_FAULTS";

/// The faulty module, as cargo built it for the test that asks.
///
/// # Panics
/// If it is not there.
pub fn module_path() -> PathBuf {
    let test = std::env::current_exe().expect("a test knows where it is");
    let folder = test.parent().expect("and in which folder");
    let path = folder.join("libconclave_hsm_faults.so");
    assert!(path.exists(), "{} was not built; depend on conclave-hsm-faults", path.display());
    path
}
