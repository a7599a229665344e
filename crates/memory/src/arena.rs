//! Slots of memory for secrets, on as few pages as they fit on.
//!
//! Pages are mapped a *chunk* at a time and cut into *blocks*. A block serves slots of one *class*,
//! a power of two from 32 bytes to a whole block; when all its slots are free it can serve another
//! class. A secret longer than a block has pages of its own. Chunks are never given back: what was
//! needed once is needed again, and is locked memory that nobody else took meanwhile.
//!
//! What lies in no slot is zero: given back means wiped, and pages are mapped as zeros.

#![expect(unsafe_code, reason = "hands out slots of mapped memory")]

use std::ptr::NonNull;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::pages::{PageKind, Pages, page_len};

/// A block: the longest slot. Plaintexts and decoded records have a few KiB at most.
const BLOCK_LEN: usize = 64 * 1024;
/// Blocks mapped at a time: a node with few keys needs one chunk.
const CHUNK_BLOCKS: usize = 4;
/// The shortest slot: a key.
const SLOT_MIN: usize = 32;
/// 32, 64, … 65,536 bytes.
const CLASSES: usize = (BLOCK_LEN / SLOT_MIN).ilog2() as usize + 1;

static ARENA: Mutex<Arena> = Mutex::new(Arena::new());

/// What secrets take up, in this process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Usage {
    /// What the newest pages are; what they will be, as far as that can be told, before the first.
    pub kind: PageKind,
    /// Bytes mapped for secrets.
    pub mapped: usize,
    /// Secrets that there are now, on whatever memory.
    pub secrets: usize,
    /// Of these, how many lie on the heap because the system gave no more pages.
    pub on_heap: usize,
}

/// Where a secret's bytes come from, and so where they go back to.
#[derive(Clone, Copy)]
pub(crate) enum Home {
    /// A slot of that block.
    Slot { block: u32 },
    /// Pages of its own.
    Pages,
    /// A boxed slice.
    Heap,
}

/// Maps the first pages, of no better kind than this, and says what they came to be. Those that are
/// mapped already stay. For a system that hibernates, which it cannot while there are
/// `memfd_secret` pages, and to hear before there are secrets how well they will lie.
pub fn prepare(best: PageKind) -> PageKind {
    let mut arena = arena();
    arena.best = best;
    if arena.empty.is_empty() {
        arena.grow();
    }
    arena.newest.unwrap_or(PageKind::Heap)
}

/// What secrets take up now.
pub fn usage() -> Usage {
    let arena = arena();
    Usage {
        kind: arena.newest.unwrap_or(arena.best),
        mapped: arena.mapped,
        secrets: arena.secrets,
        on_heap: arena.on_heap,
    }
}

/// `len` zeros, more than none.
pub(crate) fn take(len: usize) -> (NonNull<u8>, Home) {
    let mut arena = arena();
    arena.secrets += 1;
    let found = match len {
        ..=BLOCK_LEN => arena.slot(class_of(len)),
        _ => arena.pages(len).map(|start| (start, Home::Pages)),
    };
    found.unwrap_or_else(|| {
        arena.on_heap += 1;
        let heap = NonNull::from(Box::leak(vec![0_u8; len].into_boxed_slice()));
        (heap.cast(), Home::Heap)
    })
}

/// Takes back what [`take`] gave.
///
/// # Safety
/// `start` and `home` are from one call of [`take`] with this `len`, not given back since; the bytes
/// are zeros again, and nobody points at them any more.
pub(crate) unsafe fn give_back(start: NonNull<u8>, len: usize, home: Home) {
    let mut arena = arena();
    arena.secrets -= 1;
    match home {
        Home::Slot { block } => arena.free(start, block),
        Home::Pages => {
            let len = len.next_multiple_of(page_len());
            arena.mapped -= len;
            // SAFETY: `take` mapped exactly this range for it, and nobody points into it.
            unsafe { Pages { start, len }.unmap() };
        }
        Home::Heap => {
            arena.on_heap -= 1;
            let slice = NonNull::slice_from_raw_parts(start, len);
            // SAFETY: `take` leaked a box of just this length, and nobody points at it.
            drop(unsafe { Box::from_raw(slice.as_ptr()) });
        }
    }
}

/// Nothing panics while it is held, so a poisoned lock guards a whole arena.
fn arena() -> MutexGuard<'static, Arena> {
    ARENA.lock().unwrap_or_else(PoisonError::into_inner)
}

fn class_of(len: usize) -> usize {
    (len.next_power_of_two().max(SLOT_MIN) / SLOT_MIN).ilog2() as usize
}

fn slot_len(class: usize) -> usize {
    SLOT_MIN << class
}

struct Arena {
    best: PageKind,
    newest: Option<PageKind>,
    blocks: Vec<Block>,
    /// Blocks of each class with a free slot.
    open: [Vec<u32>; CLASSES],
    /// Blocks of no class.
    empty: Vec<u32>,
    mapped: usize,
    secrets: usize,
    on_heap: usize,
}

struct Block {
    start: NonNull<u8>,
    class: usize,
    /// Numbers of the slots that are free.
    free: Vec<u16>,
}

// SAFETY: a block points at memory that no thread owns; who uses a slot has it alone.
unsafe impl Send for Block {}

impl Arena {
    const fn new() -> Self {
        Self {
            best: PageKind::Secret,
            newest: None,
            blocks: Vec::new(),
            open: [const { Vec::new() }; CLASSES],
            empty: Vec::new(),
            mapped: 0,
            secrets: 0,
            on_heap: 0,
        }
    }

    fn slot(&mut self, class: usize) -> Option<(NonNull<u8>, Home)> {
        let block = match self.open[class].last() {
            Some(&block) => block,
            None => self.dedicate(class)?,
        };
        let found = &mut self.blocks[block as usize];
        let slot = found.free.pop()?;
        if found.free.is_empty() {
            self.open[class].pop();
        }
        // SAFETY: the block is BLOCK_LEN bytes long, and its slots are numbered to fit into it.
        let start = unsafe { found.start.add(usize::from(slot) * slot_len(class)) };
        Some((start, Home::Slot { block }))
    }

    fn free(&mut self, start: NonNull<u8>, number: u32) {
        let block = &mut self.blocks[number as usize];
        let class = block.class;
        let offset = start.addr().get() - block.start.addr().get();
        let slot =
            u16::try_from(offset / slot_len(class)).expect("a block has 2,048 slots at most");
        if block.free.is_empty() {
            self.open[class].push(number);
        }
        block.free.push(slot);
        // One block of a class is kept even when it is empty, so that a class used by one secret
        // after another is not set up again each time.
        let is_empty = block.free.len() == BLOCK_LEN / slot_len(class);
        if is_empty && self.open[class].len() > 1 {
            self.open[class].retain(|open| *open != number);
            self.empty.push(number);
        }
    }

    /// A block for that class, now the last of those open.
    fn dedicate(&mut self, class: usize) -> Option<u32> {
        if self.empty.is_empty() {
            self.grow();
        }
        let number = self.empty.pop()?;
        let slots = u16::try_from(BLOCK_LEN / slot_len(class)).expect("2,048 at most");
        let block = &mut self.blocks[number as usize];
        block.class = class;
        block.free.clear();
        block.free.extend((0..slots).rev());
        self.open[class].push(number);
        Some(number)
    }

    /// Maps one more chunk, or one block where there is no room for that; none if there is none, or
    /// not even numbers.
    fn grow(&mut self) {
        let chunk = self.pages(CHUNK_BLOCKS * BLOCK_LEN).map(|start| (start, CHUNK_BLOCKS));
        let Some((start, blocks)) = chunk.or_else(|| Some((self.pages(BLOCK_LEN)?, 1))) else {
            return;
        };
        for number in 0..blocks {
            let Ok(next) = u32::try_from(self.blocks.len()) else { return };
            // SAFETY: that many blocks have just been mapped there.
            let start = unsafe { start.add(number * BLOCK_LEN) };
            self.blocks.push(Block { start, class: 0, free: Vec::new() });
            self.empty.push(next);
        }
    }

    /// Maps pages of the best kind that the system gives, `len` rounded up.
    fn pages(&mut self, len: usize) -> Option<NonNull<u8>> {
        let len = len.next_multiple_of(page_len());
        for kind in [PageKind::Secret, PageKind::Locked] {
            if kind < self.best {
                continue;
            }
            if let Some(pages) = Pages::map(kind, len) {
                self.newest = Some(kind);
                self.mapped += len;
                return Some(pages.start);
            }
        }
        // Once there are pages of a kind, it is the limit that refused, not the system.
        self.newest.get_or_insert(PageKind::Heap);
        None
    }
}
