// SPDX-License-Identifier: LGPL-2.1-or-later
//! One client, as the server sees it.

use super::super::dgram::{Control, Kept, Outbox, Sent, ServerRequests};
use super::super::doorbell::{Balance, Outstanding};
use super::super::poll::{Events as PollEvents, Priority, QUIET, READABLE, WRITABLE, Watch};
use super::super::sealed::{Bell, Listener, Segment, Talker};
use super::super::shm::{ConnectionDir, ServerRings};
use super::super::spin::Spin;
use super::super::stats::{ConnectionCounters, ConnectionStats, count};
use super::Service;
use super::in_place::InPlace;
use super::lifecycle::State;
use crate::rb::{Consumer, Producer};
use crate::shm::Trusted;
use crate::sync::{AtomicBool, AtomicU32, AtomicUsize, Mutex, Ordering::Relaxed};
use crate::sys::fd::{timer_fd, timer_fd_rearm};
use crate::sys::process;
use crate::sys::socket::{self, Credentials};
use crate::util::parts::total_len;
use crate::{Error, Result, limits};
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Owner and mode of the files that a client gets to open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Auth {
    /// Owner; `u32::MAX` leaves it to the server's user.
    pub uid: u32,
    /// Group; `u32::MAX` leaves it to the server's group.
    pub gid: u32,
    /// Permission bits.
    pub mode: u32,
}

/// Requests of a client.
pub(super) enum Requests {
    Sealed { lane: Listener, stream: Arc<OwnedFd> },
    Shm { ring: Consumer, bells: Balance, spin: Spin, glances: Spin, stream: Arc<OwnedFd> },
    Socket(ServerRequests),
}

/// Responses to a client.
pub(super) enum Responses {
    Sealed(Talker),
    Shm(Producer),
    Socket(Outbox),
}

/// Events for a client.
pub(super) enum Events {
    Sealed { lane: Talker, stream: Arc<OwnedFd> },
    Shm { ring: Producer, bells: Outstanding, stream: Arc<OwnedFd> },
    Socket(Outbox),
}

/// What sending an event says when the client's end of the stream is closed: the number that a C program knows.
pub(super) const LEFT: Error = Error::Os(libc::EPIPE);

/// Whether a byte for an event found no room; [`LEFT`] when there is nobody to send it to.
pub(super) fn heard(bell: Bell) -> Result<bool> {
    if bell == Bell::Broken { Err(LEFT) } else { Ok(bell == Bell::NoRoom) }
}

/// How often a thread corrects what the poll loop watches a descriptor for, when other threads change their minds meanwhile.
const MOST_CHANGES: u32 = 16;

/// A timer that asks whether the client's sockets exist by now.
pub(super) struct Retry {
    timer: OwnedFd,
    pub(super) since: Instant,
    wait: Duration,
}

/// What every transport has beside messages.
pub(super) struct Common {
    pub shared: Shared,
    pub stream: Arc<OwnedFd>,
    /// The process that made the connection; a child that inherited it must leave everything alone.
    pub owner_pid: i32,
}

impl Common {
    pub fn is_ours(&self) -> bool {
        process::pid() == self.owner_pid
    }
}

/// What is shared with the client.
pub(super) enum Shared {
    Sealed(Arc<Segment>),
    Rings(ServerRings, ConnectionDir),
    Control(Arc<Control>, ConnectionDir),
}

impl Shared {
    fn set_flow_control(&self, state: u32) {
        match self {
            Shared::Sealed(segment) => segment.set_flow_control(state),
            Shared::Rings(rings, _) => {
                if let Some(word) = rings.request.user_word(0) {
                    word.publish(state);
                }
            }
            Shared::Control(control, _) => control.set_flow_control(state),
        }
    }

    /// Tells the client that this side is gone, and removes the files.
    pub fn withdraw(&self) {
        match self {
            Shared::Sealed(segment) => segment.close(),
            Shared::Rings(rings, dir) => rings.withdraw(dir),
            Shared::Control(control, dir) => control.unlink(dir),
        }
    }
}

/// The resources of an established connection. Each is taken out when the connection ends. No two locks are held together.
pub(super) struct Channels {
    pub requests: Mutex<Option<Requests>>,
    pub responses: Mutex<Option<Responses>>,
    pub events: Mutex<Option<Events>>,
    pub common: Mutex<Option<Common>>,
    /// They are in sealed memory.
    pub sealed: bool,
    /// Number of the stream socket.
    pub stream_fd: RawFd,
    /// What the poll loop has accepted to watch.
    pub watched: Mutex<Vec<RawFd>>,
    pub retry: Mutex<Option<Retry>>,
    /// The descriptor that tells of requests where it is not the stream.
    pub request_fd: Option<RawFd>,
}

/// One client of a service.
///
/// References: the library holds one from before `accept` until `closed` returned 0; [`Connection::hold`] takes more.
/// `destroyed` is called when the last one goes.
pub struct Connection {
    pub(super) service: Arc<Service>,
    pub(super) id: u64,
    pub(super) peer: Credentials,
    pub(super) trusted: Option<Trusted>,
    pub(super) max_msg_size: u32,
    pub(super) auth: Mutex<Auth>,
    pub(super) state: State,
    pub(super) channels: std::sync::OnceLock<Channels>,
    pub(super) counters: ConnectionCounters,
    pub(super) flow_control: AtomicU32,
    pub(super) user: AtomicUsize,
    pub(super) keep: Mutex<Option<Arc<Connection>>>,
    /// A main loop inside the application's function has nothing to look for on the stream until that returns.
    pub(super) waits: AtomicBool,
    pub(super) in_place: InPlace,
}

impl Connection {
    pub(super) fn new(service: &Arc<Service>, peer: Credentials, max_msg_size: u32) -> Arc<Self> {
        service.hold();
        let connection = Arc::new(Self {
            service: service.clone(),
            id: service.next_id.fetch_add(1, Relaxed),
            peer,
            trusted: Trusted::vouch(peer.uid),
            max_msg_size,
            auth: Mutex::new(Auth { uid: peer.uid, gid: peer.gid, mode: 0o600 }),
            state: State::new(),
            channels: std::sync::OnceLock::new(),
            counters: ConnectionCounters::default(),
            flow_control: AtomicU32::new(0),
            user: AtomicUsize::new(0),
            keep: Mutex::new(None),
            waits: AtomicBool::new(false),
            in_place: InPlace::default(),
        });
        *connection.keep.lock() = Some(connection.clone());
        connection
    }

    /// A number that no other connection of the service has or had.
    #[must_use]
    pub fn id(&self) -> u64 {
        self.id
    }

    /// The service it belongs to.
    #[must_use]
    pub fn service(&self) -> &Arc<Service> {
        &self.service
    }

    /// The client's credentials, as the kernel attached them to its connect request.
    #[must_use]
    pub fn peer(&self) -> Credentials {
        self.peer
    }

    /// The largest message in bytes that was agreed.
    #[must_use]
    pub fn max_msg_size(&self) -> u32 {
        self.max_msg_size
    }

    /// Owner and mode of what the client gets to open; takes effect within `accept` only.
    pub fn set_auth(&self, auth: Auth) {
        *self.auth.lock() = auth;
    }

    /// A word of the application's.
    #[must_use]
    pub fn user_data(&self) -> usize {
        self.user.load(Relaxed)
    }

    /// Sets the application's word.
    pub fn set_user_data(&self, data: usize) {
        self.user.store(data, Relaxed);
    }

    /// Counters; `clear` resets them.
    pub fn stats(&self, clear: bool) -> ConnectionStats {
        let queued = match self.channels.get() {
            None => 0,
            Some(channels) => match channels.events.lock().as_ref() {
                None => 0,
                Some(Events::Sealed { lane, .. }) => lane.queued(),
                Some(Events::Shm { ring, .. }) => ring.files().queued(),
                Some(Events::Socket(outbox)) => outbox.queued(),
            },
        };
        self.counters.read(self.peer.pid, queued, clear)
    }

    /// Sends the parts as one response. [`Error::Busy`] when there is no room.
    pub fn send_response(self: &Arc<Self>, parts: &[&[u8]]) -> Result<usize> {
        let channels = self.open_channels()?;
        let mut guard = channels.responses.lock();
        let sent = match guard.as_mut() {
            None => Err(Error::Disconnected),
            Some(Responses::Sealed(lane)) => lane.send_to_sleeper(parts).map(Sent::Out),
            Some(Responses::Shm(ring)) => ring.send(parts).map(Sent::Out),
            Some(Responses::Socket(outbox)) => outbox.send(parts),
        };
        if sent.is_ok() {
            count(&self.counters.responses);
        }
        drop(guard);
        self.finish(sent)
    }

    /// Sends the parts as one event. [`Error::Busy`] when there is no room, [`Error::TooBig`] beyond the agreed size.
    pub fn send_event(self: &Arc<Self>, parts: &[&[u8]]) -> Result<usize> {
        self.put_event(parts, false)
    }

    /// `reserved`: it is the event for which room was reserved; others have to wait for that.
    pub(super) fn put_event(self: &Arc<Self>, parts: &[&[u8]], reserved: bool) -> Result<usize> {
        let channels = self.open_channels()?;
        if total_len(parts)? > self.max_msg_size as usize {
            return Err(Error::TooBig);
        }
        // The poll loop hears of a full socket after the lock is gone.
        let mut full = false;
        let mut guard = channels.events.lock();
        let sent = match guard.as_mut() {
            None => Err(Error::Disconnected),
            Some(_) if self.in_place.event.is_taken() && !reserved => Err(Error::Busy),
            Some(Events::Sealed { lane, stream }) => {
                let waited = lane.bells().any();
                if waited && lane.bells().flush(stream.as_fd()).is_err() {
                    Err(LEFT)
                } else {
                    lane.send(parts, stream.as_fd()).and_then(|sent| {
                        full = heard(sent.bell)? && !waited;
                        Ok(Sent::Out(sent.bytes))
                    })
                }
            }
            Some(Events::Shm { ring, bells, stream }) => ring.send(parts).and_then(|sent| {
                let waited = bells.any();
                full = !bells.ring(stream.as_fd()).map_err(|_| LEFT)? && !waited;
                Ok(Sent::Out(sent))
            }),
            Some(Events::Socket(outbox)) => outbox.send(parts),
        };
        if sent.is_ok() {
            count(&self.counters.events);
        }
        drop(guard);
        // The application's poll function may drop the caller's reference.
        let _own = full.then(|| self.clone());
        if full {
            self.watch_stream();
        }
        self.finish(sent)
    }

    /// What is left to do once the channel's lock is gone: sees to it that a message that was kept will be sent, counts one
    /// that found no room, and ends a broken connection.
    pub(super) fn finish(self: &Arc<Self>, sent: Result<Sent>) -> Result<usize> {
        // The application's poll function may drop the caller's reference.
        let mut own = None;
        let result = match sent {
            Ok(Sent::Kept(n)) => {
                own = Some(self.clone());
                self.start_retry().map(|()| n)
            }
            Ok(Sent::Out(n)) => Ok(n),
            Err(e) => Err(e),
        };
        match result {
            Err(Error::Busy | Error::TimedOut) => drop(self.counters.send_retries.fetch_add(1, Relaxed)),
            Err(Error::Corrupt) => self.hang_up(),
            _ => {}
        }
        drop(own);
        result
    }

    fn start_retry(self: &Arc<Self>) -> Result<()> {
        let fd = {
            let mut retry = self.open_channels()?.retry.lock();
            if retry.is_some() {
                return Ok(());
            }
            let wait = Duration::from_micros(500);
            let timer = timer_fd(wait)?;
            let fd = timer.as_raw_fd();
            *retry = Some(Retry { timer, since: Instant::now(), wait });
            fd
        };
        let watch = Watch::Retry(self.clone());
        let added = self.service.poller().and_then(|p| p.add(self.service.priority(), fd, READABLE, watch));
        if added.is_err() {
            // The next message tries again.
            drop(self.channels.get().and_then(|channels| channels.retry.lock().take()));
        }
        added
    }

    /// Sends what was kept, as far as that is possible now.
    fn flush_kept(&self) -> Result<Kept> {
        let channels = self.open_channels()?;
        let responses = match channels.responses.lock().as_mut() {
            Some(Responses::Socket(outbox)) => outbox.flush_kept()?,
            _ => Kept::Nothing,
        };
        let events = match channels.events.lock().as_mut() {
            Some(Events::Socket(outbox)) => outbox.flush_kept()?,
            _ => Kept::Nothing,
        };
        Ok(match (responses, events) {
            (Kept::Nothing, Kept::Nothing) => Kept::Nothing,
            (Kept::Socket, _) | (_, Kept::Socket) => Kept::Socket,
            _ => Kept::Room,
        })
    }

    /// Tries again to send what was kept. Returns whether a timer is still needed.
    pub(super) fn retry_kept(self: &Arc<Self>) -> Result<bool> {
        let kept = self.flush_kept()?;
        if kept == Kept::Nothing {
            self.end_retry();
            // Another thread may have kept a message, trusting in the timer that is gone now.
            if self.flush_kept()? == Kept::Nothing {
                return Ok(false);
            }
            return self.start_retry().map(|()| true);
        }
        match self.open_channels()?.retry.lock().as_mut() {
            Some(again) => {
                if kept == Kept::Room {
                    // Its sockets are there. A client may read as slowly as it likes.
                    again.since = Instant::now();
                }
                let waited = again.since.elapsed();
                if waited > limits::PENDING_EVENT_TIME {
                    return Err(Error::Disconnected);
                }
                // Who takes long is asked less often.
                again.wait = (again.wait * 2).min((waited / 16).max(Duration::from_millis(50)));
                timer_fd_rearm(&again.timer, again.wait)?;
                Ok(true)
            }
            None => Ok(false),
        }
    }

    /// Takes the retry timer away from the poll loop, if one is running.
    pub(super) fn end_retry(&self) {
        if let Some(retry) = self.channels.get().and_then(|channels| channels.retry.lock().take()) {
            self.service.stop_watching(retry.timer.as_raw_fd());
        }
    }

    /// Has the poll loop end the connection soon, as if the client had left: for a broken ring that is noticed in the
    /// middle of the application's call.
    fn hang_up(&self) {
        if let Some(channels) = self.channels.get()
            && let Some(common) = channels.common.lock().as_ref()
            && common.is_ours()
        {
            socket::shutdown(common.stream.as_fd());
        }
    }

    /// Tells the client to stop (1, 2) or to go on (0) sending requests, by the service's rate limit. Of threads that change it
    /// at once, whoever comes here last tells the last limit.
    pub(super) fn tell_flow_control(&self) {
        let common = self.channels.get().map(|channels| channels.common.lock());
        let state = self.service.rate().flow_control();
        if self.flow_control.swap(state, Relaxed) == state {
            return;
        }
        if let Some(Some(common)) = common.as_deref() {
            common.shared.set_flow_control(state);
        }
        self.counters.flow_control_state.store(state, Relaxed);
        count(&self.counters.flow_control_count);
    }

    /// Tells the poll loop about the service's new rate limit.
    pub(super) fn change_interest(self: &Arc<Self>) {
        let Some(channels) = self.channels.get().filter(|_| self.state.is_open()) else {
            return;
        };
        if let Some(fd) = channels.request_fd {
            let wanted = || (self.service.priority(), self.service.rate().interest());
            self.watch_as(fd, &Watch::Requests(self.clone()), wanted);
        }
        self.watch_stream();
    }

    fn has_outstanding_bells(&self) -> bool {
        self.channels.get().is_some_and(|channels| match channels.events.lock().as_mut() {
            Some(Events::Sealed { lane, .. }) => lane.bells().any(),
            Some(Events::Shm { bells, .. }) => bells.any(),
            _ => false,
        })
    }

    /// Watches the stream for what is of interest now.
    pub(super) fn watch_stream(self: &Arc<Self>) {
        if let Some(channels) = self.channels.get() {
            let watch = Watch::Stream(self.clone());
            self.watch_as(channels.stream_fd, &watch, || self.stream_interest(channels));
        }
    }

    /// Tells the poll loop what is wanted of a descriptor. Other threads may change that meanwhile and tell the poll loop before
    /// or after us: whoever is last to tell it looks again.
    fn watch_as(&self, fd: RawFd, watch: &Watch, wanted: impl Fn() -> (Priority, PollEvents)) {
        let Ok(poller) = self.service.poller() else {
            return;
        };
        let mut now = wanted();
        for _ in 0..MOST_CHANGES {
            let told = now;
            let _ = poller.modify(told.0, fd, told.1, watch.clone());
            now = wanted();
            if now == told || !self.state.is_open() {
                break;
            }
        }
    }

    /// Has the poll loop leave requests alone until the application is done with the one that it has.
    pub(super) fn wait_for_outer(self: &Arc<Self>) {
        if !self.waits.swap(true, Relaxed) {
            self.watch_stream();
        }
    }

    fn stream_interest(&self, channels: &Channels) -> (Priority, PollEvents) {
        let rate = self.service.rate();
        // The stream tells of requests unless they have a socket of their own.
        let input = match channels.request_fd {
            None if self.waits.load(Relaxed) => QUIET,
            None => rate.interest(),
            Some(_) => READABLE,
        };
        let output = if self.has_outstanding_bells() { WRITABLE } else { 0 };
        (rate.priority(), input | output)
    }

    /// Whether messages travel in sealed memory; false before the connection is open.
    #[must_use]
    pub fn is_sealed(&self) -> bool {
        self.channels.get().is_some_and(|channels| channels.sealed)
    }

    /// The channels, while the connection is open; [`Error::Invalid`] before.
    pub(super) fn open_channels(&self) -> Result<&Channels> {
        let channels = self.channels.get().ok_or(Error::Invalid)?;
        if self.state.is_open() { Ok(channels) } else { Err(Error::Disconnected) }
    }
}
