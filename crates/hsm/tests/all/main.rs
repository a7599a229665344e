//! Tests against the real SoftHSM 2, some of them through a module that fails as it is told.
//!
//! Each runs in a process of its own: SoftHSM reads its configuration from the environment, and
//! PKCS#11 has one state a process.

#![allow(clippy::unwrap_used, reason = "a helper that fails fails its test")]

mod faults;
mod keys;
mod pin;
mod sandbox;
mod worker;
