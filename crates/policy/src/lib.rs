//! Key policies: documents of AWS IAM, parsed once into checked types.
//!
//! [`Policy::parse`] reads a document, whole or not at all: what this version does not know is refused
//! and never passed over, since whoever wrote it relies on it. What a policy says is asked of it in
//! `question.rs`; so far that is one question, whether somebody could still change the policy.
//!
//! It decides nothing by itself and knows neither keys nor callers: `conclave-kms` has those, and its
//! `authorize.rs` is where a yes comes from. The language is that of
//! <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_elements.html>, of which
//! policy variables (`${...}`) are kept as the text they are.

mod condition;
mod document;
mod error;
mod json;
mod operator;
mod parts;
mod pattern;
mod principal;
mod question;

pub use condition::{Condition, Network, Values};
pub use document::{
    Effect, Listed, POLICY_BYTES_MAX, Policy, STATEMENTS_MAX, Statement, VALUES_MAX, Version,
};
pub use error::{Fault, PolicyError};
pub use operator::{Comparison, Operator, Quantifier};
pub use pattern::Pattern;
pub use principal::{AccountId, Principal, UserArn, is_principal_name};
pub use question::Question;
