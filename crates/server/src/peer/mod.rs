//! What nodes say to each other beside Raft: greetings, founding, admission, shares, status.
//!
//! Every caller is a node of this cluster, by its certificate; one that was removed is refused.
//! Calls about a domain carry cluster, domain and the target's Raft id, and any other node refuses
//! them.

mod client;
mod members;
mod router;

pub(crate) use client::{Client, client, timed};
pub(crate) use router::router;
