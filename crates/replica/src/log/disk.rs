//! What of the log is on disk: one redb file, one durable transaction a commit.
//!
//! This is the boundary behind which a segmented log could stand one day: `open` answers what is
//! kept and checks all of it, `commit` makes one batch durable, `read` answers durable entries.
//! Nothing here knows of queues, callbacks or what readers may see.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use conclave_proto::raft as proto;
use prost::Message;
use redb::{
    Builder, Database, DatabaseError, Durability, ReadOnlyTable, ReadableDatabase, ReadableTable,
    StorageBackend, StorageError, TableDefinition, TableError,
};

use super::error::{Damage, OpenError};
use super::record::{
    Bounds, decode_bounds, decode_committed, encode_bounds, encode_committed, frame, parse_entry,
    unframe,
};
use crate::codec::{vote_from_proto, vote_to_proto};
use crate::types::{Entry, LogId, Vote};

/// redb's own cache. The log is read through its in-memory tail, so this serves only the B-tree's
/// upper pages and followers that lag.
const CACHE_BYTES: usize = 16 << 20;
/// Purged entries removed in one commit, so that no append waits long behind a purge.
const COLLECT_MAX: usize = 512;

/// Index → checksum ‖ encoded entry.
const ENTRIES: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("entries");
/// Name → checksum ‖ value.
const META: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("meta");
const FORMAT: &str = "format";
const BOUNDS: &str = "bounds";
const VOTE: &str = "vote";
const COMMITTED: &str = "committed";
const FORMAT_KNOWN: u64 = 1;

/// One change to the entries; a batch applies them in order.
pub(super) enum Step {
    /// Write a framed entry.
    Put { index: u64, frame: Vec<u8> },
    /// Remove this entry and all above it.
    Cut { from: u64 },
}

/// What one commit makes durable, together.
#[derive(Default)]
pub(super) struct Batch {
    pub(super) steps: Vec<Step>,
    pub(super) bounds: Option<Bounds>,
    pub(super) vote: Option<Vote>,
    pub(super) committed: Option<Option<LogId>>,
    /// Remove entries up to this index, a few a commit.
    pub(super) waste_to: Option<u64>,
}

/// What the disk held when it was opened.
pub(super) struct Kept {
    pub(super) bounds: Bounds,
    pub(super) vote: Option<Vote>,
    pub(super) committed: Option<LogId>,
}

pub(super) struct Disk {
    database: Database,
    path: PathBuf,
}

impl Disk {
    /// Opens or creates the log. Every page and every entry is checked; `each` gets every entry
    /// in order with its size on disk.
    pub(super) fn open(
        path: &Path,
        each: &mut dyn FnMut(Entry, usize),
    ) -> Result<(Self, Kept), OpenError> {
        let database = builder().create(path).map_err(|error| database_error(path, error))?;
        // redb syncs the file, not the folder that names it.
        let folder = path.parent().filter(|parent| !parent.as_os_str().is_empty());
        File::open(folder.unwrap_or(Path::new(".")))
            .and_then(|folder| folder.sync_all())
            .map_err(|source| OpenError::Io { path: path.to_owned(), source })?;
        Self::load(database, path.to_owned(), each)
    }

    /// As [`Disk::open`], on another backend: how tests make a disk fail.
    pub(super) fn open_on(
        backend: impl StorageBackend,
        each: &mut dyn FnMut(Entry, usize),
    ) -> Result<(Self, Kept), OpenError> {
        let path = PathBuf::from(format!("{backend:?}"));
        let database =
            builder().create_with_backend(backend).map_err(|error| database_error(&path, error))?;
        Self::load(database, path, each)
    }

    fn load(
        database: Database,
        path: PathBuf,
        each: &mut dyn FnMut(Entry, usize),
    ) -> Result<(Self, Kept), OpenError> {
        let disk = Self { database, path };
        let kept = disk.check(each).map_err(|fault| disk.refusal(fault))?;
        Ok((disk, kept))
    }

    /// Reads and checks everything; creates the tables of a new file.
    fn check(&self, each: &mut dyn FnMut(Entry, usize)) -> Result<Kept, Fault> {
        let txn = self.database.begin_read()?;
        let meta = match txn.open_table(META) {
            Err(TableError::TableDoesNotExist(_)) => {
                if txn.list_tables()?.next().is_some() {
                    return Err(Damage::Record { name: FORMAT }.into());
                }
                drop(txn);
                self.create_tables()?;
                return Ok(Kept { bounds: Bounds::default(), vote: None, committed: None });
            }
            found => found?,
        };
        let record = |name: &'static str| -> Result<Option<Bytes>, Fault> {
            let Some(value) = meta.get(name)? else { return Ok(None) };
            let body = unframe(name.as_bytes(), value.value());
            Ok(Some(body.ok_or(Damage::Record { name })?))
        };

        let format = record(FORMAT)?.and_then(|body| Some(u64::from_be_bytes(*body.as_array()?)));
        let format = format.ok_or(Damage::Record { name: FORMAT })?;
        if format != FORMAT_KNOWN {
            return Err(Fault::Format(format));
        }
        let bounds = record(BOUNDS)?.and_then(decode_bounds);
        let bounds = bounds.ok_or(Damage::Record { name: BOUNDS })?;
        if !bounds.are_possible() {
            return Err(Damage::Bounds { first: bounds.first, purged: bounds.purged }.into());
        }
        let vote = record(VOTE)?.map(proto::Vote::decode).transpose();
        let vote = vote.map_err(|_| Damage::Record { name: VOTE })?;
        let committed = match record(COMMITTED)? {
            Some(body) => decode_committed(body).ok_or(Damage::Record { name: COMMITTED })?,
            None => None,
        };
        check_entries(&txn.open_table(ENTRIES)?, &bounds, each)?;
        Ok(Kept { bounds, vote: vote.as_ref().map(vote_from_proto), committed })
    }

    fn create_tables(&self) -> Result<(), redb::Error> {
        let mut txn = self.database.begin_write()?;
        harden(&mut txn)?;
        {
            txn.open_table(ENTRIES)?;
            let mut meta = txn.open_table(META)?;
            let format = frame(FORMAT.as_bytes(), &FORMAT_KNOWN.to_be_bytes());
            meta.insert(FORMAT, format.as_slice())?;
            let bounds = frame(BOUNDS.as_bytes(), &encode_bounds(&Bounds::default()));
            meta.insert(BOUNDS, bounds.as_slice())?;
        }
        Ok(txn.commit()?)
    }

    /// Makes a batch durable: when this returns, it survives a power loss. Answers whether purged
    /// entries are left to remove. After an error, nothing more may be written.
    pub(super) fn commit(&self, batch: Batch) -> io::Result<bool> {
        self.try_commit(batch).map_err(|error| self.fault(error))
    }

    fn try_commit(&self, batch: Batch) -> Result<bool, redb::Error> {
        let mut waste = false;
        let mut txn = self.database.begin_write()?;
        harden(&mut txn)?;
        {
            let mut entries = txn.open_table(ENTRIES)?;
            for step in batch.steps {
                match step {
                    Step::Put { index, frame } => {
                        entries.insert(index, frame.as_slice())?;
                    }
                    Step::Cut { from } => entries.retain_in(from.., |_, _| false)?,
                }
            }
            if let Some(upto) = batch.waste_to {
                waste = collect(&mut entries, upto)?;
            }
            let mut meta = txn.open_table(META)?;
            let mut put = |name: &'static str, body: &[u8]| -> Result<(), redb::Error> {
                meta.insert(name, frame(name.as_bytes(), body).as_slice())?;
                Ok(())
            };
            if let Some(bounds) = &batch.bounds {
                put(BOUNDS, &encode_bounds(bounds))?;
            }
            if let Some(vote) = &batch.vote {
                put(VOTE, &vote_to_proto(vote).encode_to_vec())?;
            }
            if let Some(committed) = &batch.committed {
                put(COMMITTED, &encode_committed(committed.as_ref()))?;
            }
        }
        txn.commit()?;
        Ok(waste)
    }

    /// The durable entries of a range; an absent one is an error.
    pub(super) fn read(&self, range: Range<u64>) -> io::Result<Vec<Entry>> {
        self.try_read(range).map_err(|fault| match fault {
            Fault::Database(error) => self.fault(error),
            other => io::Error::new(io::ErrorKind::InvalidData, self.refusal(other)),
        })
    }

    fn try_read(&self, range: Range<u64>) -> Result<Vec<Entry>, Fault> {
        let table = self.database.begin_read()?.open_table(ENTRIES)?;
        let mut found = table.range(range.clone())?;
        let mut next = || -> Result<_, Fault> { Ok(found.next().transpose()?) };
        let entry = |index| {
            let (key, frame) = next()?.ok_or(Damage::Missing { index })?;
            if key.value() != index {
                return Err(Damage::Missing { index }.into());
            }
            Ok(parse_entry(index, frame.value())?)
        };
        range.map(entry).collect()
    }

    fn refusal(&self, fault: Fault) -> OpenError {
        let path = self.path.clone();
        match fault {
            Fault::Database(error) => OpenError::Database { path, reason: error.to_string() },
            Fault::Damage(damage) => OpenError::Damaged { path, damage },
            Fault::Format(found) => OpenError::Format { path, found, known: FORMAT_KNOWN },
        }
    }

    fn fault(&self, error: redb::Error) -> io::Error {
        match error {
            redb::Error::Io(error) => error,
            other => io::Error::other(format!("the Raft log {:?}: {other}", self.path)),
        }
    }
}

/// Why the disk did not answer what it should.
enum Fault {
    Database(redb::Error),
    Damage(Damage),
    Format(u64),
}

impl From<Damage> for Fault {
    fn from(damage: Damage) -> Self {
        Self::Damage(damage)
    }
}

macro_rules! database_faults {
    ($($error:ty),*) => {$(
        impl From<$error> for Fault {
            fn from(error: $error) -> Self {
                Self::Database(error.into())
            }
        }
    )*};
}
database_faults!(redb::Error, redb::TransactionError, TableError, StorageError);

/// Every entry between the bounds is there once, intact, and nothing lies beyond them.
fn check_entries(
    entries: &ReadOnlyTable<u64, &[u8]>,
    bounds: &Bounds,
    each: &mut dyn FnMut(Entry, usize),
) -> Result<(), Fault> {
    let live = if bounds.is_empty() { 0..0 } else { bounds.first..bounds.end() };
    let above = bounds.purged.map_or(0, |purged| purged.index.saturating_add(1));
    let mut found = entries.range(above..)?;
    let mut last = bounds.purged;
    for index in live {
        let (key, frame) = found.next().transpose()?.ok_or(Damage::Missing { index })?;
        if key.value() != index {
            return Err(Damage::Missing { index }.into());
        }
        let entry = parse_entry(index, frame.value())?;
        last = Some(entry.log_id);
        each(entry, frame.value().len());
    }
    if let Some((key, _)) = found.next().transpose()? {
        return Err(Damage::Unexpected { index: key.value() }.into());
    }
    if last != bounds.last {
        return Err(Damage::End { found: last, expected: bounds.last }.into());
    }
    Ok(())
}

fn builder() -> Builder {
    let mut builder = Builder::new();
    // Without the check, redb trusts a file that was closed cleanly, and reading a page damaged
    // since then may panic. The log is bounded, so reading all of it costs little.
    builder.set_cache_size(CACHE_BYTES).set_check_integrity_on_open(true);
    builder
}

/// Durable at once, and in two phases: after a crash, redb takes a one-phase commit whose pages do
/// not fit their checksums for a torn one and goes back to the commit before it. A damaged page
/// looks the same, so entries that were acknowledged would vanish without a word. A two-phase
/// commit is never torn, and redb refuses the file instead. It costs a second fdatasync.
fn harden(txn: &mut redb::WriteTransaction) -> Result<(), redb::Error> {
    txn.set_durability(Durability::Immediate)?;
    txn.set_two_phase_commit(true);
    Ok(())
}

/// Removes some entries up to an index; whether more are left.
fn collect(entries: &mut redb::Table<'_, u64, &[u8]>, upto: u64) -> Result<bool, redb::Error> {
    for _ in 0..COLLECT_MAX {
        let first = entries.first()?.map(|(index, _)| index.value());
        match first {
            Some(index) if index <= upto => drop(entries.pop_first()?),
            _ => return Ok(false),
        }
    }
    Ok(true)
}

fn database_error(path: &Path, error: DatabaseError) -> OpenError {
    let path = path.to_owned();
    match error {
        DatabaseError::DatabaseAlreadyOpen => OpenError::InUse { path },
        DatabaseError::Storage(StorageError::Io(source)) => OpenError::Io { path, source },
        other => OpenError::Database { path, reason: other.to_string() },
    }
}
