//! The log against a model of a few lines: any order of operations, reopened at any point.
#![allow(clippy::unwrap_used, reason = "a test")]

mod log_support;

use conclave_replica::types::{Entry, LogId, Vote};
use log_support::disk::SimFolder;
use log_support::{all, append, entry, id, open_small, runtime, vote};
use openraft::RaftLogReader;
use openraft::storage::RaftLogStorage;
use proptest::prelude::*;

#[derive(Clone, Debug)]
enum Op {
    Append(u64),
    /// Keep so many per cent.
    Truncate(u64),
    Purge(u64),
    /// Purge so far beyond the end: a snapshot came.
    Skip(u64),
    Vote,
    Committed(u64),
    Reopen,
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        6 => (1..12u64).prop_map(Op::Append),
        2 => (0..=100u64).prop_map(Op::Truncate),
        2 => (0..=100u64).prop_map(Op::Purge),
        1 => (1..5u64).prop_map(Op::Skip),
        1 => Just(Op::Vote),
        1 => (0..=100u64).prop_map(Op::Committed),
        2 => Just(Op::Reopen),
    ]
}

#[derive(Default)]
struct Model {
    entries: Vec<Entry>,
    purged: Option<LogId>,
    vote: Option<Vote>,
    committed: Option<LogId>,
}

impl Model {
    fn last(&self) -> Option<LogId> {
        self.entries.last().map(|entry| entry.log_id).or(self.purged)
    }

    fn next(&self) -> u64 {
        self.last().map_or(1, |last| last.index + 1)
    }

    /// The entry so many per cent into the log, or what was purged.
    fn at(&self, percent: u64) -> Option<LogId> {
        let kept = self.entries.len() * percent as usize / 100;
        self.entries[..kept].last().map(|entry| entry.log_id).or(self.purged)
    }
}

async fn run(ops: Vec<Op>) {
    let disk = SimFolder::new(0);
    let mut log = open_small(&disk).unwrap();
    let mut model = Model::default();
    for op in ops {
        match op {
            Op::Append(count) => {
                let entries: Vec<_> = (model.next()..model.next() + count).map(entry).collect();
                append(&mut log, entries.clone()).await.unwrap();
                model.entries.extend(entries);
            }
            Op::Truncate(percent) => {
                let last = model.at(percent);
                let committed = model.committed.map(|id| id.index);
                if last.map(|id| id.index) < committed {
                    assert!(log.truncate_after(last).await.is_err());
                    continue;
                }
                log.truncate_after(last).await.unwrap();
                model.entries.retain(|entry| Some(entry.log_id) <= last);
            }
            Op::Purge(percent) => {
                let Some(upto) = model.at(percent) else { continue };
                log.purge(upto).await.unwrap();
                model.entries.retain(|entry| entry.log_id > upto);
                model.purged = Some(upto);
            }
            Op::Skip(by) => {
                let upto = id(model.next() + by);
                log.purge(upto).await.unwrap();
                model.entries.clear();
                model.purged = Some(upto);
            }
            Op::Vote => {
                let term = model.vote.map_or(1, |vote| vote.leader_id.term + 1);
                log.save_vote(&vote(term)).await.unwrap();
                model.vote = Some(vote(term));
            }
            Op::Committed(percent) => {
                model.committed = model.at(percent);
                log.save_committed(model.committed).await.unwrap();
            }
            Op::Reopen => {
                drop(log);
                log = open_small(&disk).unwrap();
            }
        }
        let state = log.log_state().unwrap();
        assert_eq!((state.last_purged_log_id, state.last_log_id), (model.purged, model.last()));
        assert_eq!(all(&mut log).await, model.entries);
        assert_eq!(log.read_vote().await.unwrap(), model.vote);
        assert_eq!(log.read_committed().await.unwrap(), model.committed);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, ..ProptestConfig::default() })]
    #[test]
    fn any_history_is_kept(ops in prop::collection::vec(op(), 1..60)) {
        runtime().block_on(run(ops));
    }
}
