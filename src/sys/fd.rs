// SPDX-License-Identifier: LGPL-2.1-or-later
//! Waiting for one or two descriptors, and timers that are descriptors.

use crate::{Error, Result};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::time::{Duration, Instant};

/// A point in time to wait for, or none. Monotonic.
#[derive(Clone, Copy, Debug)]
pub struct Deadline(Option<Instant>);

impl Deadline {
    /// From the C API's milliseconds: negative waits for ever, 0 does not wait.
    #[must_use]
    pub fn after_ms(ms: i32) -> Self {
        match u64::try_from(ms) {
            Ok(ms) => Self::after(Duration::from_millis(ms)),
            Err(_) => Self(None),
        }
    }

    /// `wait` from now.
    #[must_use]
    pub fn after(wait: Duration) -> Self {
        Self(Instant::now().checked_add(wait))
    }

    /// Time left; `None` when there is no end.
    #[must_use]
    pub fn left(self) -> Option<Duration> {
        self.0.map(|end| end.saturating_duration_since(Instant::now()))
    }

    /// Time left, at most `slice`.
    #[must_use]
    pub fn slice(self, slice: Duration) -> Duration {
        self.left().map_or(slice, |left| left.min(slice))
    }

    /// Whether the time is over.
    #[must_use]
    pub fn passed(self) -> bool {
        self.left().is_some_and(|left| left.is_zero())
    }
}

/// Polls one descriptor once; returns the events (0 on time-out). `EINTR` ends the wait early with 0.
pub fn poll_one(fd: BorrowedFd<'_>, events: i16, wait: Option<Duration>) -> Result<i16> {
    let mut set = [libc::pollfd { fd: fd.as_raw_fd(), events, revents: 0 }];
    poll_set(&mut set, wait)?;
    Ok(set[0].revents)
}

/// As [`poll_one`], but `EINTR` is an error: a signal handler ran meanwhile.
pub fn poll_or_signal(fd: BorrowedFd<'_>, events: i16, wait: Option<Duration>) -> Result<i16> {
    let mut set = [libc::pollfd { fd: fd.as_raw_fd(), events, revents: 0 }];
    poll(&mut set, wait)?;
    Ok(set[0].revents)
}

/// Polls two descriptors; returns the events of each (0 on time-out). `EINTR` is an error.
pub fn poll_two(
    first: (BorrowedFd<'_>, i16),
    second: (BorrowedFd<'_>, i16),
    wait: Option<Duration>,
) -> Result<(i16, i16)> {
    let mut set = [
        libc::pollfd { fd: first.0.as_raw_fd(), events: first.1, revents: 0 },
        libc::pollfd { fd: second.0.as_raw_fd(), events: second.1, revents: 0 },
    ];
    poll(&mut set, wait)?;
    Ok((set[0].revents, set[1].revents))
}

/// Polls any number of descriptors; time-outs and `EINTR` leave zeros.
pub fn poll_set(set: &mut [libc::pollfd], wait: Option<Duration>) -> Result<()> {
    match poll(set, wait) {
        Err(Error::Os(libc::EINTR)) => {
            set.iter_mut().for_each(|p| p.revents = 0);
            Ok(())
        }
        polled => polled,
    }
}

fn poll(set: &mut [libc::pollfd], wait: Option<Duration>) -> Result<()> {
    let spec = wait.map(|d| libc::timespec {
        tv_sec: libc::time_t::try_from(d.as_secs()).unwrap_or(libc::time_t::MAX),
        tv_nsec: d.subsec_nanos() as libc::c_long,
    });
    let spec_ptr = spec.as_ref().map_or(std::ptr::null(), std::ptr::from_ref);
    // SAFETY: `set` is a live slice of initialised pollfds, `spec_ptr` is NULL or points to `spec`, which outlives the
    // call; a NULL signal mask is allowed.
    let n = unsafe { libc::ppoll(set.as_mut_ptr(), set.len() as libc::nfds_t, spec_ptr, std::ptr::null()) };
    if n >= 0 { Ok(()) } else { Err(Error::last_os()) }
}

/// A one-shot timer as a descriptor: readable once `wait` is over.
pub fn timer_fd(wait: Duration) -> Result<OwnedFd> {
    // SAFETY: no pointers; the result is checked before use.
    let raw = unsafe { libc::timerfd_create(libc::CLOCK_MONOTONIC, libc::TFD_NONBLOCK | libc::TFD_CLOEXEC) };
    if raw < 0 {
        return Err(Error::last_os());
    }
    // SAFETY: `raw` was just made by the kernel for us and nobody else owns it.
    let fd = unsafe { OwnedFd::from_raw_fd(raw) };
    timer_fd_rearm(&fd, wait)?;
    Ok(fd)
}

/// Arms a timer made by [`timer_fd`] again.
pub fn timer_fd_rearm(fd: &OwnedFd, wait: Duration) -> Result<()> {
    let wait = wait.max(Duration::from_nanos(1));
    let spec = libc::itimerspec {
        it_interval: libc::timespec { tv_sec: 0, tv_nsec: 0 },
        it_value: libc::timespec {
            tv_sec: libc::time_t::try_from(wait.as_secs()).unwrap_or(libc::time_t::MAX),
            tv_nsec: wait.subsec_nanos().into(),
        },
    };
    // SAFETY: `fd` is an open timerfd, `spec` lives through the call, the old value is not wanted.
    let rc = unsafe { libc::timerfd_settime(fd.as_raw_fd(), 0, &raw const spec, std::ptr::null_mut()) };
    if rc == 0 { Ok(()) } else { Err(Error::last_os()) }
}
