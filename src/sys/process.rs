// SPDX-License-Identifier: LGPL-2.1-or-later
//! Facts about processes: who we are, who is alive.

use crate::Error;

/// Our process id. A system call: callers on a hot path keep the value.
#[must_use]
pub fn pid() -> i32 {
    // SAFETY: takes no arguments and cannot fail.
    unsafe { libc::getpid() }
}

/// Our effective user id.
#[must_use]
pub fn euid() -> u32 {
    // SAFETY: takes no arguments and cannot fail.
    unsafe { libc::geteuid() }
}

/// Our effective group id.
#[must_use]
pub fn egid() -> u32 {
    // SAFETY: takes no arguments and cannot fail.
    unsafe { libc::getegid() }
}

/// Whether a process of that number certainly does not exist. 0 and negative numbers mean "unknown": not gone.
#[must_use]
pub fn is_gone(pid: i32) -> bool {
    if pid <= 0 {
        return false;
    }
    // SAFETY: signal 0 only asks whether the process exists.
    let rc = unsafe { libc::kill(pid, 0) };
    rc != 0 && Error::last_os() == Error::Os(libc::ESRCH)
}

/// Number of processors that are online; at least 1. Asked once.
///
/// Not the ones this process may run on: two processes pinned to a processor each do not share one.
#[must_use]
pub fn cpus() -> usize {
    static ONLINE: std::sync::OnceLock<usize> = std::sync::OnceLock::new();
    *ONLINE.get_or_init(|| {
        // SAFETY: takes a number and returns one; -1 when the system does not say.
        let online = unsafe { libc::sysconf(libc::_SC_NPROCESSORS_ONLN) };
        usize::try_from(online).unwrap_or(1).max(1)
    })
}

/// The processor that the calling thread runs on, counted from 0; it may run on another one the next moment. Takes a few
/// nanoseconds. `u32::MAX` when the system does not say.
#[must_use]
#[inline]
pub fn cpu() -> u32 {
    // SAFETY: takes nothing.
    unsafe { libc::sched_getcpu() }.cast_unsigned()
}

/// Lets other threads that are ready run on this processor.
pub fn yield_now() {
    std::thread::yield_now();
}
