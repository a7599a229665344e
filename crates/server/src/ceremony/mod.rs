//! Founding, unsealing, dealing and exchanging shares, changing members, draining.
//!
//! The rules are in `conclave-seal`; these modules carry messages, files and txns for it.

pub(crate) mod dealing;
pub(crate) mod draining;
pub(crate) mod effects;
pub(crate) mod exchange;
pub(crate) mod founding;
pub(crate) mod members;
pub(crate) mod operators;
pub(crate) mod recovering;
pub(crate) mod rooting;
pub(crate) mod storing;
pub(crate) mod tending;
pub(crate) mod unsealing;
pub(crate) mod vouching;
