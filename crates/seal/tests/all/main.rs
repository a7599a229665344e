//! The seal from outside: ceremonies as scripts, golden bytes, and joining under crashes.
#![allow(missing_docs, reason = "tests are named after what they prove")]

mod ceremony;
mod exchange;
mod golden;
mod joining;
mod operators;
mod stage;
