//! The durable Raft log, the vote beside it, and what openraft asks of both.
//!
//! `journal` keeps them in segments on disk, `supply` makes segments ahead of need, `writer` is the
//! thread that commits, `memory` is what readers see, `read` fetches what is no longer there; here
//! they meet openraft's storage traits. Entries are readable as soon as `append` returns and
//! acknowledged when they are durable. A log that is damaged does not open; a log whose disk failed
//! takes nothing more; a log whose disk is full waits. See
//! docs/decisions/0007-a-raft-log-of-our-own.md.

mod error;
mod folder;
pub(crate) mod fuzzing;
mod journal;
mod memory;
mod open;
mod read;
mod record;
mod sector;
mod segment;
mod supply;
mod unchanged;
mod writer;

use std::fmt::Debug;
use std::fs;
use std::io;
use std::ops::{Bound, Range, RangeBounds};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use futures::{Stream, TryStreamExt, stream};
use openraft::storage::{LogState, RaftLogStorage};
use openraft::{OptionalSend, RaftLogReader};
use tokio::sync::{oneshot, watch};

pub use self::error::{Damage, OpenError};
use self::folder::OsFolder;
pub use self::folder::{Folder, SegmentFile};
use self::journal::{Journal, create, record_bytes_max};
use self::memory::Memory;
use self::open::{Fault, numbers};
use self::read::Files;
use self::record::{Bounds, framed_len};
pub use self::segment::Owner;
use self::segment::{FORMAT, SEGMENT_BYTES, SEGMENT_BYTES_MIN};
pub use self::supply::Room;
use self::supply::Supply;
use self::writer::{Backlog, Done, Op, Writer};
use crate::codec::ENTRY_BYTES_MAX;
use crate::disk::sync_dir;
use crate::held::Durable;
use crate::types::{Entry, Flushed, LogId, Types, Vote};

/// Entries of one replication message, and of one step of the stream that apply reads. A larger
/// entry goes alone.
pub const READ_BYTES_MAX: usize = 1 << 20;
/// Bytes of entries that may wait to become durable; with more, `append` waits. Only a disk that is
/// full or hangs lets so many gather.
const BACKLOG_BYTES_MAX: usize = 64 << 20;

/// What an earlier build called its log, in the folder above.
const EARLIER: &str = "raft.redb";

/// The log of one replica. Clones are handles of the same log; when the last one goes, the log is
/// closed, which waits for what is queued, but not for room on a full disk.
#[derive(Clone)]
pub struct LogStore {
    inner: Arc<Inner>,
}

struct Inner {
    files: Arc<Files>,
    supply: Arc<Supply>,
    memory: Arc<Mutex<Memory>>,
    durable: Arc<Durable>,
    backlog: Arc<Backlog>,
    entry_bytes_max: usize,
    /// Taken when the log closes.
    ops: Option<Sender<Op>>,
    writer: Option<JoinHandle<()>>,
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.ops.take();
        self.supply.close();
        if let Some(writer) = self.writer.take() {
            // A panic of the writer was already reported to everyone who waited.
            drop(writer.join());
        }
        self.supply.stop();
    }
}

impl LogStore {
    /// Opens the log in this folder and checks all of it; without the folder, makes a new one.
    /// Blocks: not for async workers.
    pub fn open(path: &Path, owner: Owner) -> Result<Self, OpenError> {
        let failed = |source| OpenError::Io { path: path.to_owned(), source };
        let earlier = path.with_file_name(EARLIER);
        if earlier.try_exists().map_err(failed)? {
            return Err(OpenError::Earlier { path: earlier });
        }
        if !path.try_exists().map_err(failed)? {
            create_folder(path, owner).map_err(failed)?;
        }
        // Even one that was there: whoever made it may have been killed before its name was synced.
        sync_dir(parent(path)).map_err(failed)?;
        let folder = OsFolder::lock(path).map_err(failed)?;
        let folder = folder.ok_or_else(|| OpenError::InUse { path: path.to_owned() })?;
        Self::start(Arc::new(folder), owner, SEGMENT_BYTES, path)
    }

    /// As [`LogStore::open`], in a folder and with a segment size of the caller's: how tests make a
    /// disk fail. An empty folder is a new log.
    pub fn open_on(
        folder: Arc<dyn Folder>,
        owner: Owner,
        segment_bytes: u32,
    ) -> Result<Self, OpenError> {
        let path = PathBuf::from(format!("{folder:?}"));
        let failed = |source| OpenError::Io { path: path.clone(), source };
        let segment_bytes = segment_bytes.max(SEGMENT_BYTES_MIN).next_multiple_of(4096);
        if numbers(&*folder).map_err(failed)?.is_empty() {
            create(&*folder, owner, segment_bytes).map_err(failed)?;
        }
        Self::start(folder, owner, segment_bytes, &path)
    }

    fn start(
        folder: Arc<dyn Folder>,
        owner: Owner,
        segment_bytes: u32,
        path: &Path,
    ) -> Result<Self, OpenError> {
        let mut memory = Memory::default();
        let path = || path.to_owned();
        let journal = Journal::open(folder, owner, segment_bytes, &mut memory);
        let journal = journal.map_err(|fault| match fault {
            Fault::Io(source) => OpenError::Io { path: path(), source },
            Fault::Damage(damage) => OpenError::Damaged { path: path(), damage },
            Fault::Format(found) => OpenError::Format { path: path(), found, known: FORMAT },
        })?;
        let (files, supply) = (journal.files(), journal.supply());
        let memory = Arc::new(Mutex::new(memory));
        let durable = Arc::new(Durable::default());
        let head = journal.durable();
        durable.set(head.vote, head.bounds.last);
        let backlog = Arc::new(Backlog::default());
        let (ops, queue) = channel();
        let writer = Writer {
            journal,
            memory: memory.clone(),
            durable: durable.clone(),
            backlog: backlog.clone(),
            ops: queue,
            committed: None,
        };
        let thread = std::thread::Builder::new().name("raft-log".to_owned());
        let writer = thread
            .spawn(move || writer.run())
            .map_err(|source| OpenError::Io { path: path(), source })?;
        let entry_bytes_max = record_bytes_max(segment_bytes);
        let (ops, writer) = (Some(ops), Some(writer));
        let inner = Inner { files, supply, memory, durable, backlog, entry_bytes_max, ops, writer };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// How far the disk has come, as it grows.
    pub fn held(&self) -> Arc<Durable> {
        self.inner.durable.clone()
    }

    /// Whether the log has room to grow, as that changes.
    pub fn room(&self) -> watch::Receiver<Room> {
        self.inner.supply.room()
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
        Ok(memory.head().vote)
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
            let files = self.inner.files.clone();
            let reading = move || files.read(plan.start, &plan.disk);
            let older = tokio::task::spawn_blocking(reading).await;
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
        memory.set_committed(committed);
        self.queue(Op::Committed(committed))
    }

    async fn read_committed(&mut self) -> io::Result<Option<LogId>> {
        let memory = self.memory();
        memory.sound()?;
        Ok(memory.head().committed)
    }

    async fn append<I>(&mut self, entries: I, callback: Flushed) -> io::Result<()>
    where
        I: IntoIterator<Item = Entry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let mut total = 0;
        let mut sized = Vec::new();
        for entry in entries {
            let bytes = framed_len(&entry);
            let max = ENTRY_BYTES_MAX.min(self.inner.entry_bytes_max);
            if bytes > max {
                let id = entry.log_id;
                return Err(refused(format!("entry {id} has {bytes} bytes, more than {max}")));
            }
            total += bytes;
            sized.push((entry, bytes));
        }
        if sized.is_empty() {
            callback.io_completed(Ok(()));
            return Ok(());
        }
        self.inner.backlog.below(BACKLOG_BYTES_MAX).await;
        let mut memory = self.memory();
        memory.sound()?;
        let mut bounds = memory.bounds();
        for (entry, _) in &sized {
            if !bounds.continues_with(entry.log_id) {
                let (id, last) = (entry.log_id, bounds.last);
                return Err(refused(format!("entry {id} does not follow {last:?}")));
            }
            bounds.append(entry.log_id);
        }
        let entries = sized.iter().map(|(entry, _)| entry.clone()).collect();
        let number = memory.append(sized);
        self.inner.backlog.add(total);
        // Queued under the lock, so that the queue has the operations in the order of the bounds.
        self.queue(Op::Append { entries, bytes: total, number, flushed: callback })
    }

    async fn truncate_after(&mut self, last: Option<LogId>) -> io::Result<()> {
        // Raft never asks for it, unless some member's disk was altered. Then this one stops.
        let committed = self.memory().head().committed;
        if let Some(committed) = committed.filter(|id| last.is_none_or(|it| it.index < id.index)) {
            return Err(refused(format!("{committed} was committed and cannot be truncated")));
        }
        if let Some(last) = last {
            let found = self.read(last.index..last.index.saturating_add(1), 0).await?;
            if found.first().is_some_and(|entry| entry.log_id != last) {
                return Err(refused(format!("cannot truncate after {last}: it is not in the log")));
            }
        }
        self.durable(|done| {
            let mut memory = self.memory();
            memory.truncate_after(last);
            Op::Truncate { last, done }
        })
        .await
    }

    async fn purge(&mut self, upto: LogId) -> io::Result<()> {
        self.memory().sound()?;
        self.durable(|done| {
            let mut memory = self.memory();
            memory.purge(upto);
            Op::Purge { upto, done }
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

/// A log that appears whole or not at all, so that a folder without segments is one that lost them.
fn create_folder(path: &Path, owner: Owner) -> io::Result<()> {
    let unfinished = path.with_added_extension("tmp");
    match fs::remove_dir_all(&unfinished) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => fs::create_dir(&unfinished)?,
    }
    let folder = OsFolder::lock(&unfinished)?;
    let folder = folder.ok_or_else(|| io::Error::from(io::ErrorKind::ResourceBusy))?;
    create(&folder, owner, SEGMENT_BYTES)?;
    fs::rename(&unfinished, path)
}

fn parent(path: &Path) -> &Path {
    path.parent().filter(|parent| *parent != Path::new("")).unwrap_or(Path::new("."))
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
