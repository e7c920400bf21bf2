// SPDX-License-Identifier: LGPL-2.1-or-later
//! The system's clocks in nanoseconds. Read through the vDSO, so without a system call.

/// Nanoseconds in a second.
pub const NS_IN_SEC: u64 = 1_000_000_000;

/// One of the functions that fill a timespec for a clock: the time, or its resolution.
type Query = unsafe extern "C" fn(libc::clockid_t, *mut libc::timespec) -> libc::c_int;

fn ask(query: Query, clock: libc::clockid_t) -> u64 {
    let mut ts = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: both queries write one timespec and keep nothing; `ts` is valid and exclusively ours.
    if unsafe { query(clock, &raw mut ts) } != 0 {
        return 0;
    }
    let secs = u64::try_from(ts.tv_sec).unwrap_or(0);
    let nanos = u64::try_from(ts.tv_nsec).unwrap_or(0);
    secs.wrapping_mul(NS_IN_SEC).wrapping_add(nanos)
}

/// Time since an unspecified start, never set back.
#[must_use]
pub fn monotonic_ns() -> u64 {
    ask(libc::clock_gettime, libc::CLOCK_MONOTONIC)
}

/// The smallest step of [`monotonic_ns`]; 0 if the system does not tell.
#[must_use]
pub fn monotonic_resolution_ns() -> u64 {
    ask(libc::clock_getres, libc::CLOCK_MONOTONIC)
}

/// Time since the epoch; jumps when the clock is set.
#[must_use]
pub fn realtime_ns() -> u64 {
    ask(libc::clock_gettime, libc::CLOCK_REALTIME)
}
