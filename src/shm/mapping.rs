// SPDX-License-Identifier: LGPL-2.1-or-later
//! An owned mapping of a file that a peer shares. The length is private; words are lent as atomics, everything else is
//! copied, and a plain slice costs a [`Trusted`] token.

use super::{SharedWord, guard};
use crate::sync::AtomicU64;
use crate::sys::mmap::Pages;
use crate::{Error, Result};
use std::os::fd::BorrowedFd;
use std::ptr::{self, NonNull};

/// Says that the peer of a mapping could do to this process whatever it likes anyway: it runs as root or with our own
/// euid. The price of a slice into memory that it shares.
#[derive(Clone, Copy, Debug)]
pub struct Trusted(());

impl Trusted {
    /// A token for a peer with that euid, taken from the kernel's credentials and never from the peer's words.
    #[must_use]
    pub fn vouch(peer_euid: u32) -> Option<Self> {
        // SAFETY: geteuid takes nothing.
        let own = unsafe { libc::geteuid() };
        (peer_euid == 0 || peer_euid == own).then_some(Self(()))
    }
}

/// A file mapped read-write and shared, unmapped on drop. Offsets are in bytes from its start.
#[derive(Debug)]
pub struct Mapping {
    // Dropped in this order: out of the guard's table first, unmapped afterwards.
    watch: guard::Watch,
    pages: Pages,
    len: usize,
}

impl Mapping {
    /// Maps the first `len` bytes.
    pub fn map(fd: BorrowedFd<'_>, len: usize) -> Result<Self> {
        Self::watched(Pages::shared(fd, len)?, len)
    }

    /// Maps the first `len` bytes, a multiple of the page size, twice back to back: whatever starts below `len` can be
    /// read and written linearly up to `2 * len`.
    pub fn map_twice(fd: BorrowedFd<'_>, len: usize) -> Result<Self> {
        Self::watched(Pages::shared_twice(fd, len)?, len)
    }

    fn watched(pages: Pages, len: usize) -> Result<Self> {
        let watch = guard::Watch::start(&pages)?;
        Ok(Self { watch, pages, len })
    }

    /// Bytes of the file that are mapped (once, also after [`Mapping::map_twice`]).
    #[must_use]
    #[inline]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Bytes that can be reached from the start: twice the length after [`Mapping::map_twice`].
    #[must_use]
    #[inline]
    pub fn span(&self) -> usize {
        self.pages.span()
    }

    /// Never true; there for completeness.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// True for ever once the file was found shorter than the mapping: its contents mean nothing any more.
    #[must_use]
    #[inline]
    pub fn is_dead(&self) -> bool {
        self.watch.is_dead()
    }

    /// The address of `len` bytes at `offset`; None when they are not all inside.
    #[must_use]
    #[inline]
    pub fn address(&self, offset: usize, len: usize) -> Option<NonNull<u8>> {
        if offset.checked_add(len)? > self.pages.span() {
            return None;
        }
        // SAFETY: `offset <= span` was checked above, and the span is one allocation of at most isize::MAX bytes.
        Some(unsafe { self.pages.base().add(offset) })
    }

    /// The word at `offset`, a multiple of 4.
    #[must_use]
    #[inline]
    pub fn word(&self, offset: usize) -> Option<&SharedWord> {
        if offset % 4 != 0 {
            return None;
        }
        let at = self.address(offset, 4)?;
        // SAFETY: in bounds (`address`), 4-aligned because the base is page aligned, and mapped while `self` lives.
        // SharedWord is a transparent AtomicU32: a store by the peer is a new value, not a data race.
        Some(unsafe { at.cast().as_ref() })
    }

    /// The 64-bit word at `offset`, a multiple of 8.
    #[must_use]
    #[inline]
    pub(super) fn long(&self, offset: usize) -> Option<&AtomicU64> {
        if offset % 8 != 0 {
            return None;
        }
        let at = self.address(offset, 8)?;
        // SAFETY: in bounds (`address`), 8-aligned because the base is page aligned, and mapped while `self` lives; other
        // processes reach it by atomic instructions of the same or half the width.
        Some(unsafe { at.cast().as_ref() })
    }

    /// Copies out; [`Error::Invalid`] unless all of it is inside.
    #[inline]
    pub fn read(&self, offset: usize, out: &mut [u8]) -> Result<()> {
        let from = self.address(offset, out.len()).ok_or(Error::Invalid)?;
        // SAFETY: `from` is mapped for `out.len()` bytes (`address`) while `self` lives, and `out` is exclusively ours.
        // `out` is not this mapping: a `&mut` into it is never made. The peer may write meanwhile; then the copy holds
        // any mixture of bytes, which callers must expect of a peer anyway, and no reference into the memory exists.
        unsafe { ptr::copy_nonoverlapping(from.as_ptr(), out.as_mut_ptr(), out.len()) };
        Ok(())
    }

    /// Copies in; [`Error::Invalid`] unless all of it is inside.
    #[inline]
    pub fn write(&self, offset: usize, data: &[u8]) -> Result<()> {
        let to = self.address(offset, data.len()).ok_or(Error::Invalid)?;
        // SAFETY: `to` is mapped for `data.len()` bytes (`address`) while `self` lives. `ptr::copy` allows overlap, for a
        // C caller that passes on what it was lent from this very ring. No reference into the memory exists.
        unsafe { ptr::copy(data.as_ptr(), to.as_ptr(), data.len()) };
        Ok(())
    }

    /// Fills with zeros; [`Error::Invalid`] unless all of it is inside.
    pub fn clear(&self, offset: usize, len: usize) -> Result<()> {
        let to = self.address(offset, len).ok_or(Error::Invalid)?;
        // SAFETY: as for `write`.
        unsafe { ptr::write_bytes(to.as_ptr(), 0, len) };
        Ok(())
    }

    /// The address of bytes in place, for a peer that is vouched for: to be handed to C code, which may write there too.
    #[must_use]
    #[inline]
    pub fn lend_address(&self, offset: usize, len: usize, _peer: &Trusted) -> Option<NonNull<u8>> {
        self.address(offset, len)
    }

    /// The bytes in place, for a peer that is vouched for and leaves them alone while they are lent, as the ring's
    /// protocol wants it to.
    #[must_use]
    #[inline]
    pub fn lend(&self, offset: usize, len: usize, _peer: &Trusted) -> Option<&[u8]> {
        let at = self.address(offset, len)?;
        // SAFETY: in bounds and mapped while `self` lives; u8 has no invalid values. That nobody stores to it meanwhile
        // rests on the peer, for whom the token vouches: it could write this process's memory by other means as well.
        Some(unsafe { std::slice::from_raw_parts(at.as_ptr(), len) })
    }
}
