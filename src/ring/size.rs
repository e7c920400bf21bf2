// SPDX-License-Identifier: LGPL-2.1-or-later
//! Ring arithmetic on the private length. Nothing here overflows for any index below the length and any chunk that
//! [`Size::fits`].

use crate::{Error, Result};

/// Bytes that a chunk needs beyond its data: two header words and one of alignment.
pub const CHUNK_MARGIN: usize = 12;

/// Words of a chunk header.
pub(super) const HEADER: u32 = 2;

/// The longest ring, in words: sums of two indices stay within 32 bits, and its bytes within an address space.
pub const MAX_WORDS: u32 = if usize::BITS >= 64 { 1 << 30 } else { 1 << 28 };

/// The length of a ring in 32-bit words, in private memory, between 4 and [`MAX_WORDS`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size(u32);

impl Size {
    /// A length in words; [`Error::Invalid`] when it is out of range.
    pub fn new(words: u32) -> Result<Self> {
        if (4..=MAX_WORDS).contains(&words) { Ok(Self(words)) } else { Err(Error::Invalid) }
    }

    /// The length in words.
    #[must_use]
    #[inline]
    pub fn words(self) -> u32 {
        self.0
    }

    /// The length in bytes.
    #[must_use]
    #[inline]
    pub fn bytes(self) -> usize {
        self.0 as usize * 4
    }

    /// An index that came from shared memory; [`Error::Corrupt`] unless it lies inside.
    #[inline]
    pub fn index(self, at: u32) -> Result<u32> {
        if at < self.0 { Ok(at) } else { Err(Error::Corrupt) }
    }

    /// True when a chunk of `len` bytes can ever be in the ring.
    #[must_use]
    #[inline]
    pub fn fits(self, len: usize) -> bool {
        len <= self.bytes() - CHUNK_MARGIN
    }

    /// `at` + `words`, around the end; both below or at the length.
    #[must_use]
    #[inline]
    pub fn add(self, at: u32, words: u32) -> u32 {
        let sum = at + words;
        if sum >= self.0 { sum - self.0 } else { sum }
    }

    /// The index behind a chunk at `at` with `len` bytes of data that [`Size::fits`].
    #[must_use]
    #[inline]
    pub fn step(self, at: u32, len: usize) -> u32 {
        self.add(at, HEADER + len.div_ceil(4) as u32)
    }

    /// Words between the reader and the writer, as `qb_rb_space_used` counts them (one short once the writer wrapped).
    #[must_use]
    #[inline]
    pub fn used(self, write: u32, read: u32) -> u32 {
        match write.cmp(&read) {
            std::cmp::Ordering::Greater => write - read,
            std::cmp::Ordering::Less => write + self.0 - read - 1,
            std::cmp::Ordering::Equal => 0,
        }
    }

    /// Words that can be written. Equal indices mean an empty ring: a writer never closes the last gap.
    #[must_use]
    #[inline]
    pub fn free(self, write: u32, read: u32) -> u32 {
        let ahead = if read > write { read - write } else { read + self.0 - write };
        if ahead == self.0 { ahead } else { ahead - 1 }
    }

    /// Byte offset in the data area of byte `offset` of the data of the chunk at `at`.
    #[inline]
    pub(super) fn data(self, at: u32, offset: usize) -> usize {
        let sum = self.add(at, HEADER) as usize * 4 + offset;
        if sum >= self.bytes() { sum - self.bytes() } else { sum }
    }
}
