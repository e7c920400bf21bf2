// SPDX-License-Identifier: LGPL-2.1-or-later
//! The public ring buffer: what `qb_rb_*` offers. Several handles, threads and processes take turns on it, as long as one
//! of them writes and one reads at a time; indices are therefore read from shared memory, checked, on every use.

use super::RingFiles;
use super::layout;
use super::place::Placed;
use crate::ring::{Chunk, Claim, Reader, Size, Writer};
use crate::shm::{Mapping, SharedWord};
use crate::sys::dir;
use crate::{Error, Result};
use std::ffi::{CStr, CString, OsStr};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::ptr::NonNull;
use std::time::Duration;

mod file;

pub use file::Summary;

/// How a ring is used; the flags of `qb_rb_open`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// A full ring drops its oldest chunks instead of refusing new ones.
    pub overwrite: bool,
    /// No counter of chunks: reads never wait.
    pub no_semaphore: bool,
    /// Other processes wait on the counter too. Without it, opening an existing ring sets its counter to 0.
    pub shared_process: bool,
    /// Bytes of the caller's shared area.
    pub user_data: usize,
}

/// Where the files are.
#[derive(Debug)]
enum Files {
    /// In the file system, header first.
    Named([Placed; 2]),
    /// In memory of this process, for a ring that was loaded from a file.
    Anonymous([OwnedFd; 2]),
}

/// A ring buffer. Dropping it counts this user out, and in the process that created it also unlinks the files; a child
/// that inherited it by `fork` only lets go of the memory.
#[derive(Debug)]
pub struct Ring {
    files: RingFiles,
    at: Files,
    options: Options,
    created: bool,
    pid: u32,
    name: CString,
}

/// Unlinks the files of a ring that did not come about.
struct Undo<'a>(&'a Placed);

impl Drop for Undo<'_> {
    fn drop(&mut self) {
        self.0.unlink();
    }
}

impl Ring {
    /// Makes a ring for chunks of up to `size` bytes. A `name` without `/` means `/dev/shm/qb-NAME`, or the socket
    /// directory if that cannot be made; one with `/` is a path. On an error nothing is left.
    pub fn create(name: &OsStr, size: usize, options: Options) -> Result<Self> {
        let ring = layout::ring_size(size)?;
        let header_len = layout::header_len(options.user_data)?;
        let (header_fd, header) = Placed::create(name, "-header", header_len)?;
        let undo_header = Undo(&header);
        let (data_fd, data) = Placed::create(name, "-data", ring.bytes())?;
        let undo_data = Undo(&data);
        let files = RingFiles::from_parts(
            Mapping::map(header_fd.as_fd(), header_len)?,
            Mapping::map_twice(data_fd.as_fd(), ring.bytes())?,
            ring,
        )?;
        files.initialise(&[terminated(header.path())?, terminated(data.path())?], options.shared_process)?;
        let name = c_name(header.path())?;
        std::mem::forget((undo_header, undo_data));
        Ok(Self::new(files, Files::Named([header, data]), options, true, name))
    }

    /// Opens a ring that exists. Its length is what its maker chose; `size` only has to be a possible one. Files are never
    /// made shorter; a caller's area longer than the maker's is added to the header.
    pub fn open(name: &OsStr, size: usize, options: Options) -> Result<Self> {
        layout::ring_size(size)?;
        let header_len = layout::header_len(options.user_data)?;
        let (header_fd, header) = Placed::open(name, "-header")?;
        let is = dir::fstat(header_fd.as_fd())?.len;
        if is < layout::header_len(0)? as u64 {
            return Err(Error::Invalid);
        }
        if is < header_len as u64 {
            dir::fallocate(header_fd.as_fd(), header_len as u64)?;
        }
        let header_map = Mapping::map(header_fd.as_fd(), header_len)?;
        let words = header_map.word(layout::WORD_SIZE).map_or(0, SharedWord::get);
        let ring = Size::new(words).map_err(|_| Error::Corrupt)?;
        let (data_fd, data) = Placed::open(name, "-data")?;
        if dir::fstat(data_fd.as_fd())?.len < ring.bytes() as u64 {
            return Err(Error::Corrupt);
        }
        let data_map = Mapping::map_twice(data_fd.as_fd(), ring.bytes())?;
        let files = RingFiles::from_parts(header_map, data_map, ring)?;
        if !options.no_semaphore && !options.shared_process {
            files.semaphore()?.init(false);
        }
        files.add_ref(1);
        let name = c_name(header.path())?;
        Ok(Self::new(files, Files::Named([header, data]), options, false, name))
    }

    fn new(files: RingFiles, at: Files, options: Options, created: bool, name: CString) -> Self {
        Self { files, at, options, created, pid: std::process::id(), name }
    }

    /// The path of the header file.
    #[must_use]
    pub fn name(&self) -> &CStr {
        &self.name
    }

    /// How it is used.
    #[must_use]
    pub fn options(&self) -> Options {
        self.options
    }

    /// How many users have it open, as they say.
    #[must_use]
    pub fn ref_count(&self) -> i32 {
        self.files.ref_count()
    }

    /// Address of the caller's shared area, which other processes write too.
    #[must_use]
    pub fn user_area(&self) -> Option<NonNull<u8>> {
        self.files.header().address(layout::USER_DATA, self.options.user_data)
    }

    /// Writes one chunk; bytes written, or [`Error::Busy`] while there is no room ([`Error::Invalid`] in overwrite mode,
    /// when dropping chunks does not help).
    #[inline]
    pub fn write(&self, data: &[u8]) -> Result<usize> {
        let mut writer = Writer::shared(&self.files);
        let claim = self.claim(&mut writer, data.len())?;
        writer.fill(&claim, 0, data)?;
        self.finish(writer, claim, data.len())?;
        Ok(data.len())
    }

    #[inline(always)]
    fn claim<'a>(&'a self, writer: &mut Writer<&'a RingFiles>, len: usize) -> Result<Claim> {
        if !self.options.overwrite {
            return writer.claim(len);
        }
        writer.claim_over(len, || {
            // A dropped chunk is no longer there to be counted.
            if !self.options.no_semaphore {
                let _ = self.files.semaphore().and_then(|s| s.try_wait());
            }
        })
    }

    #[inline(always)]
    fn finish(&self, mut writer: Writer<&RingFiles>, claim: Claim, len: usize) -> Result<()> {
        writer.commit(claim, len)?;
        if !self.options.no_semaphore {
            self.files.semaphore()?.post()?;
        }
        self.alive()
    }

    #[inline(always)]
    fn alive(&self) -> Result<()> {
        if self.files.is_dead() { Err(Error::Disconnected) } else { Ok(()) }
    }

    /// Room for one chunk of up to `len` bytes, linear, to be filled and then handed over by [`Ring::commit`].
    #[inline]
    pub fn alloc(&self, len: usize) -> Result<NonNull<u8>> {
        let mut writer = Writer::shared(&self.files);
        let claim = self.claim(&mut writer, len)?;
        // The second mapping makes it linear: it starts in the first one and is shorter than the ring.
        self.files.data().address(writer.offset(&claim), len).ok_or(Error::Invalid)
    }

    /// Hands the first `len` bytes of the room from [`Ring::alloc`] to the reader; [`Error::Invalid`] when the ring has
    /// not that much room.
    #[inline]
    pub fn commit(&self, len: usize) -> Result<()> {
        let mut writer = Writer::shared(&self.files);
        let claim = writer.claimed()?;
        self.finish(writer, claim, len)
    }

    /// Waits for a chunk at most `timeout` (None: for ever), taking one count of the semaphore. [`Error::TimedOut`] without
    /// one; [`Error::Corrupt`] if no chunk stands behind it, and then the count is put back.
    #[inline(always)]
    fn front(&self, reader: &Reader<&RingFiles>, timeout: Option<Duration>) -> Result<Chunk> {
        if !self.options.no_semaphore && !self.files.semaphore()?.wait(timeout)? {
            return Err(Error::TimedOut);
        }
        let found = reader.surely().and_then(|chunk| chunk.ok_or(Error::Corrupt));
        self.alive()?;
        if found.is_err() {
            self.put_back()?;
        }
        found
    }

    #[inline(always)]
    fn put_back(&self) -> Result<()> {
        if self.options.no_semaphore { Ok(()) } else { self.files.semaphore()?.post() }
    }

    /// Address and length of the next chunk, linear, until [`Ring::reclaim`]. Waits as [`Ring::read`] does.
    #[inline]
    pub fn peek(&self, timeout: Option<Duration>) -> Result<(NonNull<u8>, usize)> {
        let reader = Reader::shared(&self.files);
        let chunk = self.front(&reader, timeout)?;
        let (offset, _) = reader.place(&chunk);
        let at = self.files.data().address(offset, chunk.len()).ok_or(Error::Corrupt)?;
        Ok((at, chunk.len()))
    }

    /// Drops the next chunk, normally the one that was peeked; [`Error::Invalid`] if none is ready.
    #[inline]
    pub fn reclaim(&self) -> Result<()> {
        let mut reader = Reader::shared(&self.files);
        if reader.drop_oldest()? { Ok(()) } else { Err(Error::Invalid) }
    }

    /// Copies the next chunk out and drops it; its length. Waits for one at most `timeout` (None: for ever).
    ///
    /// [`Error::TimedOut`] without one, [`Error::BufferTooSmall`] when `out` is shorter (the chunk stays),
    /// [`Error::Corrupt`] when the ring makes no sense.
    #[inline]
    pub fn read(&self, out: &mut [u8], timeout: Option<Duration>) -> Result<usize> {
        let mut reader = Reader::shared(&self.files);
        if self.options.no_semaphore && !reader.is_ready()? {
            return Err(Error::TimedOut);
        }
        let chunk = self.front(&reader, timeout)?;
        let len = chunk.len();
        let Some(out) = out.get_mut(..len) else {
            self.put_back()?;
            return Err(Error::BufferTooSmall);
        };
        reader.copy(&chunk, 0, out)?;
        self.alive()?;
        reader.reclaim(chunk)?;
        Ok(len)
    }

    /// No chunk has more bytes than this.
    #[must_use]
    #[inline]
    pub fn most(&self) -> usize {
        self.files.data().len()
    }

    /// Bytes that are free, the 12 bytes of margin of the next chunk included.
    pub fn space_free(&self) -> Result<usize> {
        Writer::shared(&self.files).space_free()
    }

    /// Bytes between the reader and the writer.
    pub fn space_used(&self) -> Result<usize> {
        Reader::shared(&self.files).space_used()
    }

    /// Chunks that were committed and not read, by the semaphore; [`Error::NotSupported`] without one.
    pub fn chunks_used(&self) -> Result<usize> {
        if self.options.no_semaphore {
            return Err(Error::NotSupported);
        }
        Ok(self.files.semaphore()?.value() as usize)
    }

    /// Gives both files to a user and a group, by descriptor, if their paths still mean them. Not being allowed to is no
    /// error.
    pub fn chown(&self, uid: u32, gid: u32) -> Result<()> {
        self.each(|fd| match dir::fchown(fd, uid, gid) {
            Err(Error::Os(libc::EPERM)) => Ok(()),
            other => other,
        })
    }

    /// Sets the permission bits of both files, by descriptor, if their paths still mean them.
    pub fn chmod(&self, mode: u32) -> Result<()> {
        self.each(|fd| dir::fchmod(fd, mode))
    }

    fn each(&self, change: impl Fn(BorrowedFd<'_>) -> Result<()>) -> Result<()> {
        match &self.at {
            // The data file first, as the reference does.
            Files::Named([header, data]) => {
                change(data.reopen()?.as_fd())?;
                change(header.reopen()?.as_fd())
            }
            Files::Anonymous([header, data]) => {
                change(data.as_fd())?;
                change(header.as_fd())
            }
        }
    }
}

impl Drop for Ring {
    fn drop(&mut self) {
        if std::process::id() != self.pid {
            return;
        }
        self.files.add_ref(-1);
        if let (true, Files::Named(files)) = (self.created, &self.at) {
            files.iter().for_each(Placed::unlink);
        }
    }
}

fn c_name(path: &std::path::Path) -> Result<CString> {
    CString::new(path.as_os_str().as_bytes()).map_err(|_| Error::Invalid)
}

fn terminated(path: &std::path::Path) -> Result<Vec<u8>> {
    super::files::recorded(path, b"")
}
