// SPDX-License-Identifier: LGPL-2.1-or-later
//! The writing end: claim space, fill it, commit it. See the table in the room's door for who stores what.

use super::{CHUNK_MARGIN, Cursor, MAGIC_ALLOC, MAGIC_DEAD, MAGIC_READY, Size, Words};
use crate::{Error, Result};

/// Space for one chunk, not visible to the reader yet. Dropping it gives the space back.
#[derive(Debug)]
#[must_use]
pub struct Claim {
    at: u32,
    len: usize,
}

impl Claim {
    /// Bytes that may be filled.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// True for a chunk without data.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }
}

/// Writes chunks into a ring. At any time one thread of one process writes.
#[derive(Debug)]
pub struct Writer<W> {
    words: W,
    size: Size,
    at: Cursor,
    /// Where the reader was when last looked at; it can only have gone on since.
    reader: u32,
}

impl<W: Words> Writer<W> {
    /// The only writer of a ring that was empty and untouched when it was made: the index is private.
    pub fn private(words: W) -> Self {
        let size = words.size();
        Self { words, size, at: Cursor::Private(0), reader: 0 }
    }

    /// A writer that takes turns with others: the index is read from the ring, checked, each time.
    pub fn shared(words: W) -> Self {
        let size = words.size();
        Self { words, size, at: Cursor::Shared, reader: 0 }
    }

    /// From now on it takes turns with others.
    #[cold]
    pub fn share(&mut self) {
        self.at = Cursor::Shared;
    }

    /// Index of the next chunk.
    #[inline]
    fn write_at(&self) -> Result<u32> {
        self.at.get(self.words.write_pt(), self.size)
    }

    /// Bytes that are free now, the margin of the next chunk included.
    #[inline]
    pub fn space_free(&mut self) -> Result<usize> {
        let at = self.write_at()?;
        Ok(self.free_words(at)? as usize * 4)
    }

    #[inline(always)]
    fn free_words(&mut self, at: u32) -> Result<u32> {
        // ORDER(space-free): pairs with `Reader::reclaim`. Whoever observes the new index may write where the reader was;
        // any earlier, and the reader could still be copying from there.
        self.reader = self.size.index(self.words.read_pt().observe())?;
        Ok(self.size.free(at, self.reader))
    }

    /// True if `len` bytes find room at `at`; asks the reader's word only when the last answer is not enough.
    #[inline(always)]
    fn has_room(&mut self, at: u32, len: usize) -> Result<bool> {
        let enough = |free: u32| free as usize * 4 >= len + CHUNK_MARGIN;
        if matches!(self.at, Cursor::Private(_)) && enough(self.size.free(at, self.reader)) {
            return Ok(true);
        }
        self.free_words(at).map(enough)
    }

    /// Claims room for `len` bytes; [`Error::Busy`] while there is not enough.
    #[inline(always)]
    pub fn claim(&mut self, len: usize) -> Result<Claim> {
        let at = self.write_at()?;
        if !self.size.fits(len) || !self.has_room(at, len)? {
            return Err(Error::Busy);
        }
        self.words.word(at)?.set(0);
        self.words.word(self.size.add(at, 1))?.set(MAGIC_ALLOC);
        Ok(Claim { at, len })
    }

    /// Claims room for `len` bytes and drops the oldest chunks for it; [`Error::Invalid`] if one of them is not ready or
    /// the ring is too short. `dropped` is called for each.
    #[inline]
    pub fn claim_over(&mut self, len: usize, dropped: impl FnMut()) -> Result<Claim> {
        if !self.size.fits(len) {
            return Err(Error::Invalid);
        }
        let at = self.write_at()?;
        let need = (len + CHUNK_MARGIN).div_ceil(4) as u32;
        if self.free_words(at)? < need {
            self.make_room(at, need, dropped)?;
        }
        self.words.word(at)?.set(0);
        self.words.word(self.size.add(at, 1))?.set(MAGIC_ALLOC);
        Ok(Claim { at, len })
    }

    /// Drops the oldest chunks until `need` words are free at `at`: what [`Reader::drop_oldest`] does, with one look at each word.
    ///
    /// [`Reader::drop_oldest`]: super::Reader::drop_oldest
    #[inline(always)]
    fn make_room(&mut self, at: u32, need: u32, mut dropped: impl FnMut()) -> Result<()> {
        // Each step frees at least two words, so this many reach all the way round even if the chunks make no sense.
        let mut steps = self.size.words();
        while steps > 0 {
            steps -= 1;
            if self.reader == at {
                return Err(Error::Invalid);
            }
            let head = self.words.word(self.reader)?;
            let magic = self.words.word(self.size.add(self.reader, 1))?;
            // ORDER(chunk-live): pairs with `Writer::commit`. READY brings the length with it, if another writer was at work.
            if magic.observe() != MAGIC_READY {
                return Err(Error::Invalid);
            }
            let len = head.get() as usize;
            if !self.size.fits(len) {
                return Err(Error::Corrupt);
            }
            head.set(0);
            magic.set(MAGIC_DEAD);
            // ORDER(space-free): pairs with `Writer::space_free`, as in `Reader::reclaim`.
            self.words.read_pt().publish(self.size.step(self.reader, len));
            dropped();
            if self.free_words(at)? >= need {
                return Ok(());
            }
        }
        Err(Error::Corrupt)
    }

    /// What an earlier claim of this or another writer left at the write index, with all the room there is. For callers
    /// that cannot keep a [`Claim`].
    pub fn claimed(&mut self) -> Result<Claim> {
        let at = self.write_at()?;
        let free = self.free_words(at)? as usize * 4;
        let len = free.checked_sub(CHUNK_MARGIN).ok_or(Error::Invalid)?;
        Ok(Claim { at, len })
    }

    /// Byte offset of the claimed data in the data area.
    #[must_use]
    pub fn offset(&self, claim: &Claim) -> usize {
        self.size.data(claim.at, 0)
    }

    /// Copies `data` to `offset` within the claim; [`Error::Invalid`] when it does not all fit.
    #[inline(always)]
    pub fn fill(&mut self, claim: &Claim, offset: usize, data: &[u8]) -> Result<()> {
        if offset.checked_add(data.len()).is_none_or(|end| end > claim.len) {
            return Err(Error::Invalid);
        }
        let start = self.size.data(claim.at, offset);
        let (head, tail) = data.split_at(data.len().min(self.size.bytes() - start));
        self.words.copy_in(start, head)?;
        if tail.is_empty() { Ok(()) } else { self.words.copy_in(0, tail) }
    }

    /// Copies the parts one after the other; [`Error::Invalid`] when they do not all fit.
    #[inline(always)]
    pub fn fill_all(&mut self, claim: &Claim, parts: &[&[u8]]) -> Result<()> {
        let start = self.size.data(claim.at, 0);
        if claim.len > self.size.bytes() - start {
            return self.fill_wrapped(claim, parts);
        }
        let mut at = 0;
        for part in parts {
            if part.len() > claim.len - at {
                return Err(Error::Invalid);
            }
            self.words.copy_in(start + at, part)?;
            at += part.len();
        }
        Ok(())
    }

    #[inline(never)]
    fn fill_wrapped(&mut self, claim: &Claim, parts: &[&[u8]]) -> Result<()> {
        let mut at = 0;
        for part in parts {
            self.fill(claim, at, part)?;
            at += part.len();
        }
        Ok(())
    }

    /// Hands the first `len` bytes of a claim to the reader; [`Error::Invalid`] when more than claimed.
    #[inline(always)]
    pub fn commit(&mut self, claim: Claim, len: usize) -> Result<()> {
        if len > claim.len {
            return Err(Error::Invalid);
        }
        self.words.word(claim.at)?.set(len as u32);
        let next = self.size.step(claim.at, len);
        self.at.set(next);
        // ORDER(chunk-live): pairs with `Reader::surely`. Whoever observes the new index also sees that the magic is
        // ALLOC or READY, and not some payload that lay there before.
        self.words.write_pt().publish(next);
        // ORDER(chunk-live): pairs with `Reader::chunk`. Whoever observes READY also sees the length and the payload;
        // publishing any earlier would hand the reader a half-written chunk.
        self.words.word(self.size.add(claim.at, 1))?.publish(MAGIC_READY);
        Ok(())
    }
}
