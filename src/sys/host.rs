// SPDX-License-Identifier: LGPL-2.1-or-later
//! The host's name, and how a thread is scheduled and started.

use crate::{Error, Result};

/// The host's name, cut to 254 bytes; `localhost` if the system does not tell.
#[must_use]
pub fn name() -> Vec<u8> {
    let mut raw = [0u8; 255];
    // SAFETY: the buffer is writable for the length given.
    let rc = unsafe { libc::gethostname(raw.as_mut_ptr().cast(), raw.len() - 1) };
    let len = raw.iter().position(|b| *b == 0).unwrap_or(0);
    if rc != 0 { b"localhost".to_vec() } else { raw[..len].to_vec() }
}

/// Runs `f`, which starts a thread, so that the thread gets no signal but those of its own faults: the program's handlers run on the
/// program's threads.
pub fn without_signals<R>(f: impl FnOnce() -> R) -> R {
    const FAULTS: [i32; 7] =
        [libc::SIGSEGV, libc::SIGBUS, libc::SIGFPE, libc::SIGILL, libc::SIGTRAP, libc::SIGSYS, libc::SIGABRT];
    // SAFETY: all-zero signal sets are valid values of the plain C type; the C library fills them and keeps nothing.
    let before = unsafe {
        let (mut blocked, mut before) = std::mem::zeroed::<(libc::sigset_t, libc::sigset_t)>();
        libc::sigfillset(&raw mut blocked);
        for signal in FAULTS {
            libc::sigdelset(&raw mut blocked, signal);
        }
        // What the caller blocks stays blocked: this adds to it.
        libc::pthread_sigmask(libc::SIG_BLOCK, &raw const blocked, &raw mut before);
        before
    };
    let result = f();
    // SAFETY: the set was filled above.
    unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, &raw const before, std::ptr::null_mut()) };
    result
}

/// Sets policy and priority of a thread that is alive (the caller holds its join handle).
pub fn set_scheduling(thread: &std::thread::JoinHandle<()>, policy: i32, priority: i32) -> Result<()> {
    use std::os::unix::thread::JoinHandleExt;
    // SAFETY: an all-zero sched_param is a valid value of the plain C struct.
    let mut param: libc::sched_param = unsafe { std::mem::zeroed() };
    param.sched_priority = priority;
    // SAFETY: a JoinHandle that was not joined names a live or finished, not yet reaped thread.
    match unsafe { libc::pthread_setschedparam(thread.as_pthread_t(), policy, &raw const param) } {
        0 => Ok(()),
        code => Err(Error::Os(code)),
    }
}
