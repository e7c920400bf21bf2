// SPDX-License-Identifier: LGPL-2.1-or-later
//! An owned mapping of a file that a peer shares. The length is private; words are lent as atomics, everything else is
//! copied, and a plain slice costs a [`Trusted`] token.

use super::{SharedWord, guard};
use crate::sys::mmap::{Pages, Touch};
use crate::{Error, Result};
use std::marker::PhantomData;
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

/// Types that may lie in memory which other processes write.
///
/// # Safety
/// Every bit pattern is valid, and all access is by atomic operations.
pub(super) unsafe trait Shared {}

// SAFETY: a transparent AtomicU32.
unsafe impl Shared for SharedWord {}

/// A file mapped read-write and shared, unmapped on drop. Offsets are in bytes from its start.
#[derive(Debug)]
pub struct Mapping {
    // Dropped in this order: out of the guard's table first, unmapped afterwards.
    watch: Option<guard::Watch>,
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

    /// Maps the first `len` bytes of a file that nobody can make shorter: faults in it are not expected and not caught.
    pub fn map_sealed(fd: BorrowedFd<'_>, len: usize) -> Result<Self> {
        Ok(Self { watch: None, pages: Pages::shared(fd, len)?, len })
    }

    fn watched(pages: Pages, len: usize) -> Result<Self> {
        let watch = Some(guard::Watch::start(&pages)?);
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
        self.watch.as_ref().is_some_and(guard::Watch::is_dead)
    }

    /// Saves the page faults of the first use of what lies from `start`, a multiple of the page size, to `end`. No more than that: where
    /// it fails there are faults as usual. [`Error::Os`] says why.
    #[cold]
    pub fn populate(&self, start: usize, end: usize, touch: Touch) -> Result<()> {
        self.pages.populate(start, end, touch)
    }

    /// The address of `len` bytes at `offset`; None when they are not all inside.
    #[must_use]
    #[inline]
    pub fn address(&self, offset: usize, len: usize) -> Option<NonNull<u8>> {
        self.place(offset, len).ok()
    }

    /// As [`Mapping::address`]. Errors are [`Error::Invalid`]; unlike None, telling them from an address costs nothing.
    #[inline(always)]
    fn place(&self, offset: usize, len: usize) -> Result<NonNull<u8>> {
        match offset.checked_add(len) {
            // SAFETY: `offset <= end <= span`, and the span is one allocation of at most isize::MAX bytes.
            Some(end) if end <= self.pages.span() => Ok(unsafe { self.pages.base().add(offset) }),
            _ => Err(Error::Invalid),
        }
    }

    /// The word at `offset`, a multiple of 4.
    #[must_use]
    #[inline]
    pub fn word(&self, offset: usize) -> Option<&SharedWord> {
        self.view(offset).ok()
    }

    /// The word at `offset`, a multiple of 4, or [`Error::Invalid`].
    #[inline(always)]
    pub fn try_word(&self, offset: usize) -> Result<&SharedWord> {
        self.view(offset)
    }

    /// A group of atomics at `offset`, a multiple of its alignment, or [`Error::Invalid`].
    #[inline(always)]
    pub(super) fn view<T: Shared>(&self, offset: usize) -> Result<&T> {
        const { assert!(align_of::<T>() <= 4096) };
        if !offset.is_multiple_of(align_of::<T>()) {
            return Err(Error::Invalid);
        }
        let at = self.place(offset, size_of::<T>())?;
        // SAFETY: in bounds (`place`), aligned because the base is page aligned and the offset was checked, and mapped
        // while `self` lives. `Shared` says that any bytes are a valid T and that it is reached by atomics only, so a
        // store by the peer is a new value, not a data race.
        Ok(unsafe { at.cast().as_ref() })
    }

    /// The first words; there whatever the length, since pages are mapped as wholes.
    #[must_use]
    #[inline]
    pub fn head(&self) -> &[SharedWord; 256] {
        // SAFETY: at least one byte is mapped and so at least one page, which has 1,024 bytes or more and is page aligned,
        // while `self` lives. Bytes behind the file's end but in its last page can be read and written.
        unsafe { self.pages.base().cast().as_ref() }
    }

    /// All words that are mapped once; the last bytes if they are fewer than four are left out.
    #[must_use]
    #[inline]
    pub fn words(&self) -> &[SharedWord] {
        // SAFETY: the base is page aligned, and `len` bytes from it are mapped while `self` lives; any bytes are a valid word, and it
        // is reached by atomics only, so that a store by the peer is a new value, not a data race.
        unsafe { std::slice::from_raw_parts(self.pages.base().cast().as_ptr(), self.len / 4) }
    }

    /// Copies out; [`Error::Invalid`] unless all of it is inside.
    #[inline]
    pub fn read(&self, offset: usize, out: &mut [u8]) -> Result<()> {
        let from = self.place(offset, out.len())?;
        // SAFETY: `from` is mapped for `out.len()` bytes (`place`) while `self` lives, and `out` is exclusively ours.
        // `out` is not this mapping: a `&mut` into it is never made. The peer may write meanwhile; then the copy holds
        // any mixture of bytes, which callers must expect of a peer anyway, and no reference into the memory exists.
        unsafe { ptr::copy_nonoverlapping(from.as_ptr(), out.as_mut_ptr(), out.len()) };
        Ok(())
    }

    /// Copies in; [`Error::Invalid`] unless all of it is inside.
    #[inline]
    pub fn write(&self, offset: usize, data: &[u8]) -> Result<()> {
        let to = self.place(offset, data.len())?;
        // SAFETY: `to` is mapped for `data.len()` bytes (`place`) while `self` lives. `ptr::copy` allows overlap, for a
        // C caller that passes on what it was lent from this very ring. No reference into the memory exists.
        unsafe { ptr::copy(data.as_ptr(), to.as_ptr(), data.len()) };
        Ok(())
    }

    /// Fills with zeros; [`Error::Invalid`] unless all of it is inside.
    pub fn clear(&self, offset: usize, len: usize) -> Result<()> {
        let to = self.place(offset, len)?;
        // SAFETY: as for `write`.
        unsafe { ptr::write_bytes(to.as_ptr(), 0, len) };
        Ok(())
    }

    /// `len` bytes at `offset`, to be written piece by piece; [`Error::Invalid`] unless all of them are inside.
    #[inline]
    pub fn window(&self, offset: usize, len: usize) -> Result<Window<'_>> {
        Ok(Window { at: self.place(offset, len)?, len, mapping: PhantomData })
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

/// Part of a mapping that is being written. Peers may see every store, and may store there too.
#[derive(Debug)]
pub struct Window<'a> {
    at: NonNull<u8>,
    len: usize,
    mapping: PhantomData<&'a Mapping>,
}

impl Window<'_> {
    /// Bytes that it has.
    #[must_use]
    #[inline]
    pub fn len(&self) -> usize {
        self.len
    }

    /// True for a part without bytes.
    #[must_use]
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Where it is: mapped for its length, and writable, as long as it lives. For C code that writes there.
    #[must_use]
    #[inline]
    pub fn address(&self) -> NonNull<u8> {
        self.at
    }

    /// Copies in; [`Error::Invalid`] unless all of it is inside.
    #[inline(always)]
    pub fn put(&self, offset: usize, data: &[u8]) -> Result<()> {
        match offset.checked_add(data.len()) {
            Some(end) if end <= self.len => {
                // SAFETY: inside of the window (checked), which is mapped while it borrows the mapping (`Mapping::window`). `ptr::copy`
                // allows overlap; no reference into the memory exists.
                unsafe { ptr::copy(data.as_ptr(), self.at.as_ptr().add(offset), data.len()) };
                Ok(())
            }
            _ => Err(Error::Invalid),
        }
    }

    /// What is left from `offset` on; [`Error::Invalid`] when that is outside.
    #[inline]
    pub fn behind(self, offset: usize) -> Result<Self> {
        let len = self.len.checked_sub(offset).ok_or(Error::Invalid)?;
        // SAFETY: `offset <= len`, so this is inside of the window or one behind it.
        Ok(Self { at: unsafe { self.at.add(offset) }, len, mapping: PhantomData })
    }
}
