//! The durable Raft log, the vote beside it, and what openraft asks of both.
//!
//! `disk` keeps them in one redb file, `writer` is the thread that commits, `memory` is what
//! readers see; here they meet openraft's storage traits. Entries are readable as soon as `append`
//! returns and acknowledged when they are durable. A log that is damaged does not open; a log
//! whose disk failed takes nothing more. See docs/decisions/0001-raft-log-on-redb.md.

mod disk;
mod error;
mod memory;
mod record;
mod writer;

use std::fmt::Debug;
use std::io;
use std::ops::{Bound, Range, RangeBounds};
use std::path::Path;
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use futures::{Stream, TryStreamExt, stream};
use openraft::storage::{LogState, RaftLogStorage};
use openraft::{OptionalSend, RaftLogReader};
use redb::StorageBackend;
use tokio::sync::oneshot;

use self::disk::{Disk, Kept};
pub use self::error::{Damage, OpenError};
use self::memory::Memory;
use self::record::{Bounds, frame_entry};
use self::writer::{Done, Op, Writer};
use crate::codec::{self, ENTRY_BYTES_MAX};
use crate::held::Durable;
use crate::types::{Entry, Flushed, LogId, Types, Vote};

/// Entries of one replication message, and of one step of the stream that apply reads. A larger
/// entry goes alone.
pub const READ_BYTES_MAX: usize = 1 << 20;

/// The log of one replica. Clones are handles of the same log; when the last one goes, the log is
/// closed, which waits for what is queued.
#[derive(Clone)]
pub struct LogStore {
    inner: Arc<Inner>,
}

struct Inner {
    disk: Arc<Disk>,
    memory: Arc<Mutex<Memory>>,
    durable: Arc<Durable>,
    /// Taken when the log closes.
    ops: Option<Sender<Op>>,
    writer: Option<JoinHandle<()>>,
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.ops.take();
        if let Some(writer) = self.writer.take() {
            // A panic of the writer was already reported to everyone who waited.
            drop(writer.join());
        }
    }
}

impl LogStore {
    /// Opens or creates the log file and checks every entry in it. Blocks: not for async workers.
    pub fn open(path: &Path) -> Result<Self, OpenError> {
        let mut memory = Memory::default();
        let (disk, kept) = Disk::open(path, &mut |entry, bytes| memory.load(entry, bytes))?;
        Self::start(disk, kept, memory, path)
    }

    /// As [`LogStore::open`], on a backend of the caller's: how tests make a disk fail.
    pub fn open_on(backend: impl StorageBackend) -> Result<Self, OpenError> {
        let mut memory = Memory::default();
        let (disk, kept) = Disk::open_on(backend, &mut |entry, bytes| memory.load(entry, bytes))?;
        Self::start(disk, kept, memory, Path::new("(backend)"))
    }

    fn start(disk: Disk, kept: Kept, mut memory: Memory, path: &Path) -> Result<Self, OpenError> {
        let purged = kept.bounds.purged;
        let durable = Arc::new(Durable::default());
        let last = kept.bounds.last;
        durable.set(kept.vote, last);
        memory.loaded(kept);
        let (disk, memory) = (Arc::new(disk), Arc::new(Mutex::new(memory)));
        let (ops, queue) = channel();
        let writer = Writer {
            disk: disk.clone(),
            memory: memory.clone(),
            durable: durable.clone(),
            last,
            ops: queue,
            committed: None,
            waste_to: purged.map(|purged| purged.index),
        };
        let thread = std::thread::Builder::new().name("raft-log".to_owned());
        let writer = thread
            .spawn(move || writer.run())
            .map_err(|source| OpenError::Io { path: path.to_owned(), source })?;
        let inner = Inner { disk, memory, durable, ops: Some(ops), writer: Some(writer) };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// How far the disk has come, as it grows.
    pub fn held(&self) -> Arc<Durable> {
        self.inner.durable.clone()
    }

    /// Bytes on disk of the entries since the last purge.
    pub fn bytes_since_purge(&self) -> u64 {
        self.memory().bytes()
    }

    /// The bounds: what was purged, and the last log id.
    pub fn log_state(&self) -> io::Result<LogState<Types>> {
        let memory = self.memory();
        memory.sound()?;
        let Bounds { purged, last, .. } = memory.bounds();
        Ok(LogState { last_purged_log_id: purged, last_log_id: last })
    }

    /// The durable vote.
    pub fn vote(&self) -> io::Result<Option<Vote>> {
        let memory = self.memory();
        memory.sound()?;
        Ok(memory.vote)
    }

    fn memory(&self) -> MutexGuard<'_, Memory> {
        // Whoever panicked under this lock left the bounds as they were before or after its step.
        self.inner.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The entries of a range that the log holds, of them the first that fit into `bytes_max`.
    async fn read(&self, range: Range<u64>, bytes_max: usize) -> io::Result<Vec<Entry>> {
        loop {
            let plan = {
                let memory = self.memory();
                memory.sound()?;
                memory.plan(range.clone(), bytes_max)
            };
            if plan.disk.is_empty() {
                return Ok(plan.recent);
            }
            let disk = self.inner.disk.clone();
            let older = tokio::task::spawn_blocking(move || disk.read(plan.disk)).await;
            if self.memory().removals() != plan.removals {
                // A truncation or purge came in between: the two parts may not fit together.
                continue;
            }
            let mut entries = older.map_err(io::Error::other)??;
            entries.extend(plan.recent);
            return Ok(entries);
        }
    }

    fn queue(&self, op: Op) -> io::Result<()> {
        let ops = self.inner.ops.as_ref();
        let sent = ops.is_some_and(|ops| ops.send(op).is_ok());
        if sent { Ok(()) } else { Err(io::Error::other("the Raft log's writer has stopped")) }
    }

    async fn durable(&self, op: impl FnOnce(Done) -> Op) -> io::Result<()> {
        let (done, answer) = oneshot::channel();
        self.queue(op(done))?;
        let lost = |_| io::Error::other("the Raft log's writer has stopped");
        answer.await.map_err(lost)?
    }
}

impl RaftLogStorage<Types> for LogStore {
    type LogReader = Self;

    async fn get_log_state(&mut self) -> io::Result<LogState<Types>> {
        self.log_state()
    }

    async fn get_log_reader(&mut self) -> Self {
        self.clone()
    }

    async fn save_vote(&mut self, vote: &Vote) -> io::Result<()> {
        self.memory().sound()?;
        let vote = *vote;
        self.durable(|done| Op::Vote { vote, done }).await
    }

    async fn save_committed(&mut self, committed: Option<LogId>) -> io::Result<()> {
        let mut memory = self.memory();
        memory.sound()?;
        memory.committed = committed;
        self.queue(Op::Committed(committed))
    }

    async fn read_committed(&mut self) -> io::Result<Option<LogId>> {
        let memory = self.memory();
        memory.sound()?;
        Ok(memory.committed)
    }

    async fn append<I>(&mut self, entries: I, callback: Flushed) -> io::Result<()>
    where
        I: IntoIterator<Item = Entry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let mut frames = Vec::new();
        let mut readable = Vec::new();
        for entry in entries {
            let encoded = codec::encode_entry(&entry);
            if encoded.len() > ENTRY_BYTES_MAX {
                let (id, bytes) = (entry.log_id, encoded.len());
                return Err(refused(format!(
                    "entry {id} has {bytes} bytes, more than {ENTRY_BYTES_MAX}"
                )));
            }
            let index = entry.log_id.index;
            let frame = frame_entry(index, &encoded);
            readable.push((entry, frame.len()));
            frames.push((index, frame));
        }
        let Some(&(first, _)) = frames.first() else {
            callback.io_completed(Ok(()));
            return Ok(());
        };
        let mut memory = self.memory();
        memory.sound()?;
        let end = memory.bounds().end();
        let consecutive = frames.windows(2).all(|pair| pair[0].0 + 1 == pair[1].0);
        if !memory.continues_at(first) || !consecutive {
            return Err(refused(format!("entries from {first} would leave a hole: {end} is next")));
        }
        let number = memory.append(readable);
        // Queued under the lock, so that the queue has the operations in the order of the bounds.
        self.queue(Op::Append { frames, bounds: memory.bounds(), number, flushed: callback })
    }

    async fn truncate_after(&mut self, last: Option<LogId>) -> io::Result<()> {
        if let Some(last) = last {
            let found = self.read(last.index..last.index.saturating_add(1), 0).await?;
            if found.first().is_some_and(|entry| entry.log_id != last) {
                return Err(refused(format!("cannot truncate after {last}: it is not in the log")));
            }
        }
        self.durable(|done| {
            let mut memory = self.memory();
            memory.truncate_after(last);
            Op::Truncate { bounds: memory.bounds(), done }
        })
        .await
    }

    async fn purge(&mut self, upto: LogId) -> io::Result<()> {
        self.memory().sound()?;
        self.durable(|done| {
            let mut memory = self.memory();
            memory.purge(upto);
            Op::Purge { bounds: memory.bounds(), done }
        })
        .await
    }
}

impl RaftLogReader<Types> for LogStore {
    async fn try_get_log_entries<R>(&mut self, range: R) -> io::Result<Vec<Entry>>
    where
        R: RangeBounds<u64> + Clone + Debug + OptionalSend,
    {
        self.read(half_open(&range), usize::MAX).await
    }

    async fn read_vote(&mut self) -> io::Result<Option<Vote>> {
        self.vote()
    }

    /// What replication sends: the first entries that fit into one message.
    async fn limited_get_log_entries(&mut self, start: u64, end: u64) -> io::Result<Vec<Entry>> {
        let found = self.read(start..end, READ_BYTES_MAX).await?;
        // openraft puts these after the entry before `start`. If that one was just purged, later
        // entries in its place would be a hole in the follower's log; none is a heartbeat.
        let joins = found.first().is_none_or(|first| first.log_id.index == start);
        Ok(if joins { found } else { Vec::new() })
    }

    /// What apply reads: step by step, so that a long backlog is never in memory at once. Ends
    /// where the log ends, and fails rather than skip an entry that was purged.
    async fn entries_stream<R>(
        &mut self,
        range: R,
    ) -> impl Stream<Item = io::Result<Entry>> + OptionalSend
    where
        R: RangeBounds<u64> + Clone + Debug + OptionalSend,
    {
        let whole = (self.clone(), half_open(&range));
        let steps = stream::try_unfold(whole, |(log, range)| async move {
            let found = log.read(range.clone(), READ_BYTES_MAX).await?;
            let (Some(first), Some(last)) = (found.first(), found.last()) else { return Ok(None) };
            if first.log_id.index != range.start {
                return Err(refused(format!(
                    "entry {} was purged before it was read",
                    range.start
                )));
            }
            let rest = last.log_id.index + 1..range.end;
            Ok(Some((stream::iter(found.into_iter().map(Ok)), (log, rest))))
        });
        Box::pin(steps.try_flatten())
    }
}

fn half_open(range: &impl RangeBounds<u64>) -> Range<u64> {
    let start = match range.start_bound() {
        Bound::Included(start) => *start,
        Bound::Excluded(before) => before.saturating_add(1),
        Bound::Unbounded => 0,
    };
    let end = match range.end_bound() {
        Bound::Included(last) => last.saturating_add(1),
        Bound::Excluded(end) => *end,
        Bound::Unbounded => u64::MAX,
    };
    start..end
}

fn refused(reason: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, reason)
}
