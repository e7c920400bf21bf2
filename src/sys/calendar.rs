// SPDX-License-Identifier: LGPL-2.1-or-later
//! Time stamps for log lines: a cheap clock and the local calendar.

/// Seconds and nanoseconds since the epoch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stamp {
    /// Seconds.
    pub sec: i64,
    /// Nanoseconds, below 10⁹ if the system wrote them.
    pub nsec: i64,
}

/// The fields of a local date that log lines show.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Local {
    /// 0 is January.
    pub month: u8,
    /// 1 to 31.
    pub day: u8,
    /// 0 to 23.
    pub hour: u8,
    /// 0 to 59.
    pub minute: u8,
    /// 0 to 60.
    pub second: u8,
}

/// The time as of the last timer tick (some milliseconds): much cheaper than the exact one.
#[must_use]
pub fn coarse_now() -> Stamp {
    let mut ts = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `ts` is a valid, exclusive timespec; the kernel writes it and keeps nothing.
    let rc = unsafe { libc::clock_gettime(libc::CLOCK_REALTIME_COARSE, &raw mut ts) };
    if rc != 0 {
        // SAFETY: as above.
        unsafe { libc::clock_gettime(libc::CLOCK_REALTIME, &raw mut ts) };
    }
    Stamp { sec: ts.tv_sec, nsec: ts.tv_nsec }
}

/// The local date of a second; None where the calendar ends.
#[must_use]
pub fn local(sec: i64) -> Option<Local> {
    // SAFETY: an all-zero `tm` is a valid value of the plain C struct (its pointer may be NULL).
    let mut tm: libc::tm = unsafe { std::mem::zeroed() };
    // SAFETY: both point to valid objects of ours; the function keeps neither.
    let done = unsafe { libc::localtime_r(&raw const sec, &raw mut tm) };
    if done.is_null() {
        return None;
    }
    let field = |value: libc::c_int| u8::try_from(value).unwrap_or(0);
    Some(Local {
        month: field(tm.tm_mon).min(11),
        day: field(tm.tm_mday),
        hour: field(tm.tm_hour),
        minute: field(tm.tm_min),
        second: field(tm.tm_sec),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_coarse_clock_is_near_the_exact_one() {
        let exact =
            std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs() as i64;
        assert!((coarse_now().sec - exact).abs() <= 5);
    }

    #[test]
    fn a_second_beyond_the_calendar_has_no_date() {
        assert_eq!(local(i64::MAX), None);
        assert!(local(0).is_some());
    }
}
