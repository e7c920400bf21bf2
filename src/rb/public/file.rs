// SPDX-License-Identifier: LGPL-2.1-or-later
//! Rings to and from files. A file is hostile input: it is checked number by number, and lives in memory of this process
//! only.

use super::{Files, Options, Ring};
use crate::rb::{RingFiles, layout};
use crate::ring::dump::Header;
use crate::ring::{Size, Words};
use crate::shm::Mapping;
use crate::sys::dir;
use crate::{Error, Result};
use std::fmt;
use std::fs::File;
use std::io::{ErrorKind, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};

/// Bytes that are copied at a time.
const STEP: usize = 64 * 1024;

/// What the C library prints about a ring that it saves or loads. `Display` gives those lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Summary {
    /// Overwrite mode.
    pub overwrite: bool,
    /// Index of the next chunk to write.
    pub write_pt: u32,
    /// Index of the next chunk to read.
    pub read_pt: u32,
    /// Length in words.
    pub words: u32,
    /// Bytes free.
    pub free: usize,
    /// Bytes used.
    pub used: usize,
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "Ringbuffer: ")?;
        writeln!(f, " ->{}", if self.overwrite { "OVERWRITE" } else { "NORMAL" })?;
        writeln!(f, " ->write_pt [{}]", self.write_pt)?;
        writeln!(f, " ->read_pt [{}]", self.read_pt)?;
        writeln!(f, " ->size [{} words]", self.words)?;
        writeln!(f, " =>free [{} bytes]", self.free)?;
        writeln!(f, " =>used [{} bytes]", self.used)
    }
}

impl Ring {
    /// Both indices now, checked.
    fn indices(&self) -> Result<(Size, u32, u32)> {
        let size = self.files.size();
        let write_pt = size.index(self.files.write_pt().observe())?;
        Ok((size, write_pt, size.index(self.files.read_pt().observe())?))
    }

    /// State of the ring in numbers.
    pub fn summary(&self) -> Result<Summary> {
        let (size, write_pt, read_pt) = self.indices()?;
        Ok(Summary {
            overwrite: self.options.overwrite,
            write_pt,
            read_pt,
            words: size.words(),
            free: size.free(write_pt, read_pt) as usize * 4,
            used: size.used(write_pt, read_pt) as usize * 4,
        })
    }

    /// Writes header and data to `fd`, from its present position; bytes written.
    pub fn write_to_file(&self, fd: BorrowedFd<'_>) -> Result<usize> {
        let (size, write_pt, read_pt) = self.indices()?;
        let mut file = File::from(fd.try_clone_to_owned()?);
        file.write_all(&Header { size, write_pt, read_pt }.encode())?;
        let mut copy = vec![0; STEP.min(size.bytes())];
        let mut at = 0;
        while at < size.bytes() {
            let step = copy.len().min(size.bytes() - at);
            self.files.copy_out(at, &mut copy[..step])?;
            self.alive()?;
            file.write_all(&copy[..step])?;
            at += step;
        }
        Ok(Header::LEN + size.bytes())
    }

    /// Loads a ring that [`Ring::write_to_file`] wrote, from the present position of `fd`. It has no semaphore, does not
    /// overwrite, and no file anywhere. [`Error::Corrupt`] for every kind of damage.
    pub fn create_from_file(fd: BorrowedFd<'_>) -> Result<Self> {
        let mut file = File::from(fd.try_clone_to_owned()?);
        let mut raw = [0; Header::LEN];
        fill(&mut file, &mut raw)?;
        let dump = Header::decode(&raw, behind(&mut file)?)?;
        let bytes = dump.size.bytes();
        if bytes % crate::sys::mmap::page_size() != 0 {
            return Err(Error::Corrupt);
        }
        let header_len = layout::header_len(0)?;
        let (header, data) = (dir::memory_file(c"qb-header")?, dir::memory_file(c"qb-data")?);
        dir::truncate(header.as_fd(), header_len as u64)?;
        dir::truncate(data.as_fd(), bytes as u64)?;
        let files = RingFiles::from_parts(
            Mapping::map(header.as_fd(), header_len)?,
            Mapping::map_twice(data.as_fd(), bytes)?,
            dump.size,
        )?;
        let (name, data_name) =
            (c"/dev/shm/qb-create_from_file-header", c"/dev/shm/qb-create_from_file-data");
        files.initialise(
            &[name.to_bytes_with_nul().to_vec(), data_name.to_bytes_with_nul().to_vec()],
            false,
        )?;
        let mut copy = vec![0; STEP.min(bytes)];
        let mut at = 0;
        while at < bytes {
            let step = copy.len().min(bytes - at);
            fill(&mut file, &mut copy[..step])?;
            files.copy_in(at, &copy[..step])?;
            at += step;
        }
        files.write_pt().publish(dump.write_pt);
        files.read_pt().publish(dump.read_pt);
        let options = Options { no_semaphore: true, ..Options::default() };
        let ring = Self::new(files, Files::Anonymous([header, data]), options, true, name.to_owned());
        ring.alive()?;
        Ok(ring)
    }
}

/// Reads exactly that much; a file that ends early is corrupt.
fn fill(file: &mut File, out: &mut [u8]) -> Result<()> {
    match file.read_exact(out) {
        Err(e) if e.kind() == ErrorKind::UnexpectedEof => Err(Error::Corrupt),
        other => Ok(other?),
    }
}

/// Bytes from the present position to the end, if that can be known.
fn behind(file: &mut File) -> Result<u64> {
    use std::io::Seek;
    let stat = dir::fstat(file.as_fd())?;
    if !stat.is_file() {
        return Ok(u64::MAX);
    }
    Ok(stat.len.saturating_sub(file.stream_position()?))
}
