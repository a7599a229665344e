//! How far a replica has got since its start, and why it gave up, if it did.
//!
//! Two things are settled before a node serves. Its disk holds no less than the others saw it hold;
//! until then it neither votes nor acknowledges. And a majority of the voters noted the same state
//! as it did at a checkpoint applied since; until then it takes part, but proposes nothing for
//! anyone and sends no snapshot.

use std::sync::OnceLock;
use std::time::Instant;

use tokio::sync::watch;
use tonic::Status;

/// What was settled since the start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Nothing: it asks the others what they saw of its disk.
    Returning,
    /// It takes part, and looks for a majority that noted the same as it did.
    Unproven {
        /// Voters that have not said what they noted.
        missing: Vec<String>,
        /// Voters that noted something else.
        unlike: Vec<String>,
    },
    /// A majority noted the same.
    Proven,
}

impl std::fmt::Display for Standing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Returning => {
                f.write_str("comparing its disk with what the other voters saw of it")
            }
            Self::Unproven { missing, unlike } => {
                f.write_str("waiting for a majority of voters to have the same state")?;
                if !missing.is_empty() {
                    write!(f, "; not heard: {}", missing.join(", "))?;
                }
                if !unlike.is_empty() {
                    write!(f, "; of another state: {}", unlike.join(", "))?;
                }
                Ok(())
            }
            Self::Proven => f.write_str("of one state with a majority of voters"),
        }
    }
}

/// The standing of one replica, which many look at.
pub(crate) struct Standings {
    now: watch::Sender<Standing>,
    gave_up: OnceLock<String>,
}

impl Standings {
    pub(crate) fn new() -> Self {
        Self { now: watch::Sender::new(Standing::Returning), gave_up: OnceLock::new() }
    }

    pub(crate) fn set(&self, standing: Standing) {
        self.now.send_if_modified(|now| {
            let changed = *now != standing;
            *now = standing;
            changed
        });
    }

    pub(crate) fn get(&self) -> Standing {
        self.now.borrow().clone()
    }

    pub(crate) fn is_proven(&self) -> bool {
        *self.now.borrow() == Standing::Proven
    }

    /// Waits until the replica is proven; false: not before `deadline`.
    pub(crate) async fn proven(&self, deadline: Instant) -> bool {
        if self.is_proven() {
            return true;
        }
        let mut now = self.now.subscribe();
        let proven = now.wait_for(|standing| *standing == Standing::Proven);
        matches!(tokio::time::timeout_at(deadline.into(), proven).await, Ok(Ok(_)))
    }

    /// Whether the disk was compared.
    pub(crate) fn may_vote(&self) -> bool {
        *self.now.borrow() != Standing::Returning
    }

    /// A refusal of what would vote or acknowledge, until the disk was compared.
    pub(crate) fn check_returned(&self) -> Result<(), Status> {
        match self.may_vote() {
            true => Ok(()),
            false => Err(Status::unavailable("this node has yet to compare its disk; try again")),
        }
    }

    /// Why the replica stopped itself, if it did.
    pub(crate) fn gave_up(&self) -> Option<&str> {
        self.gave_up.get().map(String::as_str)
    }

    /// The first reason stands.
    pub(crate) fn give_up(&self, reason: String) {
        // A second reason is a consequence of the first.
        let _ = self.gave_up.set(reason);
    }
}
