// SPDX-License-Identifier: LGPL-2.1-or-later
//! Notices that this process is a forked copy, or that it has copies, without a system call per question.

use crate::sync::{AtomicU32, Ordering};
use std::sync::Once;

static GENERATION: AtomicU32 = AtomicU32::new(0);
static FORKS: AtomicU32 = AtomicU32::new(0);
static INSTALL: Once = Once::new();

/// Counted before there is a child that could do anything. A fork that fails counts too.
extern "C" fn before() {
    FORKS.fetch_add(1, Ordering::Relaxed);
}

extern "C" fn in_child() {
    GENERATION.fetch_add(1, Ordering::Relaxed);
}

/// Starts counting; later calls change nothing. Forks before the first call are not seen, and need not be: whoever
/// wants to compare generations takes the first one after calling this.
pub fn watch() {
    INSTALL.call_once(|| {
        // SAFETY: both are `extern "C"` functions that only add to an atomic, which is allowed in a forked child.
        // A failure (out of memory) leaves the counters still, which means "no fork seen".
        unsafe { libc::pthread_atfork(Some(before), None, Some(in_child)) };
    });
}

/// Differs from what it was before `fork()`, in the parent and in the child; forks that failed make it differ too.
#[must_use]
#[inline]
pub fn count() -> u32 {
    FORKS.load(Ordering::Relaxed)
}

/// Differs from what the parent process saw once `fork()` has made this process.
#[must_use]
pub fn generation() -> u32 {
    GENERATION.load(Ordering::Relaxed)
}
