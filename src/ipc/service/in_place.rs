// SPDX-License-Identifier: LGPL-2.1-or-later
//! Events written in place and many at once. See [`crate::ipc::in_place`] for the rules.
//!
//! A client may leave while an event is being written for it. The event's memory stays then until it is committed, which
//! fails, or given back, or the connection's memory goes.

use super::super::client::as_many_as_fit;
use super::super::dgram::Sent;
use super::super::in_place::{Author, Draft, NotSent, Reserved, Slot, Workshop};
use super::super::stats::{count, count_many};
use super::connection::{Connection, Events, LEFT, heard};
use crate::{Error, Result};
use std::os::fd::AsFd;
use std::sync::Arc;

/// What is open on a connection.
#[derive(Default)]
pub(super) struct InPlace {
    pub event: Slot<Draft>,
    workshop: Workshop,
}

/// Room for one event. Dropping it before [`Reserved::commit`] gives the room back.
pub type ReservedEvent<'a> = Reserved<'a, Arc<Connection>>;

impl Connection {
    /// Room for an event of up to `len` bytes: in sealed memory where the client will read it, otherwise in private memory.
    /// While it is open, other events get [`Error::Busy`].
    ///
    /// [`Error::InUse`] when one is open already; otherwise as [`Connection::send_event`].
    pub fn reserve_event(self: &Arc<Self>, len: usize) -> Result<ReservedEvent<'_>> {
        let channels = self.open_channels()?;
        if len > self.max_msg_size as usize {
            return Err(Error::TooBig);
        }
        let InPlace { event: slot, workshop } = &self.in_place;
        workshop.ensure_own()?;
        let draft = match channels.events.lock().as_mut() {
            None => Err(Error::Disconnected),
            Some(Events::Sealed { lane, .. }) => slot.open(|| lane.reserve(len).map(Draft::Sealed)),
            Some(Events::Shm { ring, .. }) => {
                slot.open(|| ring.probe(len).and_then(|()| workshop.draft(len)))
            }
            Some(Events::Socket(_)) => slot.open(|| workshop.draft(len)),
        };
        match draft {
            Ok(draft) => Ok(Reserved::new(self, draft)),
            // Counted, and a broken lane ends the connection, as for an event that was not sent.
            Err(e) => Err(self.finish(Err(e)).err().unwrap_or(e)),
        }
    }

    /// Sends what [`Reserved::detach`] left, as [`Reserved::commit`]. [`Error::Invalid`] when there is nothing.
    pub fn commit_reserved_event(self: &Arc<Self>, len: usize) -> Result<usize> {
        self.commit_left(len)
    }

    /// Gives back the room that [`Reserved::detach`] left; nothing happens when there is none.
    pub fn cancel_reserved_event(&self) {
        self.in_place.workshop.cancel(&self.in_place.event);
    }

    /// Sends events as long as there is room, and tells the client once. Returns how many were sent, at least one;
    /// otherwise the error of the first one as from [`Connection::send_event`], and [`Error::Invalid`] for none at all.
    pub fn send_events(self: &Arc<Self>, messages: &[&[u8]]) -> Result<usize> {
        let channels = self.open_channels()?;
        let most = self.max_msg_size as usize;
        let fitting = messages.iter().take_while(|message| message.len() <= most).count();
        if fitting == 0 {
            return Err(if messages.is_empty() { Error::Invalid } else { Error::TooBig });
        }
        let messages = &messages[..fitting];
        let mut full = false;
        let mut guard = channels.events.lock();
        let sent = match guard.as_mut() {
            None => Err(Error::Disconnected),
            Some(_) if self.in_place.event.is_taken() => Err(Error::Busy),
            Some(Events::Sealed { lane, stream }) => {
                let waited = lane.bells().any();
                lane.send_many(messages, stream.as_fd()).and_then(|(count, bell)| {
                    full = heard(bell)? && !waited;
                    Ok(Sent::Out(count))
                })
            }
            Some(Events::Shm { ring, bells, stream }) => {
                as_many_as_fit(messages, |message| ring.send(&[message]).map(drop)).and_then(|count| {
                    let waited = bells.any();
                    full = !bells.ring_times(count, stream.as_fd()).map_err(|_| LEFT)? && !waited;
                    Ok(Sent::Out(count))
                })
            }
            Some(Events::Socket(outbox)) => {
                let mut kept = false;
                let count = as_many_as_fit(messages, |message| {
                    kept |= matches!(outbox.send(&[message])?, Sent::Kept(_));
                    Ok(())
                });
                count.map(if kept { Sent::Kept } else { Sent::Out })
            }
        };
        if let Ok(Sent::Out(count) | Sent::Kept(count)) = sent {
            count_many(&self.counters.events, count as u64);
        }
        drop(guard);
        if full {
            self.watch_stream();
        }
        self.finish(sent)
    }
}

impl Author for Arc<Connection> {
    fn desk(&self) -> (&Slot<Draft>, &Workshop) {
        (&self.in_place.event, &self.in_place.workshop)
    }

    fn commit_draft(&self, draft: Draft, len: usize) -> std::result::Result<usize, NotSent> {
        if len > draft.len() {
            return Err((Error::Invalid, Some(draft)));
        }
        let (slot, workshop) = self.desk();
        let channels = match workshop.ensure_own().and_then(|()| self.open_channels()) {
            Ok(channels) => channels,
            Err(e) => {
                workshop.discard(slot, draft);
                return Err((e, None));
            }
        };
        let room = match draft {
            Draft::Sealed(room) => room,
            Draft::Private(buffer, reserved) => {
                return match self.put_event(&[buffer.read(len)], true) {
                    Err(Error::Busy) => Err((Error::Busy, Some(Draft::Private(buffer, reserved)))),
                    sent => {
                        workshop.discard(slot, Draft::Private(buffer, reserved));
                        sent.map_err(|e| (e, None))
                    }
                };
            }
        };
        let mut full = false;
        let mut guard = channels.events.lock();
        let sent = match guard.as_mut() {
            Some(Events::Sealed { lane, stream }) => {
                let waited = lane.bells().any();
                lane.commit(room, len, stream.as_fd()).and_then(|sent| {
                    full = heard(sent.bell)? && !waited;
                    Ok(Sent::Out(sent.bytes))
                })
            }
            _ => Err(Error::Disconnected),
        };
        if sent.is_ok() {
            count(&self.counters.events);
        }
        drop(guard);
        slot.close();
        if full {
            self.watch_stream();
        }
        self.finish(sent).map_err(|e| (e, None))
    }
}
