// SPDX-License-Identifier: LGPL-2.1-or-later
//! A ring in private memory: the same protocol for tests, sanitizers and the model checker. Every byte is reached through
//! atomics, so a checker sees what a mapping would hide.

use super::{Size, Words};
use crate::shm::SharedWord;
use crate::{Error, Result};

/// Two indices and a data area on the heap.
#[derive(Debug)]
pub struct HeapRing {
    size: Size,
    write_pt: SharedWord,
    read_pt: SharedWord,
    data: Box<[SharedWord]>,
    /// One for each word's payload.
    #[cfg(loom)]
    traces: Box<[crate::shm::Trace]>,
}

impl HeapRing {
    /// An empty ring of `words` words, all zero.
    pub fn new(words: u32) -> Result<Self> {
        let size = Size::new(words)?;
        let data = (0..words).map(|_| SharedWord::new(0)).collect();
        Ok(Self {
            size,
            write_pt: SharedWord::new(0),
            read_pt: SharedWord::new(0),
            data,
            #[cfg(loom)]
            traces: (0..words).map(|_| crate::shm::Trace::default()).collect(),
        })
    }

    fn span(&self, offset: usize, len: usize) -> Result<()> {
        match offset.checked_add(len) {
            Some(end) if end <= self.size.bytes() => Ok(()),
            _ => Err(Error::Invalid),
        }
    }
}

impl Words for HeapRing {
    fn size(&self) -> Size {
        self.size
    }

    fn write_pt(&self) -> &SharedWord {
        &self.write_pt
    }

    fn read_pt(&self) -> &SharedWord {
        &self.read_pt
    }

    fn word(&self, index: u32) -> Result<&SharedWord> {
        self.data.get(index as usize).ok_or(Error::Corrupt)
    }

    fn copy_in(&self, offset: usize, data: &[u8]) -> Result<()> {
        self.span(offset, data.len())?;
        for (i, byte) in data.iter().enumerate() {
            let at = offset + i;
            let word = self.data.get(at / 4).ok_or(Error::Invalid)?;
            #[cfg(loom)]
            self.traces[at / 4].write();
            let mut bytes = word.get().to_ne_bytes();
            bytes[at % 4] = *byte;
            word.set(u32::from_ne_bytes(bytes));
        }
        Ok(())
    }

    fn copy_out(&self, offset: usize, out: &mut [u8]) -> Result<()> {
        self.span(offset, out.len())?;
        for (i, byte) in out.iter_mut().enumerate() {
            let at = offset + i;
            #[cfg(loom)]
            self.traces[at / 4].read();
            *byte = self.data.get(at / 4).ok_or(Error::Invalid)?.get().to_ne_bytes()[at % 4];
        }
        Ok(())
    }
}
