// SPDX-License-Identifier: LGPL-2.1-or-later
//! The receiving end of a connection's ring.

use super::producer::alive;
use super::{Chunk, RingFiles, Trusted};
use crate::ring::{Reader, Words};
use crate::shm;
use crate::sys::fork;
use crate::{Error, Result};
use std::ops::Deref;
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
    forks: u32,
}

/// A message in place, for a peer that is vouched for. Keeps the memory mapped; its contents are the message only until
/// the chunk is reclaimed.
#[derive(Clone, Debug)]
pub struct Lent {
    files: Arc<RingFiles>,
    peer: Trusted,
    offset: usize,
    len: usize,
}

impl Deref for Lent {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        self.files.data().lend(self.offset, self.len, &self.peer).unwrap_or(&[])
    }
}

impl Lent {
    /// The message's address, for C code, which may write there while the message is lent. Dangling when it is empty.
    #[must_use]
    pub fn address(&self) -> NonNull<u8> {
        let place = self.files.data().lend_address(self.offset, self.len, &self.peer);
        place.unwrap_or(NonNull::<u64>::dangling().cast())
    }
}

impl Consumer {
    /// The one consumer of a ring from which nothing was read yet.
    #[must_use]
    pub fn new(files: Arc<RingFiles>) -> Self {
        fork::watch();
        Self { reader: Reader::private(Arc::clone(&files)), files, forks: fork::count() }
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
    /// [`Consumer::put_back`]. None without a count, and when no message stands behind the count, which is then put back.
    ///
    /// [`Error::Corrupt`] for an impossible length, [`Error::Disconnected`] when the files were truncated.
    #[inline]
    pub fn peek(&mut self) -> Result<Option<Chunk>> {
        shm::ready();
        self.turn();
        let semaphore = self.files.semaphore()?;
        if !semaphore.try_wait().map_err(alive)? {
            return if self.files.is_dead() { Err(Error::Disconnected) } else { Ok(None) };
        }
        let next = self.reader.front();
        if self.files.is_dead() {
            return Err(Error::Disconnected);
        }
        let chunk = next?;
        if chunk.is_none() {
            semaphore.post().map_err(alive)?;
        }
        Ok(chunk)
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
    pub fn lend(&self, chunk: &Chunk, peer: &Trusted) -> Option<Lent> {
        let (offset, contiguous) = self.reader.place(chunk);
        let mirrored = self.files.data().span() > self.files.data().len();
        if (contiguous < chunk.len() && !mirrored) || offset % 8 != 0 || self.files.is_dead() {
            return None;
        }
        Some(Lent { files: Arc::clone(&self.files), peer: *peer, offset, len: chunk.len() })
    }

    /// Lets go of the message that was peeked; its space goes back to the sender.
    #[inline]
    pub fn reclaim(&mut self, chunk: Chunk) -> Result<()> {
        self.reader.reclaim(chunk)?;
        if self.files.is_dead() { Err(Error::Disconnected) } else { Ok(()) }
    }

    /// Leaves the message that was peeked in the ring, as if it had not been looked at.
    pub fn put_back(&mut self, chunk: Chunk) -> Result<()> {
        drop(chunk);
        self.files.semaphore()?.post().map_err(alive)
    }

    /// Sleeps until the semaphore has a count, without taking it, at most `timeout` (None: for ever, so with a bound and a
    /// look at the peer's health in between for a peer that may die). False at the end of the time. One thread at a time.
    pub fn wait(&self, timeout: Option<Duration>) -> Result<bool> {
        shm::ready();
        let came = self.files.semaphore()?.wait_nonzero(timeout).map_err(alive)?;
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
