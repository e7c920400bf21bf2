// SPDX-License-Identifier: LGPL-2.1-or-later
//! Single-writer, single-reader lane of records in memory that neither side can truncate, and the bell that wakes its reader.
//!
//! A record is `[state][place][data, padded to 8 bytes]` at an even word index, always in one piece, so that it can be lent
//! or filled where it lies. `state` is 0 while nothing is there, the length plus one once the record is complete, or
//! `SKIP`: the next record is at the index in `place`. The receiver takes a SKIP away when it follows it: a sender that leads
//! it in circles and stops gives it no more to do than the lane holds. Before a record is published, the state behind it is
//! set to 0, so that no old payload can be taken for a record.
//!
//! | word             | sender stores  | receiver stores | label         |
//! |------------------|----------------|-----------------|---------------|
//! | a record's state | 0, length, SKIP | 0 over SKIP    | `record-live` |
//! | a record's place | index after SKIP | nothing       | `record-live` |
//! | `tail`           | nothing        | yes             | `record-free` |
//! | the bell         | 0: taken       | 1: armed        | `bell`        |
//!
//! In the common case a message costs the receiver the cache lines of the record, and the sender none of the receiver's:
//! each end keeps its index private, and the sender keeps what it last saw of `tail`.
//!
//! A sender that crosses a page looks at `tail` again and starts over at index 0 when the lane is empty, so that a lane with
//! little in it touches little memory. It may go on behind the place it left as long as the receiver is still there. So
//! records fit whenever all that is unread, with the new one, takes no more than half of the lane.
//!
//! # The bell
//!
//! A receiver that is about to sleep arms its bell and looks once more; a sender that has published takes an armed bell and
//! then wakes the receiver by the means the two agreed on: a byte on a socket, or a futex. Both put a sequentially consistent
//! fence between their store and their look, so at least one of them sees the other (`ORDER(bell)`), and each arming is
//! answered by at most one wake-up.
//!
//! The peer may store anything at any time. The worst it gets is `Error::Corrupt`, the loss of its own messages, or a wake-up
//! for nothing. This room touches shared words through [`Cells`] and nothing else: no files, no clock, no log.
#![forbid(unsafe_code)]

mod bell;
mod receiver;
mod sender;

#[cfg(test)]
#[cfg(loom)]
mod loom_tests;
#[cfg(test)]
#[cfg(not(loom))]
mod tests;

pub use bell::{Armed, arm, disarm, rouse};
pub use receiver::{Receiver, Record};
pub use sender::{Claim, Sender};

use crate::ring::{HeapRing, Words};
use crate::shm::SharedWord;
use crate::{Error, Result};
use std::ops::Deref;

/// State of a place without a record.
const EMPTY: u32 = 0;
/// State that says: go on at the index in the next word.
const SKIP: u32 = u32::MAX;
/// Words before a record's data: state and place.
const HEAD: u32 = 2;
/// Words that half a lane has beyond the data of its largest message: for the states before and behind it, and for those at
/// both ends of what was skipped.
const SLACK: u32 = 4 * HEAD;
/// Words of a page, whatever the machine's page size: how often a sender looks whether it can start over.
const PAGE: u32 = 1024;
/// The longest lane in words.
const MOST_WORDS: u32 = 1 << 28;

/// A place between two steps of a protocol, where the stress test puts delays; nothing otherwise.
#[cfg(not(all(test, not(loom))))]
#[inline(always)]
pub(crate) fn step() {}
#[cfg(test)]
#[cfg(not(loom))]
pub(crate) mod delays;
#[cfg(test)]
#[cfg(not(loom))]
pub(crate) use delays::step;

/// The memory under a lane: mapped pages in production, a heap array in tests, under the sanitizers and under loom.
pub trait Cells {
    /// The private length in words: even.
    fn words(&self) -> u32;
    /// Where the receiver says that it will read next.
    fn tail(&self) -> &SharedWord;
    /// A word of the lane; `index` is below the length.
    fn word(&self, index: u32) -> Result<&SharedWord>;
    /// Copies in at a byte offset; the bytes do not run past the end.
    fn copy_in(&self, offset: usize, data: &[u8]) -> Result<()>;
    /// Copies out at a byte offset; the bytes do not run past the end.
    fn copy_out(&self, offset: usize, out: &mut [u8]) -> Result<()>;
}

impl<P: Deref> Cells for P
where
    P::Target: Cells,
{
    #[inline]
    fn words(&self) -> u32 {
        (**self).words()
    }
    #[inline]
    fn tail(&self) -> &SharedWord {
        (**self).tail()
    }
    #[inline]
    fn word(&self, index: u32) -> Result<&SharedWord> {
        (**self).word(index)
    }
    #[inline]
    fn copy_in(&self, offset: usize, data: &[u8]) -> Result<()> {
        (**self).copy_in(offset, data)
    }
    #[inline]
    fn copy_out(&self, offset: usize, out: &mut [u8]) -> Result<()> {
        (**self).copy_out(offset, out)
    }
}

/// Private memory, with every byte behind an atomic.
impl Cells for HeapRing {
    fn words(&self) -> u32 {
        self.size().words() & !1
    }
    fn tail(&self) -> &SharedWord {
        self.read_pt()
    }
    fn word(&self, index: u32) -> Result<&SharedWord> {
        Words::word(self, index)
    }
    fn copy_in(&self, offset: usize, data: &[u8]) -> Result<()> {
        Words::copy_in(self, offset, data)
    }
    fn copy_out(&self, offset: usize, out: &mut [u8]) -> Result<()> {
        Words::copy_out(self, offset, out)
    }
}

/// Words of a record with `len` bytes of data; `len` fits a lane.
#[inline]
fn record_words(len: usize) -> u32 {
    HEAD + 2 * len.div_ceil(8) as u32
}

/// Bytes of a lane in which a message of `most` bytes always finds room when nothing else is there: twice a record, with the
/// states around it. `EFBIG` when that is beyond what a lane can be.
pub fn bytes_for(most: usize) -> Result<usize> {
    let too_big = Error::Os(libc::EFBIG);
    let padded = most.checked_next_multiple_of(8).ok_or(too_big)?;
    let bytes = padded.checked_add(4 * SLACK as usize).and_then(|n| n.checked_mul(2)).ok_or(too_big)?;
    if bytes > 4 * MOST_WORDS as usize { Err(too_big) } else { Ok(bytes) }
}

/// The largest message that always finds room in an empty lane of that many words.
fn most_in(words: u32) -> usize {
    (words / 4 * 2).saturating_sub(SLACK) as usize * 4
}
