// SPDX-License-Identifier: LGPL-2.1-or-later
//! The receiving end: look at the next record, copy it or use it in place, reclaim it.

use super::{Cells, EMPTY, HEAD, SKIP, most_in, record_words};
use crate::{Error, Result};

/// The next record: where it is and a private copy of its checked length.
#[derive(Debug)]
#[must_use]
pub struct Record {
    at: u32,
    len: usize,
}

impl Record {
    /// Bytes of data.
    #[must_use]
    #[inline]
    pub fn len(&self) -> usize {
        self.len
    }

    /// True for a record without data.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Byte offset of the data in the lane; a multiple of 8.
    #[must_use]
    #[inline]
    pub fn offset(&self) -> usize {
        (self.at + HEAD) as usize * 4
    }
}

/// Receives records. At any time one thread of one process does.
#[derive(Debug)]
pub struct Receiver<C> {
    cells: C,
    words: u32,
    at: u32,
    most: usize,
    /// A record was peeked and is neither reclaimed nor put back: nobody gets it, or the one behind it, meanwhile.
    taken: bool,
}

impl<C: Cells> Receiver<C> {
    /// The only receiver of a lane from which nothing was read yet.
    pub fn new(cells: C) -> Self {
        let words = cells.words();
        Self { words, at: 0, most: most_in(words), taken: false, cells }
    }

    /// The memory.
    pub fn cells(&self) -> &C {
        &self.cells
    }

    /// Whether a record was peeked and is still held.
    #[must_use]
    pub fn holds(&self) -> bool {
        self.taken
    }

    /// Whether there is something to peek at.
    #[must_use]
    #[inline]
    pub fn ready(&self) -> bool {
        !self.taken && self.cells.word(self.at).is_ok_and(|state| state.observe() != EMPTY)
    }

    /// The next record, which stays in the lane until [`Receiver::reclaim`] or [`Receiver::put_back`]; until then there is no
    /// other. [`Error::Corrupt`] for what no sender writes.
    #[inline(always)]
    pub fn peek(&mut self) -> Result<Option<Record>> {
        if self.taken {
            return Ok(None);
        }
        // ORDER(record-live): pairs with `Sender::commit`. A length brings the data with it, SKIP the record at its place.
        let mut state = self.cells.word(self.at)?.observe();
        if state == EMPTY {
            return Ok(None);
        }
        if state == SKIP {
            let place = self.cells.word(self.at + 1)?.get();
            if !place.is_multiple_of(2) || place > self.words - HEAD {
                return Err(Error::Corrupt);
            }
            // Nobody is sent on twice: a way that leads back to where it began would be walked for ever.
            self.cells.word(self.at)?.set(EMPTY);
            super::step();
            self.at = place;
            // ORDER(record-free): pairs with `Sender::claim`, for the place that was left.
            self.cells.tail().publish(place);
            state = self.cells.word(place)?.observe();
        }
        // EMPTY becomes a length beyond any lane here.
        let len = state.wrapping_sub(1) as usize;
        if len > self.most || self.at + record_words(len) + HEAD > self.words {
            return Err(Error::Corrupt);
        }
        self.taken = true;
        Ok(Some(Record { at: self.at, len }))
    }

    /// Copies from `offset` within the record; [`Error::Invalid`] when that is more than it has.
    #[inline(always)]
    pub fn copy(&self, record: &Record, offset: usize, out: &mut [u8]) -> Result<()> {
        if offset.checked_add(out.len()).is_none_or(|end| end > record.len) {
            return Err(Error::Invalid);
        }
        self.cells.copy_out(record.offset() + offset, out)
    }

    /// Gives the record's room back to the sender.
    #[inline(always)]
    pub fn reclaim(&mut self, record: Record) {
        self.at = record.at + record_words(record.len);
        self.taken = false;
        super::step();
        // ORDER(record-free): pairs with `Sender::claim`. Our copying is over before the sender may use the room again.
        self.cells.tail().publish(self.at);
    }

    /// Leaves the record in the lane, as if it had not been looked at.
    pub fn put_back(&mut self, record: Record) {
        drop(record);
        self.taken = false;
    }
}
