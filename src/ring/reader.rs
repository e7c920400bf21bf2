// SPDX-License-Identifier: LGPL-2.1-or-later
//! The reading end: look at the next chunk, copy it, reclaim it. See the table in the room's door for who stores what.

use super::{Cursor, MAGIC_DEAD, MAGIC_READY, Size, Words};
use crate::{Error, Result};

/// The chunk at the reader's index: where it is and a private copy of its checked length.
#[derive(Debug)]
#[must_use]
pub struct Chunk {
    at: u32,
    len: usize,
}

impl Chunk {
    /// Bytes of data.
    #[must_use]
    #[inline]
    pub fn len(&self) -> usize {
        self.len
    }

    /// True for a chunk without data.
    #[must_use]
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }
}

/// Reads chunks from a ring. At any time one thread of one process reads.
#[derive(Debug)]
pub struct Reader<W> {
    words: W,
    size: Size,
    at: Cursor,
}

impl<W: Words> Reader<W> {
    /// The only reader of a ring from which nothing was read yet: the index is private.
    pub fn private(words: W) -> Self {
        let size = words.size();
        Self { words, size, at: Cursor::Private(0) }
    }

    /// A reader that takes turns with others: the index is read from the ring, checked, each time.
    pub fn shared(words: W) -> Self {
        let size = words.size();
        Self { words, size, at: Cursor::Shared }
    }

    /// From now on it takes turns with others.
    #[cold]
    pub fn share(&mut self) {
        self.at = Cursor::Shared;
    }

    #[inline]
    fn read_at(&self) -> Result<u32> {
        self.at.get(self.words.read_pt(), self.size)
    }

    /// Bytes between the reader and the writer, as `qb_rb_space_used` counts them.
    pub fn space_used(&self) -> Result<usize> {
        let write = self.size.index(self.words.write_pt().observe())?;
        Ok(self.size.used(write, self.read_at()?) as usize * 4)
    }

    /// True when a chunk can be read, judged by the ring alone: see [`Reader::surely`].
    #[inline]
    pub fn is_ready(&self) -> Result<bool> {
        Ok(self.surely()?.is_some())
    }

    /// The next chunk, judged by the ring alone. Never says yes too early, whatever old payload lies at the index; asking a
    /// counter first makes it unnecessary.
    #[inline(always)]
    pub fn surely(&self) -> Result<Option<Chunk>> {
        let at = self.read_at()?;
        // ORDER(chunk-live): pairs with `Writer::commit`. The index is observed before the magic: seeing that the writer
        // went on, we cannot see a magic older than its claim.
        if self.words.write_pt().observe() == at { Ok(None) } else { self.chunk(at) }
    }

    /// The next chunk if its magic says READY; [`Error::Corrupt`] for a length that the ring cannot hold. For callers that
    /// hold a count which promises a chunk; others want [`Reader::surely`].
    #[inline(always)]
    pub fn front(&self) -> Result<Option<Chunk>> {
        self.chunk(self.read_at()?)
    }

    #[inline(always)]
    fn chunk(&self, at: u32) -> Result<Option<Chunk>> {
        // ORDER(chunk-live): pairs with `Writer::commit`. READY brings the length and the payload with it.
        if self.words.word(self.size.add(at, 1))?.observe() != MAGIC_READY {
            return Ok(None);
        }
        let len = self.words.word(at)?.get() as usize;
        if self.size.fits(len) { Ok(Some(Chunk { at, len })) } else { Err(Error::Corrupt) }
    }

    /// Byte offset of the data in the data area, and how many of its bytes lie there before the area ends.
    #[must_use]
    #[inline]
    pub fn place(&self, chunk: &Chunk) -> (usize, usize) {
        let start = self.size.data(chunk.at, 0);
        (start, chunk.len.min(self.size.bytes() - start))
    }

    /// Copies from `offset` within the chunk; [`Error::Invalid`] when that is more than it has.
    #[inline(always)]
    pub fn copy(&self, chunk: &Chunk, offset: usize, out: &mut [u8]) -> Result<()> {
        if offset.checked_add(out.len()).is_none_or(|end| end > chunk.len) {
            return Err(Error::Invalid);
        }
        let start = self.size.data(chunk.at, offset);
        let split = out.len().min(self.size.bytes() - start);
        let (head, tail) = out.split_at_mut(split);
        self.words.copy_out(start, head)?;
        if tail.is_empty() { Ok(()) } else { self.words.copy_out(0, tail) }
    }

    /// Gives the chunk's space back to the writer.
    #[inline(always)]
    pub fn reclaim(&mut self, chunk: Chunk) -> Result<()> {
        self.words.word(chunk.at)?.set(0);
        self.words.word(self.size.add(chunk.at, 1))?.set(MAGIC_DEAD);
        let next = self.size.step(chunk.at, chunk.len);
        self.at.set(next);
        // ORDER(space-free): pairs with `Writer::space_free`. Our copying and the two stores above are over before the
        // writer may use the space again.
        self.words.read_pt().publish(next);
        Ok(())
    }

    /// Reclaims the next chunk; false if none is ready.
    #[inline(always)]
    pub fn drop_oldest(&mut self) -> Result<bool> {
        match self.surely()? {
            Some(chunk) => self.reclaim(chunk).map(|()| true),
            None => Ok(false),
        }
    }
}
