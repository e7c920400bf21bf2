// SPDX-License-Identifier: LGPL-2.1-or-later
//! The receiving end of a connection's ring.

use super::ahead::Ahead;
use super::producer::alive;
use super::{Chunk, RingFiles, Trusted};
use crate::ring::{Reader, Words};
use crate::shm;
use crate::sys::fork;
use crate::sys::mmap::Touch;
use crate::{Error, Result};
use std::ptr::NonNull;
use std::sync::Arc;
use std::time::Duration;

/// Receives messages: [`Consumer::peek`] takes one count of the semaphore and says where the message is,
/// [`Consumer::reclaim`] lets go of it. The only reader of its ring; its index is private, so the peer cannot move it.
/// After a fork it is as with a [`Producer`](super::Producer).
#[derive(Debug)]
pub struct Consumer {
    files: Arc<RingFiles>,
    reader: Reader<Arc<RingFiles>>,
    /// A message is used in place: nobody gets it, or the one behind it, meanwhile.
    lent: bool,
    ahead: Ahead,
    forks: u32,
}

/// Where a message lies in the ring of a peer that is vouched for; only until the chunk is reclaimed is it the message.
#[derive(Clone, Copy, Debug)]
pub struct Lent {
    peer: Trusted,
    offset: usize,
    len: usize,
}

impl Lent {
    /// The message, in the files of the ring that it is in.
    #[must_use]
    #[inline]
    pub fn bytes<'a>(&self, files: &'a RingFiles) -> &'a [u8] {
        files.data().lend(self.offset, self.len, &self.peer).unwrap_or(&[])
    }

    /// Its address, for C code, which may write there while the message is lent. Dangling when it is empty.
    #[must_use]
    #[inline]
    pub fn address(&self, files: &RingFiles) -> NonNull<u8> {
        let place = files.data().lend_address(self.offset, self.len, &self.peer);
        place.unwrap_or(NonNull::<u64>::dangling().cast())
    }
}

impl Consumer {
    /// The one consumer of a ring from which nothing was read yet.
    #[must_use]
    pub fn new(files: Arc<RingFiles>) -> Self {
        fork::watch();
        Self {
            reader: Reader::private(Arc::clone(&files)),
            ahead: Ahead::new(Touch::Read),
            files,
            lent: false,
            forks: fork::count(),
        }
    }

    /// Whether a message is used in place: what is behind it cannot be seen meanwhile.
    #[must_use]
    #[inline]
    pub fn is_lent(&self) -> bool {
        self.lent
    }

    /// At the begin of each use: whether there is somebody to take turns with.
    #[inline(always)]
    fn turn(&mut self) {
        if self.forks != fork::count() {
            self.reader.share();
        }
    }

    /// How many messages are queued, by the semaphore. [`Error::Corrupt`] for more than the ring could ever hold.
    pub fn queued(&self) -> Result<u32> {
        shm::ready();
        let count = self.files.semaphore()?.value();
        if self.files.is_dead() {
            Err(Error::Disconnected)
        } else if count > self.files.size().words() / 2 {
            Err(Error::Corrupt)
        } else {
            Ok(count)
        }
    }

    /// True when the next message can be read, by the ring alone: the sender may not have posted the semaphore yet.
    #[must_use]
    pub fn ready(&mut self) -> bool {
        self.turn();
        self.reader.is_ready().unwrap_or(false)
    }

    /// Takes one count of the semaphore and returns the next message; it stays in the ring until [`Consumer::reclaim`] or
    /// [`Consumer::put_back`]. None without a count, when no message stands behind the count, which is then put back, and while one is lent.
    ///
    /// [`Error::Corrupt`] for an impossible length, [`Error::Disconnected`] when the files were truncated.
    #[inline]
    pub fn peek(&mut self) -> Result<Option<Chunk>> {
        shm::ready();
        self.turn();
        if self.lent {
            return Ok(None);
        }
        let semaphore = self.files.semaphore()?;
        if !semaphore.try_wait().map_err(alive)? {
            return if self.files.is_dead() { Err(Error::Disconnected) } else { Ok(None) };
        }
        match self.reader.front() {
            Ok(Some(chunk)) if !self.files.is_dead() => {
                self.ahead.reach(&self.files, self.reader.place(&chunk).0, chunk.len());
                Ok(Some(chunk))
            }
            other => self.no_message(other.map(|_| ())),
        }
    }

    /// What a count means behind which no message was found.
    #[cold]
    fn no_message(&self, found: Result<()>) -> Result<Option<Chunk>> {
        if self.files.is_dead() {
            return Err(Error::Disconnected);
        }
        found?;
        self.files.semaphore()?.post().map_err(alive)?;
        Ok(None)
    }

    /// Copies `out.len()` bytes from `offset` within the message; [`Error::Invalid`] when it has fewer,
    /// [`Error::Disconnected`] when the files were truncated.
    #[inline]
    pub fn copy(&self, chunk: &Chunk, offset: usize, out: &mut [u8]) -> Result<()> {
        self.reader.copy(chunk, offset, out)?;
        if self.files.is_dead() { Err(Error::Disconnected) } else { Ok(()) }
    }

    /// The message in place, when it starts at a multiple of 8 bytes and does not wrap, or the ring is mirrored.
    #[must_use]
    #[inline]
    pub fn lend(&mut self, chunk: &Chunk, peer: &Trusted) -> Option<Lent> {
        let (offset, contiguous) = self.reader.place(chunk);
        let mirrored = self.files.data().span() > self.files.data().len();
        if (contiguous < chunk.len() && !mirrored) || offset % 8 != 0 || self.files.is_dead() {
            return None;
        }
        self.lent = true;
        Some(Lent { peer: *peer, offset, len: chunk.len() })
    }

    /// Lets go of the message that was peeked; its space goes back to the sender.
    #[inline]
    pub fn reclaim(&mut self, chunk: Chunk) -> Result<()> {
        self.lent = false;
        self.reader.reclaim(chunk)?;
        if self.files.is_dead() { Err(Error::Disconnected) } else { Ok(()) }
    }

    /// Leaves the message that was peeked in the ring, as if it had not been looked at.
    pub fn put_back(&mut self, chunk: Chunk) -> Result<()> {
        drop(chunk);
        self.files.semaphore()?.post().map_err(alive)
    }

    /// Sleeps until the semaphore has a count, without taking it, at most `timeout`. False at the end of the time, or earlier, for
    /// instance when a signal handler ran. One thread at a time.
    pub fn wait(&self, timeout: Duration) -> Result<bool> {
        shm::ready();
        let came = self.files.semaphore()?.doze(timeout).map_err(alive)?;
        if self.files.is_dead() { Err(Error::Disconnected) } else { Ok(came) }
    }

    /// No message has more bytes than this.
    #[must_use]
    pub fn most(&self) -> usize {
        self.files.size().words() as usize * 4
    }

    /// The ring's files.
    #[must_use]
    pub fn files(&self) -> &Arc<RingFiles> {
        &self.files
    }
}
