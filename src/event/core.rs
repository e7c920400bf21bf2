// SPDX-License-Identifier: LGPL-2.1-or-later
//! The loop object: its descriptors, its lock, stopping, waking, closing, and what happens to it in a forked child.

use super::poll::WAKE_TOKEN;
use super::state::State;
use crate::error::Result;
use crate::sync::{AtomicBool, AtomicU32, AtomicUsize, Mutex, MutexGuard, Ordering};
use crate::sys::epoll::{EDGE, Epoll, IN};
use crate::sys::fork;
use crate::sys::wake::Wake;
use std::os::fd::AsRawFd;
use std::sync::Arc;

/// A main loop. See the [room's door](super).
pub struct Loop {
    /// First, so that the signal port in it is released before the descriptors it uses are closed.
    pub(super) state: Mutex<State>,
    pub(super) epoll: Epoll,
    pub(super) wake: Wake,
    pub(super) stop: AtomicBool,
    /// The thread that is inside a callback of this loop (see [`thread_mark`]), or 0.
    pub(super) dispatcher: AtomicUsize,
    /// The process generation that opened the descriptors.
    generation: AtomicU32,
}

thread_local! {
    static MARK: u8 = const { 0 };
}

/// A number that no other living thread has; costs no system call.
pub(super) fn thread_mark() -> usize {
    MARK.with(|mark| std::ptr::from_ref(mark).addr())
}

impl Loop {
    /// A loop with nothing in it. It uses two descriptors, both close-on-exec.
    ///
    /// # Errors
    /// `EMFILE`, `ENFILE`, `ENOMEM`.
    pub fn new() -> Result<Arc<Self>> {
        fork::watch();
        let (epoll, wake) = (Epoll::new()?, Wake::new()?);
        epoll.add(wake.as_raw_fd(), IN | EDGE, WAKE_TOKEN)?;
        Ok(Arc::new(Self {
            state: Mutex::new(State::default()),
            epoll,
            wake,
            stop: AtomicBool::new(false),
            dispatcher: AtomicUsize::new(0),
            generation: AtomicU32::new(fork::generation()),
        }))
    }

    /// Makes the running [`run`](Loop::run) and those around it return as soon as the current callback has returned.
    /// A later `run` starts afresh. Takes no lock: allowed in any thread and in a signal handler.
    pub fn stop(&self) {
        self.stop.store(true, Ordering::SeqCst);
        // Inside one of our callbacks the flag is looked at next anyway; in a forked copy the bell is the parent's.
        if !self.is_dispatching_here() && !self.is_forked_copy() {
            self.wake.ring();
        }
    }

    /// Ends the loop: stops it and drops all that is registered or queued, without calling any callback. Adding anything
    /// later fails. Allowed everywhere, also in a callback of the loop. Signals that were caught stay caught, and are
    /// swallowed.
    pub fn close(&self) {
        let mut state = self.lock();
        state.closed = true;
        let queues: Vec<_> = state.levels.iter_mut().map(std::mem::take).collect();
        let polls = state.polls.clear();
        let timers = state.timers.clear();
        let signals = state.signals.clear();
        let low_fds = state.low_fds_clear();
        drop(state);
        self.stop();
        // Outside the lock: the destructors of closures may call the loop.
        drop((queues, polls, timers, signals, low_fds));
    }

    /// The state, in a loop that belongs to this process.
    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        let mut state = self.state.lock();
        if self.is_forked_copy() {
            self.adopt(&mut state);
        }
        state
    }

    pub(super) fn is_forked_copy(&self) -> bool {
        self.generation.load(Ordering::Relaxed) != fork::generation()
    }

    /// True in a thread that is inside a callback of this loop.
    pub(super) fn is_dispatching_here(&self) -> bool {
        self.dispatcher.load(Ordering::Relaxed) == thread_mark()
    }

    /// Wakes the thread that waits, if any. With the lock held, so that nobody is just about to wait.
    pub(super) fn wake_waiter(&self, state: &State) {
        if state.waiters > 0 {
            self.wake.ring();
        }
    }

    /// Makes an inherited loop this process's own, so that nothing done here reaches the parent: epoll set and bell are
    /// shared across `fork()`. If descriptors are short, the next call tries again.
    #[cold]
    pub(super) fn adopt(&self, state: &mut State) {
        let generation = fork::generation();
        if self.wake.reopen().is_ok() && self.rebuild(state).is_ok() {
            state.waiters = 0;
            state.signals.adopt(&self.wake);
            self.generation.store(generation, Ordering::Relaxed);
        }
    }

    /// Starts over with an empty epoll set and adds everything again.
    #[cold]
    pub(super) fn rebuild(&self, state: &mut State) -> Result<()> {
        self.epoll.reopen()?;
        self.epoll.add(self.wake.as_raw_fd(), IN | EDGE, WAKE_TOKEN)?;
        state.polls.add_again(&self.epoll);
        Ok(())
    }
}

impl std::fmt::Debug for Loop {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Loop").field("epoll", &self.epoll).finish_non_exhaustive()
    }
}
