// SPDX-License-Identifier: LGPL-2.1-or-later
//! Requests written in place and many at once. See [`crate::ipc::in_place`] for the rules.

use super::send::{ensure_bell, flush_bells, ring_bells};
use super::{Client, Links};
use crate::ipc::doorbell::AT_ONCE;
use crate::ipc::in_place::{Author, Draft, Held, NotSent, Reserved, Slot, Workshop};
use crate::shm::Trusted;
use crate::{Error, Result};
use std::os::fd::AsFd;

/// What is open on a client's connection.
pub(super) struct InPlace {
    pub request: Slot<Draft>,
    pub response: Slot<Held>,
    pub event: Slot<Held>,
    pub workshop: Workshop,
    /// The server could do to us whatever it likes anyway: its messages are looked at where they are.
    pub trusted: Option<Trusted>,
}

impl InPlace {
    pub fn new(server_uid: u32) -> Self {
        Self {
            request: Slot::default(),
            response: Slot::default(),
            event: Slot::default(),
            workshop: Workshop::default(),
            trusted: Trusted::vouch(server_uid),
        }
    }
}

impl Client {
    /// Whether messages travel in sealed memory.
    #[must_use]
    pub fn is_sealed(&self) -> bool {
        matches!(self.links, Links::Sealed { .. })
    }

    /// Room for a request of up to `len` bytes: in sealed memory where the server will read it, otherwise in private
    /// memory. While it is open, other requests get [`Error::Busy`].
    ///
    /// [`Error::InUse`] when one is open already; otherwise as [`Client::send`].
    pub fn reserve(&self, len: usize) -> Result<Reserved<'_>> {
        if len > self.max_msg_size as usize {
            return Err(Error::TooBig);
        }
        self.in_place.workshop.ensure_own()?;
        self.ensure_connected()?;
        if self.in_place.request.is_taken() {
            return Err(Error::InUse);
        }
        if self.is_asked_to_stop() {
            return Err(Error::Busy);
        }
        let draft = self.noted(self.draft(len))?;
        Ok(Reserved::new(self, draft))
    }

    fn draft(&self, len: usize) -> Result<Draft> {
        let InPlace { request: slot, workshop, .. } = &self.in_place;
        match &self.links {
            Links::Sealed { segment, requests, .. } => {
                if segment.is_closed() {
                    return Err(Error::Disconnected);
                }
                let mut lane = requests.lock();
                if lane.bells().any() && !flush_bells(lane.bells(), self.stream.as_fd())? {
                    return Err(Error::Busy);
                }
                slot.open(|| lane.reserve(len).map(Draft::Sealed).map_err(|e| self.without_room(e)))
            }
            Links::Shm { rings, requests, .. } => {
                if !rings.server_holds() {
                    return Err(Error::Disconnected);
                }
                let mut guard = requests.lock();
                let (ring, bells) = &mut *guard;
                ensure_bell(bells, self.stream.as_fd())?;
                slot.open(|| ring.probe(len).and_then(|()| workshop.draft(len)))
            }
            Links::Socket { requests, .. } => {
                if requests.control().is_dead() {
                    return Err(Error::Disconnected);
                }
                slot.open(|| workshop.draft(len))
            }
        }
    }

    /// Sends what [`Reserved::detach`] left, as [`Reserved::commit`]. [`Error::Invalid`] when there is nothing.
    pub fn commit_reserved(&self, len: usize) -> Result<usize> {
        self.commit_left(len)
    }

    /// Gives back the room that [`Reserved::detach`] left; nothing happens when there is none.
    pub fn cancel_reserved(&self) {
        self.in_place.workshop.cancel(&self.in_place.request);
    }

    /// Queues requests as long as there is room, and tells the server once. Returns how many were queued, at least one;
    /// otherwise the error of the first one as from [`Client::send`], and [`Error::Invalid`] for none at all.
    pub fn send_many(&self, messages: &[&[u8]]) -> Result<usize> {
        let most = self.max_msg_size as usize;
        let fitting = messages.iter().take_while(|message| message.len() <= most).count();
        if fitting == 0 {
            return Err(if messages.is_empty() { Error::Invalid } else { Error::TooBig });
        }
        self.ensure_connected()?;
        if self.is_asked_to_stop() {
            return Err(Error::Busy);
        }
        let sent = self.send_many_now(&messages[..fitting]);
        self.noted(sent)
    }

    fn send_many_now(&self, messages: &[&[u8]]) -> Result<usize> {
        let stream = self.stream.as_fd();
        match &self.links {
            Links::Sealed { segment, requests, .. } => {
                if segment.is_closed() {
                    return Err(Error::Disconnected);
                }
                let mut lane = requests.lock();
                self.in_place.request.ensure_free()?;
                if lane.bells().any() && !flush_bells(lane.bells(), stream)? {
                    return Err(Error::Busy);
                }
                let (count, bell) = lane.send_many(messages, stream).map_err(|e| self.without_room(e))?;
                self.told(&mut lane, bell).map(|()| count)
            }
            Links::Shm { rings, requests, .. } => {
                if !rings.server_holds() {
                    return Err(Error::Disconnected);
                }
                let mut guard = requests.lock();
                self.in_place.request.ensure_free()?;
                let (ring, bells) = &mut *guard;
                ensure_bell(bells, stream)?;
                let mut count = 0;
                for group in messages.chunks(AT_ONCE) {
                    if count > 0 && (bells.any() || !bells.has_room(stream)) {
                        break;
                    }
                    let sent = match as_many_as_fit(group, |message| ring.send(&[message]).map(drop)) {
                        Err(_) if count > 0 => break,
                        sent => sent?,
                    };
                    ring_bells(bells, sent, stream)?;
                    count += sent;
                    if sent < group.len() {
                        break;
                    }
                }
                Ok(count)
            }
            Links::Socket { .. } => {
                as_many_as_fit(messages, |message| self.send_now(&[message], false).map(drop))
            }
        }
    }
}

impl Author for Client {
    fn desk(&self) -> (&Slot<Draft>, &Workshop) {
        (&self.in_place.request, &self.in_place.workshop)
    }

    fn commit_draft(&self, draft: Draft, len: usize) -> std::result::Result<usize, NotSent> {
        if len > draft.len() {
            return Err((Error::Invalid, Some(draft)));
        }
        let InPlace { request: slot, workshop, .. } = &self.in_place;
        let connected = workshop.ensure_own().and_then(|()| self.ensure_connected());
        if let Err(e) = connected {
            workshop.discard(slot, draft);
            return Err((e, None));
        }
        let sent = match (&self.links, draft) {
            (Links::Sealed { requests, .. }, Draft::Sealed(room)) => {
                let mut lane = requests.lock();
                let sent = lane.commit(room, len, self.stream.as_fd());
                slot.close();
                sent.and_then(|sent| self.told(&mut lane, sent.bell).map(|()| sent.bytes))
            }
            (_, Draft::Private(buffer, reserved)) => match self.send_now(&[buffer.read(len)], true) {
                Err(Error::Busy) => return Err((Error::Busy, Some(Draft::Private(buffer, reserved)))),
                sent => {
                    workshop.buffers.put(buffer);
                    slot.close();
                    sent
                }
            },
            (_, Draft::Sealed(_)) => {
                slot.close();
                Err(Error::Invalid)
            }
        };
        self.noted(sent).map_err(|e| (e, None))
    }
}

/// Sends until one fails; the error counts when it is the first one's.
pub(in super::super) fn as_many_as_fit(
    messages: &[&[u8]],
    mut send: impl FnMut(&[u8]) -> Result<()>,
) -> Result<usize> {
    for (count, message) in messages.iter().enumerate() {
        match send(message) {
            Ok(()) => {}
            Err(e) if count == 0 => return Err(e),
            Err(_) => return Ok(count),
        }
    }
    Ok(messages.len())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ipc::tests::{ALL, Running, message};
    use crate::sys::socket;

    /// How many single requests find room while the service looks at nothing.
    fn room(client: &Client) -> usize {
        (0..).take_while(|_| client.send(&[&message(1, 24, 0)]).is_ok()).count()
    }

    #[test]
    fn many_requests_are_queued_only_as_far_as_they_can_be_announced() {
        let running = Running::start("announced", ALL[1]);
        let (counted, client) = (running.connect(), running.connect());
        for client in [&counted, &client] {
            socket::set_send_buffer(client.stream.as_fd(), 1).unwrap(); // the smallest that there is
            let Links::Shm { requests, .. } = &client.links else { unreachable!() };
            requests.lock().1.keep_buffer();
        }
        let held = running.hold();
        let most = room(&counted);
        for _ in 1..most {
            client.send(&[&message(1, 24, 0)]).unwrap();
        }
        let request = message(1, 24, 0);
        let sent = client.send_many(&vec![&request[..]; AT_ONCE + 1]).unwrap();
        assert_eq!(sent, AT_ONCE, "after {most}: one byte more finds no room");
        let Links::Shm { requests, .. } = &client.links else { unreachable!() };
        assert!(!requests.lock().1.any(), "all are announced");
        drop(held);
    }

    #[test]
    fn bytes_that_are_still_owed_go_out_while_an_event_is_waited_for() {
        let running = Running::start("owed", ALL[1]);
        let client = running.connect();
        socket::set_send_buffer(client.stream.as_fd(), 1).unwrap();
        let Links::Shm { requests, .. } = &client.links else { unreachable!() };
        let held = running.hold();
        requests.lock().1.be_wrong();
        while !requests.lock().1.any() {
            client.send(&[&message(1, 24, 0)]).unwrap();
        }
        assert_eq!(client.recv_event(&mut [0; 64], 50), Err(Error::Busy));
        assert!(requests.lock().1.any(), "the service is held and has taken none");
        drop(held);
        for _ in 0..100 {
            assert_eq!(client.recv_event(&mut [0; 64], 100), Err(Error::Busy));
            if !requests.lock().1.any() {
                return;
            }
        }
        panic!("a byte is still owed");
    }
}
