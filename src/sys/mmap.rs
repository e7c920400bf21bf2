// SPDX-License-Identifier: LGPL-2.1-or-later
//! Owned memory mappings of files: once, or twice back to back. Addresses only; what the bytes mean is `shm`'s business.

use crate::sync::{AtomicUsize, Ordering};
use crate::{Error, Result};
use libc::c_int;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::ptr::{self, NonNull};

/// Bytes per page of this system, always a power of two.
pub fn page_size() -> usize {
    static SIZE: AtomicUsize = AtomicUsize::new(0);
    let known = SIZE.load(Ordering::Relaxed);
    if known != 0 {
        return known;
    }
    // SAFETY: sysconf takes no pointer.
    let asked = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
    let size = usize::try_from(asked).ok().filter(|n| n.is_power_of_two()).unwrap_or(4096);
    SIZE.store(size, Ordering::Relaxed);
    size
}

/// How pages are touched that are mapped before their use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i32)]
pub enum Touch {
    /// Fewer faults, where somebody else has touched the pages of the file before.
    Read = libc::MADV_POPULATE_READ,
    /// Faster for who is the first.
    Write = libc::MADV_POPULATE_WRITE,
}

/// Pages mapped read-write and shared from a file; unmapped on drop. The address and the length never change.
#[derive(Debug)]
pub struct Pages {
    base: NonNull<u8>,
    span: usize,
}

// SAFETY: an address range has no thread affinity; `Pages` itself never reads or writes the memory.
unsafe impl Send for Pages {}
// SAFETY: as above; all methods only report the range.
unsafe impl Sync for Pages {}

impl Pages {
    /// Maps the first `len` bytes of `fd`. `len` is at least 1; a file that is shorter gives SIGBUS on access, see
    /// `shm::guard`.
    pub fn shared(fd: BorrowedFd<'_>, len: usize) -> Result<Self> {
        if len == 0 || len > isize::MAX as usize {
            return Err(Error::Invalid);
        }
        // SAFETY: no address is asked for, so no existing mapping is touched.
        let base = unsafe {
            libc::mmap(
                ptr::null_mut(),
                len,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_SHARED,
                fd.as_raw_fd(),
                0,
            )
        };
        Self::checked(base, len)
    }

    /// Maps the first `len` bytes of `fd` twice, back to back, so that offsets `i` and `i + len` are the same memory.
    /// `len` is a multiple of the page size. The span is `2 * len`.
    pub fn shared_twice(fd: BorrowedFd<'_>, len: usize) -> Result<Self> {
        if len == 0 || !len.is_multiple_of(page_size()) || len > isize::MAX as usize / 2 {
            return Err(Error::Invalid);
        }
        // SAFETY: an inaccessible private reservation at an address the kernel picks.
        let base = unsafe {
            libc::mmap(
                ptr::null_mut(),
                2 * len,
                libc::PROT_NONE,
                libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE,
                -1,
                0,
            )
        };
        // From here on a failure drops `pages` and with it the whole reservation.
        let pages = Self::checked(base, 2 * len)?;
        for half in 0..2 {
            // SAFETY: both halves lie inside the reservation made above, which nobody else knows yet, so MAP_FIXED
            // replaces nothing but it.
            let got = unsafe {
                libc::mmap(
                    pages.base.as_ptr().add(half * len).cast(),
                    len,
                    libc::PROT_READ | libc::PROT_WRITE,
                    libc::MAP_SHARED | libc::MAP_FIXED,
                    fd.as_raw_fd(),
                    0,
                )
            };
            if got == libc::MAP_FAILED {
                return Err(Error::last_os());
            }
        }
        Ok(pages)
    }

    fn checked(base: *mut libc::c_void, span: usize) -> Result<Self> {
        if base == libc::MAP_FAILED {
            return Err(Error::last_os());
        }
        NonNull::new(base.cast()).map(|base| Self { base, span }).ok_or(Error::NoMemory)
    }

    /// Has the kernel map the pages from `start` (a multiple of the page size) to `end`, as if each had been touched. The contents
    /// stay. EFAULT where the file has no such page, without SIGBUS; EINVAL before Linux 5.14.
    pub fn populate(&self, start: usize, end: usize, touch: Touch) -> Result<()> {
        if start >= end || end > self.span {
            return Err(Error::Invalid);
        }
        // SAFETY: inside of our own mapping (checked), whose contents this advice does not change.
        let got = unsafe { libc::madvise(self.base.as_ptr().add(start).cast(), end - start, touch as c_int) };
        if got == 0 { Ok(()) } else { Err(Error::last_os()) }
    }

    /// First address.
    pub fn base(&self) -> NonNull<u8> {
        self.base
    }

    /// Bytes from the first address that are mapped.
    pub fn span(&self) -> usize {
        self.span
    }
}

impl Drop for Pages {
    fn drop(&mut self) {
        // SAFETY: exactly the range that the constructor mapped; the owner is gone, so nobody holds a pointer into it.
        unsafe { libc::munmap(self.base.as_ptr().cast(), self.span) };
    }
}

/// Puts a zeroed private page over the page of `address`. Async-signal-safe; false when the kernel refuses.
///
/// # Safety
/// The page belongs to a live [`Pages`] whose contents may be lost.
pub unsafe fn replace_page(address: usize, page: usize) -> bool {
    let start = address & !(page - 1);
    // SAFETY: the caller vouches for the page; a bare system call, no allocation.
    let got = unsafe {
        libc::mmap(
            ptr::without_provenance_mut(start),
            page,
            libc::PROT_READ | libc::PROT_WRITE,
            libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_FIXED,
            -1,
            0,
        )
    };
    got != libc::MAP_FAILED
}
