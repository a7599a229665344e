//! The heap of the process: jemalloc's, wiped.
//!
//! Not the C library's, which slows down once many keys were created among short-lived buffers: what
//! is free then lies scattered. Measured in `docs/performance.md`.

use tikv_jemallocator::Jemalloc;
use zeroizing_alloc::ZeroAlloc;

/// The type of [`HEAP`].
pub type Heap = ZeroAlloc<Jemalloc>;

/// Wipes all that is given back to it: buffers of connections, decoded messages and whatever else
/// held a copy of a secret. To be made the process's by `#[global_allocator]`.
pub const HEAP: Heap = ZeroAlloc(Jemalloc);

/// What jemalloc reads when it starts.
///
/// - `retain:false`: what is free goes back by `munmap`. `madvise`, its other way, fails on locked
///   pages, so a node that locks its memory would never give any back.
/// - `dirty_decay_ms`: it does so after a second, not ten.
/// - `narenas`: four arenas, not four times the processors, each of which keeps free memory of its own.
// SAFETY: jemalloc declares this symbol, and reads it as a pointer to a C string, which a reference
// to these bytes is.
#[allow(unsafe_code, reason = "a C library is configured by a symbol of a given name")]
#[unsafe(export_name = "_rjem_malloc_conf")]
pub(crate) static CONFIGURATION: &[u8; 43] = b"retain:false,dirty_decay_ms:1000,narenas:4\0";
