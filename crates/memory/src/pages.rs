//! Pages for the arena, by kind: the system calls.

#![expect(unsafe_code, reason = "mapping, locking and unmapping memory")]

use std::fmt;
use std::ptr::NonNull;

/// How well pages are kept from others, the best first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum PageKind {
    /// `memfd_secret`: locked, left out of dumps, and not in the kernel's map of all memory, so that
    /// neither `/proc/PID/mem` nor most bugs of the kernel reach them. Linux 5.14; from 6.5 on by
    /// default.
    Secret,
    /// Anonymous, locked (`mlock`) and left out of dumps (`MADV_DONTDUMP`).
    Locked,
    /// The heap: wiped when given back, and nothing more.
    Heap,
}

impl fmt::Display for PageKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Secret => "memfd_secret",
            Self::Locked => "mlock",
            Self::Heap => "heap",
        })
    }
}

/// A mapping of zeros, `len` bytes long and aligned to a page.
pub(crate) struct Pages {
    pub(crate) start: NonNull<u8>,
    pub(crate) len: usize,
}

/// The page size, in bytes.
pub(crate) fn page_len() -> usize {
    if cfg!(miri) { 4_096 } else { rustix::param::page_size() }
}

#[cfg(not(miri))]
mod system {
    use std::os::fd::{FromRawFd, OwnedFd};
    use std::ptr::{NonNull, null_mut};

    use rustix::mm::{Advice, MapFlags, ProtFlags, madvise, mlock, mmap, mmap_anonymous, munmap};

    use super::{PageKind, Pages};

    impl Pages {
        /// Maps `len` bytes, a multiple of the page size above zero; `None` if the system refuses:
        /// it has no such pages, or the limit of locked memory is reached.
        pub(crate) fn map(kind: PageKind, len: usize) -> Option<Self> {
            let pages = match kind {
                PageKind::Secret => secret(len),
                PageKind::Locked => locked(len),
                PageKind::Heap => None,
            }?;
            // A child has nothing to do with them; none is made without exec.
            // SAFETY: the range is this mapping's own, and nobody points into it yet.
            let _ = unsafe { madvise(pages.start.as_ptr().cast(), len, Advice::LinuxDontFork) };
            Some(pages)
        }

        /// Gives the pages back.
        ///
        /// # Safety
        /// Nobody points into them any more.
        pub(crate) unsafe fn unmap(self) {
            // SAFETY: the mapping is whole, as `map` made it, and by the caller's word unused. It
            // cannot fail for such a range.
            let _ = unsafe { munmap(self.start.as_ptr().cast(), self.len) };
        }
    }

    fn secret(len: usize) -> Option<Pages> {
        // SAFETY: the call takes flags alone and reads no memory.
        let fd = unsafe { libc::syscall(libc::SYS_memfd_secret, libc::O_CLOEXEC) };
        let fd = i32::try_from(fd).ok().filter(|fd| *fd >= 0)?;
        // SAFETY: the kernel has just made this descriptor for us.
        let file = unsafe { OwnedFd::from_raw_fd(fd) };
        rustix::fs::ftruncate(&file, len.try_into().ok()?).ok()?;
        let protection = ProtFlags::READ | ProtFlags::WRITE;
        // SAFETY: a new mapping at an address of the kernel's choice touches no other memory. It
        // outlives the descriptor, and nobody else has that: the file cannot shrink under it.
        let start =
            unsafe { mmap(null_mut(), len, protection, MapFlags::SHARED, &file, 0) }.ok()?;
        Some(Pages { start: NonNull::new(start.cast())?, len })
    }

    fn locked(len: usize) -> Option<Pages> {
        let protection = ProtFlags::READ | ProtFlags::WRITE;
        // SAFETY: a new mapping at an address of the kernel's choice touches no other memory.
        let start =
            unsafe { mmap_anonymous(null_mut(), len, protection, MapFlags::PRIVATE) }.ok()?;
        let pages = Pages { start: NonNull::new(start.cast())?, len };
        // SAFETY: the range is this mapping's own, and neither call changes its bytes.
        let kept =
            unsafe { madvise(start, len, Advice::LinuxDontDump).and_then(|()| mlock(start, len)) };
        if kept.is_err() {
            // SAFETY: nobody was given a pointer into it.
            unsafe { pages.unmap() };
            return None;
        }
        Some(pages)
    }
}

/// Miri knows no such calls: the arena's own arithmetic is what it checks.
#[cfg(miri)]
impl Pages {
    pub(crate) fn map(kind: PageKind, len: usize) -> Option<Self> {
        if kind != PageKind::Locked {
            return None;
        }
        // SAFETY: the layout has a size above zero.
        let start = unsafe { std::alloc::alloc_zeroed(Self::layout(len)) };
        Some(Self { start: NonNull::new(start)?, len })
    }

    pub(crate) unsafe fn unmap(self) {
        // SAFETY: allocated with the same layout by `map`, and by the caller's word unused.
        unsafe { std::alloc::dealloc(self.start.as_ptr(), Self::layout(self.len)) };
    }

    fn layout(len: usize) -> std::alloc::Layout {
        std::alloc::Layout::from_size_align(len, page_len()).expect("pages are far below isize")
    }
}
