// SPDX-License-Identifier: LGPL-2.1-or-later
//! Times as C programs use them: nanoseconds, the steps of a clock, and timespec arithmetic.

use crate::sys::clock;
use libc::timespec;

const NS_IN_SEC: i64 = 1_000_000_000;
const NS_IN_MSEC: i64 = 1_000_000;

/// Nanoseconds since an unspecified start, never set back.
#[must_use]
pub fn monotonic_ns() -> u64 {
    clock::monotonic_ns()
}

/// How many steps per second [`monotonic_ns`] can tell apart: 10^9 on usual kernels.
#[must_use]
pub fn monotonic_hz() -> u64 {
    hz(clock::monotonic_resolution_ns())
}

/// Nanoseconds since the epoch; jumps when the clock is set.
#[must_use]
pub fn epoch_ns() -> u64 {
    clock::realtime_ns()
}

/// Time since the epoch; jumps when the clock is set.
#[must_use]
pub fn epoch_timespec() -> timespec {
    from_ns(epoch_ns())
}

/// `ts` moved by `ms` milliseconds, which may be negative. The nanoseconds of the result are in 0..10^9; seconds that
/// do not fit stay at the limit.
#[must_use]
pub fn add_ms(ts: timespec, ms: i32) -> timespec {
    // Neither sum can overflow if the parts are carried apart: |tv_nsec| / 10^9 < 2^34, |ms| / 1000 < 2^22.
    let ms = i64::from(ms);
    let nsec = ts.tv_nsec.rem_euclid(NS_IN_SEC) + ms.rem_euclid(1000) * NS_IN_MSEC;
    let carry = ts.tv_nsec.div_euclid(NS_IN_SEC) + ms.div_euclid(1000) + nsec / NS_IN_SEC;
    timespec { tv_sec: ts.tv_sec.saturating_add(carry), tv_nsec: nsec % NS_IN_SEC }
}

fn hz(resolution_ns: u64) -> u64 {
    NS_IN_SEC.unsigned_abs().checked_div(resolution_ns).unwrap_or(NS_IN_SEC.unsigned_abs())
}

fn from_ns(ns: u64) -> timespec {
    let per_sec = NS_IN_SEC.unsigned_abs();
    timespec {
        tv_sec: i64::try_from(ns / per_sec).unwrap_or(i64::MAX),
        tv_nsec: i64::try_from(ns % per_sec).unwrap_or(0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn add(sec: i64, nsec: i64, ms: i32) -> (i64, i64) {
        let ts = add_ms(timespec { tv_sec: sec, tv_nsec: nsec }, ms);
        (ts.tv_sec, ts.tv_nsec)
    }

    #[test]
    fn milliseconds_carry_into_seconds() {
        assert_eq!(add(1, 999_999_999, 2500), (4, 499_999_999));
        assert_eq!(add(7, 0, 0), (7, 0));
        assert_eq!(add(7, 999_000_000, 1), (8, 0));
    }

    #[test]
    fn negative_milliseconds_borrow() {
        assert_eq!(add(10, 0, -1), (9, 999_000_000));
        assert_eq!(add(10, 1_000_000, -2001), (8, 0));
    }

    #[test]
    fn the_end_of_time_is_a_limit() {
        assert_eq!(add(i64::MAX, 999_999_999, i32::MAX).0, i64::MAX);
        assert_eq!(add(i64::MIN, 0, i32::MIN).0, i64::MIN);
    }

    proptest! {
        #[test]
        fn any_sum_is_a_valid_timespec(sec: i64, nsec: i64, ms: i32) {
            let (_, got) = add(sec, nsec, ms);
            prop_assert!((0..NS_IN_SEC).contains(&got));
        }

        #[test]
        fn adding_and_taking_away_is_nothing(sec in -(1_i64 << 40)..1 << 40, nsec in 0..NS_IN_SEC, ms in -i32::MAX..) {
            let (s, n) = add(sec, nsec, ms);
            prop_assert_eq!(add(s, n, -ms), (sec, nsec));
        }
    }

    #[test]
    fn a_clock_without_resolution_counts_nanoseconds() {
        assert_eq!(hz(0), 1_000_000_000);
        assert_eq!(hz(1), 1_000_000_000);
        assert_eq!(hz(4_000_000), 250);
    }

    #[test]
    fn clocks_advance() {
        let (mono, wall) = (monotonic_ns(), epoch_ns());
        std::thread::sleep(std::time::Duration::from_millis(2));
        assert!(monotonic_ns() - mono >= 2_000_000);
        assert!(epoch_ns() > wall);
        assert!(monotonic_hz() > 0);
    }
}
