// SPDX-License-Identifier: LGPL-2.1-or-later
//! The sending end of a connection's ring.

use super::RingFiles;
use super::ahead::Ahead;
use crate::ring::Writer;
use crate::shm;
use crate::sys::fork;
use crate::sys::mmap::Touch;
use crate::util::parts::total_len;
use crate::{Error, Result};
use std::sync::Arc;

/// Sends messages, each as one chunk with one count of the semaphore. The only writer of its ring; its index is private,
/// so the peer cannot move it. After a fork there are two of them, which take turns: then the index in the ring counts,
/// checked, and a peer that moves it spoils its own messages.
#[derive(Debug)]
pub struct Producer {
    files: Arc<RingFiles>,
    writer: Writer<Arc<RingFiles>>,
    ahead: Ahead,
    forks: u32,
}

impl Producer {
    /// The one producer of a ring into which nothing was written yet.
    #[must_use]
    pub fn new(files: Arc<RingFiles>) -> Self {
        fork::watch();
        Self {
            writer: Writer::private(Arc::clone(&files)),
            ahead: Ahead::new(Touch::Write),
            files,
            forks: fork::count(),
        }
    }

    /// At the begin of each use: whether there is somebody to take turns with.
    #[inline(always)]
    fn turn(&mut self) {
        if self.forks != fork::count() {
            self.writer.share();
        }
    }

    /// Writes the parts as one chunk, publishes it, and then posts the semaphore. Returns the bytes sent.
    ///
    /// [`Error::Busy`] while there is no room, [`Error::Corrupt`] when the reader's index makes no sense,
    /// [`Error::Disconnected`] when the files were truncated.
    #[inline]
    pub fn send(&mut self, parts: &[&[u8]]) -> Result<usize> {
        shm::ready();
        let len = total_len(parts)?;
        self.turn();
        let claim = self.writer.claim(len)?;
        self.ahead.reach(&self.files, self.writer.offset(&claim), len);
        self.writer.fill_all(&claim, parts)?;
        self.writer.commit(claim, len)?;
        self.files.semaphore()?.post().map_err(alive)?;
        if self.files.is_dead() { Err(Error::Disconnected) } else { Ok(len) }
    }

    /// Whether a message of `len` bytes finds room now: [`Error::Busy`] when not, otherwise as [`Producer::send`].
    pub fn probe(&mut self, len: usize) -> Result<()> {
        shm::ready();
        self.turn();
        // Dropping the claim gives the room back.
        drop(self.writer.claim(len)?);
        if self.files.is_dead() { Err(Error::Disconnected) } else { Ok(()) }
    }

    /// Bytes that are free now, the 12 bytes of margin of the next message included.
    pub fn space_free(&mut self) -> Result<usize> {
        self.turn();
        self.writer.space_free()
    }

    /// The ring's files.
    #[must_use]
    pub fn files(&self) -> &Arc<RingFiles> {
        &self.files
    }
}

/// What an error of the semaphore means for a connection: the page is gone, or its value is nonsense.
pub(super) fn alive(e: Error) -> Error {
    match e {
        Error::Os(libc::EFAULT) => Error::Disconnected,
        Error::Os(libc::EOVERFLOW) => Error::Corrupt,
        other => other,
    }
}
