// SPDX-License-Identifier: LGPL-2.1-or-later
//! Running the loop: what one iteration collects, how long it waits, who gets a turn.
//!
//! A turn goes from HIGH down to a threshold that moves HIGH, MED, LOW, HIGH, ... with each iteration; a level with a turn
//! has up to four of its items dispatched. So the shares of busy levels are 12 : 8 : 4 per three iterations.
//!
//! The lock is held except in waits and callbacks, which costs two pairs of uncontended atomics per dispatched
//! descriptor. The wait is the only system call.

use super::core::{Loop, thread_mark};
use super::jobs::THROTTLE_NS;
use super::signals::Delivery;
use super::state::{Item, State};
use super::{Next, Priority};
use crate::error::{Error, Result};
use crate::log::Level;
use crate::sync::{MutexGuard, Ordering};
use crate::sys::clock::NS_IN_MSEC;
use crate::sys::epoll::{BATCH, Batch};

/// Items that a level may dispatch in one turn.
const PER_TURN: u32 = 4;
/// With this many items left over, a wait fetches no more than as many new ones: the kernel reports everything that is
/// still ready again and again, and rotates, so that nothing is missed.
const BACKLOG: usize = 12;

type Guard<'a> = MutexGuard<'a, State>;

const fn below(threshold: Priority) -> Priority {
    match threshold {
        Priority::High => Priority::Med,
        Priority::Med => Priority::Low,
        Priority::Low => Priority::High,
    }
}

impl Loop {
    /// Dispatches until [`stop`](Loop::stop). May be called from a callback: the inner call continues with what the outer
    /// one has queued.
    pub fn run(&self) {
        // A run inside a callback waits as well, so that a stop has to wake it.
        let outer = self.dispatcher.swap(0, Ordering::Relaxed);
        self.iterate();
        self.dispatcher.store(outer, Ordering::Relaxed);
    }

    fn iterate(&self) {
        let mut batch = Batch::new();
        self.stop.store(false, Ordering::SeqCst);
        let mut state = self.lock();
        let mut threshold = Priority::High;
        let mut waited = false;
        while !state.closed {
            let timeout = self.collect(&mut state);
            if state.low_fds_changed() {
                tell_low_fds(&mut state);
            }
            // Right after a wait that ended with nothing, another look without waiting would find the same.
            if !(waited && timeout == Some(0)) {
                self.wait(&mut state, &mut batch, timeout);
                waited = batch.is_empty();
            }
            if state.collect_ready(&batch) {
                let _ = self.rebuild(&mut state); // tried again when the stray shows up again
            }
            batch.clear();
            state.collect_signal();
            if self.stop.load(Ordering::Relaxed) {
                return; // from another thread or a signal handler
            }
            let Some(mut highest) = state.highest_queued() else {
                threshold = below(threshold);
                continue;
            };
            // Iterations without anything to dispatch would follow at once, each with a signal if there is one; skip to the
            // first one with.
            while highest < threshold {
                threshold = below(threshold);
                state.collect_signal();
                highest = state.highest_queued().unwrap_or(highest);
            }
            waited = false;
            if self.turns(&mut state, threshold) {
                return;
            }
            threshold = below(threshold);
        }
    }

    /// Queues jobs and expired timers; returns how long to wait for descriptors and signals (None: without end).
    fn collect(&self, state: &mut Guard<'_>) -> Option<u64> {
        if self.is_forked_copy() {
            self.adopt(state);
        }
        let backlog = state.queued() > 0;
        let (jobs, urgent) = state.collect_jobs();
        let (timers, until_timer) = match state.timers.next_due() {
            Some(_) => state.collect_due(),
            None => (false, None),
        };
        if backlog || timers || urgent || state.signals.is_pending() {
            Some(0)
        } else if jobs {
            Some(until_timer.map_or(THROTTLE_NS, |ns| ns.min(THROTTLE_NS)))
        } else {
            until_timer
        }
    }

    fn wait(&self, state: &mut Guard<'_>, batch: &mut Batch, timeout: Option<u64>) {
        let max = if state.queued() < BACKLOG { BATCH } else { BACKLOG };
        state.waiters += 1;
        let result = MutexGuard::unlocked(state, || self.wait_unlocked(batch, max, timeout));
        state.waiters = state.waiters.saturating_sub(1);
        if let Err(e) = result {
            wait_failed(state, e);
        }
    }

    fn wait_unlocked(&self, batch: &mut Batch, max: usize, timeout: Option<u64>) -> Result<()> {
        match self.epoll.wait(batch, max, timeout) {
            // A signal: the caller looks for it, and computes the time-out anew.
            Err(Error::Os(libc::EINTR)) => Ok(()),
            other => other,
        }
    }

    /// One turn for each level from HIGH to `threshold`; true if the run is over.
    fn turns(&self, state: &mut Guard<'_>, threshold: Priority) -> bool {
        for prio in [Priority::High, Priority::Med, Priority::Low] {
            if prio < threshold {
                break;
            }
            for _ in 0..PER_TURN {
                if !self.dispatch_next(state, prio) {
                    break;
                }
                if self.stop.load(Ordering::Relaxed) {
                    return true;
                }
            }
        }
        false
    }

    /// Dispatches the next item of `level` whose registration is still there; false if there is none.
    #[inline(never)]
    fn dispatch_next(&self, state: &mut Guard<'_>, prio: Priority) -> bool {
        while let Some(item) = state.level(prio).run.pop_front() {
            let Item::Poll(token) = item else {
                if self.dispatch_other(state, item) {
                    return true;
                }
                continue;
            };
            if let Some((fd, ready, mut callback)) = state.polls.start(token) {
                let outer = self.enter(state);
                let next = MutexGuard::unlocked(state, || callback(fd, ready));
                if self.is_forked_copy() {
                    self.adopt(state);
                }
                if let Some(unused) = state.polls.finish(&self.epoll, token, callback, next) {
                    drop_unlocked(state, unused);
                }
                self.leave(state, outer);
                return true;
            }
        }
        false
    }

    /// As [`Loop::dispatch_next`], for an item that is not a descriptor.
    #[inline(never)]
    fn dispatch_other(&self, state: &mut Guard<'_>, item: Item) -> bool {
        let outer = self.enter(state);
        let found = match item {
            Item::Job(job) => {
                state.job_running = Some(job.hops);
                MutexGuard::unlocked(state, || job.run());
                true
            }
            Item::Timer(handle) => state.timers.take(handle).is_some_and(|task| {
                MutexGuard::unlocked(state, || task.run());
                true
            }),
            Item::Signal(Delivery { handle, number, callback }) => {
                let next = MutexGuard::unlocked(state, move || callback(number));
                if next == Next::Remove {
                    let gone = state.remove_signal(handle);
                    MutexGuard::unlocked(state, || drop(gone));
                }
                true
            }
            Item::Poll(_) => false,
        };
        self.leave(state, outer);
        found
    }

    /// This thread is about to call the application; returns what [`Loop::leave`] restores.
    #[inline]
    fn enter(&self, state: &mut State) -> (usize, Option<u32>) {
        let outer = self.dispatcher.load(Ordering::Relaxed);
        self.dispatcher.store(thread_mark(), Ordering::Relaxed);
        (outer, state.job_running.take())
    }

    #[inline]
    fn leave(&self, state: &mut State, (dispatcher, job): (usize, Option<u32>)) {
        state.job_running = job;
        self.dispatcher.store(dispatcher, Ordering::Relaxed);
    }
}

// What a turn seldom needs is kept out of its way: between two long waits each line of code has to come from memory again.

#[cold]
fn tell_low_fds(state: &mut Guard<'_>) {
    if let Some((callback, low, available)) = state.low_fds_change() {
        MutexGuard::unlocked(state, || callback(low, available));
    }
}

#[cold]
fn wait_failed(state: &mut Guard<'_>, e: Error) {
    MutexGuard::unlocked(state, || {
        crate::log!(Level::Warning, "waiting for descriptors failed: {e}");
        std::thread::sleep(std::time::Duration::from_nanos(NS_IN_MSEC)); // do not burn a CPU over it
    });
}

/// Destructors of closures are foreign code.
#[cold]
fn drop_unlocked<T>(state: &mut Guard<'_>, unused: T) {
    MutexGuard::unlocked(state, || drop(unused));
}
