// SPDX-License-Identifier: LGPL-2.1-or-later
//! Limits of the process.

use crate::error::{Error, Result};

/// The soft limit on open descriptors (`RLIMIT_NOFILE`); "unlimited" is `u64::MAX`.
pub fn open_files() -> Result<u64> {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: `limit` is a valid, exclusive rlimit; the kernel writes it and keeps nothing.
    if unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) } != 0 {
        return Err(Error::last_os());
    }
    Ok(limit.rlim_cur)
}
