// SPDX-License-Identifier: LGPL-2.1-or-later
//! A lock for C programs: taken and given back by separate calls, from whichever thread.
//!
//! | word    | who stores        | meaning                                        |
//! |---------|-------------------|------------------------------------------------|
//! | `state` | lock, unlock      | FREE, HELD, or WAITED (held, and somebody may sleep) |
//!
//! Taking and giving back a free lock is one atomic operation each. Sleepers wait on a condition variable.

use crate::sync::{AtomicU32, Mutex, Ordering};
use crate::{Error, Result};
use parking_lot::Condvar;

const FREE: u32 = 0;
const HELD: u32 = 1;
const WAITED: u32 = 2;

/// How often a thread looks again before it sleeps, for a lock that is held for a few instructions.
const SPINS: u32 = 64;

/// A lock that is not recursive. Giving back a lock that is not held does nothing.
#[derive(Debug)]
pub struct Lock {
    state: AtomicU32,
    spins: u32,
    sleepers: Mutex<()>,
    given_back: Condvar,
}

impl Lock {
    /// A free lock; `short`: usually held for a few instructions only.
    #[must_use]
    pub fn new(short: bool) -> Self {
        Self {
            state: AtomicU32::new(FREE),
            spins: if short { SPINS } else { 0 },
            sleepers: Mutex::new(()),
            given_back: Condvar::new(),
        }
    }

    /// Takes the lock, and waits for it without a limit.
    pub fn lock(&self) {
        for _ in 0..=self.spins {
            if self.try_lock().is_ok() {
                return;
            }
            std::hint::spin_loop();
        }
        let mut asleep = self.sleepers.lock();
        // ORDER(lock-free): Acquire pairs with the Release in `unlock`. WAITED is stored even when the lock is got: at
        // worst the next `unlock` wakes nobody.
        while self.state.swap(WAITED, Ordering::Acquire) != FREE {
            self.given_back.wait(&mut asleep);
        }
    }

    /// Takes the lock if it is free.
    ///
    /// # Errors
    /// [`Error::Os`] with EBUSY: it is held.
    pub fn try_lock(&self) -> Result<()> {
        // ORDER(lock-free): Acquire pairs with the Release in `unlock`.
        match self.state.compare_exchange(FREE, HELD, Ordering::Acquire, Ordering::Relaxed) {
            Ok(_) => Ok(()),
            Err(_) => Err(Error::Os(libc::EBUSY)),
        }
    }

    /// Gives the lock back and wakes one sleeper.
    pub fn unlock(&self) {
        // ORDER(lock-free): Release; who takes the lock next sees what was written under it.
        if self.state.swap(FREE, Ordering::Release) == WAITED {
            // A sleeper holds this mutex from its look at `state` until it sleeps, so it cannot miss the call.
            let _no_sleeper_is_between = self.sleepers.lock();
            self.given_back.notify_one();
        }
    }

    /// Whether somebody holds it now.
    #[must_use]
    pub fn is_held(&self) -> bool {
        self.state.load(Ordering::Relaxed) != FREE
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sync::AtomicU64;
    use std::thread;

    #[test]
    fn a_held_lock_is_busy() {
        for short in [true, false] {
            let lock = Lock::new(short);
            lock.lock();
            assert!(lock.is_held());
            assert_eq!(lock.try_lock(), Err(Error::Os(libc::EBUSY)));
            lock.unlock();
            assert_eq!(lock.try_lock(), Ok(()));
        }
    }

    #[test]
    fn one_thread_at_a_time_is_inside() {
        for short in [true, false] {
            let (lock, sum) = (Lock::new(short), AtomicU64::new(0));
            thread::scope(|s| {
                for _ in 0..4 {
                    s.spawn(|| {
                        for _ in 0..20_000 {
                            lock.lock();
                            // Not an atomic addition on purpose: it loses counts unless the lock excludes the others.
                            let seen = sum.load(Ordering::Relaxed);
                            sum.store(seen + 1, Ordering::Relaxed);
                            lock.unlock();
                        }
                    });
                }
            });
            assert_eq!(sum.into_inner(), 80_000);
        }
    }

    #[test]
    fn another_thread_may_give_it_back() {
        let lock = Lock::new(false);
        lock.lock();
        thread::scope(|s| {
            s.spawn(|| lock.unlock());
            lock.lock();
        });
        assert!(lock.is_held());
    }
}
