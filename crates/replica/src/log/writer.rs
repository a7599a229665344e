//! The one thread that writes the log: it takes queued operations in order, makes one durable
//! commit of all that gathered while the commit before was written, and then answers each.
//!
//! The first commit that fails is the last: it and all after it are answered with an error, for
//! after a failed fsync nobody knows what the disk holds.

use std::any::Any;
use std::collections::VecDeque;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Receiver, TryRecvError};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::oneshot;

use super::disk::{Batch, Disk, Step};
use super::memory::{AppendNumber, Memory};
use super::record::Bounds;
use crate::held::Durable;
use crate::types::{Flushed, LogId, Vote};

/// What one commit takes up at most; the rest waits for the next.
const COMMIT_BYTES_MAX: usize = 8 << 20;

/// How a caller learns that its operation is durable.
pub(super) type Done = oneshot::Sender<io::Result<()>>;

/// A queued write. Bounds are those of the log after it.
pub(super) enum Op {
    Append {
        frames: Vec<(u64, Vec<u8>)>,
        bounds: Bounds,
        number: AppendNumber,
        flushed: Flushed,
    },
    Truncate {
        bounds: Bounds,
        done: Done,
    },
    Purge {
        bounds: Bounds,
        done: Done,
    },
    Vote {
        vote: Vote,
        done: Done,
    },
    /// Goes with the next commit: a lost one costs only catching up after a start.
    Committed(Option<LogId>),
}

pub(super) struct Writer {
    pub(super) disk: Arc<Disk>,
    pub(super) memory: Arc<Mutex<Memory>>,
    pub(super) durable: Arc<Durable>,
    /// The last entry that the disk holds.
    pub(super) last: Option<LogId>,
    pub(super) ops: Receiver<Op>,
    /// The committed log id that waits for a commit to go with.
    pub(super) committed: Option<Option<LogId>>,
    /// Purged entries up to here may still lie on disk.
    pub(super) waste_to: Option<u64>,
}

/// One commit in the making, and whom to tell.
#[derive(Default)]
struct Group {
    batch: Batch,
    bytes: usize,
    appended: AppendNumber,
    answers: VecDeque<Answer>,
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
            let idle = group.answers.is_empty() && self.waste_to.is_none();
            let op = if idle {
                self.ops.recv().ok()?
            } else {
                match self.ops.try_recv() {
                    Ok(op) => op,
                    Err(TryRecvError::Disconnected) if group.answers.is_empty() => return None,
                    Err(_) => return Some(group),
                }
            };
            self.take(op, &mut group);
            if group.bytes >= COMMIT_BYTES_MAX {
                return Some(group);
            }
        }
    }

    fn take(&mut self, op: Op, group: &mut Group) {
        match op {
            Op::Append { frames, bounds, number, flushed } => {
                for (index, frame) in frames {
                    group.bytes += frame.len();
                    group.batch.steps.push(Step::Put { index, frame });
                }
                group.batch.bounds = Some(bounds);
                group.appended = number;
                group.answers.push_back(Answer::Flushed(flushed));
            }
            Op::Truncate { bounds, done } => {
                group.batch.steps.push(Step::Cut { from: bounds.end() });
                group.batch.bounds = Some(bounds);
                group.answers.push_back(Answer::Done(done));
            }
            Op::Purge { bounds, done } => {
                group.batch.bounds = Some(bounds);
                self.waste_to = bounds.purged.map(|purged| purged.index);
                group.answers.push_back(Answer::Done(done));
            }
            Op::Vote { vote, done } => {
                group.batch.vote = Some(vote);
                group.answers.push_back(Answer::Done(done));
            }
            Op::Committed(committed) => self.committed = Some(committed),
        }
    }

    fn write(&mut self, mut group: Group) {
        let vote = group.batch.vote;
        let last = group.batch.bounds.map_or(self.last, |bounds| bounds.last);
        group.batch.committed = self.committed.take();
        group.batch.waste_to = self.waste_to;
        let result = self.commit(group.batch);
        let reason = {
            let mut memory = self.memory.lock().unwrap_or_else(PoisonError::into_inner);
            match result {
                Ok(waste) => {
                    self.waste_to = self.waste_to.filter(|_| waste);
                    memory.vote = vote.or(memory.vote);
                    memory.flushed(group.appended);
                    self.last = last;
                    self.durable.set(memory.vote, last);
                    None
                }
                Err(error) => {
                    self.waste_to = None;
                    memory.fail(error.to_string());
                    Some((error.kind(), error.to_string()))
                }
            }
        };
        for answer in group.answers {
            let result = match &reason {
                None => Ok(()),
                Some((kind, reason)) => Err(io::Error::new(*kind, reason.clone())),
            };
            match answer {
                Answer::Flushed(flushed) => flushed.io_completed(result),
                // A caller that went away does not need the answer.
                Answer::Done(done) => drop(done.send(result)),
            }
        }
    }

    /// A panic in the database counts as a failed commit, so that nobody waits for ever.
    fn commit(&self, batch: Batch) -> io::Result<bool> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner).sound()?;
        let outcome = catch_unwind(AssertUnwindSafe(|| self.disk.commit(batch)));
        outcome.unwrap_or_else(|panic| Err(io::Error::other(panic_text(&panic))))
    }
}

fn panic_text(panic: &Box<dyn Any + Send>) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
    format!("the database panicked: {}", text.unwrap_or("no message"))
}
