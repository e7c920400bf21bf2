// SPDX-License-Identifier: LGPL-2.1-or-later
//! Jobs: closures that run once. A chain of jobs that keeps renewing itself is slowed down; see [`FREE_HOPS`].

use super::Priority;
use super::core::Loop;
use super::state::{Item, State};
use super::task::Task;
use crate::error::{Error, Result};
use crate::sys::clock::NS_IN_MSEC;
use std::collections::VecDeque;

/// Identity for [`Loop::job_del`]: two words of the caller's choice, for instance a function and its argument.
pub type JobKey = (usize, usize);

/// How many jobs in a row may each add the next one and still run at once. From then on the loop waits [`THROTTLE_NS`]
/// before it runs a job that was added by a job: programs poll for things with a job that adds itself again, and would
/// burn a CPU otherwise.
pub(super) const FREE_HOPS: u32 = 3;
/// The wait before such a job, unless something else is to do.
pub(super) const THROTTLE_NS: u64 = 50 * NS_IN_MSEC;

/// Work to do once, soon.
#[derive(Debug)]
pub struct Job {
    task: Task,
    key: JobKey,
    has_key: bool,
    /// How many jobs were in the chain that led to this one.
    pub(super) hops: u32,
}

impl Job {
    /// A job that cannot be deleted again.
    pub fn new(run: impl FnOnce() + Send + 'static) -> Self {
        Self { task: Task::new(run), key: (0, 0), has_key: false, hops: 0 }
    }

    /// A job that [`Loop::job_del`] finds by `key`.
    #[must_use]
    pub const fn keyed(key: JobKey, task: Task) -> Self {
        Self { task, key, has_key: true, hops: 0 }
    }

    pub(super) fn run(self) {
        self.task.run();
    }

    fn is(&self, key: JobKey) -> bool {
        self.has_key && self.key == key
    }
}

impl State {
    /// Moves all waiting jobs to the run lists: (whether there are any, whether one of them must not wait).
    pub(super) fn collect_jobs(&mut self) -> (bool, bool) {
        let any = self.levels.iter().any(|level| !level.waiting.is_empty());
        if any {
            self.queue_jobs();
        }
        (any, std::mem::take(&mut self.urgent_jobs))
    }

    #[inline(never)]
    fn queue_jobs(&mut self) {
        for level in &mut self.levels {
            if level.run.is_empty() {
                std::mem::swap(&mut level.run, &mut level.waiting);
            } else {
                level.run.append(&mut level.waiting);
            }
        }
    }
}

fn take_job(queue: &mut VecDeque<Item>, key: JobKey) -> Option<Item> {
    let at = queue.iter().position(|item| matches!(item, Item::Job(job) if job.is(key)))?;
    queue.remove(at)
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
        state.urgent_jobs |= job.hops <= FREE_HOPS;
        state.level(prio).waiting.push_back(Item::Job(job));
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
        let found = take_job(&mut level.waiting, key).or_else(|| take_job(&mut level.run, key));
        drop(state); // the closure's destructor is foreign code
        found.map(drop).ok_or(Error::NotFound)
    }
}
