// SPDX-License-Identifier: LGPL-2.1-or-later
//! The client's side: connecting, requests, responses, events.
//!
//! | file | what it is |
//! |---|---|
//! | `connect` | the handshake, in one go or in two steps |
//! | `mod` | the connection: settings, liveness, the end |
//! | `send` | requests |
//! | `receive` | responses and events |
//! | `lanes` | the same in sealed memory |
//! | `in_place` | requests written in place, and many at once |
//! | `look` | responses and events looked at in place |
//!
//! Any number of threads may send while others receive. A server that is stopped holds nobody up beyond the caller's own
//! time-out; a server that is gone is noticed.

mod connect;
mod in_place;
mod lanes;
#[cfg(test)]
mod lanes_tests;
mod look;
mod receive;
mod send;

pub use connect::Connecting;
pub(super) use in_place::as_many_as_fit;
pub use look::Peeked;

use super::dgram::{Channel, ClientSockets, control_file_is_there, remove_leftovers};
use super::doorbell::Outstanding;
use super::sealed::{Listener, Segment, Talker};
use super::shm::ClientRings;
use super::spin::Spin;
use crate::rb::{Consumer, Producer};
use crate::sync::{AtomicBool, AtomicU32, AtomicU64, Mutex, MutexGuard, Ordering::Relaxed};
use crate::sys::dir::Dir;
use crate::sys::fd::{Deadline, poll_one};
use crate::sys::memory::zeroed_words;
use crate::sys::process;
use crate::sys::socket::{self, Credentials};
use crate::wire::{ConnectResponse, Features};
use crate::{Error, Result};
use in_place::InPlace;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

/// A connection to a service.
pub struct Client {
    stream: OwnedFd,
    server: Credentials,
    max_msg_size: u32,
    links: Links,
    connected: AtomicBool,
    /// Flow control up to this value stops sends.
    patience: AtomicU32,
    /// When the server was last known to be there, as [`clock::tick`](crate::sys::clock::tick) counts.
    seen: AtomicU64,
    owner_pid: i32,
    in_place: InPlace,
}

/// The channels of each transport.
enum Links {
    Sealed {
        segment: Arc<Segment>,
        requests: Mutex<Talker>,
        responses: Mutex<Listener>,
        events: Mutex<Listener>,
    },
    Shm {
        rings: ClientRings,
        requests: Mutex<(Producer, Outstanding)>,
        responses: Mutex<(Consumer, Spin)>,
        events: Mutex<Consumer>,
    },
    Socket {
        requests: Channel,
        /// Held by who takes responses.
        responses: Mutex<Spin>,
        events_channel: Channel,
        /// Held by who takes events.
        events: Mutex<Spin>,
        dir: Dir,
    },
}

const GONE: i16 = libc::POLLHUP | libc::POLLERR | libc::POLLNVAL;

impl Client {
    /// Connects to the service `name` (any bytes) and waits for its answer. `max_msg_size` is the largest message in bytes that this
    /// client wants to send or receive; at least 12,328 is agreed.
    ///
    /// [`Error::Os`] with `ECONNREFUSED` when nobody listens, the service's own error when it refuses,
    /// [`Error::TimedOut`] when it does not answer.
    pub fn connect(name: impl AsRef<[u8]>, max_msg_size: usize) -> Result<Self> {
        Connecting::start(name, max_msg_size, true)?.finish()
    }

    /// Opens what the server's answer names.
    fn open(
        stream: OwnedFd,
        server: Credentials,
        answer: &ConnectResponse,
        memory: Option<OwnedFd>,
    ) -> Result<Self> {
        let links = match answer.transport {
            super::Transport::SharedMemory if answer.accepted.has(Features::SEALED) => {
                let memory = memory.ok_or(Error::Corrupt)?;
                let segment = Segment::open(memory.as_fd(), answer.max_msg_size)?;
                Links::Sealed {
                    requests: Mutex::new(Talker::requests(&segment)),
                    responses: Mutex::new(Listener::responses(&segment)),
                    events: Mutex::new(Listener::events(&segment)),
                    segment,
                }
            }
            super::Transport::SharedMemory => {
                let rings = ClientRings::open(answer, &server)?;
                Links::Shm {
                    requests: Mutex::new((Producer::new(rings.request.clone()), Outstanding::default())),
                    responses: Mutex::new((Consumer::new(rings.response.clone()), Spin::default())),
                    events: Mutex::new(Consumer::new(rings.event.clone())),
                    rings,
                }
            }
            super::Transport::Socket => {
                let sockets = ClientSockets::open(answer, &server)?;
                Links::Socket {
                    requests: sockets.requests,
                    responses: Mutex::default(),
                    events_channel: sockets.events,
                    events: Mutex::default(),
                    dir: sockets.dir,
                }
            }
        };
        Ok(Self {
            stream,
            server,
            max_msg_size: answer.max_msg_size,
            links,
            connected: AtomicBool::new(true),
            patience: AtomicU32::new(1),
            seen: AtomicU64::new(0),
            owner_pid: process::pid(),
            in_place: InPlace::new(server.uid),
        })
    }

    /// The descriptor that is readable while an event is queued.
    #[must_use]
    pub fn event_fd(&self) -> BorrowedFd<'_> {
        match &self.links {
            Links::Sealed { .. } | Links::Shm { .. } => self.stream.as_fd(),
            Links::Socket { events_channel, .. } => events_channel.fd(),
        }
    }

    /// The number of [`Client::event_fd`].
    #[must_use]
    pub fn event_raw_fd(&self) -> i32 {
        self.event_fd().as_raw_fd()
    }

    /// The server's credentials, as the kernel attached them to its answer.
    #[must_use]
    pub fn server(&self) -> Credentials {
        self.server
    }

    /// The agreed largest message in bytes.
    #[must_use]
    pub fn max_msg_size(&self) -> u32 {
        self.max_msg_size
    }

    /// Up to which flow-control state of the server sends are refused: 0 never, 1 when it asks, 2 also when it
    /// insists. [`Error::Invalid`] above 2.
    pub fn set_flow_control_patience(&self, max: u32) -> Result<()> {
        if max > 2 {
            return Err(Error::Invalid);
        }
        self.patience.store(max, Relaxed);
        Ok(())
    }

    /// Asks the kernel whether the server still holds its end.
    pub fn is_connected(&self) -> bool {
        if self.connected.load(Relaxed) && self.server_is_gone() {
            self.connected.store(false, Relaxed);
        }
        self.connected.load(Relaxed)
    }

    /// Whether the stream says that the server has closed or died.
    fn server_is_gone(&self) -> bool {
        matches!(poll_one(self.stream.as_fd(), 0, Some(Duration::ZERO)), Ok(events) if events & GONE != 0)
    }

    /// Marks the connection as over where the error says so.
    fn noted<T>(&self, result: Result<T>) -> Result<T> {
        if let Err(e) = result {
            self.note(e);
        }
        result
    }

    #[cold]
    fn note(&self, e: Error) {
        if !e.is_transient() {
            self.connected.store(false, Relaxed);
        }
    }

    fn ensure_connected(&self) -> Result<()> {
        if self.connected.load(Relaxed) { Ok(()) } else { Err(Error::Disconnected) }
    }

    /// Whether the server's process is gone, given a moment to finish dying.
    fn server_is_dead(&self) -> bool {
        const TRIES: u32 = 4;
        const WAIT: Duration = Duration::from_millis(10);
        if !self.server_is_gone() {
            return false;
        }
        for attempt in 0..TRIES {
            if process::is_gone(self.server.pid) {
                return true;
            }
            // A server that merely closed the connection has said so or removed its files; there is nothing to wait for.
            let silent = match &self.links {
                Links::Sealed { .. } => false,
                Links::Shm { rings, .. } => rings.server_holds(),
                Links::Socket { requests, dir, .. } => control_file_is_there(requests, dir),
            };
            if !silent || attempt + 1 == TRIES {
                return false;
            }
            std::thread::sleep(WAIT);
        }
        false
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        // A forked child lets go of its copies; the parent's connection goes on.
        if self.owner_pid != process::pid() {
            return;
        }
        let files = !matches!(self.links, Links::Sealed { .. });
        let dead = files && self.server_is_dead();
        match &self.links {
            Links::Shm { rings, .. } => {
                rings.let_go();
                if dead {
                    rings.remove_leftovers();
                }
            }
            Links::Socket { requests, dir, .. } if dead => remove_leftovers(requests, dir),
            Links::Socket { .. } | Links::Sealed { .. } => {}
        }
        socket::shutdown(self.stream.as_fd());
    }
}

/// As [`lock_until`], for responses: [`Error::TimedOut`]. A request was sent before, and [`Error::Busy`] would say that it was not.
fn lock_responses_until<T>(mutex: &Mutex<T>, deadline: Deadline) -> Result<MutexGuard<'_, T>> {
    lock_until(mutex, deadline).map_err(|_| Error::TimedOut)
}

/// Waits for another thread's receive to end, within this one's time.
fn lock_until<T>(mutex: &Mutex<T>, deadline: Deadline) -> Result<MutexGuard<'_, T>> {
    if let Some(guard) = mutex.try_lock() {
        return Ok(guard);
    }
    match deadline.left() {
        None => Ok(mutex.lock()),
        Some(left) => mutex.try_lock_for(left).ok_or(Error::Busy),
    }
}

/// The largest datagram, at most `wanted` bytes, that a unix socket really carries here.
pub fn probe_datagram_size(wanted: usize) -> Result<usize> {
    let (a, b) = socket::datagram_pair()?;
    socket::raise_buffers(a.as_fd(), wanted)?;
    socket::raise_buffers(b.as_fd(), wanted)?;
    let carries = |size: usize| -> bool {
        let Ok(data) = zeroed_words(size.div_ceil(8)) else { return false };
        let data: &[u8] = bytemuck::cast_slice(&data);
        let sent = socket::send(a.as_fd(), data.get(..size).unwrap_or(data));
        // Empty the queue again, so that the next attempt finds it so.
        let _ = socket::recv(b.as_fd(), &mut [0; 1]);
        sent == Ok(size)
    };
    if carries(wanted) {
        return Ok(wanted);
    }
    let (mut low, mut high) = (0, wanted);
    while low + 1 < high {
        let middle = low + (high - low) / 2;
        if carries(middle) {
            low = middle;
        } else {
            high = middle;
        }
    }
    if low == 0 { Err(Error::TooBig) } else { Ok(low) }
}
