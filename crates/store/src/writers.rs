//! Registered writers and how their last txns ended: what makes a resent txn take effect once.

use std::collections::BTreeMap;

use crate::limits::{MAX_WRITERS, WRITER_WINDOW};
use crate::{Outcome, TxnId};

#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Writers {
    /// By id, which is the index of the registering log entry: the first is the oldest.
    by_id: BTreeMap<u64, Writer>,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Writer {
    pub(crate) raft_id: u64,
    pub(crate) nonce: [u8; 16],
    pub(crate) window: Window,
}

/// What is known about one txn.
pub(crate) enum Recall<'a> {
    /// Never seen.
    New,
    /// Seen, and it ended so.
    Ended(&'a Outcome),
    /// Too old to tell.
    Forgotten,
    /// No such writer.
    UnknownWriter,
}

impl Writers {
    /// Adds a writer and drops the older ones of its Raft id, then the oldest past the bound.
    pub(crate) fn register(&mut self, id: u64, raft_id: u64, nonce: [u8; 16]) {
        self.by_id.retain(|_, writer| writer.raft_id != raft_id);
        self.by_id.insert(id, Writer { raft_id, nonce, window: Window::default() });
        while self.by_id.len() > MAX_WRITERS {
            self.by_id.pop_first();
        }
    }

    pub(crate) fn recall(&self, txn: TxnId) -> Recall<'_> {
        match self.by_id.get(&txn.writer) {
            None => Recall::UnknownWriter,
            Some(writer) => writer.window.recall(txn.sequence),
        }
    }

    pub(crate) fn remember(&mut self, txn: TxnId, outcome: Outcome) {
        if let Some(writer) = self.by_id.get_mut(&txn.writer) {
            writer.window.remember(txn.sequence, outcome);
        }
    }

    pub(crate) fn insert(&mut self, id: u64, writer: Writer) {
        self.by_id.insert(id, writer);
    }

    pub(crate) fn get_mut(&mut self, id: u64) -> Option<&mut Writer> {
        self.by_id.get_mut(&id)
    }

    pub(crate) fn last_id(&self) -> Option<u64> {
        self.by_id.keys().next_back().copied()
    }

    pub(crate) fn has_raft_id(&self, raft_id: u64) -> bool {
        self.by_id.values().any(|writer| writer.raft_id == raft_id)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (u64, &Writer)> {
        self.by_id.iter().map(|(id, writer)| (*id, writer))
    }

    pub(crate) fn len(&self) -> usize {
        self.by_id.len()
    }

    pub(crate) fn validate(&self) {
        assert!(self.by_id.len() <= MAX_WRITERS);
        self.by_id.values().for_each(|writer| writer.window.validate());
    }
}

/// The outcomes of a writer's last sequences. Batches may arrive out of order after a change of
/// leader, so the window is by sequence and has holes.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Window {
    outcomes: BTreeMap<u64, Outcome>,
    /// Sequences at or below are forgotten.
    floor: u64,
    length: usize,
}

impl Default for Window {
    fn default() -> Self {
        Window { outcomes: BTreeMap::new(), floor: 0, length: WRITER_WINDOW }
    }
}

impl Window {
    pub(crate) fn at(floor: u64) -> Window {
        Window { floor, ..Window::default() }
    }

    pub(crate) fn floor(&self) -> u64 {
        self.floor
    }

    pub(crate) fn len(&self) -> usize {
        self.outcomes.len()
    }

    pub(crate) fn last(&self) -> Option<u64> {
        self.outcomes.keys().next_back().copied()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (u64, &Outcome)> {
        self.outcomes.iter().map(|(sequence, outcome)| (*sequence, outcome))
    }

    fn recall(&self, sequence: u64) -> Recall<'_> {
        if sequence <= self.floor {
            return Recall::Forgotten;
        }
        self.outcomes.get(&sequence).map_or(Recall::New, Recall::Ended)
    }

    pub(crate) fn remember(&mut self, sequence: u64, outcome: Outcome) {
        self.outcomes.insert(sequence, outcome);
        while self.outcomes.len() > self.length {
            if let Some((forgotten, _)) = self.outcomes.pop_first() {
                self.floor = forgotten;
            }
        }
    }

    fn validate(&self) {
        assert!(self.outcomes.len() <= self.length);
        assert!(self.outcomes.keys().next().is_none_or(|first| *first > self.floor));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Revision;

    /// The floor moves up with what falls out, so that nothing forgotten is ever applied again.
    #[test]
    fn what_falls_out_of_the_window_is_below_the_floor() {
        let mut window = Window { length: 2, ..Window::default() };
        for sequence in [1, 5, 3] {
            window.remember(sequence, Outcome::Committed(Revision::default()));
            window.validate();
        }
        assert_eq!(window.floor(), 1);
        assert!(matches!(window.recall(0), Recall::Forgotten));
        assert!(matches!(window.recall(1), Recall::Forgotten));
        assert!(matches!(window.recall(2), Recall::New));
        assert!(matches!(window.recall(3), Recall::Ended(_)));
        window.remember(2, Outcome::Committed(Revision::default()));
        assert_eq!((window.floor(), window.len()), (2, 2));
    }

    /// A node that starts again and again must not fill the table, nor push others out.
    #[test]
    fn a_raft_id_has_one_writer_and_the_table_is_bounded() {
        let mut writers = Writers::default();
        for id in 1..1000 {
            writers.register(id, 7, [0; 16]);
        }
        assert_eq!(writers.len(), 1);
        for id in 1000..2000 {
            writers.register(id, id, [0; 16]);
        }
        writers.validate();
        assert_eq!(writers.iter().next().map(|(id, _)| id), Some(2000 - MAX_WRITERS as u64));
    }
}
