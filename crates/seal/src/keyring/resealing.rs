//! Sealing records again under the newest domain key, page by page, and the proof that none is left.
//!
//! What is left to do is told by the records alone, so it can be broken off anywhere and begun anew on
//! any node. Two nodes at it at once do work for nothing, and no harm: each write is guarded on the
//! blob that it was made from.

use std::sync::Arc;

use conclave_crypto::entropy::Entropy;
use conclave_proto::record;
use conclave_store::{GuardDigest, Kind, ReadError, RecordId, View, Write};
use prost::Message;

use super::rotation::DomainKeyEpochs;
use super::{Keyring, RecordError};

/// Records looked at in one page: the reading of a page holds up whoever applies.
pub const PAGE_RECORDS_MAX: usize = 32;

/// A page ends early with this many bytes of blobs to be sealed again: what is written fits into a
/// txn with room to spare.
pub const PAGE_BYTES_MAX: usize = 256 << 10;

/// One walk over all sealed records, in order of kind and id.
#[derive(Debug)]
pub struct Walk {
    /// Records under epochs below this one are what it looks for.
    newest: u32,
    after: Option<RecordId>,
    kind: Option<Kind>,
    older: u64,
    seen: u64,
}

/// A page of the walk, as one reading shows it.
#[derive(Debug)]
pub struct Page {
    /// The records under older domain keys.
    pub older: Vec<Older>,
    seen: u64,
    after: Option<RecordId>,
    kind: Option<Kind>,
}

/// A record under an older domain key.
#[derive(Debug, Clone)]
pub struct Older {
    /// Which one.
    pub id: RecordId,
    /// As it was read.
    pub blob: Arc<[u8]>,
    /// That it still is what was read.
    pub guard: Option<GuardDigest>,
}

/// Says that every sealed record was seen under some epoch or a later one. Records never go back, so
/// it stays true (see [`super::rotation`]). Only a [`Walk`] makes one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NothingOlder(u32);

impl NothingOlder {
    /// The epoch below which there is nothing.
    pub fn than(self) -> u32 {
        self.0
    }
}

impl Walk {
    /// At the beginning, looking for what is under older domain keys than the current one in `view`.
    /// `None` if `view` has no domain keys.
    ///
    /// # Errors
    /// [`ReadError`] if the disk does not give the record.
    pub fn new(view: &dyn View) -> Result<Option<Self>, ReadError> {
        let epochs = DomainKeyEpochs::read(view)?;
        let kind = sealed_kinds().next();
        Ok(epochs.map(|epochs| Self {
            newest: epochs.current,
            after: None,
            kind,
            older: 0,
            seen: 0,
        }))
    }

    /// The epoch that it looks for older ones than.
    pub fn newest(&self) -> u32 {
        self.newest
    }

    /// How many records on the pages passed were under older domain keys when they were read.
    pub fn older(&self) -> u64 {
        self.older
    }

    /// How many records it has passed.
    pub fn seen(&self) -> u64 {
        self.seen
    }

    /// Whether all pages are passed.
    pub fn is_over(&self) -> bool {
        self.kind.is_none()
    }

    /// The next page. Looking does not move on: a page whose txn conflicted is looked at again.
    /// `view` must have applied at least what the readings before it had.
    ///
    /// # Errors
    /// [`WalkError`] if a blob cannot be had, or is no sealed record.
    pub fn look(&self, view: &dyn View) -> Result<Page, WalkError> {
        let mut page = Page { older: Vec::new(), seen: 0, after: self.after, kind: self.kind };
        let Some(kind) = self.kind else { return Ok(page) };
        let ids = view.list(kind, self.after.as_ref(), PAGE_RECORDS_MAX);
        let is_last = ids.len() < PAGE_RECORDS_MAX;
        let mut bytes = 0;
        for id in ids {
            let Some(blob) = view.blob(&id)? else { continue };
            let epoch = sealed_epoch(&blob).ok_or(WalkError::NotSealed { record: id })?;
            if epoch < self.newest {
                if bytes + blob.len() > PAGE_BYTES_MAX && !page.older.is_empty() {
                    return Ok(page);
                }
                bytes += blob.len();
                page.older.push(Older { id, guard: view.guard(&id), blob });
            }
            page.seen += 1;
            page.after = Some(id);
        }
        if is_last {
            page.kind = sealed_kinds().find(|next| *next > kind);
            page.after = None;
        }
        Ok(page)
    }

    /// Moves on to what comes after `page`.
    pub fn pass(&mut self, page: &Page) {
        self.older += page.older.len() as u64;
        self.seen += page.seen;
        (self.after, self.kind) = (page.after, page.kind);
    }

    /// The proof, if it is over and has found nothing.
    pub fn nothing_older(&self) -> Option<NothingOlder> {
        (self.is_over() && self.older == 0).then_some(NothingOlder(self.newest))
    }
}

impl Keyring {
    /// These records sealed again under the current domain key. To be committed under their guards
    /// and [`Keyring::domain_keys_guard`].
    ///
    /// # Errors
    /// [`RecordError`] if one does not open.
    pub fn seal_again(
        &self,
        older: &[Older],
        entropy: &mut dyn Entropy,
    ) -> Result<Vec<Write>, RecordError> {
        let again = older.iter().map(|Older { id, blob, .. }| {
            let plaintext = self.open_record(id, blob)?;
            Ok(Write::put(*id, self.seal_record(id, plaintext.expose(), entropy)))
        });
        again.collect()
    }
}

/// The domain key epoch that a sealed record names in clear; `None` if it is no sealed record.
pub fn sealed_epoch(blob: &[u8]) -> Option<u32> {
    record::SealedBlob::decode(blob).ok().map(|blob| blob.epoch)
}

fn sealed_kinds() -> impl Iterator<Item = Kind> {
    Kind::ALL.into_iter().filter(|kind| !kind.is_public())
}

/// Why a page could not be read. The state of a healthy replica never gives a reason.
#[derive(Debug, thiserror::Error)]
pub enum WalkError {
    /// The disk.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// Something else lies under a sealed kind's id.
    #[error("record {record} is no sealed record")]
    NotSealed {
        /// Which one.
        record: RecordId,
    },
}
