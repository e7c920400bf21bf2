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

/// Number of processors this process may run on; at least 1.
#[must_use]
pub fn cpus() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}

/// Sleeps, for waits that nothing can wake.
pub fn sleep(time: std::time::Duration) -> Result<()> {
    std::thread::sleep(time);
    Ok(())
}
