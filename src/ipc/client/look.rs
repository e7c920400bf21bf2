// SPDX-License-Identifier: LGPL-2.1-or-later
//! Responses and events that are looked at before they are let go.
//!
//! | transport | where the message is | what waits for its release |
//! |---|---|---|
//! | sealed memory | in its lane if the server is vouched for, otherwise copied | its room in the lane; the announcement |
//! | rings | copied | the byte that announced an event |
//! | sockets | copied | its datagram |
//!
//! So the event descriptor stays readable until the last event is released.

use super::lanes::LATE_BYTE;
use super::receive::SLICE;
use super::{Client, Links, lock_responses_until, lock_until};
use crate::ipc::dgram::Channel;
use crate::ipc::in_place::{Held, Memory, Rest, Slot};
use crate::ipc::sealed::{Listener, Record, Segment};
use crate::sync::Mutex;
use crate::sys::fd::{Deadline, poll_one};
use crate::sys::socket;
use crate::{Error, Result};
use std::fmt;
use std::ops::Deref;
use std::os::fd::AsFd;
use std::ptr::NonNull;

/// A response or an event that stays queued while this lives.
#[must_use]
pub struct Peeked<'a> {
    client: &'a Client,
    kind: Kind,
    held: Option<Held>,
}

#[derive(Clone, Copy, Debug)]
enum Kind {
    Response,
    Event,
}

impl Peeked<'_> {
    /// Leaves the message open for [`Client::release_response`] or [`Client::release_event`], for callers that cannot keep
    /// this guard. The bytes are at the address, a multiple of 8, until then and while the client lives.
    pub fn detach(mut self) -> Option<(NonNull<u8>, usize)> {
        let held = self.held.take()?;
        let place = held.place();
        self.client.slot(self.kind).leave(held);
        Some(place)
    }
}

impl Deref for Peeked<'_> {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        self.held.as_ref().map_or(&[], Held::bytes)
    }
}

impl Drop for Peeked<'_> {
    fn drop(&mut self) {
        if let Some(held) = self.held.take() {
            self.client.let_go(self.kind, held);
        }
    }
}

impl fmt::Debug for Peeked<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Peeked").field("kind", &self.kind).field("len", &self.len()).finish_non_exhaustive()
    }
}

impl Client {
    fn slot(&self, kind: Kind) -> &Slot<Held> {
        match kind {
            Kind::Response => &self.in_place.response,
            Kind::Event => &self.in_place.event,
        }
    }

    /// Waits for the next response and lends it; it is taken when the result is dropped. While it is open, receiving a
    /// response gives [`Error::Busy`], and looking at another one [`Error::InUse`]. Otherwise as [`Client::recv`].
    pub fn peek_response(&self, ms: i32) -> Result<Peeked<'_>> {
        self.in_place.workshop.ensure_own()?;
        let deadline = Deadline::after_ms(ms);
        let slot = &self.in_place.response;
        let held = match &self.links {
            Links::Sealed { segment, responses, .. } => {
                self.response_in_lane(segment, responses, ms != 0, deadline)
            }
            Links::Shm { responses, .. } => {
                lock_responses_until(responses, deadline).and_then(|mut guard| {
                    let (ring, spin) = &mut *guard;
                    let most = ring.most();
                    slot.open(|| {
                        let receive = |room: &mut [u8]| self.recv_from_ring(ring, spin, room, deadline);
                        self.copied(most, Rest::Nothing, receive)
                    })
                })
            }
            Links::Socket { requests, responses, .. } => lock_responses_until(responses, deadline)
                .and_then(|_turn| slot.open(|| self.look_at_datagram(requests, deadline))),
        };
        let held = self.noted(held)?;
        Ok(Peeked { client: self, kind: Kind::Response, held: Some(held) })
    }

    /// Waits for the next event and lends it; it is taken, and the event descriptor may become quiet, when the result is
    /// dropped. [`Error::Busy`] as from [`Client::recv_event`]; otherwise as [`Client::peek_response`].
    pub fn peek_event(&self, ms: i32) -> Result<Peeked<'_>> {
        self.in_place.workshop.ensure_own()?;
        let deadline = Deadline::after_ms(ms);
        let slot = &self.in_place.event;
        let held = match &self.links {
            Links::Sealed { events, .. } => lock_until(events, deadline)
                .and_then(|mut lane| slot.open(|| self.event_in_lane(&mut lane, deadline))),
            Links::Shm { events, .. } => lock_until(events, deadline).and_then(|mut ring| {
                slot.open(|| {
                    let (most, look) = (ring.most(), socket::peek);
                    self.copied(most, Rest::Doorbell, |room| {
                        self.event_from_ring(&mut ring, room, deadline, look)
                    })
                })
            }),
            Links::Socket { events_channel, events, .. } => lock_until(events, deadline)
                .and_then(|_turn| slot.open(|| self.look_at_datagram(events_channel, deadline))),
        };
        let held = held.map_err(|e| if e == Error::TimedOut { Error::Busy } else { e });
        let held = self.noted(held)?;
        Ok(Peeked { client: self, kind: Kind::Event, held: Some(held) })
    }

    /// A message in private memory of up to `most` bytes, put there by `receive`.
    fn copied(
        &self,
        most: usize,
        rest: Rest,
        receive: impl FnOnce(&mut [u8]) -> Result<usize>,
    ) -> Result<Held> {
        let buffers = &self.in_place.workshop.buffers;
        let mut buffer = buffers.take(most)?;
        match receive(buffer.bytes(most)) {
            Ok(len) => Ok(Held { memory: Memory::Private(buffer, len), rest }),
            Err(e) => {
                buffers.put(buffer);
                Err(e)
            }
        }
    }

    /// A record that was peeked, where it is or copied.
    fn held(&self, lane: &mut Listener, record: Record) -> Result<Held> {
        if let Some(trusted) = &self.in_place.trusted {
            let memory = Memory::Lent(lane.lend(&record, trusted), lane.segment().clone());
            return Ok(Held { memory, rest: Rest::Record(record) });
        }
        let len = record.len();
        let copied = self.in_place.workshop.buffers.take(len).and_then(|mut buffer| {
            lane.copy(&record, buffer.bytes(len))?;
            Ok(buffer)
        });
        match copied {
            Ok(buffer) => Ok(Held { memory: Memory::Private(buffer, len), rest: Rest::Record(record) }),
            Err(e) => {
                lane.put_back(record);
                Err(e)
            }
        }
    }

    fn response_in_lane(
        &self,
        segment: &Segment,
        responses: &Mutex<Listener>,
        wait: bool,
        deadline: Deadline,
    ) -> Result<Held> {
        let mut lane = lock_responses_until(responses, deadline)?;
        self.in_place.response.open(|| {
            if wait && !lane.ready() {
                lane.linger();
            }
            loop {
                // A last answer may have come before the end: the end is looked for first.
                let closed = segment.is_closed();
                if let Some(record) = lane.peek_alone()? {
                    return self.held(&mut lane, record);
                }
                if closed {
                    return Err(Error::Disconnected);
                }
                if deadline.passed() {
                    return Err(self.timed_out());
                }
                self.catch_up_bells();
                lane.sleep(deadline.slice(SLICE))?;
                if !lane.ready() && self.server_is_gone() {
                    let record = lane.peek_alone()?.ok_or(Error::Disconnected)?;
                    return self.held(&mut lane, record);
                }
            }
        })
    }

    /// An event that was announced, once its announcement has arrived.
    fn event_in_lane(&self, lane: &mut Listener, deadline: Deadline) -> Result<Held> {
        self.next_event(lane, deadline, |lane, announced_just_now| {
            let Some(record) = lane.peek_alone()? else {
                return Ok(None);
            };
            if announced_just_now {
                // The byte is on its way. What is peeked counts as queued, so the stream has to be readable.
                let _ = poll_one(self.stream.as_fd(), libc::POLLIN, Some(LATE_BYTE));
            }
            self.held(lane, record).map(Some)
        })
    }

    /// The next datagram, which is copied and stays in its socket. It is measured first: what a server has agreed on may be far
    /// more than it sends, and than there is memory for.
    fn look_at_datagram(&self, channel: &Channel, deadline: Deadline) -> Result<Held> {
        loop {
            match socket::peek(channel.fd(), &mut [0]) {
                Err(Error::Busy) => {}
                Err(e) => return Err(e),
                Ok(len) if len > self.max_msg_size as usize => {
                    channel.recv(&mut [0])?;
                    return Err(Error::Corrupt);
                }
                Ok(len) => {
                    return self.copied(len, Rest::Datagram, |room| {
                        // Nobody else takes it meanwhile: that takes the lock that is held here.
                        if socket::peek(channel.fd(), room)? == len { Ok(len) } else { Err(Error::Corrupt) }
                    });
                }
            }
            if deadline.passed() {
                return Err(self.timed_out());
            }
            self.wait_for_datagram(channel, deadline)?;
        }
    }

    /// Takes the response that [`Peeked::detach`] left; nothing happens when there is none.
    pub fn release_response(&self) {
        if let Some(held) = self.in_place.response.resume() {
            self.let_go(Kind::Response, held);
        }
    }

    /// Takes the event that [`Peeked::detach`] left; nothing happens when there is none.
    pub fn release_event(&self) {
        if let Some(held) = self.in_place.event.resume() {
            self.let_go(Kind::Event, held);
        }
    }

    /// Takes what was looked at. What goes wrong with the stream here is for the next receive to find.
    fn let_go(&self, kind: Kind, held: Held) {
        let Held { memory, rest } = held;
        if let Memory::Private(buffer, _) = memory {
            self.in_place.workshop.buffers.put(buffer);
        }
        if self.in_place.workshop.is_inherited() {
            return;
        }
        let slot = self.slot(kind);
        match (&self.links, kind, rest) {
            (Links::Sealed { responses, .. }, Kind::Response, Rest::Record(record)) => {
                let mut lane = responses.lock();
                lane.reclaim(record);
                slot.close();
            }
            (Links::Sealed { events, .. }, Kind::Event, Rest::Record(record)) => {
                let mut lane = events.lock();
                lane.reclaim(record);
                self.after_event(&mut lane, || LATE_BYTE);
                slot.close();
            }
            (Links::Shm { events, .. }, _, Rest::Doorbell) => {
                let _lock = events.lock();
                let _ = socket::recv(self.stream.as_fd(), &mut [0]);
                slot.close();
            }
            (Links::Socket { requests, responses, events_channel, events, .. }, kind, Rest::Datagram) => {
                let (channel, inbox) = match kind {
                    Kind::Response => (requests, responses),
                    Kind::Event => (events_channel, events),
                };
                let _lock = inbox.lock();
                let _ = channel.recv(&mut [0]);
                slot.close();
            }
            _ => slot.close(),
        }
    }
}
