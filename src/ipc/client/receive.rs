// SPDX-License-Identifier: LGPL-2.1-or-later
//! Responses and events.

use super::{Client, GONE, Links, Spin, lock_responses_until, lock_until};
use crate::ipc::dgram::Channel;
use crate::ipc::spin::Peer;
use crate::rb::{Chunk, Consumer};
use crate::sync::Mutex;
use crate::sys::fd::{Deadline, poll_one, poll_or_signal, poll_two};
use crate::sys::socket;
use crate::{Error, Result, limits};
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

/// How long a wait on shared memory goes on before it looks whether the server is still there.
pub(super) const SLICE: Duration = Duration::from_millis(500);
/// How long a count that nothing stands behind is left alone.
const HOLLOW: Duration = Duration::from_millis(5);

impl Client {
    /// Waits for the next response and copies it; returns its size. `ms` < 0 waits for ever, 0 not at all.
    ///
    /// [`Error::TimedOut`] when none came; [`Error::BufferTooSmall`] when it does
    /// not fit, it stays queued then; [`Error::Disconnected`] when the server is gone.
    pub fn recv(&self, buffer: &mut [u8], ms: i32) -> Result<usize> {
        let received = match &self.links {
            Links::Sealed { segment, responses, .. } => self.recv_from_lane(segment, responses, buffer, ms),
            Links::Shm { responses, .. } => self.response_from_ring(responses, buffer, ms),
            Links::Socket { requests, responses, .. } => {
                self.response_from_socket(requests, responses, buffer, ms)
            }
        };
        self.noted(received)
    }

    fn response_from_ring(
        &self,
        responses: &Mutex<(Consumer, Spin)>,
        buffer: &mut [u8],
        ms: i32,
    ) -> Result<usize> {
        let deadline = Deadline::after_ms(ms);
        let mut guard = lock_responses_until(responses, deadline)?;
        self.in_place.response.ensure_free()?;
        let (ring, spin) = &mut *guard;
        self.recv_from_ring(ring, spin, buffer, deadline)
    }

    #[inline(never)]
    fn response_from_socket(
        &self,
        channel: &Channel,
        responses: &Mutex<Spin>,
        buffer: &mut [u8],
        ms: i32,
    ) -> Result<usize> {
        let deadline = Deadline::after_ms(ms);
        let mut spin = lock_responses_until(responses, deadline)?;
        self.in_place.response.ensure_free()?;
        self.recv_from_socket(channel, &mut spin, buffer, deadline)
    }

    pub(super) fn recv_from_ring(
        &self,
        ring: &mut Consumer,
        spin: &mut Spin,
        buffer: &mut [u8],
        deadline: Deadline,
    ) -> Result<usize> {
        loop {
            if let Some(n) = take(ring, buffer)? {
                return Ok(n);
            }
            if deadline.passed() {
                return Err(self.timed_out());
            }
            self.catch_up_bells();
            let files = ring.files();
            if files.queued() > 0 {
                if let Some(n) = take(ring, buffer)? {
                    return Ok(n);
                }
                // A count without a message would end every wait at once: looked at again after a while only.
                poll_one(self.stream.as_fd(), 0, Some(deadline.slice(HOLLOW)))?;
                if self.server_is_gone() {
                    return take(ring, buffer)?.ok_or(Error::Disconnected);
                }
                continue;
            }
            if spin.wait_for(Peer::Unknown, || files.queued() > 0) {
                continue;
            }
            if !ring.wait(deadline.slice(SLICE))? && self.server_is_gone() {
                // A last answer may have come before the end.
                return take(ring, buffer)?.ok_or(Error::Disconnected);
            }
        }
    }

    /// What a wait that ended without anything reports.
    pub(super) fn timed_out(&self) -> Error {
        if self.is_connected() { Error::TimedOut } else { Error::Disconnected }
    }

    /// Sends the parts and waits for a response, as [`Client::send`] and [`Client::recv`].
    pub fn send_recv(&self, parts: &[&[u8]], buffer: &mut [u8], ms: i32) -> Result<usize> {
        self.send(parts)?;
        self.recv(buffer, ms)
    }

    /// Waits for the next event and copies it; returns its size. `ms` < 0 waits for ever, 0 not at all.
    ///
    /// [`Error::Busy`] when none came, or when a signal handler ran meanwhile; otherwise as [`Client::recv`].
    pub fn recv_event(&self, buffer: &mut [u8], ms: i32) -> Result<usize> {
        let deadline = Deadline::after_ms(ms);
        let slot = &self.in_place.event;
        let received = match &self.links {
            Links::Sealed { events, .. } => lock_until(events, deadline)
                .and_then(|mut lane| self.event_from_lane(&mut lane, buffer, deadline)),
            Links::Shm { events, .. } => lock_until(events, deadline)
                .and_then(|ring| slot.ensure_free().map(|()| ring))
                .and_then(|mut ring| self.event_from_ring(&mut ring, buffer, deadline, socket::recv)),
            Links::Socket { events_channel, events, .. } => lock_until(events, deadline)
                .and_then(|spin| slot.ensure_free().map(|()| spin))
                .and_then(|mut spin| self.recv_from_socket(events_channel, &mut spin, buffer, deadline)),
        };
        self.noted(received.map_err(|e| if e == Error::TimedOut { Error::Busy } else { e }))
    }

    /// One event and the byte that announced it. The byte is waited for, so that the descriptor is readable exactly as
    /// long as an event is queued. `ring_off` takes the byte, or looks at it if it shall stay for now.
    pub(super) fn event_from_ring(
        &self,
        ring: &mut Consumer,
        buffer: &mut [u8],
        deadline: Deadline,
        ring_off: fn(BorrowedFd<'_>, &mut [u8]) -> Result<usize>,
    ) -> Result<usize> {
        let stream = self.stream.as_fd();
        let mut readable = false;
        let mut strays = 0_u32;
        loop {
            if let Some(chunk) = next_fitting(ring, buffer.len())? {
                match ring_off(stream, &mut [0]) {
                    Err(Error::Busy) => ring.put_back(chunk)?,
                    // Also when the stream has ended: the event came before that.
                    _ => return copy_out(ring, chunk, buffer),
                }
            } else if readable {
                // A byte without an event, since an event is published before its byte is sent; or the end.
                if !matches!(socket::recv(stream, &mut [0]), Ok(1..) | Err(Error::Busy)) {
                    return Err(Error::Disconnected);
                }
                strays = strays.saturating_add(1);
                if strays > limits::STRAY_BYTES && deadline.passed() {
                    return Err(Error::Busy);
                }
            }
            readable = self.wait_for_event(deadline)?;
            if !readable && deadline.passed() {
                return Err(Error::Busy);
            }
        }
    }

    /// Whether the stream became readable in time, or for a while. A signal handler that ran meanwhile ends the wait for an event, so
    /// that it can ask the program to do something else: [`Error::Busy`], as by the C library.
    ///
    /// Bytes that the server has not got yet go out meanwhile: what is waited for may be the answer to them.
    pub(super) fn wait_for_event(&self, deadline: Deadline) -> Result<bool> {
        let (for_room, wait) = match self.catch_up_bells() {
            Some(false) => (0, deadline.left()),
            Some(true) => (libc::POLLOUT, deadline.left()),
            None => (0, Some(deadline.slice(SLICE))),
        };
        match poll_or_signal(self.stream.as_fd(), libc::POLLIN | for_room, wait) {
            Err(Error::Os(libc::EINTR)) => Err(Error::Busy),
            polled => Ok(polled? & !libc::POLLOUT != 0),
        }
    }

    fn recv_from_socket(
        &self,
        channel: &Channel,
        spin: &mut Spin,
        buffer: &mut [u8],
        deadline: Deadline,
    ) -> Result<usize> {
        // The count of datagrams saves an attempt in vain, no more: the socket knows better.
        let mut look = channel.incoming() > 0 || deadline.passed();
        if !look {
            look = spin.wait_for(Peer::Unknown, || channel.incoming() > 0);
        }
        loop {
            if look {
                match self.next_datagram(channel, buffer) {
                    Err(Error::Busy) => {}
                    result => return result,
                }
                if deadline.passed() {
                    return Err(self.timed_out());
                }
            }
            self.wait_for_datagram(channel, deadline)?;
            look = true;
        }
    }

    pub(super) fn wait_for_datagram(&self, channel: &Channel, deadline: Deadline) -> Result<()> {
        let both = poll_two((channel.fd(), libc::POLLIN), (self.stream.as_fd(), 0), deadline.left());
        let (data, stream) = match both {
            Err(Error::Os(libc::EINTR)) if self.is_for_events(channel) => return Err(Error::Busy),
            Err(Error::Os(libc::EINTR)) => return Ok(()),
            polled => polled?,
        };
        if data & libc::POLLIN == 0 && (data | stream) & GONE != 0 {
            return Err(Error::Disconnected);
        }
        Ok(())
    }

    fn is_for_events(&self, channel: &Channel) -> bool {
        matches!(&self.links, Links::Socket { events_channel, .. } if std::ptr::eq(events_channel, channel))
    }

    fn next_datagram(&self, channel: &Channel, buffer: &mut [u8]) -> Result<usize> {
        let room = self.max_msg_size as usize;
        // Whoever has less room than a message may need looks first: what does not fit stays in the socket, which stays readable.
        // No other thread takes it meanwhile: that takes the lock that is held here.
        if buffer.len() < room {
            let len = socket::peek(channel.fd(), &mut [0])?;
            if (buffer.len() + 1..=room).contains(&len) {
                return Err(Error::BufferTooSmall);
            }
        }
        match channel.recv(buffer)? {
            n if n <= buffer.len() => Ok(n),
            // A forked copy of us has taken the one that fitted.
            n if n <= room => Err(Error::BufferTooSmall),
            _ => Err(Error::Corrupt),
        }
    }
}

/// Takes the next message out of a ring, if there is one.
fn take(ring: &mut Consumer, buffer: &mut [u8]) -> Result<Option<usize>> {
    match next_fitting(ring, buffer.len())? {
        Some(chunk) => copy_out(ring, chunk, buffer).map(Some),
        None => Ok(None),
    }
}

/// The next message, unless it is larger than `room`: then it stays queued.
fn next_fitting(ring: &mut Consumer, room: usize) -> Result<Option<Chunk>> {
    match ring.peek()? {
        Some(chunk) if chunk.len() > room => {
            ring.put_back(chunk)?;
            Err(Error::BufferTooSmall)
        }
        next => Ok(next),
    }
}

fn copy_out(ring: &mut Consumer, chunk: Chunk, buffer: &mut [u8]) -> Result<usize> {
    let len = chunk.len();
    ring.copy(&chunk, 0, &mut buffer[..len])?;
    ring.reclaim(chunk)?;
    Ok(len)
}
