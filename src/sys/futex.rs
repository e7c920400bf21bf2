// SPDX-License-Identifier: LGPL-2.1-or-later
//! Process-shared futex calls. The kernel checks the address itself (EFAULT), so a page that a peer took away is an error
//! here and not a fault.

use crate::{Error, Result};
use std::time::Duration;

/// A moment on CLOCK_MONOTONIC.
#[derive(Clone, Copy, Debug)]
pub struct Deadline(libc::timespec);

impl Deadline {
    /// `wait` from now; None when that is beyond what the clock can say, which is as good as for ever.
    pub fn after(wait: Duration) -> Option<Self> {
        let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
        // SAFETY: `now` is a valid timespec to write to; CLOCK_MONOTONIC always exists.
        unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut now) };
        let now = Duration::new(u64::try_from(now.tv_sec).ok()?, u32::try_from(now.tv_nsec).ok()?);
        let then = now.checked_add(wait)?;
        Some(Self(libc::timespec {
            tv_sec: libc::time_t::try_from(then.as_secs()).ok()?,
            tv_nsec: libc::c_long::from(i32::try_from(then.subsec_nanos()).ok()?),
        }))
    }
}

/// As [`wait`], for at most `timeout`, without a look at the clock.
pub fn wait_for(at: *const u32, expected: u32, timeout: Duration) -> Result<()> {
    let timeout = libc::timespec {
        tv_sec: libc::time_t::try_from(timeout.as_secs()).unwrap_or(libc::time_t::MAX),
        tv_nsec: timeout.subsec_nanos() as libc::c_long,
    };
    // SAFETY: the kernel validates `at` and only reads it; `timeout` is live.
    let rc = unsafe { libc::syscall(libc::SYS_futex, at, libc::FUTEX_WAIT, expected, &raw const timeout) };
    if rc == 0 { Ok(()) } else { not_woken() }
}

/// Sleeps while the word at `at` is `expected`. Ok for a wake-up, a changed word or a spurious return; [`Error::TimedOut`]
/// at the deadline; [`Error::Os`] with EINTR or EFAULT.
pub fn wait(at: *const u32, expected: u32, deadline: Option<Deadline>) -> Result<()> {
    let until = deadline.as_ref().map_or(std::ptr::null(), |d| &raw const d.0);
    // SAFETY: the kernel validates `at` and only reads it; `until` is NULL or a live timespec.
    let rc = unsafe {
        libc::syscall(
            libc::SYS_futex,
            at,
            libc::FUTEX_WAIT_BITSET,
            expected,
            until,
            std::ptr::null::<u32>(),
            libc::FUTEX_BITSET_MATCH_ANY,
        )
    };
    if rc == 0 { Ok(()) } else { not_woken() }
}

/// Why a wait ended.
#[cold]
fn not_woken() -> Result<()> {
    match Error::last_os() {
        Error::Busy => Ok(()), // EAGAIN: the word had changed already
        Error::Os(libc::ETIMEDOUT) => Err(Error::TimedOut),
        other => Err(other),
    }
}

/// Wakes at most `count` sleepers of the word at `at`, in any process.
pub fn wake(at: *const u32, count: i32) -> Result<()> {
    // SAFETY: the kernel validates `at` and does not access it for a wake.
    let rc = unsafe { libc::syscall(libc::SYS_futex, at, libc::FUTEX_WAKE, count) };
    if rc < 0 { Err(Error::last_os()) } else { Ok(()) }
}
