//! Where secrets lie in memory: on pages that are neither swapped nor dumped, wiped when given back.
//!
//! [`SecretBytes`] is the one type. Its bytes come from an arena of slots on pages that
//! are mapped for it: `memfd_secret` where the kernel has it, which takes the pages out
//! of the kernel's own map too; else locked anonymous pages; else, said in [`Usage`], the heap.
//!
//! No library was found that does this: those for locked memory (memsec, secrets, region, memsafe)
//! map one page or several for each secret, and ten thousand cached keys would be 160 MiB of the
//! 8 MiB that a process may usually lock.
//!
//! [`HEAP`] is for everything else, and wipes what is given back to it: copies that a library made.
//!
//! [`Confinement`] is what the process does for all of its memory.
//!
//! What this does not do: hide a secret from the code of its own process, or from a root user who
//! loads kernel modules. Copies that others make on the stack, or on aws-lc's
//! heap, are others' business.
//!
//! **Architecture invariant:** `unsafe` is in this crate, in one module of `conclave-crypto` that calls
//! aws-lc, and nowhere else.

mod arena;
mod bytes;
mod heap;
mod pages;
mod process;

pub use arena::{Usage, prepare, usage};
pub use bytes::SecretBytes;
pub use heap::{HEAP, Heap};
pub use pages::PageKind;
pub use process::Confinement;
