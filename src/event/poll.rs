// SPDX-License-Identifier: LGPL-2.1-or-later
//! Watched descriptors. A registration is named by slot and generation, not by the descriptor's number: inside its own
//! callback a number can be deleted, closed, opened and added again, and means another registration then.
//!
//! ```text
//! Idle --ready--> Queued --turn--> Running --callback returned--> Idle
//! ```
//! Reports for a queued registration only add bits; those for a running one (in a nested run) are dropped, since the
//! kernel reports the level again.

use super::core::Loop;
use super::state::{Item, State};
use super::{Events, Next, Priority};
use crate::error::{Error, Result};
use crate::log::Level;
use crate::sys::epoll::{Batch, Epoll};
use std::os::fd::RawFd;

/// Gets the descriptor and what happened to it.
pub type PollFn = Box<dyn FnMut(RawFd, Events) -> Next + Send>;

/// The token of the wake-up descriptor; no registration has it, because slots stay below 2^31.
pub(super) const WAKE_TOKEN: u64 = u64::MAX;
const NO_SLOT: u32 = u32::MAX;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct PollToken(u64);

impl PollToken {
    const fn new(generation: u32, slot: u32) -> Self {
        Self(((generation as u64) << 32) | slot as u64)
    }

    const fn slot(self) -> usize {
        (self.0 & 0xffff_ffff) as usize
    }

    const fn generation(self) -> u32 {
        (self.0 >> 32) as u32
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Free,
    Idle,
    Queued,
    Running,
}

struct Slot {
    generation: u32,
    fd: RawFd,
    stage: Stage,
    prio: Priority,
    wanted: Events,
    ready: Events,
    /// Taken out while it runs.
    callback: Option<PollFn>,
}

/// All descriptors of a loop.
#[derive(Default)]
pub(super) struct Polls {
    slots: Vec<Slot>,
    free: Vec<u32>,
    /// Descriptor number to slot.
    by_fd: Vec<u32>,
    live: usize,
    /// Consecutive waits that reported a registration which is gone.
    strays: u32,
}

const fn kernel_bits(events: Events) -> u32 {
    let bits = events.bits() & 0x1f;
    let error = if events.intersects(Events::NVAL) { Events::ERR.bits() } else { 0 };
    (bits | error) as u32
}

impl Polls {
    /// Live registrations.
    pub(super) const fn len(&self) -> usize {
        self.live
    }

    fn slot_of(&self, fd: RawFd) -> Option<u32> {
        let slot = *self.by_fd.get(usize::try_from(fd).ok()?)?;
        (slot != NO_SLOT).then_some(slot)
    }

    fn by_token(&mut self, token: PollToken) -> Option<&mut Slot> {
        let slot = self.slots.get_mut(token.slot())?;
        (slot.generation == token.generation() && slot.stage != Stage::Free).then_some(slot)
    }

    /// Frees a slot; the closure is for the caller to drop (None while it runs).
    fn release(&mut self, index: u32) -> Option<PollFn> {
        let slot = self.slots.get_mut(index as usize).filter(|slot| slot.stage != Stage::Free)?;
        slot.stage = Stage::Free;
        let (fd, callback) = (slot.fd, slot.callback.take());
        if let Some(at) = usize::try_from(fd).ok().and_then(|fd| self.by_fd.get_mut(fd)) {
            *at = NO_SLOT;
        }
        self.free.push(index);
        self.live -= 1;
        callback
    }

    /// On success the closure of an older registration of the same number, which the kernel forgot when it was closed.
    fn add(
        &mut self,
        epoll: &Epoll,
        prio: Priority,
        fd: RawFd,
        wanted: Events,
        callback: &mut Option<PollFn>,
    ) -> Result<Option<PollFn>> {
        let number = usize::try_from(fd).map_err(|_| Error::Os(libc::EBADF))?;
        let index = match self.free.last() {
            Some(&index) => index,
            None => u32::try_from(self.slots.len()).ok().filter(|&i| i < 1 << 31).ok_or(Error::NoMemory)?,
        };
        let generation = self.slots.get(index as usize).map_or(1, |slot| slot.generation.wrapping_add(1));
        epoll.add(fd, kernel_bits(wanted), PollToken::new(generation, index).0)?;
        let slot = Slot {
            generation,
            fd,
            stage: Stage::Idle,
            prio,
            wanted,
            ready: Events::NONE,
            callback: callback.take(),
        };
        self.free.pop();
        match self.slots.get_mut(index as usize) {
            Some(place) => *place = slot,
            None => self.slots.push(slot),
        }
        let stale = self.slot_of(fd).and_then(|old| self.release(old));
        if number >= self.by_fd.len() {
            self.by_fd.resize(number + 1, NO_SLOT);
        }
        if let Some(at) = self.by_fd.get_mut(number) {
            *at = index;
        }
        self.live += 1;
        Ok(stale)
    }

    /// Marks a registration ready: its level, if it has to be queued there. Err if there is no such registration.
    fn report(&mut self, token: PollToken, ready: Events) -> std::result::Result<Option<Priority>, ()> {
        let slot = self.by_token(token).ok_or(())?;
        match slot.stage {
            Stage::Idle => {
                slot.stage = Stage::Queued;
                slot.ready = ready;
                return Ok(Some(slot.prio));
            }
            Stage::Queued => slot.ready |= ready,
            Stage::Running | Stage::Free => {}
        }
        Ok(None)
    }

    /// Lends the callback for one call; [`finish`](Polls::finish) must follow.
    pub(super) fn start(&mut self, token: PollToken) -> Option<(RawFd, Events, PollFn)> {
        let slot = self.by_token(token).filter(|slot| slot.stage == Stage::Queued)?;
        let callback = slot.callback.take()?;
        slot.stage = Stage::Running;
        Some((slot.fd, slot.ready, callback))
    }

    /// After the call: a closure that is no longer needed, for the caller to drop.
    pub(super) fn finish(
        &mut self,
        epoll: &Epoll,
        token: PollToken,
        callback: PollFn,
        next: Next,
    ) -> Option<(PollFn, Option<PollFn>)> {
        let Some(slot) = self.by_token(token) else {
            return Some((callback, None)); // deleted by itself
        };
        if next == Next::Remove {
            let fd = slot.fd;
            return Some((callback, self.remove(epoll, fd, token)));
        }
        slot.stage = Stage::Idle;
        slot.ready = Events::NONE;
        match slot.callback {
            Some(_) => Some((callback, None)), // replaced by poll_mod meanwhile
            None => {
                slot.callback = Some(callback);
                None
            }
        }
    }

    #[cold]
    fn remove(&mut self, epoll: &Epoll, fd: RawFd, token: PollToken) -> Option<PollFn> {
        // If the callback closed the descriptor, the kernel has forgotten it already. The number cannot belong to
        // another registration of this loop: adding it would have released this one.
        let _ = epoll.delete(fd);
        self.release(token.slot() as u32)
    }

    #[cfg(test)]
    pub(super) fn forget(&mut self, index: u32) -> Option<PollFn> {
        self.release(index)
    }

    /// Puts every registration into a set that was opened anew. Descriptors that cannot be added were closed.
    pub(super) fn add_again(&self, epoll: &Epoll) {
        for (index, slot) in self.slots.iter().enumerate().filter(|(_, slot)| slot.stage != Stage::Free) {
            let token = PollToken::new(slot.generation, index as u32);
            let _ = epoll.add(slot.fd, kernel_bits(slot.wanted), token.0);
        }
    }

    /// Forgets everything; the closures are for the caller to drop.
    pub(super) fn clear(&mut self) -> Vec<PollFn> {
        let live = (0..self.slots.len() as u32).filter_map(|index| self.release(index)).collect();
        self.by_fd = Vec::new();
        live
    }
}

impl State {
    /// Queues what a wait reported. True if the set must be opened anew: it reports, again and again, a descriptor that
    /// was closed while a duplicate of it stayed open, and which cannot be removed by its number.
    pub(super) fn collect_ready(&mut self, batch: &Batch) -> bool {
        let mut stray = false;
        for (bits, token) in batch.iter().filter(|&(_, token)| token != WAKE_TOKEN) {
            let token = PollToken(token);
            match self.polls.report(token, Events::from_bits((bits & 0x1f) as u16)) {
                Ok(Some(prio)) => self.level(prio).run.push_back(Item::Poll(token)),
                Ok(None) => {}
                Err(()) => stray = true,
            }
        }
        self.polls.strays = if stray { self.polls.strays + 1 } else { 0 };
        self.polls.strays > 1 && {
            self.polls.strays = 0;
            true
        }
    }
}

impl Loop {
    /// Watches `fd` (level-triggered) and calls `callback` when one of `events` happened, or an error or hang-up. The
    /// descriptor stays the caller's; delete it here before closing it.
    ///
    /// # Errors
    /// What `epoll_ctl` said: `EEXIST` (watched already), `EPERM` (regular file or directory), `EBADF`, `ENOSPC`,
    /// `ENOMEM`. [`Error::Invalid`] after [`close`](Loop::close).
    pub fn poll_add(
        &self,
        prio: Priority,
        fd: RawFd,
        events: Events,
        callback: impl FnMut(RawFd, Events) -> Next + Send + 'static,
    ) -> Result<()> {
        let mut callback: Option<PollFn> = Some(Box::new(callback));
        let mut state = self.lock();
        let added = if state.closed {
            Err(Error::Invalid)
        } else {
            state.polls.add(&self.epoll, prio, fd, events, &mut callback)
        };
        drop(state); // the log and the closures' destructors are foreign code
        match added {
            Ok(stale) => {
                drop(stale);
                Ok(())
            }
            Err(e) => {
                crate::log!(Level::Error, "cannot watch descriptor {fd}: {e}");
                Err(e)
            }
        }
    }

    /// Replaces priority, events and callback of a watched descriptor. What is queued already goes to the new callback.
    ///
    /// # Errors
    /// `EBADF` if `fd` is not watched; what `epoll_ctl` said, with priority and callback replaced all the same.
    pub fn poll_mod(
        &self,
        prio: Priority,
        fd: RawFd,
        events: Events,
        callback: impl FnMut(RawFd, Events) -> Next + Send + 'static,
    ) -> Result<()> {
        let callback: PollFn = Box::new(callback);
        let mut state = self.lock();
        let index = state.polls.slot_of(fd);
        let Some(slot) = index.and_then(|i| state.polls.slots.get_mut(i as usize)) else {
            drop(state);
            return Err(Error::Os(libc::EBADF));
        };
        slot.prio = prio;
        let old = slot.callback.replace(callback);
        let token = PollToken::new(slot.generation, index.unwrap_or(NO_SLOT));
        let changed = if slot.wanted == events {
            Ok(())
        } else {
            slot.wanted = events;
            self.epoll.modify(fd, kernel_bits(events), token.0)
        };
        drop(state);
        drop(old);
        if let Err(e) = changed {
            crate::log!(Level::Debug, "cannot change what descriptor {fd} is watched for: {e}");
        }
        changed
    }

    /// Stops watching `fd`; what is queued for it is not called any more.
    ///
    /// # Errors
    /// `EBADF` if `fd` is not watched; what `epoll_ctl` said if it was closed before (`EBADF`, `ENOENT`), with the
    /// registration gone all the same.
    pub fn poll_del(&self, fd: RawFd) -> Result<()> {
        let mut state = self.lock();
        let Some(index) = state.polls.slot_of(fd) else {
            return Err(Error::Os(libc::EBADF));
        };
        let old = state.polls.release(index);
        let deleted = self.epoll.delete(fd);
        drop(state);
        drop(old);
        if let Err(e) = deleted {
            crate::log!(Level::Debug, "cannot stop watching descriptor {fd}: {e}");
        }
        deleted
    }
}
