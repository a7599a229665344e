//! The seal from outside: ceremonies as scripts, golden bytes, and joining under crashes.
#![allow(missing_docs, reason = "tests are named after what they prove")]
#![allow(clippy::unwrap_used, reason = "a helper that fails fails its test")]

mod ceremony;
mod exchange;
mod golden;
mod joining;
mod operators;
mod rotation;
mod stage;
mod taken_back;
mod theft;
