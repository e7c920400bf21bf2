// SPDX-License-Identifier: LGPL-2.1-or-later
//! Single-writer, single-reader ring of variable-length chunks in shared words.
//!
//! A chunk is `[size][magic][data, padded to 4 bytes]` at a word index; all indices count modulo the ring's length.
//!
//! | word        | writer stores | reader stores | label        |
//! |-------------|---------------|---------------|--------------|
//! | `write_pt`  | yes           | no            | `chunk-live` |
//! | `read_pt`   | no            | yes           | `space-free` |
//! | chunk size  | length        | 0             | `chunk-live` |
//! | chunk magic | ALLOC, READY  | DEAD          | `chunk-live` |
//!
//! The length is private. An end of a connection keeps its own index private too ([`Writer::private`],
//! [`Reader::private`]) and only publishes it; handles that take turns on one ring read it back, checked
//! ([`Writer::shared`], [`Reader::shared`]). An end that was copied by a fork becomes one of those. The peer may store anything at any time. The worst it gets is
//! `Error::Corrupt` and the loss of its own messages.
//!
//! This room touches shared words through [`Words`] and nothing else: no files, no clock, no log.
#![forbid(unsafe_code)]

pub mod dump;
mod heap;
mod reader;
mod size;
mod writer;

#[cfg(test)]
#[cfg(loom)]
mod loom_tests;
#[cfg(test)]
#[cfg(not(loom))]
mod tests;

pub use heap::HeapRing;
pub use reader::{Chunk, Reader};
pub use size::{CHUNK_MARGIN, MAX_WORDS, Size};
pub use writer::{Claim, Writer};

use crate::Result;
use crate::shm::SharedWord;
use std::ops::Deref;

/// A chunk that is being written.
pub const MAGIC_ALLOC: u32 = 0xA110_CED0;
/// A chunk that can be read.
pub const MAGIC_READY: u32 = 0xA1A1_A1A1;
/// A chunk that was read.
pub const MAGIC_DEAD: u32 = 0xD0D0_D0D0;

/// The memory under a ring: mapped pages in production, a heap array in tests and under the sanitizers, loom's words
/// under the model checker.
pub trait Words {
    /// The private length of the data area.
    fn size(&self) -> Size;
    /// Where the writer says that the next chunk goes.
    fn write_pt(&self) -> &SharedWord;
    /// Where the reader says that it will read next.
    fn read_pt(&self) -> &SharedWord;
    /// A word of the data area; `index` is below the length.
    fn word(&self, index: u32) -> Result<&SharedWord>;
    /// Copies into the data area at a byte offset; the bytes do not run past its end.
    fn copy_in(&self, offset: usize, data: &[u8]) -> Result<()>;
    /// Copies out of the data area at a byte offset; the bytes do not run past its end.
    fn copy_out(&self, offset: usize, out: &mut [u8]) -> Result<()>;
}

impl<P: Deref> Words for P
where
    P::Target: Words,
{
    #[inline]
    fn size(&self) -> Size {
        (**self).size()
    }
    #[inline]
    fn write_pt(&self) -> &SharedWord {
        (**self).write_pt()
    }
    #[inline]
    fn read_pt(&self) -> &SharedWord {
        (**self).read_pt()
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

/// Who says where this end of the ring stands.
#[derive(Clone, Copy, Debug)]
enum Cursor {
    /// This object alone; the shared copy is only written.
    Private(u32),
    /// The shared word, checked on every use.
    Shared,
}

impl Cursor {
    #[inline]
    fn get(self, shared: &SharedWord, size: Size) -> Result<u32> {
        match self {
            Cursor::Private(at) => Ok(at),
            Cursor::Shared => size.index(shared.get()),
        }
    }

    #[inline]
    fn set(&mut self, at: u32) {
        if let Cursor::Private(own) = self {
            *own = at;
        }
    }
}
