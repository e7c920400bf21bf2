// SPDX-License-Identifier: LGPL-2.1-or-later
//! The 20-byte header of a ring in a file: five native-endian words, followed by the data area. Bytes in, numbers out.

use super::Size;
use crate::{Error, Result};

/// What a dump says of its ring; every value is checked by [`Header::decode`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Length of the data that follows.
    pub size: Size,
    /// Index of the next chunk to write, below the length.
    pub write_pt: u32,
    /// Index of the next chunk to read, below the length.
    pub read_pt: u32,
}

impl Header {
    /// Bytes in the file: word_size at 0, write_pt at 4, read_pt at 8, version at 12, hash at 16.
    pub const LEN: usize = 20;
    /// The only version there is.
    pub const VERSION: u32 = 1;

    fn hash(words: u32, write_pt: u32, read_pt: u32, version: u32) -> u32 {
        words.wrapping_add(write_pt).wrapping_add(read_pt).wrapping_add(version)
    }

    /// The bytes for the file.
    #[must_use]
    pub fn encode(&self) -> [u8; Self::LEN] {
        let words = self.size.words();
        let hash = Self::hash(words, self.write_pt, self.read_pt, Self::VERSION);
        let mut raw = [0; Self::LEN];
        let values = [words, self.write_pt, self.read_pt, Self::VERSION, hash];
        for (slot, value) in raw.chunks_exact_mut(4).zip(values) {
            slot.copy_from_slice(&value.to_ne_bytes());
        }
        raw
    }

    /// Checks a header against the bytes that the file has behind it: [`Error::Corrupt`] for a length beyond them or out
    /// of range, an index outside the ring, a wrong version or a wrong hash.
    pub fn decode(raw: &[u8; Self::LEN], behind: u64) -> Result<Self> {
        let mut values = [0u32; 5];
        for (value, bytes) in values.iter_mut().zip(raw.chunks_exact(4)) {
            *value = u32::from_ne_bytes(bytes.try_into().map_err(|_| Error::Corrupt)?);
        }
        let [words, write_pt, read_pt, version, hash] = values;
        let size = Size::new(words).map_err(|_| Error::Corrupt)?;
        if version != Self::VERSION
            || hash != Self::hash(words, write_pt, read_pt, version)
            || size.bytes() as u64 > behind
        {
            return Err(Error::Corrupt);
        }
        Ok(Self { size, write_pt: size.index(write_pt)?, read_pt: size.index(read_pt)? })
    }
}
