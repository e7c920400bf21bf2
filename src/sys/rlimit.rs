// SPDX-License-Identifier: LGPL-2.1-or-later
//! Limits of the process.

use crate::error::{Error, Result};
use crate::sync::{AtomicU64, Ordering};

/// The soft limit on open descriptors (`RLIMIT_NOFILE`); "unlimited" is `u64::MAX`.
pub fn open_files() -> Result<u64> {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: `limit` is a valid, exclusive rlimit; the kernel writes it and keeps nothing.
    if unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) } != 0 {
        return Err(Error::last_os());
    }
    Ok(limit.rlim_cur)
}

/// What the limit on open descriptors leaves beyond `reserve`, at most `i32::MAX`, also if the limit is not known. Read
/// once per process, except that 0 is read again.
#[must_use]
#[inline]
pub fn usable_files(reserve: u64) -> u64 {
    let known = LIMIT.load(Ordering::Relaxed);
    if known > reserve { known - reserve } else { read_limit().saturating_sub(reserve) }
}

static LIMIT: AtomicU64 = AtomicU64::new(0);

#[cold]
fn read_limit() -> u64 {
    let limit = open_files().unwrap_or(u64::MAX).min(i32::MAX as u64);
    LIMIT.store(limit, Ordering::Relaxed);
    limit
}
