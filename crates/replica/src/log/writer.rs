//! The one thread that writes the log: it takes queued operations in order, makes one durable
//! commit of all that gathered while the commit before was written, and then answers each.
//!
//! The first commit that fails is the last: it and all after it are answered with an error, for
//! after a failed fsync nobody knows what the disk holds. A full disk is no failure: the commit
//! waits for room, and whoever waits for it waits too.

use std::any::Any;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, TryRecvError};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{Notify, oneshot};

use super::journal::Journal;
use super::memory::{AppendNumber, Memory};
use super::record::Change;
use crate::held::Durable;
use crate::types::{Entry, Flushed, LogId, Vote};

/// What one commit takes up at most; the rest waits for the next.
const COMMIT_BYTES_MAX: usize = 2 << 20;

/// How a caller learns that its operation is durable.
pub(super) type Done = oneshot::Sender<io::Result<()>>;

/// A queued write.
pub(super) enum Op {
    Append {
        entries: Vec<Entry>,
        /// Of their records.
        bytes: usize,
        number: AppendNumber,
        flushed: Flushed,
    },
    Truncate {
        last: Option<LogId>,
        done: Done,
    },
    Purge {
        upto: LogId,
        done: Done,
    },
    Vote {
        vote: Vote,
        done: Done,
    },
    /// Goes with the next commit: a lost one costs only catching up after a start.
    Committed(Option<LogId>),
}

/// Bytes of appends that were queued and are not durable.
#[derive(Debug, Default)]
pub(super) struct Backlog {
    bytes: AtomicUsize,
    shrank: Notify,
}

impl Backlog {
    pub(super) fn add(&self, bytes: usize) {
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    fn take(&self, bytes: usize) {
        self.bytes.fetch_sub(bytes, Ordering::Relaxed);
        self.shrank.notify_waiters();
    }

    /// Waits until no more than `max` bytes are queued.
    pub(super) async fn below(&self, max: usize) {
        loop {
            let shrank = self.shrank.notified();
            if self.bytes.load(Ordering::Relaxed) <= max {
                return;
            }
            shrank.await;
        }
    }
}

pub(super) struct Writer {
    pub(super) journal: Journal,
    pub(super) memory: Arc<Mutex<Memory>>,
    pub(super) durable: Arc<Durable>,
    pub(super) backlog: Arc<Backlog>,
    pub(super) ops: Receiver<Op>,
    /// The committed log id that waits for a commit to go with.
    pub(super) committed: Option<Option<LogId>>,
}

/// One commit in the making, and whom to tell.
#[derive(Default)]
struct Group {
    changes: Vec<Change>,
    bytes: usize,
    appended: AppendNumber,
    answers: Vec<Answer>,
}

enum Answer {
    Flushed(Flushed),
    Done(Done),
}

impl Writer {
    /// Runs until every handle of the log is gone, then writes what still waits.
    pub(super) fn run(mut self) {
        while let Some(group) = self.gather() {
            self.write(group);
        }
        if self.committed.is_some() {
            self.write(Group::default());
        }
    }

    /// Waits for an operation and takes along what else is queued. None: no handle is left.
    fn gather(&mut self) -> Option<Group> {
        let mut group = Group::default();
        loop {
            let op = if group.answers.is_empty() {
                self.ops.recv().ok()?
            } else {
                match self.ops.try_recv() {
                    Ok(op) => op,
                    Err(TryRecvError::Empty | TryRecvError::Disconnected) => return Some(group),
                }
            };
            self.take(op, &mut group);
            if group.bytes >= COMMIT_BYTES_MAX {
                return Some(group);
            }
        }
    }

    fn take(&mut self, op: Op, group: &mut Group) {
        let (change, done) = match op {
            Op::Append { entries, bytes, number, flushed } => {
                group.changes.extend(entries.into_iter().map(Change::Append));
                group.bytes += bytes;
                group.appended = number;
                group.answers.push(Answer::Flushed(flushed));
                return;
            }
            Op::Committed(committed) => {
                self.committed = Some(committed);
                return;
            }
            Op::Truncate { last, done } => (Change::Truncate(last), done),
            Op::Purge { upto, done } => (Change::Purge(upto), done),
            Op::Vote { vote, done } => (Change::Vote(vote), done),
        };
        group.changes.push(change);
        group.answers.push(Answer::Done(done));
    }

    fn write(&mut self, mut group: Group) {
        group.changes.extend(self.committed.take().map(Change::Committed));
        let result = self.commit(&group.changes);
        let failure = {
            let mut memory = self.memory.lock().unwrap_or_else(PoisonError::into_inner);
            match result {
                Ok(()) => {
                    let head = self.journal.durable();
                    memory.set_vote(head.vote);
                    self.durable.set(head.vote, head.bounds.last);
                    for (index, slot) in self.journal.take_placed() {
                        memory.place(index, slot);
                    }
                    memory.flushed(group.appended);
                    None
                }
                Err(error) => {
                    memory.fail(error.to_string());
                    Some((error.kind(), error.to_string()))
                }
            }
        };
        for answer in group.answers {
            let result = match &failure {
                None => Ok(()),
                Some((kind, reason)) => Err(io::Error::new(*kind, reason.clone())),
            };
            match answer {
                Answer::Flushed(flushed) => flushed.io_completed(result),
                // A caller that went away does not need the answer.
                Answer::Done(done) => drop(done.send(result)),
            }
        }
        self.backlog.take(group.bytes);
    }

    /// A panic counts as a failed commit, so that nobody waits for ever.
    fn commit(&mut self, changes: &[Change]) -> io::Result<()> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner).sound()?;
        let journal = &mut self.journal;
        let commit = || {
            changes.iter().try_for_each(|change| journal.add(change))?;
            journal.commit()
        };
        let outcome = catch_unwind(AssertUnwindSafe(commit));
        outcome.unwrap_or_else(|panic| Err(io::Error::other(panic_text(&panic))))
    }
}

fn panic_text(panic: &Box<dyn Any + Send>) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
    format!("the log's writer panicked: {}", text.unwrap_or("no message"))
}
