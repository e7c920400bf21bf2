// SPDX-License-Identifier: LGPL-2.1-or-later
//! epoll: a set of descriptors, each with a 64-bit token, and a wait with nanosecond time-outs.

use crate::error::{Error, Result};
use crate::sync::{AtomicBool, Ordering};
use libc::c_int;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};

/// Most events that one wait can return.
pub const BATCH: usize = 64;

/// Flag for [`Epoll::add`]: report an edge once instead of the level.
pub const EDGE: u32 = libc::EPOLLET as u32;
/// Readable.
pub const IN: u32 = libc::EPOLLIN as u32;

/// Kernels before 5.11, and some filters, have no `epoll_pwait2`; found out once per process.
static NO_PWAIT2: AtomicBool = AtomicBool::new(false);

/// An epoll descriptor, close-on-exec.
#[derive(Debug)]
pub struct Epoll {
    fd: OwnedFd,
}

/// Room for the events of one wait.
pub struct Batch {
    events: [libc::epoll_event; BATCH],
    len: usize,
}

impl Batch {
    /// Empty.
    #[must_use]
    pub const fn new() -> Self {
        Self { events: [libc::epoll_event { events: 0, u64: 0 }; BATCH], len: 0 }
    }

    /// The events of the last wait, in the kernel's order: (event bits, token).
    pub fn iter(&self) -> impl Iterator<Item = (u32, u64)> + '_ {
        self.events.iter().take(self.len).map(|e| (e.events, e.u64))
    }

    /// Forgets the events.
    pub const fn clear(&mut self) {
        self.len = 0;
    }

    /// Number of events of the last wait.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.len
    }

    /// True after a wait that ended without events.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }
}

impl Default for Batch {
    fn default() -> Self {
        Self::new()
    }
}

fn open() -> Result<OwnedFd> {
    // SAFETY: takes no pointers.
    let fd = unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) };
    if fd < 0 {
        return Err(Error::last_os());
    }
    // SAFETY: a fresh descriptor that nobody else owns.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Makes the number of `old` mean the file of `new`, in this process only.
pub(super) fn replace(old: &OwnedFd, new: &OwnedFd) -> Result<()> {
    // SAFETY: takes no pointers; both descriptors are open and owned by this room.
    let rc = unsafe { libc::dup3(new.as_raw_fd(), old.as_raw_fd(), libc::O_CLOEXEC) };
    if rc < 0 { Err(Error::last_os()) } else { Ok(()) }
}

impl Epoll {
    /// An empty set.
    pub fn new() -> Result<Self> {
        Ok(Self { fd: open()? })
    }

    /// Replaces the set by an empty one under the same number. A set is shared with forked children, and keeps a closed
    /// descriptor's entry while a duplicate is open; this gets rid of both.
    pub fn reopen(&self) -> Result<()> {
        replace(&self.fd, &open()?)
    }

    fn ctl(&self, op: c_int, fd: RawFd, events: u32, token: u64) -> Result<()> {
        let mut event = libc::epoll_event { events, u64: token };
        // SAFETY: `event` is a valid epoll_event for the duration of the call; the kernel copies it.
        let rc = unsafe { libc::epoll_ctl(self.fd.as_raw_fd(), op, fd, &raw mut event) };
        if rc < 0 { Err(Error::Os(last_errno())) } else { Ok(()) }
    }

    /// Starts watching `fd`.
    ///
    /// # Errors
    /// `EEXIST` (in the set already), `EPERM` (a regular file or directory), `EBADF`, `ENOSPC`, `ENOMEM`.
    pub fn add(&self, fd: RawFd, events: u32, token: u64) -> Result<()> {
        self.ctl(libc::EPOLL_CTL_ADD, fd, events, token)
    }

    /// Changes what is watched for.
    ///
    /// # Errors
    /// `ENOENT` (not in the set), `EBADF`.
    pub fn modify(&self, fd: RawFd, events: u32, token: u64) -> Result<()> {
        self.ctl(libc::EPOLL_CTL_MOD, fd, events, token)
    }

    /// Stops watching `fd`.
    ///
    /// # Errors
    /// `ENOENT` (not in the set), `EBADF`.
    pub fn delete(&self, fd: RawFd) -> Result<()> {
        self.ctl(libc::EPOLL_CTL_DEL, fd, 0, 0)
    }

    /// Waits until something is ready or `timeout` nanoseconds are over (None: without end); never returns early
    /// without a reason. At most `max` events are put into `batch`, which is empty after an error.
    ///
    /// # Errors
    /// `EINTR`, `EBADF`, `EINVAL`.
    pub fn wait(&self, batch: &mut Batch, max: usize, timeout: Option<u64>) -> Result<()> {
        batch.len = 0;
        let max = max.clamp(1, BATCH) as c_int;
        let n = match timeout {
            None => self.wait_ms(batch, max, -1),
            Some(0) => self.wait_ms(batch, max, 0),
            Some(ns) => self.wait_up_to(batch, max, ns),
        };
        batch.len = n?;
        Ok(())
    }

    #[inline(never)]
    fn wait_up_to(&self, batch: &mut Batch, max: c_int, ns: u64) -> Result<usize> {
        if !NO_PWAIT2.load(Ordering::Relaxed) {
            match self.wait_ns(batch, max, ns) {
                Err(Error::Os(libc::ENOSYS | libc::EPERM)) => NO_PWAIT2.store(true, Ordering::Relaxed),
                other => return other,
            }
        }
        self.wait_ms(batch, max, ms_rounded_up(ns))
    }

    fn wait_ms(&self, batch: &mut Batch, max: c_int, ms: c_int) -> Result<usize> {
        // SAFETY: `batch.events` has BATCH entries and `max` is at most BATCH.
        let n = unsafe { libc::epoll_wait(self.fd.as_raw_fd(), batch.events.as_mut_ptr(), max, ms) };
        usize::try_from(n).map_err(|_| Error::Os(last_errno()))
    }

    fn wait_ns(&self, batch: &mut Batch, max: c_int, ns: u64) -> Result<usize> {
        let timeout = KernelTimespec { sec: (ns / 1_000_000_000) as i64, nsec: (ns % 1_000_000_000) as i64 };
        // SAFETY: `batch.events` has BATCH entries and `max` is at most BATCH; `timeout` has the kernel's 64-bit layout and
        // outlives the call; a null mask leaves the signal mask alone, and its size is then not looked at.
        let n = unsafe {
            libc::syscall(
                libc::SYS_epoll_pwait2,
                self.fd.as_raw_fd(),
                batch.events.as_mut_ptr(),
                max,
                &raw const timeout,
                std::ptr::null::<libc::sigset_t>(),
                0_usize,
            )
        };
        usize::try_from(n).map_err(|_| Error::Os(last_errno()))
    }
}

impl AsRawFd for Epoll {
    fn as_raw_fd(&self) -> RawFd {
        self.fd.as_raw_fd()
    }
}

/// The kernel's `__kernel_timespec`, 64-bit on every architecture.
#[repr(C)]
struct KernelTimespec {
    sec: i64,
    nsec: i64,
}

/// Never shorter than `ns`, except beyond what fits (24.8 days): then the caller waits again.
fn ms_rounded_up(ns: u64) -> c_int {
    c_int::try_from(ns.div_ceil(1_000_000)).unwrap_or(c_int::MAX)
}

fn last_errno() -> c_int {
    std::io::Error::last_os_error().raw_os_error().unwrap_or(libc::EIO)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::clock::monotonic_ns;
    use crate::sys::wake::Wake;

    #[test]
    fn a_wait_is_never_shorter_than_asked() {
        let set = Epoll::new().unwrap();
        let mut batch = Batch::new();
        for ns in [1, 1_000, 1_500_000] {
            let start = monotonic_ns();
            set.wait(&mut batch, 1, Some(ns)).unwrap();
            assert!(monotonic_ns() - start >= ns);
            assert!(batch.is_empty());
        }
    }

    #[test]
    fn milliseconds_round_up_and_are_clamped() {
        assert_eq!(ms_rounded_up(1), 1);
        assert_eq!(ms_rounded_up(1_000_000), 1);
        assert_eq!(ms_rounded_up(1_000_001), 2);
        assert_eq!(ms_rounded_up(u64::MAX), c_int::MAX);
    }

    #[test]
    fn a_ring_is_one_edge_and_a_reopened_set_is_empty() {
        let (set, bell) = (Epoll::new().unwrap(), Wake::new().unwrap());
        let mut batch = Batch::new();
        set.add(bell.as_raw_fd(), IN | EDGE, 7).unwrap();
        assert_eq!(set.add(bell.as_raw_fd(), IN, 7), Err(Error::Os(libc::EEXIST)));
        bell.ring();
        set.wait(&mut batch, 1, Some(0)).unwrap();
        assert_eq!(batch.iter().collect::<Vec<_>>(), [(IN, 7)]);
        set.wait(&mut batch, 1, Some(0)).unwrap();
        assert_eq!(batch.len(), 0);
        bell.ring();
        set.wait(&mut batch, 1, None).unwrap();
        assert_eq!(batch.len(), 1);
        set.reopen().unwrap();
        assert_eq!(set.delete(bell.as_raw_fd()), Err(Error::Os(libc::ENOENT)));
    }
}
