// SPDX-License-Identifier: LGPL-2.1-or-later
//! Tells the application when the loop's registrations come close to the limit on open descriptors, and when that is over.

use super::core::Loop;
use super::state::State;
use crate::sys::rlimit;
use std::sync::Arc;

/// Gets (not enough, registrations still available).
pub type LowFdsFn = Arc<dyn Fn(bool, u32) + Send + Sync>;

/// Descriptors that are left to the rest of the program.
const RESERVE: u64 = 50;
/// Not enough when this many or fewer are available ...
const LOW: u32 = 1;
/// ... and enough again when more than this many are.
const ENOUGH: u32 = 2;

#[derive(Default)]
pub(super) struct LowFds {
    callback: Option<LowFdsFn>,
    low: bool,
}

impl State {
    /// Whether there is something to tell.
    pub(super) fn low_fds_changed(&self) -> bool {
        let few = if self.low_fds.low { ENOUGH } else { LOW };
        (self.registrations_left() <= few.into()) != self.low_fds.low
    }

    /// The callback and its arguments, if the state has just changed. The state follows without a callback, too.
    pub(super) fn low_fds_change(&mut self) -> Option<(LowFdsFn, bool, u32)> {
        if !self.low_fds_changed() {
            return None;
        }
        let low = !self.low_fds.low;
        self.low_fds.low = low;
        let available = u32::try_from(self.registrations_left()).unwrap_or(u32::MAX);
        self.low_fds.callback.as_ref().map(|callback| (Arc::clone(callback), low, available))
    }

    /// What the limit leaves for more descriptors; the one for waking up counts as well.
    fn registrations_left(&self) -> u64 {
        rlimit::usable_files(RESERVE).saturating_sub(self.polls.len() as u64 + 1)
    }

    pub(super) fn low_fds_clear(&mut self) -> Option<LowFdsFn> {
        self.low_fds.callback.take()
    }
}

impl Loop {
    /// Sets or clears the callback. It is called from the running loop, before it waits, once per change.
    pub fn low_fds_event_set(&self, callback: Option<LowFdsFn>) {
        let mut state = self.lock();
        let old = std::mem::replace(&mut state.low_fds.callback, callback);
        drop(state);
        drop(old);
    }
}
