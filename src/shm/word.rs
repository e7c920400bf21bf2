// SPDX-License-Identifier: LGPL-2.1-or-later
//! One 32-bit word of shared memory. The bare orderings stay in here; other code speaks of publishing and observing.

use crate::sync::{AtomicU32, Ordering};
#[cfg(not(loom))]
use crate::{
    Error, Result,
    sys::futex::{self, Deadline},
};
#[cfg(not(loom))]
use std::time::Duration;

/// A 32-bit word another process may change at any moment: `publish` is Release, `observe` Acquire, `get` and `set` are
/// Relaxed.
#[derive(Debug)]
#[repr(transparent)]
pub struct SharedWord(AtomicU32);

impl SharedWord {
    /// A word of private memory, for rings on the heap.
    #[must_use]
    pub fn new(value: u32) -> Self {
        Self(AtomicU32::new(value))
    }

    /// Reads without ordering.
    #[inline]
    #[must_use]
    pub fn get(&self) -> u32 {
        self.0.load(Ordering::Relaxed)
    }

    /// Writes without ordering.
    #[inline]
    pub fn set(&self, value: u32) {
        self.0.store(value, Ordering::Relaxed);
    }

    /// Writes after everything this thread wrote before (Release).
    #[inline]
    pub fn publish(&self, value: u32) {
        self.0.store(value, Ordering::Release);
    }

    /// Reads before everything this thread reads afterwards (Acquire).
    #[inline]
    #[must_use]
    pub fn observe(&self) -> u32 {
        self.0.load(Ordering::Acquire)
    }

    /// Adds, wrapping, and returns the value before (AcqRel).
    #[inline]
    pub fn fetch_add(&self, value: u32) -> u32 {
        self.0.fetch_add(value, Ordering::AcqRel)
    }

    /// Subtracts, wrapping, and returns the value before (AcqRel).
    #[inline]
    pub fn fetch_sub(&self, value: u32) -> u32 {
        self.0.fetch_sub(value, Ordering::AcqRel)
    }

    /// Stores and returns the value before (AcqRel).
    #[inline]
    pub fn swap(&self, value: u32) -> u32 {
        self.0.swap(value, Ordering::AcqRel)
    }

    /// Stores `new` if the word is `current` (AcqRel, Acquire on failure); Err with what was there.
    #[inline]
    pub fn compare_exchange(&self, current: u32, new: u32) -> std::result::Result<u32, u32> {
        self.0.compare_exchange(current, new, Ordering::AcqRel, Ordering::Acquire)
    }

    /// The address, for a futex call.
    #[cfg(not(loom))]
    #[must_use]
    pub fn as_ptr(&self) -> *const u32 {
        self.0.as_ptr()
    }

    /// Sleeps while the word is `expected`, at most `timeout`, until [`SharedWord::wake`] in any process. False at the end of
    /// the time; true says nothing about the word.
    #[cfg(not(loom))]
    pub fn wait(&self, expected: u32, timeout: Duration) -> Result<bool> {
        match futex::wait(self.as_ptr(), expected, Deadline::after(timeout)) {
            Ok(()) | Err(Error::Os(libc::EINTR)) => Ok(true),
            Err(Error::TimedOut) => Ok(false),
            Err(e) => Err(e),
        }
    }

    /// Wakes one sleeper, if there is any.
    #[cfg(not(loom))]
    pub fn wake(&self) -> Result<()> {
        futex::wake(self.as_ptr(), 1)
    }
}

/// Tells the model checker that plain memory is read or written here, so that it reports accesses which nothing orders.
#[cfg(loom)]
#[derive(Debug, Default)]
pub struct Trace(loom::cell::UnsafeCell<()>);

// SAFETY: the cell holds nothing, and nothing is ever read or written through the pointers that it lends; only the checker's
// record of the accesses is wanted, and that is synchronised by the checker.
#[cfg(loom)]
unsafe impl Sync for Trace {}

#[cfg(loom)]
impl Trace {
    /// Plain memory is read here.
    pub fn read(&self) {
        self.0.with(|_| ());
    }

    /// Plain memory is written here.
    pub fn write(&self) {
        self.0.with_mut(|_| ());
    }
}
