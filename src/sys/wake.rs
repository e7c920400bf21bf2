// SPDX-License-Identifier: LGPL-2.1-or-later
//! A descriptor that another thread or a signal handler makes readable (eventfd).

use crate::error::{Error, Result};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};

/// An eventfd, non-blocking and close-on-exec. It is meant to be watched edge-triggered and never read: every ring is an
/// edge of its own, and the 64-bit counter does not fill up in the life of a process.
#[derive(Debug)]
pub struct Wake {
    fd: OwnedFd,
}

fn open() -> Result<OwnedFd> {
    // SAFETY: takes no pointers.
    let fd = unsafe { libc::eventfd(0, libc::EFD_NONBLOCK | libc::EFD_CLOEXEC) };
    if fd < 0 {
        return Err(Error::last_os());
    }
    // SAFETY: a fresh descriptor that nobody else owns.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

impl Wake {
    /// A new, silent descriptor.
    pub fn new() -> Result<Self> {
        Ok(Self { fd: open()? })
    }

    /// Makes it readable. Async-signal-safe; changes errno only if the write fails.
    pub fn ring(&self) {
        ring_fd(self.fd.as_raw_fd());
    }

    /// Puts a new eventfd under the same number: in a forked child, so that rings stay in this process.
    pub fn reopen(&self) -> Result<()> {
        super::epoll::replace(&self.fd, &open()?)
    }
}

impl AsRawFd for Wake {
    fn as_raw_fd(&self) -> RawFd {
        self.fd.as_raw_fd()
    }
}

/// Rings the eventfd with this number. Async-signal-safe.
pub(super) fn ring_fd(fd: RawFd) {
    let one = 1_u64;
    // SAFETY: `one` is readable for its 8 bytes. EAGAIN means that the counter is full, so that it is readable anyway.
    unsafe { libc::write(fd, (&raw const one).cast(), size_of::<u64>()) };
}
