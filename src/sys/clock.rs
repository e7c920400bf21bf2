// SPDX-License-Identifier: LGPL-2.1-or-later
//! Clocks in nanoseconds. Reads the vDSO, so it costs no system call.

/// Nanoseconds in a second.
pub const NS_IN_SEC: u64 = 1_000_000_000;
/// Nanoseconds in a millisecond.
pub const NS_IN_MSEC: u64 = 1_000_000;

fn read(clock: libc::clockid_t) -> u64 {
    let mut ts = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `ts` is a valid, exclusive timespec; the kernel writes it and keeps nothing.
    let rc = unsafe { libc::clock_gettime(clock, &raw mut ts) };
    if rc != 0 {
        return 0;
    }
    let secs = u64::try_from(ts.tv_sec).unwrap_or(0);
    let nanos = u64::try_from(ts.tv_nsec).unwrap_or(0);
    secs.wrapping_mul(NS_IN_SEC).wrapping_add(nanos)
}

/// Time since an unspecified start, never set back: for durations and deadlines.
#[must_use]
pub fn monotonic_ns() -> u64 {
    read(libc::CLOCK_MONOTONIC)
}

/// Monotonic time that advances in steps of some milliseconds, at a fifth of the cost of [`monotonic_ns`].
#[must_use]
pub fn tick() -> u64 {
    read(libc::CLOCK_MONOTONIC_COARSE)
}

/// The smallest step of [`monotonic_ns`] in nanoseconds; 0 if the system does not tell.
#[must_use]
pub fn monotonic_resolution_ns() -> u64 {
    let mut ts = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `ts` is a valid, exclusive timespec; the kernel writes it and keeps nothing.
    if unsafe { libc::clock_getres(libc::CLOCK_MONOTONIC, &raw mut ts) } != 0 {
        return 0;
    }
    u64::try_from(ts.tv_nsec).unwrap_or(0)
}

/// Time since the epoch; may jump when the clock is set.
#[must_use]
pub fn realtime_ns() -> u64 {
    read(libc::CLOCK_REALTIME)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn monotonic_time_does_not_run_backwards() {
        let first = monotonic_ns();
        assert!(first > 0);
        assert!(monotonic_ns() >= first);
        let first = tick();
        assert!(tick() >= first);
    }

    #[test]
    fn real_time_is_after_2020() {
        assert!(realtime_ns() / NS_IN_SEC > 1_577_836_800);
    }
}
