// SPDX-License-Identifier: LGPL-2.1-or-later
//! Requests.

use super::{Client, GONE, Links};
use crate::ipc::doorbell::Outstanding;
use crate::ipc::sealed::{Bell, Talker};
use crate::sync::Ordering::Relaxed;
use crate::sys::clock;
use crate::sys::fd::{Deadline, poll_one};
use crate::util::parts::total_len;
use crate::{Error, Result, limits};
use std::os::fd::{AsFd, BorrowedFd};

impl Client {
    /// Queues the parts as one request, which has to begin with a request header. Does not wait for room in the queue. For
    /// room for the byte that announces the request it waits up to three times [`limits::DOORBELL_RETRY`]; only a server that has
    /// stopped makes it wait.
    ///
    /// [`Error::TooBig`] beyond the agreed size; [`Error::Busy`] when the queue is full or the server asked to stop;
    /// [`Error::Disconnected`] when the server is gone.
    pub fn send(&self, parts: &[&[u8]]) -> Result<usize> {
        if total_len(parts)? > self.max_msg_size as usize {
            return Err(Error::TooBig);
        }
        self.ensure_connected()?;
        if self.is_asked_to_stop() {
            return Err(Error::Busy);
        }
        let sent = self.send_now(parts, false);
        self.noted(sent)
    }

    pub(super) fn is_asked_to_stop(&self) -> bool {
        let state = match &self.links {
            Links::Sealed { segment, .. } => segment.flow_control(),
            Links::Shm { rings, .. } => rings.request.user_word(0).map_or(0, crate::shm::SharedWord::observe),
            Links::Socket { requests, .. } => requests.control().flow_control(),
        };
        state != 0 && state <= self.patience.load(Relaxed)
    }

    /// `reserved`: it is the request for which room was reserved; others have to wait for that.
    #[inline]
    pub(super) fn send_now(&self, parts: &[&[u8]], reserved: bool) -> Result<usize> {
        let slot = &self.in_place.request;
        let ensure_turn = || if reserved { Ok(()) } else { slot.ensure_free() };
        match &self.links {
            Links::Sealed { segment, requests, .. } => {
                if segment.is_closed() {
                    return Err(Error::Disconnected);
                }
                let mut lane = requests.lock();
                ensure_turn()?;
                if lane.bells().any() && !flush_bells(lane.bells(), self.stream.as_fd())? {
                    return Err(Error::Busy);
                }
                let sent = lane.send(parts, self.stream.as_fd()).map_err(|e| self.without_room(e))?;
                self.told(&mut lane, sent.bell).map(|()| sent.bytes)
            }
            Links::Shm { rings, requests, .. } => {
                if !rings.server_holds() {
                    return Err(Error::Disconnected);
                }
                let mut guard = requests.lock();
                ensure_turn()?;
                let (ring, bells) = &mut *guard;
                ensure_bell(bells, self.stream.as_fd())?;
                let sent = ring.send(parts)?;
                // The message is on its way whatever happens here: should its byte find no room after all, it is left to a later call.
                if !bells.ring(self.stream.as_fd())? {
                    flush_bells(bells, self.stream.as_fd())?;
                }
                Ok(sent)
            }
            Links::Socket { requests, .. } => {
                if requests.control().is_dead() {
                    return Err(Error::Disconnected);
                }
                ensure_turn()?;
                requests.send(parts)
            }
        }
    }

    /// What is left to do after a request in sealed memory, which is on its way whatever happens here.
    #[inline]
    pub(super) fn told(&self, lane: &mut Talker, bell: Bell) -> Result<()> {
        match bell {
            Bell::NoRoom => flush_bells(lane.bells(), self.stream.as_fd()).map(drop),
            Bell::Rung => Ok(()),
            Bell::Broken => Err(Error::Disconnected),
            Bell::NotNeeded => self.seen_alive(),
        }
    }

    /// A server that is awake takes requests out of memory, and so would one that died awake: now and then the kernel is asked.
    fn seen_alive(&self) -> Result<()> {
        let now = clock::tick();
        if self.seen.swap(now, Relaxed) != now && self.server_is_gone() {
            return Err(Error::Disconnected);
        }
        Ok(())
    }

    /// What a request in sealed memory reports that was not put there: nobody makes room when the server has died awake.
    #[cold]
    pub(super) fn without_room(&self, error: Error) -> Error {
        if error == Error::Busy { self.seen_alive().err().unwrap_or(error) } else { error }
    }

    /// Rings for messages whose bytes found no room when they were sent. Returns whether bytes are still to be sent; None while
    /// another thread sees to that.
    pub(super) fn catch_up_bells(&self) -> Option<bool> {
        match &self.links {
            Links::Sealed { requests, .. } => requests.try_lock().map(|mut lane| self.catch_up(lane.bells())),
            Links::Shm { requests, .. } => requests.try_lock().map(|mut guard| self.catch_up(&mut guard.1)),
            Links::Socket { .. } => Some(false),
        }
    }

    /// Whether it is room that is missing: where sending fails otherwise, no waiting helps.
    fn catch_up(&self, bells: &mut Outstanding) -> bool {
        bells.any() && bells.flush(self.stream.as_fd()) == Ok(false)
    }
}

/// Ready for one more message on a wire whose server may look at nothing but the bytes: there is room for its byte, perhaps
/// after waiting a little. A server that has not even taken the bytes of earlier messages gets no more: [`Error::Busy`].
#[inline]
pub(super) fn ensure_bell(bells: &mut Outstanding, stream: BorrowedFd<'_>) -> Result<()> {
    if bells.any() && !flush_bells(bells, stream)? {
        return Err(Error::Busy);
    }
    if bells.has_room(stream) || wait_for_room(bells, stream)? { Ok(()) } else { Err(Error::Busy) }
}

#[cold]
fn wait_for_room(bells: &mut Outstanding, stream: BorrowedFd<'_>) -> Result<bool> {
    let deadline = Deadline::after(limits::DOORBELL_RETRY);
    while !deadline.passed() && poll_one(stream, libc::POLLOUT, deadline.left())? & GONE == 0 {
        if bells.has_room(stream) {
            return Ok(true);
        }
    }
    Ok(bells.has_room(stream))
}

/// One byte for each message just published. They are on their way whatever happens here: when the socket stays full
/// for too long, the bytes are left to a later call.
pub(super) fn ring_bells(bells: &mut Outstanding, times: usize, stream: BorrowedFd<'_>) -> Result<()> {
    if !bells.ring_times(times, stream)? {
        flush_bells(bells, stream)?;
    }
    Ok(())
}

/// Sends what is outstanding, waiting for room a little; returns whether everything is sent.
#[inline(never)]
pub(super) fn flush_bells(bells: &mut Outstanding, stream: BorrowedFd<'_>) -> Result<bool> {
    let deadline = Deadline::after(limits::DOORBELL_RETRY);
    loop {
        if bells.flush(stream)? {
            return Ok(true);
        }
        if deadline.passed() {
            return Ok(false);
        }
        poll_one(stream, libc::POLLOUT, deadline.left())?;
    }
}
