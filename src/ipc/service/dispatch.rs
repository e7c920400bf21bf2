// SPDX-License-Identifier: LGPL-2.1-or-later
//! What happens when a descriptor of a connection is ready.
//!
//! Every dispatch does a bounded amount of work, whatever the client stored or sent, and never waits.

use super::super::dgram::ServerRequests;
use super::super::doorbell::Balance;
use super::super::poll::{Events as PollEvents, Next};
use super::super::sealed::{self, Segment};
use super::buffers::Buffer;
use super::connection::{Channels, Connection, Events, Requests};
use crate::log;
use crate::log::Level;
use crate::rb::{self, Chunk, Consumer, RingFiles};
use crate::sync::Ordering::Relaxed;
use crate::wire::{MSG_DISCONNECT, MessageHead, REQUEST_HEAD_LEN};
use crate::{Error, Result};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;

/// A request as the application gets it: stable, aligned to 8 bytes, beginning with a request header whose size is the
/// length.
pub struct Request<'a> {
    body: Body<'a>,
    len: usize,
}

enum Body<'a> {
    Ring(rb::Lent, &'a RingFiles),
    Sealed(sealed::Lent, &'a Segment),
    Copied(&'a mut [u8]),
}

impl Body<'_> {
    #[inline]
    fn bytes(&self) -> &[u8] {
        match self {
            Body::Ring(lent, files) => lent.bytes(files),
            Body::Sealed(lent, segment) => lent.bytes(segment),
            Body::Copied(bytes) => bytes,
        }
    }
}

impl Request<'_> {
    /// The bytes. In the ring of a client that is root or has our own user, they are the client's to keep still.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.body.bytes()[..self.len]
    }

    /// How many bytes: at least those of a header.
    #[must_use]
    #[inline]
    pub fn size(&self) -> usize {
        self.len
    }

    /// The address of [`Request::bytes`], for C code, which may write to them.
    #[must_use]
    pub fn address(&mut self) -> *mut u8 {
        match &mut self.body {
            Body::Ring(lent, files) => lent.address(files).as_ptr(),
            Body::Sealed(lent, segment) => lent.address(segment).as_ptr(),
            Body::Copied(bytes) => bytes.as_mut_ptr(),
        }
    }
}

/// A request on its way to the application.
enum Message {
    /// In place, in the ring of a trusted client.
    Ring(rb::Lent),
    /// The same in sealed memory.
    Sealed(sealed::Lent),
    /// In private memory: the buffer and how much of it.
    Copied(Buffer, usize),
}

/// What a batch holds of its channel while the application has a request in place.
#[derive(Default)]
struct Hands {
    /// The memory stays mapped to the end of the batch, even if the application disconnects.
    files: Option<Arc<RingFiles>>,
    segment: Option<Arc<Segment>>,
    /// The request; its room goes back to the client with the look for the next one.
    chunk: Option<Chunk>,
    record: Option<sealed::Record>,
    due: bool,
}

impl Hands {
    fn is_full(&self) -> bool {
        self.chunk.is_some() || self.record.is_some()
    }

    /// Whether the batch had a request in place.
    fn was_full(&self) -> bool {
        self.files.is_some() || self.segment.is_some()
    }

    fn give_back(&mut self, requests: &mut Requests) -> Result<()> {
        match requests {
            Requests::Shm { ring, .. } => self.chunk.take().map_or(Ok(()), |chunk| ring.reclaim(chunk)),
            Requests::Sealed { lane, .. } => {
                if let Some(record) = self.record.take() {
                    lane.reclaim(record);
                }
                Ok(())
            }
            Requests::Socket(_) => Ok(()),
        }
    }
}

/// What the application said to a request.
#[derive(PartialEq, Eq)]
enum End {
    /// Go on.
    More,
    /// It asked to back off.
    Later,
}

/// A batch of requests that was handled.
#[derive(Default)]
pub(super) struct Batch {
    pub handled: u32,
    /// Responses were sent meanwhile.
    pub answered: bool,
    /// The application asked to back off.
    pub backed_off: bool,
    /// The bytes that announced requests are to be taken before more are handled.
    pub due: bool,
}

const HANGUP: PollEvents = (libc::POLLHUP | libc::POLLERR) as PollEvents;
const INVALID: PollEvents = libc::POLLNVAL as PollEvents;
const INPUT: PollEvents = (libc::POLLIN | libc::POLLPRI) as PollEvents;
const OUTPUT: PollEvents = libc::POLLOUT as PollEvents;

impl Connection {
    /// The stream socket: doorbells, room for doorbells, the client's end.
    pub(in super::super) fn dispatch_stream(self: &Arc<Self>, revents: PollEvents) -> Next {
        if revents & (HANGUP | INVALID) != 0 {
            return self.end("client left");
        }
        let Ok(channels) = self.open_channels() else {
            return Next::Remove;
        };
        if revents & OUTPUT != 0 && self.flush_events(channels).is_err() {
            return self.end("client left");
        }
        if revents & INPUT == 0 {
            return Next::Keep;
        }
        let result = match channels.request_fd {
            None if self.is_sealed() => self.take_rung(),
            None => self.take_announced(),
            Some(_) => Self::discard_stream(channels),
        };
        self.verdict(result)
    }

    /// There is room for the bytes of events that found none.
    #[cold]
    fn flush_events(self: &Arc<Self>, channels: &Channels) -> Result<()> {
        let flushed = match channels.events.lock().as_mut() {
            Some(Events::Sealed { lane, stream }) => lane.bells().flush(stream.as_fd()),
            Some(Events::Shm { bells, stream, .. }) => bells.flush(stream.as_fd()),
            _ => Ok(true),
        };
        if flushed? {
            self.watch_stream();
        }
        Ok(())
    }

    /// The socket transport uses the stream for nothing; what arrives is thrown away, its end is the client's.
    #[cold]
    fn discard_stream(channels: &Channels) -> Result<()> {
        match channels.common.lock().as_ref() {
            Some(common) => Balance::default().drain(common.stream.as_fd()),
            None => Ok(()),
        }
    }

    /// The socket that requests come in on.
    #[inline(never)]
    pub(in super::super) fn dispatch_requests(self: &Arc<Self>, revents: PollEvents) -> Next {
        if revents & INVALID != 0 {
            return self.end("request socket is gone");
        }
        let result = self.stay(|connection| connection.take_batch(0));
        self.verdict(result)
    }

    /// The timer for messages that wait for the client's sockets.
    #[inline(never)]
    pub(in super::super) fn dispatch_retry(self: &Arc<Self>) -> Next {
        match self.retry_kept() {
            Ok(true) => Next::Keep,
            Ok(false) => Next::Remove,
            Err(_) => {
                self.end_retry();
                self.end("client does not make its sockets")
            }
        }
    }

    fn verdict(self: &Arc<Self>, result: Result<()>) -> Next {
        match result {
            _ if !self.state.is_open() => Next::Remove,
            Ok(()) | Err(Error::Busy) => Next::Keep,
            Err(e) => self.broken(e),
        }
    }

    #[cold]
    fn broken(self: &Arc<Self>, e: Error) -> Next {
        if e == Error::Disconnected {
            return self.end("client left");
        }
        log!(Level::Error, "service {}: client {}: {e}", self.service.shown(), self.peer.pid);
        self.end("protocol error")
    }

    #[cold]
    fn end(self: &Arc<Self>, why: &str) -> Next {
        log!(Level::Debug, "service {}: client {}: {why}", self.service.shown(), self.peer.pid);
        self.disconnect();
        Next::Remove
    }

    /// Handles what is queued in a classic ring, and what comes while the service stays, and takes the bytes that announced it.
    fn take_announced(self: &Arc<Self>) -> Result<()> {
        let mut idle = true;
        self.stay(|connection| {
            let batch = connection.take_batch(0)?;
            idle = idle && batch.handled == 0;
            // The bytes of many requests are taken together.
            if batch.answered || batch.due {
                connection.settle_all(false)?;
            }
            Ok(batch)
        })?;
        let (lent, more) = self.with_shm(|ring, bells, _| {
            // Without progress here, bytes have to be taken: a chunk may be there whose sender never counts it.
            (ring.is_lent(), !idle && bells.is_small_debt() && ring.ready())
        })?;
        if lent {
            // The dispatch around this one, whose request is in the application's hands, knows what is left behind it.
            self.settle(false)?;
            self.wait_for_outer();
            return Ok(());
        }
        // Where the stay ended though more is queued, the bytes that are still there bring the loop back.
        if more { Ok(()) } else { self.settle_all(idle) }
    }

    /// Takes the bytes of what was handled.
    fn settle_all(self: &Arc<Self>, idle: bool) -> Result<()> {
        if self.settle(idle)? {
            return Ok(());
        }
        // More bytes were taken than messages handled: unless those were stray bytes, their messages are in the ring,
        // and nothing would announce them again.
        loop {
            let handled = self.take_batch(1)?.handled;
            if handled == 0 || self.settle(false)? {
                return self.with_shm(|_, bells, _| bells.forgive());
            }
        }
    }

    /// Takes bytes off the stream; whether the account is even or in debt, not in credit. `idle`: nothing was handled, so
    /// whatever woke us is taken.
    fn settle(&self, idle: bool) -> Result<bool> {
        self.with_shm(|_, bells, stream| {
            if idle && !bells.debt() {
                bells.drain(stream)?;
            } else {
                bells.settle(stream)?;
            }
            Ok(!bells.credit())
        })?
    }

    fn with_shm<R>(&self, act: impl FnOnce(&mut Consumer, &mut Balance, BorrowedFd<'_>) -> R) -> Result<R> {
        match self.open_channels()?.requests.lock().as_mut() {
            Some(Requests::Shm { ring, bells, stream, .. }) => Ok(act(ring, bells, stream.as_fd())),
            _ => Err(Error::Disconnected),
        }
    }

    /// Handles up to a batch of requests (`limit` of them when not 0).
    pub(super) fn take_batch(self: &Arc<Self>, limit: u32) -> Result<Batch> {
        if limit == 0 && self.service.rate().is_off() {
            // A loop that dispatches what it was told to leave alone.
            return Err(Error::Busy);
        }
        let batch = if limit == 0 { self.service.rate().batch() } else { limit };
        let mut done = Batch::default();
        let mut hands = Hands::default();
        let before = self.counters.responses.load(Relaxed);
        let mut budget = None;
        while done.handled < budget.unwrap_or(batch) {
            let Some(message) = self.next_message(&mut hands, &mut budget, batch)? else {
                break;
            };
            done.handled += 1;
            done.backed_off = self.handle(message, &hands)? == End::Later;
            if done.backed_off || (limit == 0 && self.service.rate().is_off()) {
                break;
            }
        }
        if hands.is_full() {
            // The application may have disconnected; then the channel is gone and there is nothing to give back.
            if let Some(requests) = self.open_channels()?.requests.lock().as_mut() {
                hands.give_back(requests)?;
            }
        }
        if hands.was_full() && self.waits.swap(false, Relaxed) {
            self.watch_stream();
        }
        done.due = hands.due;
        done.answered = self.counters.responses.load(Relaxed) != before;
        Ok(done)
    }

    /// Takes the next request out of its channel, as far as this can be done without the application.
    fn next_message(
        &self,
        hands: &mut Hands,
        budget: &mut Option<u32>,
        batch: u32,
    ) -> Result<Option<Message>> {
        let channels = self.open_channels()?;
        let mut guard = channels.requests.lock();
        let requests = guard.as_mut().ok_or(Error::Disconnected)?;
        hands.give_back(requests)?;
        match requests {
            Requests::Sealed { lane, .. } => {
                let Some(record) = lane.peek()? else {
                    return Ok(None);
                };
                if let Some(trusted) = &self.trusted {
                    let lent = lane.lend(&record, trusted);
                    hands.segment.get_or_insert_with(|| lane.segment().clone());
                    hands.record = Some(record);
                    return Ok(Some(Message::Sealed(lent)));
                }
                self.copy_sealed(lane, record)
            }
            Requests::Shm { ring, bells, .. } => {
                let Some(chunk) = ring.peek()? else {
                    return Ok(None);
                };
                bells.handled();
                hands.due = !bells.is_small_debt();
                if let Some(lent) = self.trusted.as_ref().and_then(|trusted| ring.lend(&chunk, trusted)) {
                    hands.files.get_or_insert_with(|| ring.files().clone());
                    hands.chunk = Some(chunk);
                    return Ok(Some(Message::Ring(lent)));
                }
                self.copy_chunk(ring, chunk)
            }
            Requests::Socket(requests) => self.next_datagram(requests, budget, batch),
        }
    }

    #[inline(never)]
    fn copy_sealed(&self, lane: &mut sealed::Listener, record: sealed::Record) -> Result<Option<Message>> {
        let len = record.len();
        let mut buffer = self.service.buffers.take(len)?;
        lane.copy(&record, buffer.bytes(len))?;
        lane.reclaim(record);
        Ok(Some(Message::Copied(buffer, len)))
    }

    #[inline(never)]
    fn copy_chunk(&self, ring: &mut Consumer, chunk: Chunk) -> Result<Option<Message>> {
        let len = chunk.len();
        let mut buffer = self.service.buffers.take(len)?;
        ring.copy(&chunk, 0, buffer.bytes(len))?;
        ring.reclaim(chunk)?;
        Ok(Some(Message::Copied(buffer, len)))
    }

    #[inline(never)]
    fn next_datagram(
        &self,
        requests: &mut ServerRequests,
        budget: &mut Option<u32>,
        batch: u32,
    ) -> Result<Option<Message>> {
        // Asked before the first message only: how many there are is a hint, an empty socket is the truth.
        if budget.is_none() {
            *budget = Some(requests.queued().clamp(1, batch));
        }
        let room = self.max_msg_size as usize;
        let mut buffer = self.service.buffers.take(room)?;
        match requests.recv(buffer.bytes(room)) {
            Ok(len) if len <= room => Ok(Some(Message::Copied(buffer, len))),
            Ok(_) => Err(Error::TooBig),
            Err(e) => {
                self.service.buffers.put(buffer);
                if e == Error::Busy { Ok(None) } else { Err(e) }
            }
        }
    }

    /// Checks a request and hands it to the application.
    fn handle(self: &Arc<Self>, message: Message, hands: &Hands) -> Result<End> {
        let body = match message {
            Message::Copied(buffer, len) => return self.handle_copy(buffer, len),
            Message::Ring(lent) => Body::Ring(lent, hands.files.as_ref().ok_or(Error::Invalid)?),
            Message::Sealed(lent) => Body::Sealed(lent, hands.segment.as_ref().ok_or(Error::Invalid)?),
        };
        self.process(body)
    }

    #[inline(never)]
    fn handle_copy(self: &Arc<Self>, mut buffer: Buffer, len: usize) -> Result<End> {
        let result = self.process(Body::Copied(buffer.bytes(len)));
        if self.state.is_open() {
            self.service.buffers.put(buffer);
        }
        result
    }

    #[inline]
    fn process(self: &Arc<Self>, body: Body<'_>) -> Result<End> {
        let bytes = body.bytes();
        let arrived = bytes.len();
        let head = MessageHead::decode(bytes).ok_or(Error::Disconnected)?;
        if head.id == MSG_DISCONNECT {
            return Err(Error::Disconnected);
        }
        let size = usize::try_from(head.size).unwrap_or(0);
        if size < REQUEST_HEAD_LEN || size > arrived || arrived > self.max_msg_size as usize {
            return Err(Error::Corrupt);
        }
        super::super::stats::count(&self.counters.requests);
        let more = self.service.handler.process(self, &mut Request { body, len: size });
        Ok(if more < 0 { End::Later } else { End::More })
    }
}
