// SPDX-License-Identifier: LGPL-2.1-or-later
//! A blackbox dump read back. The file is hostile: it is read into private memory, and every length in it is compared with what is
//! there. What is readable before the damage is shown.

use super::blackbox::FILE_HEADER;
use super::serial;
use crate::ring::{MAGIC_READY, Size, dump::Header};
use crate::sys::calendar::Stamp;
use crate::{Error, Result};
use std::fmt;
use std::io::Read;

/// The longest message that is shown; older ones were stored with up to this.
const MAX_MESSAGE: usize = 4096;

/// A dump in memory.
pub struct Dump {
    header: Header,
    data: Vec<u8>,
    /// Time stamps are 8-byte seconds.
    old: bool,
}

/// One message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// Line number.
    pub line: u32,
    /// Tags.
    pub tags: u32,
    /// Severity.
    pub priority: u8,
    /// Function name.
    pub function: Vec<u8>,
    /// When.
    pub time: Stamp,
    /// The message, at most 511 bytes, without newlines at its end unless it has nothing else.
    pub message: Vec<u8>,
}

/// Why reading stopped before the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Damage {
    /// A chunk that was not finished, or whose length leads out of the ring.
    Chunk,
    /// A record shorter than its fixed parts.
    TooShort,
    /// The function's name does not fit.
    Function(u32),
    /// A name without even its NUL.
    NoFunction,
    /// The message does not fit.
    Message(u32),
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Damage::Chunk => write!(f, "ERROR Corrupt file: broken chunk."),
            Damage::TooShort => write!(f, "ERROR Corrupt file: blackbox header too small."),
            Damage::Function(len) => write!(f, "ERROR Corrupt file: fn_size way too big {len}"),
            Damage::NoFunction => write!(f, "ERROR Corrupt file: fn_size negative 0"),
            Damage::Message(len) => write!(f, "ERROR Corrupt file: msg_len out of bounds {len}"),
        }
    }
}

impl Dump {
    /// Reads a dump. [`Error::Corrupt`] if it is not one or the file is too short.
    pub fn read(mut file: impl Read) -> Result<Self> {
        let mut head = [0u8; 2 * Header::LEN];
        let (first, second) = head.split_at_mut(Header::LEN);
        exactly(&mut file, first)?;
        let old = first != FILE_HEADER;
        let header = if old {
            &*first
        } else {
            exactly(&mut file, second)?;
            &*second
        };
        let header: &[u8; Header::LEN] = header.try_into().map_err(|_| Error::Corrupt)?;
        // Whether the data are as long as announced shows only when they are read: the file may be a pipe.
        let header = Header::decode(header, u64::MAX)?;
        let mut data = Vec::new();
        file.take(header.size.bytes() as u64).read_to_end(&mut data)?;
        if data.len() != header.size.bytes() {
            return Err(Error::Corrupt);
        }
        Ok(Self { header, data, old })
    }

    /// Where the next chunk would have been written and read, and the ring's length, in words.
    #[must_use]
    pub fn position(&self) -> (u32, u32, u32) {
        (self.header.write_pt, self.header.read_pt, self.header.size.words())
    }

    /// Bytes of the ring that are free and used, as `qb_rb_space_free` and `_used` count.
    #[must_use]
    pub fn space(&self) -> (usize, usize) {
        let Header { size, write_pt, read_pt } = self.header;
        (size.free(write_pt, read_pt) as usize * 4, size.used(write_pt, read_pt) as usize * 4)
    }

    /// The records, oldest first. After a damage there are no more.
    #[must_use]
    pub fn records(&self) -> Records<'_> {
        Records { dump: self, at: self.header.read_pt, broken: false }
    }

    fn word(&self, at: u32) -> u32 {
        let at = at as usize * 4;
        let bytes = self.data.get(at..at + 4).and_then(|b| b.try_into().ok());
        bytes.map_or(0, u32::from_ne_bytes)
    }

    /// `len` bytes from word `at`, around the end if need be.
    fn bytes(&self, at: u32, len: usize) -> Vec<u8> {
        let (tail, head) = self.data.split_at((at as usize * 4).min(self.data.len()));
        head.iter().chain(tail).take(len).copied().collect()
    }
}

fn exactly(file: &mut impl Read, out: &mut [u8]) -> Result<()> {
    file.read_exact(out).map_err(|e| match e.kind() {
        std::io::ErrorKind::UnexpectedEof => Error::Corrupt,
        _ => e.into(),
    })
}

/// Iterates over the records of a dump.
pub struct Records<'a> {
    dump: &'a Dump,
    at: u32,
    broken: bool,
}

impl Iterator for Records<'_> {
    type Item = std::result::Result<Record, Damage>;

    fn next(&mut self) -> Option<Self::Item> {
        let Header { size, write_pt, .. } = self.dump.header;
        if self.broken || self.at == write_pt {
            return None;
        }
        let record = self.chunk(size, write_pt).and_then(|raw| record(&raw, self.dump.old));
        self.broken = record.is_err();
        Some(record)
    }
}

impl Records<'_> {
    fn chunk(&mut self, size: Size, end: u32) -> std::result::Result<Vec<u8>, Damage> {
        let left = if end > self.at { end - self.at } else { end + size.words() - self.at };
        let len = self.dump.word(self.at);
        let words = len.div_ceil(4).saturating_add(2);
        if self.dump.word(size.add(self.at, 1)) != MAGIC_READY || words > left {
            return Err(Damage::Chunk);
        }
        let raw = self.dump.bytes(size.add(self.at, 2), len as usize);
        self.at = size.add(self.at, words);
        Ok(raw)
    }
}

/// Takes the bytes of a record apart.
fn record(raw: &[u8], old: bool) -> std::result::Result<Record, Damage> {
    let mut rest = raw;
    let line = u32::from_ne_bytes(take(&mut rest)?);
    let tags = u32::from_ne_bytes(take(&mut rest)?);
    let [priority] = take(&mut rest)?;
    let name_len = u32::from_ne_bytes(take(&mut rest)?);
    let stamp = if old { 8 } else { 16 };
    if raw.len() < 13 + stamp + 5 {
        return Err(Damage::TooShort);
    }
    if name_len == 0 {
        return Err(Damage::NoFunction);
    }
    let fits = (name_len as usize).checked_add(stamp + 4).is_some_and(|n| n <= rest.len());
    let (name, mut rest) =
        rest.split_at_checked(name_len as usize).filter(|_| fits).ok_or(Damage::Function(name_len))?;
    let sec = i64::from_ne_bytes(take(&mut rest)?);
    let nsec = if old { 0 } else { i64::from_ne_bytes(take(&mut rest)?) };
    let len = u32::from_ne_bytes(take(&mut rest)?);
    let message = rest.get(..len as usize).filter(|m| !m.is_empty() && m.len() <= MAX_MESSAGE);
    let mut message = serial::decode(message.ok_or(Damage::Message(len))?, 511);
    let end = message.iter().position(|b| *b == 0).unwrap_or(message.len());
    message.truncate(end);
    while message.len() > 1 && message.last() == Some(&b'\n') {
        message.pop();
    }
    let end = name.iter().position(|b| *b == 0).unwrap_or(name.len());
    Ok(Record { line, tags, priority, function: name[..end].to_vec(), time: Stamp { sec, nsec }, message })
}

fn take<const N: usize>(rest: &mut &[u8]) -> std::result::Result<[u8; N], Damage> {
    let (head, tail) = rest.split_first_chunk::<N>().ok_or(Damage::TooShort)?;
    *rest = tail;
    Ok(*head)
}
