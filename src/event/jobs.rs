// SPDX-License-Identifier: LGPL-2.1-or-later
//! Jobs: closures that run once. A chain of jobs that keeps renewing itself is slowed down; see [`FREE_HOPS`].

use super::core::Loop;
use super::state::Item;
use super::{Priority, state::State};
use crate::error::{Error, Result};
use crate::sys::clock::NS_IN_MSEC;
use std::fmt;

/// Identity for [`Loop::job_del`]: two words of the caller's choice, for instance a function and its argument.
pub type JobKey = (usize, usize);

/// How many jobs in a row may each add the next one and still run at once. From then on the loop waits [`THROTTLE_NS`]
/// before it runs a job that was added by a job: programs poll for things with a job that adds itself again, and would
/// burn a CPU otherwise.
pub(super) const FREE_HOPS: u32 = 3;
/// The wait before such a job, unless something else is to do.
pub(super) const THROTTLE_NS: u64 = 50 * NS_IN_MSEC;

/// Work to do once, soon.
pub struct Job {
    key: Option<JobKey>,
    run: Box<dyn FnOnce() + Send>,
    /// How many jobs were in the chain that led to this one.
    pub(super) hops: u32,
}

impl Job {
    /// A job that cannot be deleted again.
    pub fn new(run: impl FnOnce() + Send + 'static) -> Self {
        Self { key: None, run: Box::new(run), hops: 0 }
    }

    /// A job that [`Loop::job_del`] finds by `key`.
    pub fn keyed(key: JobKey, run: impl FnOnce() + Send + 'static) -> Self {
        Self { key: Some(key), run: Box::new(run), hops: 0 }
    }

    pub(super) fn call(self) {
        (self.run)();
    }
}

impl fmt::Debug for Job {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Job").field("key", &self.key).field("hops", &self.hops).finish_non_exhaustive()
    }
}

impl State {
    /// Moves all waiting jobs to the run lists: (how many, whether one of them must not wait).
    pub(super) fn collect_jobs(&mut self) -> (usize, bool) {
        let (mut moved, mut urgent) = (0, false);
        for level in &mut self.levels {
            moved += level.waiting.len();
            urgent |= level.waiting.iter().any(|job| job.hops <= FREE_HOPS);
            level.run.extend(level.waiting.drain(..).map(Item::Job));
        }
        (moved, urgent)
    }
}

impl Loop {
    /// Queues `job`; it runs in a later iteration, after those of the same priority queued before.
    ///
    /// # Errors
    /// [`Error::Invalid`] after [`close`](Loop::close).
    pub fn job_add(&self, prio: Priority, mut job: Job) -> Result<()> {
        let mut state = self.lock();
        if state.closed {
            return Err(Error::Invalid);
        }
        if let Some(hops) = state.job_running.filter(|_| self.is_dispatching_here()) {
            job.hops = hops.saturating_add(1);
        }
        state.level(prio).waiting.push_back(job);
        self.wake_waiter(&state);
        Ok(())
    }

    /// Removes the oldest job with this priority and key that has not started. Its closure is dropped before the return.
    ///
    /// # Errors
    /// [`Error::NotFound`]
    pub fn job_del(&self, prio: Priority, key: JobKey) -> Result<()> {
        let mut state = self.lock();
        let level = state.level(prio);
        let wanted = |job: &Job| job.key == Some(key);
        let found = if let Some(i) = level.waiting.iter().position(wanted) {
            level.waiting.remove(i)
        } else {
            let in_run = |item: &Item| matches!(item, Item::Job(job) if wanted(job));
            let item = level.run.iter().position(in_run).and_then(|i| level.run.remove(i));
            match item {
                Some(Item::Job(job)) => Some(job),
                _ => None,
            }
        };
        drop(state); // the closure's destructor is foreign code
        found.map(drop).ok_or(Error::NotFound)
    }
}
