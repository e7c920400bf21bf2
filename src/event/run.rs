// SPDX-License-Identifier: LGPL-2.1-or-later
//! Running the loop: what one iteration collects, how long it waits, who gets a turn.
//!
//! A turn goes from HIGH down to a threshold that moves HIGH, MED, LOW, HIGH, ... with each iteration; a level with a turn
//! has up to four of its items dispatched. So the shares of busy levels are 12 : 8 : 4 per three iterations.
//!
//! The lock is held except in waits and callbacks, which costs two pairs of uncontended atomics per dispatched
//! descriptor. The wait is the only system call.

use super::core::{Loop, thread_mark};
use super::jobs::{Job, THROTTLE_NS};
use super::poll::{PollFn, PollToken};
use super::signals::Delivery;
use super::state::{Item, State};
use super::task::Task;
use super::{Next, Priority};
use crate::error::{Error, Result};
use crate::log::Level;
use crate::sync::{MutexGuard, Ordering};
use crate::sys::clock::{NS_IN_MSEC, monotonic_ns};
use crate::sys::epoll::{BATCH, Batch};
use std::os::fd::RawFd;

/// Items that a level may dispatch in one turn.
const PER_TURN: u32 = 4;
/// With this many items left over, a wait fetches no more than as many new ones: the kernel reports everything that is
/// still ready again and again, and rotates, so that nothing is missed.
const BACKLOG: usize = 12;

type Guard<'a> = MutexGuard<'a, State>;

/// An item of a run list with what its callback needs, taken out of the state.
enum Call {
    Job(Job),
    Timer(Task),
    Poll { token: PollToken, fd: RawFd, ready: super::Events, callback: PollFn },
    Signal(Delivery),
}

impl State {
    /// The next item of `level` whose registration is still there.
    fn next_call(&mut self, prio: Priority) -> Option<Call> {
        while let Some(item) = self.level(prio).run.pop_front() {
            match item {
                Item::Job(job) => return Some(Call::Job(job)),
                Item::Signal(delivery) => return Some(Call::Signal(delivery)),
                Item::Timer(handle) => {
                    if let Some(task) = self.timers.take(handle) {
                        return Some(Call::Timer(task));
                    }
                }
                Item::Poll(token) => {
                    if let Some((fd, ready, callback)) = self.polls.start(token) {
                        return Some(Call::Poll { token, fd, ready, callback });
                    }
                }
            }
        }
        None
    }
}

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
            if let Some((callback, low, available)) = state.low_fds_change() {
                MutexGuard::unlocked(&mut state, || callback(low, available));
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
        let mut until_timer = None;
        let mut timers = 0;
        if state.timers.next_due().is_some() {
            let now = monotonic_ns();
            timers = state.collect_timers(now);
            // A timer is due when its time has passed, not when it is reached.
            until_timer = state.timers.next_due().map(|due| due.saturating_sub(now).saturating_add(1));
        }
        if backlog || timers > 0 || urgent || state.signals.is_pending() {
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
            MutexGuard::unlocked(state, || {
                crate::log!(Level::Warning, "waiting for descriptors failed: {e}");
                std::thread::sleep(std::time::Duration::from_nanos(NS_IN_MSEC)); // do not burn a CPU over it
            });
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
                let Some(call) = state.next_call(prio) else { break };
                self.dispatch(state, call);
                if self.stop.load(Ordering::Relaxed) {
                    return true;
                }
            }
        }
        false
    }

    fn dispatch(&self, state: &mut Guard<'_>, call: Call) {
        let outer = self.dispatcher.load(Ordering::Relaxed);
        let outer_job = state.job_running.take();
        self.dispatcher.store(thread_mark(), Ordering::Relaxed);
        match call {
            Call::Job(job) => {
                state.job_running = Some(job.hops);
                MutexGuard::unlocked(state, || job.run());
            }
            Call::Timer(task) => MutexGuard::unlocked(state, || task.run()),
            Call::Poll { token, fd, ready, mut callback } => {
                let next = MutexGuard::unlocked(state, || callback(fd, ready));
                if self.is_forked_copy() {
                    self.adopt(state);
                }
                if let Some(unused) = state.polls.finish(&self.epoll, token, callback, next) {
                    MutexGuard::unlocked(state, || drop(unused));
                }
            }
            Call::Signal(Delivery { handle, number, callback }) => {
                let next = MutexGuard::unlocked(state, move || callback(number));
                if next == Next::Remove {
                    let gone = state.remove_signal(handle);
                    MutexGuard::unlocked(state, || drop(gone));
                }
            }
        }
        state.job_running = outer_job;
        self.dispatcher.store(outer, Ordering::Relaxed);
    }
}
