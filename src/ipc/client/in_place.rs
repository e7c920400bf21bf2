// SPDX-License-Identifier: LGPL-2.1-or-later
//! Requests written in place and many at once. See [`crate::ipc::in_place`] for the rules.

use super::send::{flush_bells, ring_bells};
use super::{Client, Links};
use crate::ipc::in_place::{Draft, Held, NotSent, Slot, Workshop};
use crate::shm::Trusted;
use crate::{Error, Result};
use std::fmt;
use std::os::fd::AsFd;
use std::ptr::NonNull;

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

/// Room for one request. Dropping it before [`Reserved::commit`] gives the room back.
#[must_use]
pub struct Reserved<'a> {
    client: &'a Client,
    draft: Option<Draft>,
}

impl Reserved<'_> {
    /// Bytes that may be filled; 0 once it is committed.
    #[must_use]
    pub fn len(&self) -> usize {
        self.draft.as_ref().map_or(0, Draft::len)
    }

    /// Whether nothing can be filled.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Copies `data` to `offset` within the request. [`Error::Invalid`] when it does not all fit, and after the commit.
    pub fn fill(&mut self, offset: usize, data: &[u8]) -> Result<()> {
        self.draft.as_mut().ok_or(Error::Invalid)?.fill(offset, data)
    }

    /// Sends the first `len` bytes, which have to begin with a request header. Errors as from [`Client::send`]; after
    /// [`Error::Busy`] and [`Error::Invalid`] (for more than was reserved) the request is still there.
    pub fn commit(&mut self, len: usize) -> Result<usize> {
        let draft = self.draft.take().ok_or(Error::Invalid)?;
        self.client.commit_draft(draft, len).map_err(|(e, draft)| {
            self.draft = draft;
            e
        })
    }

    /// Leaves the request open for [`Client::commit_reserved`] and [`Client::cancel_reserved`], for callers that cannot
    /// keep this guard. The address is a multiple of 8, may be written until then and while the client lives, and is
    /// None after the commit.
    pub fn detach(mut self) -> Option<NonNull<u8>> {
        let mut draft = self.draft.take()?;
        let address = draft.address();
        self.client.in_place.request.leave(draft);
        Some(address)
    }
}

impl Drop for Reserved<'_> {
    fn drop(&mut self) {
        if let Some(draft) = self.draft.take() {
            self.client.drop_draft(draft);
        }
    }
}

impl fmt::Debug for Reserved<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reserved").field("len", &self.len()).finish_non_exhaustive()
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
        Ok(Reserved { client: self, draft: Some(draft) })
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
                slot.open(|| lane.reserve(len).map(Draft::Sealed))
            }
            Links::Shm { rings, requests, .. } => {
                if !rings.server_holds() {
                    return Err(Error::Disconnected);
                }
                let mut guard = requests.lock();
                let (ring, bells) = &mut *guard;
                if bells.any() && !flush_bells(bells, self.stream.as_fd())? {
                    return Err(Error::Busy);
                }
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

    fn commit_draft(&self, draft: Draft, len: usize) -> std::result::Result<usize, NotSent> {
        if len > draft.len() {
            return Err((Error::Invalid, Some(draft)));
        }
        let InPlace { request: slot, workshop, .. } = &self.in_place;
        let connected = workshop.ensure_own().and_then(|()| self.ensure_connected());
        if let Err(e) = connected {
            self.drop_draft(draft);
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

    fn drop_draft(&self, draft: Draft) {
        self.in_place.workshop.discard(draft);
        self.in_place.request.close();
    }

    /// Sends what [`Reserved::detach`] left, as [`Reserved::commit`]. [`Error::Invalid`] when there is nothing.
    pub fn commit_reserved(&self, len: usize) -> Result<usize> {
        let draft = self.in_place.request.resume().ok_or(Error::Invalid)?;
        self.commit_draft(draft, len).map_err(|(e, draft)| {
            if let Some(draft) = draft {
                self.in_place.request.leave(draft);
            }
            e
        })
    }

    /// Gives back the room that [`Reserved::detach`] left; nothing happens when there is none.
    pub fn cancel_reserved(&self) {
        if let Some(draft) = self.in_place.request.resume() {
            self.drop_draft(draft);
        }
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
                let (count, bell) = lane.send_many(messages, stream)?;
                self.told(&mut lane, bell).map(|()| count)
            }
            Links::Shm { rings, requests, .. } => {
                if !rings.server_holds() {
                    return Err(Error::Disconnected);
                }
                let mut guard = requests.lock();
                self.in_place.request.ensure_free()?;
                let (ring, bells) = &mut *guard;
                if bells.any() && !flush_bells(bells, stream)? {
                    return Err(Error::Busy);
                }
                let count = as_many_as_fit(messages, |message| ring.send(&[message]).map(drop))?;
                ring_bells(bells, count, stream).map(|()| count)
            }
            Links::Socket { .. } => {
                as_many_as_fit(messages, |message| self.send_now(&[message], false).map(drop))
            }
        }
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
