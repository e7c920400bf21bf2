// SPDX-License-Identifier: LGPL-2.1-or-later
//! The sending end: claim room, fill it, commit it.

use super::{Cells, EMPTY, HEAD, PAGE, SKIP, most_in, record_words};
use crate::{Error, Result};

/// Room for one record, not visible to the receiver yet. Dropping it gives the room back.
#[derive(Debug)]
#[must_use]
pub struct Claim {
    at: u32,
    len: usize,
    /// Where the receiver has to be told where the record is.
    skip: Option<u32>,
    /// The record starts over in a lane that is empty.
    starts_over: bool,
}

impl Claim {
    /// Bytes that may be filled.
    #[must_use]
    pub fn len(&self) -> usize {
        self.len
    }

    /// True for a record without data.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Byte offset of the data in the lane.
    #[must_use]
    pub fn offset(&self) -> usize {
        (self.at + HEAD) as usize * 4
    }
}

/// Sends records. At any time one thread of one process does.
///
/// Invariant: `at` is even and leaves room for a state before the end, and the state at `at` is 0.
#[derive(Debug)]
pub struct Sender<C> {
    cells: C,
    words: u32,
    at: u32,
    /// Where the receiver was when last looked at; it can only have gone on since.
    tail: u32,
    /// Where the sender was when it last started over in an empty lane, until the receiver is seen elsewhere. Meanwhile room
    /// below may hold unread records, and room above is free. Records below end before it.
    left: Option<u32>,
    most: usize,
}

impl<C: Cells> Sender<C> {
    /// The only sender of a lane that is all zero.
    pub fn new(cells: C) -> Self {
        let words = cells.words();
        Self { words, at: 0, tail: 0, left: None, most: most_in(words), cells }
    }

    /// The memory.
    pub fn cells(&self) -> &C {
        &self.cells
    }

    /// Whether `need` words are free at `at`, as far as is known.
    #[inline(always)]
    fn fits(&self, need: u32) -> bool {
        self.at + need <= if self.at >= self.tail { self.words } else { self.tail }
    }

    /// Claims room for `len` bytes. [`Error::Busy`] while there is not enough, [`Error::TooBig`] when there never will be.
    #[inline(always)]
    pub fn claim(&mut self, len: usize) -> Result<Claim> {
        if len > self.most {
            return Err(Error::TooBig);
        }
        // The state behind the record belongs to it: it is written first.
        let need = record_words(len) + HEAD;
        if self.at / PAGE == (self.at + need) / PAGE && self.fits(need) {
            return Ok(Claim { at: self.at, len, skip: None, starts_over: false });
        }
        self.claim_after_a_look(len, need)
    }

    fn claim_after_a_look(&mut self, len: usize, need: u32) -> Result<Claim> {
        // ORDER(record-free): pairs with `Receiver::reclaim`. Whoever observes the new tail may write where the receiver was;
        // any earlier, and it could still be copying from there.
        let tail = self.cells.tail().observe();
        if !tail.is_multiple_of(2) || tail > self.words - HEAD {
            return Err(Error::Corrupt);
        }
        self.tail = tail;
        self.left = self.left.filter(|left| *left == tail);
        let elsewhere = |at, starts_over| Ok(Claim { at, len, skip: Some(self.at), starts_over });
        if tail == self.at && self.at > 0 && need <= self.at {
            return elsewhere(0, true);
        }
        if self.fits(need) {
            return Ok(Claim { at: self.at, len, skip: None, starts_over: false });
        }
        match self.left {
            Some(left) if self.at < left && left + HEAD + need <= self.words => elsewhere(left + HEAD, false),
            Some(_) => Err(Error::Busy),
            None if self.at >= tail && need <= tail => elsewhere(0, false),
            None => Err(Error::Busy),
        }
    }

    /// Copies `data` to `offset` within the claim; [`Error::Invalid`] when it does not all fit.
    #[inline(always)]
    pub fn fill(&mut self, claim: &Claim, offset: usize, data: &[u8]) -> Result<()> {
        if offset.checked_add(data.len()).is_none_or(|end| end > claim.len) {
            return Err(Error::Invalid);
        }
        self.cells.copy_in(claim.offset() + offset, data)
    }

    /// Hands the first `len` bytes of a claim to the receiver; [`Error::Invalid`] when more than claimed. The receiver may be
    /// asleep: see [`rouse`](super::rouse).
    #[inline(always)]
    pub fn commit(&mut self, claim: Claim, len: usize) -> Result<()> {
        if len > claim.len {
            return Err(Error::Invalid);
        }
        let next = claim.at + record_words(len);
        self.cells.word(next)?.set(EMPTY);
        super::step();
        // ORDER(record-live): pairs with `Receiver::peek`. Whoever observes the state also sees the data, and that nothing is
        // behind it yet; published earlier, a half-written record could be read, or old payload as the next one.
        self.cells.word(claim.at)?.publish(len as u32 + 1);
        if let Some(skip) = claim.skip {
            super::step();
            self.cells.word(skip + 1)?.set(claim.at);
            // ORDER(record-live): pairs with `Receiver::peek`. Both the place and the record there are complete before anybody
            // is sent there.
            self.cells.word(skip)?.publish(SKIP);
            if claim.starts_over {
                self.left = Some(skip);
            }
        }
        self.at = next;
        Ok(())
    }

    /// How many records are in the lane. Costs time for each; what the receiver has stored into the lane cannot make it more
    /// than the lane could hold.
    pub fn queued(&self) -> u32 {
        let mut at = self.cells.tail().observe();
        let mut count = 0;
        for _ in 0..=self.words / HEAD {
            if at == self.at || !at.is_multiple_of(2) || at > self.words - HEAD {
                break;
            }
            match self.cells.word(at).map(crate::shm::SharedWord::get) {
                Ok(SKIP) => at = self.cells.word(at + 1).map_or(0, crate::shm::SharedWord::get),
                Ok(EMPTY) | Err(_) => break,
                Ok(state) => {
                    count += 1;
                    at = match usize::try_from(state - 1) {
                        Ok(len) if len <= self.most => at + record_words(len),
                        _ => break,
                    };
                }
            }
        }
        count
    }
}
