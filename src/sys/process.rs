// SPDX-License-Identifier: LGPL-2.1-or-later
//! Facts about processes: who we are, who is alive.

use crate::{Error, Result};

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

/// Number of processors this thread may run on now; 1 when the kernel does not say. One system call.
#[must_use]
pub fn cpus() -> usize {
    // SAFETY: cpu_set_t is plain data for which all zeros is the empty set.
    let mut set: libc::cpu_set_t = unsafe { std::mem::zeroed() };
    // SAFETY: `set` is writable for the length given; 0 is the calling thread.
    let rc = unsafe { libc::sched_getaffinity(0, size_of::<libc::cpu_set_t>(), &raw mut set) };
    // SAFETY: counts bits of an initialised set.
    let count = if rc == 0 { unsafe { libc::CPU_COUNT(&set) } } else { 1 };
    usize::try_from(count).unwrap_or(1).max(1)
}

/// Sleeps, for waits that nothing can wake.
pub fn sleep(time: std::time::Duration) -> Result<()> {
    std::thread::sleep(time);
    Ok(())
}
