// SPDX-License-Identifier: LGPL-2.1-or-later
//! Timers: slots named by handles, and a heap of those not yet due.

use super::Priority;
use super::core::Loop;
use super::heap::{Entry, Heap};
use super::state::{Item, State};
use super::task::Task;
use crate::error::{Error, Result};
use crate::sys::clock::monotonic_ns;

/// Names one timer of one loop: the slot in the low 32 bits, above it a check number that differs for each timer. Never
/// 0, top bit never set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TimerHandle(u64);

impl TimerHandle {
    /// A handle from its number, which may be nonsense.
    #[must_use]
    pub const fn from_raw(raw: u64) -> Self {
        Self(raw)
    }

    /// The number that names it in C.
    #[must_use]
    pub const fn raw(self) -> u64 {
        self.0
    }

    const fn new(check: u32, slot: u32) -> Self {
        Self(((check as u64) << 32) | slot as u64)
    }

    const fn slot(self) -> u32 {
        self.0 as u32
    }

    const fn check(self) -> u32 {
        (self.0 >> 32) as u32
    }
}

/// Armed while it has an entry in the heap, then on a run list.
struct Slot {
    check: u32,
    prio: Priority,
    due: u64,
    task: Task,
}

/// All timers of a loop.
#[derive(Default)]
pub(super) struct Timers {
    slots: Vec<Option<Slot>>,
    free: Vec<u32>,
    heap: Heap,
    seq: u32,
    last_check: u32,
}

/// The highest slot number plus one; the sign bit of the lower half of a handle is never set.
const MAX_SLOTS: usize = 1 << 31;

impl Timers {
    /// A free slot and a check that no recent timer had.
    fn reserve(&mut self) -> Result<TimerHandle> {
        self.last_check = match self.last_check {
            0 => (monotonic_ns() as u32 >> 1) | 1, // so that handles of different loops differ
            last if last >= i32::MAX as u32 => 1,
            last => last + 1,
        };
        let slot = match self.free.pop() {
            Some(slot) => slot,
            None if self.slots.len() >= MAX_SLOTS => return Err(Error::NoMemory),
            None => {
                self.slots.push(None);
                (self.slots.len() - 1) as u32
            }
        };
        Ok(TimerHandle::new(self.last_check, slot))
    }

    fn arm(&mut self, handle: TimerHandle, prio: Priority, due: u64, task: Task) {
        let slot = handle.slot();
        if let Some(place) = self.slots.get_mut(slot as usize) {
            *place = Some(Slot { check: handle.check(), prio, due, task });
        }
        self.seq = self.seq.wrapping_add(1);
        self.heap.push(Entry::new(due, self.seq, slot));
    }

    fn get(&self, handle: TimerHandle) -> Option<&Slot> {
        let slot = self.slots.get(handle.slot() as usize)?.as_ref()?;
        (slot.check == handle.check()).then_some(slot)
    }

    /// Ends the timer; its closure is for the caller to run or drop.
    pub(super) fn take(&mut self, handle: TimerHandle) -> Option<Task> {
        self.get(handle)?;
        let gone = self.slots.get_mut(handle.slot() as usize)?.take()?;
        self.heap.remove(handle.slot());
        self.free.push(handle.slot());
        Some(gone.task)
    }

    /// When the first armed timer is due.
    pub(super) fn next_due(&self) -> Option<u64> {
        self.heap.first().map(Entry::due)
    }

    /// The armed timer that is due first, if that is before `now`; it counts as expired from here on.
    fn expire(&mut self, now: u64) -> Option<(Priority, TimerHandle)> {
        let slot = self.heap.first().filter(|entry| entry.due() < now)?.slot();
        self.heap.remove(slot);
        let timer = self.slots.get(slot as usize)?.as_ref()?;
        Some((timer.prio, TimerHandle::new(timer.check, slot)))
    }

    #[cfg(test)]
    pub(super) fn slots(&self) -> usize {
        self.slots.len()
    }

    /// Ends all timers; the closures are for the caller to drop.
    pub(super) fn clear(&mut self) -> Vec<Task> {
        self.heap.clear();
        self.free = Vec::new();
        std::mem::take(&mut self.slots).into_iter().flatten().map(|slot| slot.task).collect()
    }
}

impl State {
    /// Moves the timers that are due to the run lists, earliest first: whether there were any, and nanoseconds until the next one.
    #[inline(never)]
    pub(super) fn collect_due(&mut self) -> (bool, Option<u64>) {
        let now = monotonic_ns();
        let mut moved = false;
        while let Some((prio, handle)) = self.timers.expire(now) {
            self.level(prio).run.push_back(Item::Timer(handle));
            moved = true;
        }
        // A timer is due when its time has passed, not when it is reached.
        (moved, self.timers.next_due().map(|due| due.saturating_sub(now).saturating_add(1)))
    }
}

impl Loop {
    /// Calls `callback` once, not before `nanos` nanoseconds from now have passed. The sum with the clock wraps around:
    /// `u64::MAX` is already due.
    ///
    /// # Errors
    /// [`Error::Invalid`] after [`close`](Loop::close), [`Error::NoMemory`] with 2^31 timers.
    pub fn timer_add(
        &self,
        prio: Priority,
        nanos: u64,
        callback: impl FnOnce() + Send + 'static,
    ) -> Result<TimerHandle> {
        self.timer_add_with(prio, nanos, Task::new(callback), |_| ())
    }

    /// Like [`timer_add`](Loop::timer_add), and `publish` gets the handle before the timer can expire in another thread.
    /// It runs under the loop's lock and must not call the loop.
    ///
    /// # Errors
    /// As `timer_add`.
    pub fn timer_add_with(
        &self,
        prio: Priority,
        nanos: u64,
        task: Task,
        publish: impl FnOnce(TimerHandle),
    ) -> Result<TimerHandle> {
        let due = monotonic_ns().wrapping_add(nanos);
        let mut state = self.lock();
        if state.closed {
            return Err(Error::Invalid);
        }
        let handle = state.timers.reserve()?;
        publish(handle);
        let earlier = state.timers.next_due().is_none_or(|first| due < first);
        state.timers.arm(handle, prio, due, task);
        if earlier {
            self.wake_waiter(&state);
        }
        Ok(handle)
    }

    /// Ends a timer that has not started its callback; the closure is dropped before the return.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a handle of no such timer, `ERANGE` for one whose low half is 2^31 or more.
    pub fn timer_del(&self, handle: TimerHandle) -> Result<()> {
        let gone = self.lock().timers.take(handle);
        match gone {
            Some(_dropped_unlocked) => Ok(()),
            None if handle.slot() > i32::MAX as u32 => Err(Error::Os(libc::ERANGE)),
            None => Err(Error::Invalid),
        }
    }

    /// True until the timer has expired.
    #[must_use]
    pub fn timer_is_running(&self, handle: TimerHandle) -> bool {
        self.timer_expire_time(handle).is_some()
    }

    /// When the timer expires, on the clock of [`monotonic_ns`]; None once it has.
    #[must_use]
    pub fn timer_expire_time(&self, handle: TimerHandle) -> Option<u64> {
        let state = self.lock();
        let timers = &state.timers;
        timers.get(handle).filter(|_| timers.heap.contains(handle.slot())).map(|slot| slot.due)
    }

    /// Nanoseconds until the timer expires; 0 when it is due, None once the loop has noticed.
    #[must_use]
    pub fn timer_remaining(&self, handle: TimerHandle) -> Option<u64> {
        self.timer_expire_time(handle).map(|due| due.saturating_sub(monotonic_ns()))
    }
}
