// SPDX-License-Identifier: LGPL-2.1-or-later
//! What a loop's lock protects: the three levels with their queues, and the registrations.

use super::Priority;
use super::jobs::Job;
use super::lowfds::LowFds;
use super::poll::{PollToken, Polls};
use super::signals::{Delivery, Signals};
use super::timers::{TimerHandle, Timers};
use std::collections::VecDeque;

/// An entry of a run list. Descriptors and timers are named by tokens: an entry whose registration has ended in the
/// meantime is skipped when its turn comes.
pub(super) enum Item {
    Job(Job),
    Timer(TimerHandle),
    Poll(PollToken),
    Signal(Delivery),
}

#[derive(Default)]
pub(super) struct Level {
    /// Jobs not yet looked at.
    pub(super) waiting: VecDeque<Item>,
    pub(super) run: VecDeque<Item>,
}

#[derive(Default)]
pub(super) struct State {
    pub(super) levels: [Level; 3],
    pub(super) timers: Timers,
    pub(super) polls: Polls,
    pub(super) signals: Signals,
    pub(super) low_fds: LowFds,
    /// A job is waiting that need not be held back.
    pub(super) urgent_jobs: bool,
    /// Threads inside the wait (one, unless a loop is run by several).
    pub(super) waiters: u32,
    /// While a job's callback runs: its `hops`.
    pub(super) job_running: Option<u32>,
    pub(super) closed: bool,
}

impl State {
    pub(super) fn level(&mut self, prio: Priority) -> &mut Level {
        let [low, med, high] = &mut self.levels;
        match prio {
            Priority::Low => low,
            Priority::Med => med,
            Priority::High => high,
        }
    }

    pub(super) fn queued(&self) -> usize {
        self.levels.iter().map(|level| level.run.len()).sum()
    }

    /// The highest level with anything on its run list.
    pub(super) fn highest_queued(&self) -> Option<Priority> {
        let [low, med, high] = &self.levels;
        if !high.run.is_empty() {
            Some(Priority::High)
        } else if !med.run.is_empty() {
            Some(Priority::Med)
        } else if !low.run.is_empty() {
            Some(Priority::Low)
        } else {
            None
        }
    }
}
