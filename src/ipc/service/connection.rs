// SPDX-License-Identifier: LGPL-2.1-or-later
//! One client, as the server sees it.

use super::super::dgram::{Channel, Control, Sent, ServerEvents, ServerRequests};
use super::super::doorbell::{Balance, Outstanding};
use super::super::poll::{READABLE, READABLE_WRITABLE, Watch};
use super::super::shm::{ConnectionDir, ServerRings};
use super::super::stats::{ConnectionCounters, ConnectionStats, count};
use super::Service;
use super::lifecycle::State;
use crate::rb::{Consumer, Producer};
use crate::shm::Trusted;
use crate::sync::{AtomicU32, AtomicUsize, Mutex, Ordering::Relaxed};
use crate::sys::fd::{timer_fd, timer_fd_rearm};
use crate::sys::socket::Credentials;
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
    Shm { ring: Consumer, bells: Balance, stream: Arc<OwnedFd> },
    Socket(ServerRequests),
}

/// Responses to a client.
pub(super) enum Responses {
    Shm(Producer),
    Socket(Channel),
}

/// Events for a client.
pub(super) enum Events {
    Shm { ring: Producer, bells: Outstanding, stream: Arc<OwnedFd> },
    Socket { events: ServerEvents, retry: Option<Retry> },
}

/// A timer that asks whether the client's event socket exists by now.
pub(super) struct Retry {
    timer: OwnedFd,
    since: Instant,
    wait: Duration,
}

/// What both transports have beside messages.
pub(super) struct Common {
    pub shared: Shared,
    pub dir: ConnectionDir,
    pub stream: Arc<OwnedFd>,
}

/// What is shared with the client.
pub(super) enum Shared {
    Rings(ServerRings),
    Control(Arc<Control>),
}

/// The resources of an established connection. Each is taken out when the connection ends. Where two locks are held
/// together, `responses` comes before `requests`.
pub(super) struct Channels {
    pub requests: Mutex<Option<Requests>>,
    pub responses: Mutex<Option<Responses>>,
    pub events: Mutex<Option<Events>>,
    pub common: Mutex<Option<Common>>,
    /// Number of the stream socket.
    pub stream_fd: RawFd,
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
                Some(Events::Shm { ring, .. }) => ring.files().queued(),
                Some(Events::Socket { events, .. }) => events.queued(),
            },
        };
        self.counters.read(self.peer.pid, queued, clear)
    }

    /// Sends the parts as one response. [`Error::Busy`] when there is no room.
    pub fn send_response(self: &Arc<Self>, parts: &[&[u8]]) -> Result<usize> {
        let channels = self.open_channels()?;
        let result = match channels.responses.lock().as_mut() {
            None => Err(Error::Disconnected),
            Some(Responses::Shm(ring)) => ring.send(parts),
            Some(Responses::Socket(channel)) => self.answer_by_socket(channels, channel, parts),
        };
        self.counted(result, &self.counters.responses)
    }

    fn answer_by_socket(&self, channels: &Channels, channel: &Channel, parts: &[&[u8]]) -> Result<usize> {
        match channel.send(parts) {
            // Not connected yet: no request has come in. The client's socket may exist all the same.
            Err(Error::Disconnected) => {
                if let Some(Requests::Socket(requests)) = channels.requests.lock().as_mut() {
                    requests.ready_to_answer()?;
                }
                channel.send(parts)
            }
            result => result,
        }
    }

    /// Sends the parts as one event. [`Error::Busy`] when there is no room, [`Error::TooBig`] beyond the agreed size.
    pub fn send_event(self: &Arc<Self>, parts: &[&[u8]]) -> Result<usize> {
        let channels = self.open_channels()?;
        if parts.iter().map(|p| p.len()).sum::<usize>() > self.max_msg_size as usize {
            return Err(Error::TooBig);
        }
        // What the poll loop has to hear about is said after the lock is gone.
        let mut full = false;
        let mut new_timer = None;
        let result = match channels.events.lock().as_mut() {
            None => Err(Error::Disconnected),
            Some(Events::Shm { ring, bells, stream }) => ring.send(parts).inspect(|_| {
                let waited = bells.any();
                full = matches!(bells.ring(stream.as_fd()), Ok(false)) && !waited;
            }),
            Some(Events::Socket { events, retry }) => match events.send(parts) {
                Ok(Sent::Out(n)) => Ok(n),
                Ok(Sent::Kept(n)) => {
                    if retry.is_none() {
                        new_timer = Some(Self::start_retry(retry));
                    }
                    Ok(n)
                }
                Err(e) => Err(e),
            },
        };
        if full {
            self.watch_stream(true);
        }
        if let Some(timer) = new_timer {
            self.service.poller()?.add(
                self.service.priority(),
                timer?,
                READABLE,
                Watch::Retry(self.clone()),
            )?;
        }
        self.counted(result, &self.counters.events)
    }

    fn start_retry(retry: &mut Option<Retry>) -> Result<RawFd> {
        let wait = Duration::from_micros(500);
        let timer = timer_fd(wait)?;
        let fd = timer.as_raw_fd();
        *retry = Some(Retry { timer, since: Instant::now(), wait });
        Ok(fd)
    }

    /// Tries again to send events that were kept. Returns whether the timer is still needed.
    pub(super) fn retry_events(&self) -> Result<bool> {
        let channels = self.open_channels()?;
        let mut guard = channels.events.lock();
        let Some(Events::Socket { events, retry }) = guard.as_mut() else {
            return Ok(false);
        };
        let done = events.flush()?;
        match retry {
            Some(again) if !done => {
                if again.since.elapsed() > limits::PENDING_EVENT_TIME {
                    return Err(Error::Disconnected);
                }
                again.wait = (again.wait * 2).min(Duration::from_millis(50));
                timer_fd_rearm(&again.timer, again.wait)?;
                Ok(true)
            }
            _ => Ok(false),
        }
    }

    /// Lets the retry timer go, after the poll loop has.
    pub(super) fn end_retry(&self) {
        if let Some(channels) = self.channels.get()
            && let Some(Events::Socket { retry, .. }) = channels.events.lock().as_mut()
        {
            *retry = None;
        }
    }

    /// The retry timer's descriptor, if one is running.
    pub(super) fn retry_fd(events: Option<&Events>) -> Option<RawFd> {
        match events {
            Some(Events::Socket { retry: Some(retry), .. }) => Some(retry.timer.as_raw_fd()),
            _ => None,
        }
    }

    fn counted(&self, result: Result<usize>, sent: &crate::sync::AtomicU64) -> Result<usize> {
        match result {
            Ok(_) => count(sent),
            Err(Error::Busy | Error::TimedOut) => count(&self.counters.send_retries),
            Err(_) => {}
        }
        result
    }

    /// Tells the client to stop (1, 2) or to go on (0) sending requests.
    pub(super) fn set_flow_control(&self, state: u32) {
        if self.flow_control.swap(state, Relaxed) == state {
            return;
        }
        if let Some(channels) = self.channels.get() {
            match channels.common.lock().as_ref().map(|common| &common.shared) {
                Some(Shared::Rings(rings)) => {
                    if let Some(word) = rings.request.user_word(0) {
                        word.publish(state);
                    }
                }
                Some(Shared::Control(control)) => control.set_flow_control(state),
                None => {}
            }
        }
        self.counters.flow_control_state.store(state, Relaxed);
        count(&self.counters.flow_control_count);
    }

    /// Tells the poll loop about the service's new priority.
    pub(super) fn change_priority(self: &Arc<Self>) {
        let Some(channels) = self.channels.get().filter(|_| self.state.is_open()) else {
            return;
        };
        match channels.request_fd {
            None => self.watch_stream(self.has_outstanding_bells()),
            Some(fd) => {
                if let Ok(poller) = self.service.poller() {
                    let watch = Watch::Requests(self.clone());
                    let _ = poller.modify(self.service.priority(), fd, READABLE, watch);
                    self.watch_stream(false);
                }
            }
        }
    }

    fn has_outstanding_bells(&self) -> bool {
        self.channels.get().is_some_and(
            |channels| matches!(channels.events.lock().as_ref(), Some(Events::Shm { bells, .. }) if bells.any()),
        )
    }

    /// Watches the stream with or without an eye on room to write.
    pub(super) fn watch_stream(self: &Arc<Self>, writable: bool) {
        if let (Some(channels), Ok(poller)) = (self.channels.get(), self.service.poller()) {
            let events = if writable { READABLE_WRITABLE } else { READABLE };
            let fd = channels.stream_fd;
            let _ = poller.modify(self.service.priority(), fd, events, Watch::Stream(self.clone()));
        }
    }

    /// The channels, while the connection is open; [`Error::Invalid`] before.
    pub(super) fn open_channels(&self) -> Result<&Channels> {
        let channels = self.channels.get().ok_or(Error::Invalid)?;
        if self.state.is_open() { Ok(channels) } else { Err(Error::Disconnected) }
    }
}
