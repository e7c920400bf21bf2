// SPDX-License-Identifier: LGPL-2.1-or-later
//! The main loop: jobs, timers, descriptors and signals on three priorities. May touch `sys` and `log`, and user callbacks
//! as plain closures.
//!
//! One thread runs a [`Loop`]; every other function may be called from any thread, and wakes a waiting loop where that
//! matters. Callbacks run without any lock held and may call everything on the same loop again: delete themselves, add the
//! same descriptor again, run the loop in themselves, [`close`](Loop::close) it. Everything waits in one of two places:
//!
//! | place | what | moved on by |
//! |---|---|---|
//! | waiting | added jobs, armed timers, watched descriptors, wanted signals | the collecting steps of an iteration |
//! | run list of a level | jobs, expired timers, ready descriptors, delivered signals, first in first out | its turn |
//!
//! A callback that owns an `Arc` of its loop keeps the loop alive until the registration is gone or the loop is closed;
//! a `Weak` does not.
#![forbid(unsafe_code)]

mod core;
mod heap;
mod jobs;
mod lowfds;
mod poll;
mod run;
mod signals;
mod state;
mod task;
mod timers;

#[cfg(test)]
mod tests;

pub use self::core::Loop;
pub use jobs::{Job, JobKey};
pub use lowfds::LowFdsFn;
pub use poll::PollFn;
pub use signals::{SignalFn, SignalHandle};
pub use task::Task;
pub use timers::TimerHandle;

use crate::error::{Error, Result};
use std::ops::{BitOr, BitOrAssign};

/// How large a share of the turns something gets; a higher priority never starves a lower one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u32)]
pub enum Priority {
    /// A turn in every third iteration.
    Low = 0,
    /// Two turns in three iterations.
    Med = 1,
    /// A turn in each iteration.
    High = 2,
}

impl TryFrom<u32> for Priority {
    type Error = Error;

    fn try_from(number: u32) -> Result<Self> {
        match number {
            0 => Ok(Self::Low),
            1 => Ok(Self::Med),
            2 => Ok(Self::High),
            _ => Err(Error::Invalid),
        }
    }
}

/// What to watch a descriptor for and what happened to it, with the values of `poll(2)`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Events(u16);

impl Events {
    /// Nothing; errors and hang-ups are reported all the same.
    pub const NONE: Self = Self(0);
    /// `POLLIN`
    pub const IN: Self = Self(0x01);
    /// `POLLPRI`
    pub const PRI: Self = Self(0x02);
    /// `POLLOUT`
    pub const OUT: Self = Self(0x04);
    /// `POLLERR`
    pub const ERR: Self = Self(0x08);
    /// `POLLHUP`
    pub const HUP: Self = Self(0x10);
    /// `POLLNVAL`; asking for it means `ERR`, and it is never reported.
    pub const NVAL: Self = Self(0x20);

    /// The bits of `poll(2)`; unknown ones are kept and have no effect.
    #[must_use]
    pub const fn from_bits(bits: u16) -> Self {
        Self(bits)
    }

    /// The bits of `poll(2)`.
    #[must_use]
    pub const fn bits(self) -> u16 {
        self.0
    }

    /// True if all of `other` is in here.
    #[must_use]
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// True if some of `other` is in here.
    #[must_use]
    pub const fn intersects(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }
}

impl BitOr for Events {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

impl BitOrAssign for Events {
    fn bitor_assign(&mut self, other: Self) {
        self.0 |= other.0;
    }
}

/// What becomes of a descriptor's or a signal's registration after its callback.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// It stays.
    Keep,
    /// It ends, unless the callback replaced it by a new one: that one stays.
    Remove,
}
