// SPDX-License-Identifier: LGPL-2.1-or-later
//! A glibc process-shared semaphore (`sem_t`) inside a mapping, bit for bit, with our own waiting: glibc ends the process
//! when a peer takes the page away under a futex call, here that is an error.
//!
//! | layout | value | sleepers | `private` |
//! |---|---|---|---|
//! | 64-bit | low half of the 64-bit word at 0 | its high half | word at 8: 0, or 128 when process-shared |
//! | 32-bit | word at 0, shifted left by one | word at 8; bit 0 of word 0 says that there are any | word at 4 |
//!
//! The peer may store anything: the worst it gets is a wrong count, a wake-up for nothing, or an error.

use super::mapping::Shared;
use super::{Mapping, SharedWord};
use crate::sys::futex::{self, Deadline};
use crate::{Error, Result};
use std::time::Duration;

/// glibc's SEM_VALUE_MAX.
const VALUE_MAX: u32 = i32::MAX as u32;
/// glibc's mark of a process-shared semaphore.
const SHARED: u32 = 128;
/// Compare-and-exchange attempts before a peer that keeps changing the word counts as broken.
const ATTEMPTS: u32 = 1 << 20;

/// A `sem_t` at an offset of a mapping. Any number of threads and processes may use it at once.
#[derive(Clone, Copy, Debug)]
pub struct Semaphore<'a> {
    words: layout::Words<'a>,
    mapping: &'a Mapping,
}

/// What one attempt to take a count found.
enum Took {
    Yes,
    Empty,
}

impl<'a> Semaphore<'a> {
    /// Bytes of a `sem_t`.
    pub const SIZE: usize = size_of::<libc::sem_t>();

    /// The semaphore at `offset`, a multiple of 8; [`Error::Invalid`] when it is not all inside.
    #[inline]
    pub fn at(mapping: &'a Mapping, offset: usize) -> Result<Self> {
        Ok(Self { words: layout::Words::at(mapping, offset)?, mapping })
    }

    /// Sets the value to 0 without sleepers, like `sem_init`.
    pub fn init(&self, pshared: bool) {
        self.words.reset();
        self.words.private().set(if pshared { SHARED } else { 0 });
    }

    /// The number of counts, like `sem_getvalue`.
    #[must_use]
    #[inline]
    pub fn value(&self) -> u32 {
        self.words.value()
    }

    /// Adds one count and wakes one sleeper if there are any. EOVERFLOW at the largest value.
    #[inline(always)]
    pub fn post(&self) -> Result<()> {
        if self.words.add()? { futex::wake(self.words.address(), 1) } else { Ok(()) }
    }

    /// Takes one count; false when there is none.
    #[inline(always)]
    pub fn try_wait(&self) -> Result<bool> {
        Ok(matches!(self.words.take(false)?, Took::Yes))
    }

    /// Takes one count, sleeping at most `timeout` (monotonic clock; None: for ever). False at the end of the time.
    /// Interrupting signals are passed over.
    #[inline(always)]
    pub fn wait(&self, timeout: Option<Duration>) -> Result<bool> {
        if self.try_wait()? {
            return Ok(true);
        }
        self.sleep(timeout, || self.words.take(true))
    }

    /// Sleeps once until there is a count, without taking it. False at the end of the time, or earlier, for instance when a
    /// signal handler ran. It uses up the wake-up of one post, so no other thread should wait on the same semaphore meanwhile.
    pub fn doze(&self, timeout: Duration) -> Result<bool> {
        self.words.enter();
        self.words.mark();
        let woken = if self.value() > 0 {
            Ok(())
        } else if self.mapping.is_dead() {
            Err(Error::Disconnected) // a private page lies there now, nobody would wake us
        } else {
            futex::wait_for(self.words.address(), self.words.asleep(), timeout)
        };
        self.words.leave();
        match woken {
            Ok(()) | Err(Error::TimedOut | Error::Os(libc::EINTR)) => Ok(self.value() > 0),
            Err(e) => Err(e),
        }
    }

    /// Registers as a sleeper and repeats `attempt`, which deregisters when it succeeds.
    #[inline(never)]
    fn sleep(&self, timeout: Option<Duration>, attempt: impl Fn() -> Result<Took>) -> Result<bool> {
        if timeout == Some(Duration::ZERO) {
            return Ok(false);
        }
        let deadline = timeout.and_then(Deadline::after);
        self.words.enter();
        loop {
            self.words.mark();
            match attempt() {
                Ok(Took::Yes) => return Ok(true),
                Ok(Took::Empty) => {}
                Err(e) => {
                    self.words.leave();
                    return Err(e);
                }
            }
            if self.mapping.is_dead() {
                self.words.leave();
                return Err(Error::Disconnected); // a private page lies there now, nobody would wake us
            }
            match futex::wait(self.words.address(), self.words.asleep(), deadline) {
                Ok(()) | Err(Error::Os(libc::EINTR)) => {}
                Err(Error::TimedOut) => {
                    // A post that came together with the deadline still counts.
                    let last = attempt();
                    if !matches!(last, Ok(Took::Yes)) {
                        self.words.leave();
                    }
                    return last.map(|took| matches!(took, Took::Yes));
                }
                Err(e) => {
                    self.words.leave();
                    return Err(e);
                }
            }
        }
    }
}

#[cfg(target_pointer_width = "64")]
mod layout {
    use super::{ATTEMPTS, Error, Mapping, Result, Shared, SharedWord, Took, VALUE_MAX};
    use crate::sync::{AtomicU64, Ordering};

    const SLEEPER: u64 = 1 << 32;

    #[derive(Debug)]
    #[repr(C, align(8))]
    pub struct Raw {
        data: AtomicU64,
        private: SharedWord,
        rest: [SharedWord; 5],
    }
    const _: () = assert!(size_of::<Raw>() == size_of::<libc::sem_t>());

    // SAFETY: atomics only.
    unsafe impl Shared for Raw {}

    #[derive(Clone, Copy, Debug)]
    pub struct Words<'a>(&'a Raw);

    impl<'a> Words<'a> {
        #[inline]
        pub fn at(mapping: &'a Mapping, offset: usize) -> Result<Self> {
            mapping.view(offset).map(Self)
        }

        pub fn private(&self) -> &SharedWord {
            &self.0.private
        }

        pub fn reset(&self) {
            self.0.data.store(0, Ordering::Release);
        }

        #[inline]
        pub fn value(&self) -> u32 {
            // ORDER(count): pairs with `add`. Whoever sees a count sees the chunk for which it was posted.
            self.0.data.load(Ordering::Acquire) as u32
        }

        /// Adds a count; true when somebody sleeps.
        #[inline(always)]
        pub fn add(&self) -> Result<bool> {
            let seen = self.0.data.load(Ordering::Relaxed);
            self.try_add(seen).or_else(|seen| self.add_slowly(seen))
        }

        /// Err with the value that is there instead of `seen`, or that allows no more counts.
        #[inline(always)]
        fn try_add(&self, seen: u64) -> std::result::Result<bool, u64> {
            if seen as u32 >= VALUE_MAX {
                return Err(seen);
            }
            // ORDER(count): pairs with `take` and `value`.
            let added =
                self.0.data.compare_exchange_weak(seen, seen + 1, Ordering::Release, Ordering::Relaxed);
            added.map(|_| seen >= SLEEPER)
        }

        #[cold]
        fn add_slowly(&self, mut seen: u64) -> Result<bool> {
            for _ in 0..ATTEMPTS {
                if seen as u32 >= VALUE_MAX {
                    return Err(Error::Os(libc::EOVERFLOW));
                }
                match self.try_add(seen) {
                    Ok(sleepers) => return Ok(sleepers),
                    Err(now) => seen = now,
                }
            }
            Err(Error::Corrupt)
        }

        /// Takes a count, and the caller's registration with it when it is registered.
        #[inline(always)]
        pub fn take(&self, registered: bool) -> Result<Took> {
            let cost = if registered { SLEEPER + 1 } else { 1 };
            let seen = self.0.data.load(Ordering::Relaxed);
            self.try_take(seen, cost).or_else(|seen| self.take_slowly(seen, cost))
        }

        /// Err with the value that is there instead of `seen`.
        #[inline(always)]
        fn try_take(&self, seen: u64, cost: u64) -> std::result::Result<Took, u64> {
            if seen as u32 == 0 {
                return Ok(Took::Empty);
            }
            let rest = seen.wrapping_sub(cost);
            // ORDER(count): pairs with `add`. Whoever takes a count sees the chunk for which it was posted.
            let taken = self.0.data.compare_exchange_weak(seen, rest, Ordering::Acquire, Ordering::Relaxed);
            taken.map(|_| Took::Yes)
        }

        #[cold]
        fn take_slowly(&self, mut seen: u64, cost: u64) -> Result<Took> {
            for _ in 0..ATTEMPTS {
                match self.try_take(seen, cost) {
                    Ok(took) => return Ok(took),
                    Err(now) => seen = now,
                }
            }
            Err(Error::Corrupt)
        }

        pub fn enter(&self) {
            self.0.data.fetch_add(SLEEPER, Ordering::Relaxed);
        }

        /// The number of sleepers is mark enough.
        pub fn mark(&self) {}

        pub fn leave(&self) {
            self.0.data.fetch_sub(SLEEPER, Ordering::Relaxed);
        }

        /// The futex word as it is while there is nothing to take.
        pub fn asleep(&self) -> u32 {
            0
        }

        pub fn address(&self) -> *const u32 {
            let half = usize::from(cfg!(target_endian = "big"));
            self.0.data.as_ptr().cast_const().cast::<u32>().wrapping_add(half)
        }
    }
}

#[cfg(not(target_pointer_width = "64"))]
mod layout {
    use super::{ATTEMPTS, Error, Mapping, Result, Shared, SharedWord, Took, VALUE_MAX};

    /// Bit 0 of the value word: somebody sleeps.
    const SLEEPERS: u32 = 1;
    /// One count in the value word.
    const ONE: u32 = 2;

    #[derive(Debug)]
    #[repr(C)]
    pub struct Raw {
        value: SharedWord,
        private: SharedWord,
        sleepers: SharedWord,
        rest: SharedWord,
    }
    const _: () = assert!(size_of::<Raw>() == size_of::<libc::sem_t>());

    // SAFETY: atomics only.
    unsafe impl Shared for Raw {}

    #[derive(Clone, Copy, Debug)]
    pub struct Words<'a>(&'a Raw);

    impl<'a> Words<'a> {
        pub fn at(mapping: &'a Mapping, offset: usize) -> Result<Self> {
            mapping.view(offset).map(Self)
        }

        pub fn private(&self) -> &SharedWord {
            &self.0.private
        }

        pub fn reset(&self) {
            self.0.value.publish(0);
            self.0.sleepers.publish(0);
        }

        pub fn value(&self) -> u32 {
            // ORDER(count): pairs with `add`. Whoever sees a count sees the chunk for which it was posted.
            self.0.value.observe() >> 1
        }

        /// Adds a count; true when somebody sleeps.
        pub fn add(&self) -> Result<bool> {
            let mut seen = self.0.value.get();
            for _ in 0..ATTEMPTS {
                if seen >> 1 >= VALUE_MAX {
                    return Err(Error::Os(libc::EOVERFLOW));
                }
                // ORDER(count): pairs with `take` and `value`.
                match self.0.value.compare_exchange(seen, seen + ONE) {
                    Ok(_) => return Ok(seen & SLEEPERS != 0),
                    Err(now) => seen = now,
                }
            }
            Err(Error::Corrupt)
        }

        /// Takes a count, and the caller's registration with it when it is registered.
        pub fn take(&self, registered: bool) -> Result<Took> {
            let mut seen = self.0.value.get();
            for _ in 0..ATTEMPTS {
                if seen >> 1 == 0 {
                    return Ok(Took::Empty);
                }
                // ORDER(count): pairs with `add`. Whoever takes a count sees the chunk for which it was posted.
                match self.0.value.compare_exchange(seen, seen - ONE) {
                    Ok(_) => {
                        if registered {
                            self.leave();
                        }
                        return Ok(Took::Yes);
                    }
                    Err(now) => seen = now,
                }
            }
            Err(Error::Corrupt)
        }

        pub fn enter(&self) {
            self.0.sleepers.fetch_add(1);
        }

        /// Says that somebody sleeps; again before each sleep, because another sleeper that leaves clears it.
        pub fn mark(&self) {
            let mut seen = self.0.value.get();
            for _ in 0..ATTEMPTS {
                match self.0.value.compare_exchange(seen, seen | SLEEPERS) {
                    Ok(_) => return,
                    Err(now) => seen = now,
                }
            }
        }

        pub fn leave(&self) {
            if self.0.sleepers.fetch_sub(1) == 1 {
                let mut seen = self.0.value.get();
                for _ in 0..ATTEMPTS {
                    match self.0.value.compare_exchange(seen, seen & !SLEEPERS) {
                        Ok(_) => return,
                        Err(now) => seen = now,
                    }
                }
            }
        }

        /// The futex word as it is while there is nothing to take.
        pub fn asleep(&self) -> u32 {
            SLEEPERS
        }

        pub fn address(&self) -> *const u32 {
            self.0.value.as_ptr()
        }
    }
}

#[cfg(test)]
mod tests;
