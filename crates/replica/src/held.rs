//! How far a node's disk is known to have come.
//!
//! The vote and the log are one stream on disk: a vote is durable before the entries it allows, and
//! under one vote's leader the log only grows. So (vote, last entry of that leader) only ever grows,
//! whatever openraft truncates, and a disk that holds less than it was seen to hold went back: an
//! older image, a lost tail, a device that lied about what it had written.

use std::sync::{Mutex, PoisonError};

use conclave_proto::raft as proto;

use crate::types::{LogId, Vote};

/// A point in the growth of one node's disk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Held {
    term: u64,
    leader: u64,
    is_committed: bool,
    /// Of the last entry that the vote's leader made; 0 if the log ends in an earlier leader's,
    /// which this one may yet truncate.
    index: u64,
}

impl Held {
    /// Of a durable vote and log end.
    pub fn of(vote: Option<Vote>, last: Option<LogId>) -> Self {
        let Some(vote) = vote else { return Self::default() };
        let last = last.filter(|last| last.leader_id == vote.leader_id);
        Self {
            term: vote.leader_id.term,
            leader: vote.leader_id.node_id,
            is_committed: vote.committed,
            index: last.map_or(0, |last| last.index),
        }
    }

    /// As it travels, with the start of the node that holds it.
    pub(crate) fn to_proto(self, start: u64) -> proto::Held {
        let Self { term, leader, is_committed, index } = self;
        proto::Held { term, leader, committed: is_committed, index, start }
    }

    /// As it travelled; any values are a point somewhere.
    pub(crate) fn from_proto(held: &proto::Held) -> Self {
        Self {
            term: held.term,
            leader: held.leader,
            is_committed: held.committed,
            index: held.index,
        }
    }
}

impl std::fmt::Display for Held {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "term {} of leader {}, entry {}", self.term, self.leader, self.index)
    }
}

/// What is durable in the log now: the log's writer says it, and every message to a peer carries it.
#[derive(Debug, Default)]
pub struct Durable(Mutex<Held>);

impl Durable {
    /// How far the disk has come.
    pub fn get(&self) -> Held {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What this vote and log end say was fsynced.
    pub(crate) fn set(&self, vote: Option<Vote>, last: Option<LogId>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Held::of(vote, last);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::Leader;

    fn held(vote: (u64, u64, bool), last: Option<(u64, u64, u64)>) -> Held {
        let vote = Vote { leader_id: Leader { term: vote.0, node_id: vote.1 }, committed: vote.2 };
        let last = last.map(|(term, node_id, index)| LogId::new(Leader { term, node_id }, index));
        Held::of(Some(vote), last)
    }

    #[test]
    fn it_grows_with_everything_that_raft_makes_durable() {
        let history = [
            Held::of(None, None),
            held((1, 2, false), None),
            held((1, 2, true), None),
            held((1, 2, true), Some((1, 2, 1))),
            held((1, 2, true), Some((1, 2, 100))),
            // Another stands, wins, and cuts away what it does not have before it adds its own.
            held((2, 1, false), Some((1, 2, 100))),
            held((2, 1, true), Some((1, 2, 100))),
            held((2, 1, true), Some((1, 2, 85))),
            held((2, 1, true), Some((2, 1, 86))),
        ];
        assert!(history.windows(2).all(|two| two[0] <= two[1]));
        assert!(history[4] < history[8] && history[3] < history[4]);
        // What was truncated counts for nothing by itself.
        assert_eq!(history[6], history[7]);
    }
}
