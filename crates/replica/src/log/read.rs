//! Reading entries back by their slots, each sector and each record checked again.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, PoisonError, RwLock};

use bytes::Bytes;

use super::error::Damage;
use super::folder::SegmentFile;
use super::memory::Slot;
use super::record::decode_entry_record;
use super::sector::{SECTOR, Salt, span, unseal};
use super::segment::{Owner, SegmentNumber};
use crate::types::Entry;

/// Bytes of file that one system call reads at most, unless one entry is larger.
const CALL_BYTES_MAX: u32 = 1 << 20;
/// Bytes between two entries over which it is better to read than to skip.
const GAP_BYTES_MAX: u32 = 16 << 10;

/// The segments that readers may need, open.
#[derive(Debug)]
pub(super) struct Files {
    owner: Owner,
    open: RwLock<BTreeMap<SegmentNumber, Arc<dyn SegmentFile>>>,
}

impl Files {
    pub(super) fn new(owner: Owner, open: BTreeMap<SegmentNumber, Arc<dyn SegmentFile>>) -> Self {
        Self { owner, open: RwLock::new(open) }
    }

    pub(super) fn insert(&self, number: SegmentNumber, file: Arc<dyn SegmentFile>) {
        self.open.write().unwrap_or_else(PoisonError::into_inner).insert(number, file);
    }

    pub(super) fn remove(&self, number: SegmentNumber) {
        self.open.write().unwrap_or_else(PoisonError::into_inner).remove(&number);
    }

    /// The entries in these slots; the first one has index `start`. Fails if any is not intact.
    pub(super) fn read(&self, start: u64, slots: &[Slot]) -> io::Result<Vec<Entry>> {
        let mut entries = Vec::with_capacity(slots.len());
        let mut bytes = Vec::new();
        let mut rest = slots;
        while !rest.is_empty() {
            let (run, after) = rest.split_at(run_len(rest));
            rest = after;
            let index = start + entries.len() as u64;
            self.read_run(index, run, &mut bytes, &mut entries)?;
        }
        Ok(entries)
    }

    fn read_run(
        &self,
        start: u64,
        run: &[Slot],
        bytes: &mut Vec<u8>,
        entries: &mut Vec<Entry>,
    ) -> io::Result<()> {
        let (Some(first_slot), Some(last_slot)) = (run.first(), run.last()) else { return Ok(()) };
        let segment = first_slot.segment;
        let file = {
            let open = self.open.read().unwrap_or_else(PoisonError::into_inner);
            open.get(&segment).cloned()
        };
        let file = file.ok_or_else(|| damaged(Damage::NoFile { segment: segment.0 }))?;
        let (first, _) = slot_span(first_slot);
        let (_, end) = slot_span(last_slot);
        bytes.resize((end - first) as usize * SECTOR, 0);
        file.read_at(u64::from(first) * SECTOR as u64, bytes)?;
        let salt = Salt::of(&self.owner, segment);
        for (index, slot) in (start..).zip(run) {
            let record = unseal(salt, bytes, first, slot.offset.into(), slot.bytes as usize);
            let record = record.ok_or_else(|| damaged(Damage::Checksum { index }))?;
            entries.push(decode_entry_record(index, Bytes::from(record)).map_err(damaged)?);
        }
        Ok(())
    }
}

/// How many of the first slots one system call reads.
fn run_len(slots: &[Slot]) -> usize {
    let joins = |pair: &[Slot]| {
        let (_, end) = slot_span(&pair[0]);
        let end = end * SECTOR as u32;
        pair[0].segment == pair[1].segment
            && pair[0].offset < pair[1].offset
            && pair[1].offset <= end.saturating_add(GAP_BYTES_MAX)
            && pair[1].offset + pair[1].bytes - slots[0].offset <= CALL_BYTES_MAX
    };
    1 + slots.windows(2).take_while(|pair| joins(pair)).count()
}

fn slot_span(slot: &Slot) -> (u32, u32) {
    span(slot.offset.into(), slot.bytes as usize)
}

fn damaged(damage: Damage) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("the Raft log is damaged: {damage}"))
}
