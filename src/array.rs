// SPDX-License-Identifier: LGPL-2.1-or-later
//! An array that grows while others use it: elements are in bins of 16, a bin is made when one of its elements is first
//! asked for, and never moves. It touches its own allocations only.
//!
//! Finding an element of an existing bin takes no lock. The table of bins is in two levels that are filled in once:
//!
//! | what | written by | read by | label |
//! |---|---|---|---|
//! | group, bin | whoever needs it first, under the lock | everybody | `bin-ready` (in `OnceLock`) |
//! | `max` | growing, only upwards | everybody | none: a number that guards nothing else |
//!
//! Elements are plain bytes that any thread may change at any time; the array never reads them.
#![forbid(unsafe_code)]

use crate::sync::{AtomicU8, AtomicUsize, Mutex, Ordering};
use crate::{Error, Result};
use std::sync::OnceLock;

/// Elements per bin.
pub const BIN: usize = 16;
/// The largest number of elements.
pub const MAX_ELEMENTS: usize = 1 << 16;
/// The largest accepted step of growing by itself.
pub const MAX_AUTOGROW: usize = 16;

const GROUP: usize = 64;
const GROUPS: usize = MAX_ELEMENTS / BIN / GROUP;

/// Sixteen bytes, aligned for any C type.
#[repr(align(16))]
struct Chunk([AtomicU8; 16]);

impl Chunk {
    const fn new() -> Self {
        Chunk([const { AtomicU8::new(0) }; 16])
    }
}

type Group = [OnceLock<Box<[Chunk]>>; GROUP];

/// See the module's page.
pub struct Array {
    groups: [OnceLock<Box<Group>>; GROUPS],
    element_size: usize,
    autogrow: bool,
    max: AtomicUsize,
    /// Size of the table that is reported, and the lock of whoever makes a bin or grows.
    table: Mutex<usize>,
}

/// One element: its bytes, whose address stays the same as long as the array exists.
#[derive(Clone, Copy)]
pub struct Element<'a> {
    bin: &'a [Chunk],
    offset: usize,
    size: usize,
}

impl<'a> Element<'a> {
    /// Address of the first byte; `size` bytes follow. Aligned to 16 if the element size is a multiple of that.
    #[must_use]
    #[inline]
    pub fn as_ptr(&self) -> *const AtomicU8 {
        self.bin.as_ptr().cast::<AtomicU8>().wrapping_add(self.offset)
    }

    /// One byte; None beyond the element's size.
    #[must_use]
    pub fn byte(&self, at: usize) -> Option<&'a AtomicU8> {
        let at = (at < self.size).then_some(self.offset + at)?;
        self.bin.get(at / 16)?.0.get(at % 16)
    }

    /// Size in bytes.
    #[must_use]
    pub fn size(&self) -> usize {
        self.size
    }
}

/// How many bins the table is said to have room for.
fn table_size(max: usize) -> usize {
    (max / BIN + 1).min(MAX_ELEMENTS / BIN)
}

impl Array {
    /// An array of at first `max` elements of `element_size` bytes, all zero. With `autogrow` (at most 16; the number
    /// does not matter unless it is 0) asking for an element beyond the end raises the maximum to it.
    ///
    /// # Errors
    /// [`Error::Invalid`]: more than 65536 elements, an element size of 0, or a larger step.
    pub fn new(max: usize, element_size: usize, autogrow: usize) -> Result<Self> {
        if max > MAX_ELEMENTS || element_size == 0 || autogrow > MAX_AUTOGROW {
            return Err(Error::Invalid);
        }
        Ok(Array {
            groups: [const { OnceLock::new() }; GROUPS],
            element_size,
            autogrow: autogrow > 0,
            max: AtomicUsize::new(max),
            table: Mutex::new(table_size(max)),
        })
    }

    /// The element with this number, and the number of its bin if that was made by this call.
    ///
    /// # Errors
    /// [`Error::Os`]`(ERANGE)`: not below the maximum. [`Error::Invalid`]: growing by itself would exceed 65536.
    /// [`Error::NoMemory`].
    #[inline]
    pub fn index(&self, at: usize) -> Result<(Element<'_>, Option<u32>)> {
        if at >= self.max.load(Ordering::Relaxed) {
            self.grow_to(at)?;
        }
        let number = at / BIN;
        let bin = self.groups.get(number / GROUP).and_then(OnceLock::get);
        match bin.and_then(|g| g.get(number % GROUP)).and_then(OnceLock::get) {
            Some(bin) => Ok((self.element(bin, at), None)),
            None => self.make_bin(at),
        }
    }

    #[inline]
    fn element<'a>(&self, bin: &'a [Chunk], at: usize) -> Element<'a> {
        // A bin has `BIN` times the element size bytes, so this does not overflow.
        Element { bin, offset: at % BIN * self.element_size, size: self.element_size }
    }

    #[cold]
    fn grow_to(&self, at: usize) -> Result<()> {
        if !self.autogrow {
            return Err(Error::Os(libc::ERANGE));
        }
        self.grow(at + 1)
    }

    #[cold]
    fn make_bin(&self, at: usize) -> Result<(Element<'_>, Option<u32>)> {
        let number = at / BIN;
        let _guard = self.table.lock();
        let group = self.groups.get(number / GROUP).ok_or(Error::Invalid)?;
        if group.get().is_none() {
            let _ = group.set(Box::new([const { OnceLock::new() }; GROUP]));
        }
        let place = group.get().and_then(|g| g.get(number % GROUP)).ok_or(Error::Invalid)?;
        let mut new = None;
        if place.get().is_none() {
            // One chunk of 16 bytes per byte of an element makes 16 elements.
            let mut chunks = Vec::new();
            chunks.try_reserve_exact(self.element_size).map_err(|_| Error::NoMemory)?;
            chunks.resize_with(self.element_size, Chunk::new);
            // The OnceLock publishes the zeroed bin: whoever gets it in `index` sees the zeros.
            let _ = place.set(chunks.into_boxed_slice());
            new = Some(number as u32);
        }
        let bin = place.get().ok_or(Error::NoMemory)?;
        Ok((self.element(bin, at), new))
    }

    /// Raises the maximum; nothing happens if it is as large already.
    ///
    /// # Errors
    /// [`Error::Invalid`]: more than 65536 elements.
    pub fn grow(&self, max: usize) -> Result<()> {
        if max > MAX_ELEMENTS {
            return Err(Error::Invalid);
        }
        let mut table = self.table.lock();
        if self.max.fetch_max(max, Ordering::Relaxed) < max && table_size(max) > *table {
            *table = table_size(max) + 1;
        }
        Ok(())
    }

    /// Size of the table of bins, as the reference counts it: one more than needed after growing.
    #[must_use]
    pub fn bins(&self) -> usize {
        *self.table.lock()
    }

    /// The present maximum.
    #[must_use]
    pub fn len(&self) -> usize {
        self.max.load(Ordering::Relaxed)
    }

    /// Whether the maximum is 0.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elements_stay_where_they_are_when_the_array_grows() {
        let array = Array::new(20, 12, 0).unwrap();
        let (first, new) = array.index(17).unwrap();
        assert_eq!(new, Some(1));
        first.byte(11).unwrap().store(7, Ordering::Relaxed);
        array.grow(60000).unwrap();
        array.index(59999).unwrap();
        let (again, new) = array.index(17).unwrap();
        assert_eq!((again.as_ptr(), new), (first.as_ptr(), None));
        assert_eq!(again.byte(11).unwrap().load(Ordering::Relaxed), 7);
        assert!(again.byte(12).is_none());
    }

    #[test]
    fn elements_of_a_bin_are_consecutive_and_disjoint() {
        let array = Array::new(16, 3, 0).unwrap();
        let base = array.index(0).unwrap().0.as_ptr() as usize;
        assert_eq!(base % 16, 0);
        for i in 0..16 {
            assert_eq!(array.index(i).unwrap().0.as_ptr() as usize, base + 3 * i);
            array.index(i).unwrap().0.byte(2).unwrap().store(i as u8, Ordering::Relaxed);
        }
        for i in 0..16 {
            assert_eq!(array.index(i).unwrap().0.byte(2).unwrap().load(Ordering::Relaxed), i as u8);
        }
    }

    #[test]
    fn limits_are_errors() {
        assert_eq!(Array::new(MAX_ELEMENTS + 1, 1, 0).err(), Some(Error::Invalid));
        assert_eq!(Array::new(1, 0, 0).err(), Some(Error::Invalid));
        assert_eq!(Array::new(1, 1, 17).err(), Some(Error::Invalid));
        assert_eq!(Array::new(10, 1, 0).unwrap().index(10).err(), Some(Error::Os(libc::ERANGE)));
        let growing = Array::new(0, 1, 1).unwrap();
        assert!(growing.index(MAX_ELEMENTS - 1).is_ok());
        assert_eq!(growing.index(MAX_ELEMENTS).err(), Some(Error::Invalid));
        assert_eq!(growing.index(usize::MAX - 1).err(), Some(Error::Invalid));
        assert_eq!(Array::new(1, usize::MAX, 0).unwrap().index(0).err(), Some(Error::NoMemory));
    }

    #[test]
    fn each_bin_is_made_once_by_whichever_thread_comes_first() {
        let array = Array::new(0, 8, 16).unwrap();
        let made: usize = std::thread::scope(|s| {
            let run = || (0..5000).filter(|i| array.index(*i).unwrap().1.is_some()).count();
            let threads = [s.spawn(run), s.spawn(run), s.spawn(run)];
            threads.into_iter().map(|t| t.join().unwrap()).sum()
        });
        assert_eq!(made, 5000_usize.div_ceil(BIN));
    }
}
