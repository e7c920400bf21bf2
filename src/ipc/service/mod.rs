// SPDX-License-Identifier: LGPL-2.1-or-later
//! The server's side: a service listens, admits clients, dispatches their requests and sends responses and events.
//!
//! | file | what it is |
//! |---|---|
//! | `mod` | the service: settings, counters, iteration, start and end |
//! | `admit` | the listening socket, half-open connections, the handshake |
//! | `open` | the channels of a client that was let in |
//! | `connection` | one client: sending, settings, counters |
//! | `dispatch` | what happens when a descriptor is ready |
//! | `awake` | how long it stays with one client, and requests in sealed memory |
//! | `in_place` | events in place, and many at once |
//! | `lifecycle` | references, disconnecting, the order of callbacks |
//! | `buffers` | private memory that messages of untrusted clients are copied into |
//!
//! No lock is held while a callback of the application runs, so a callback may call anything.

mod admit;
mod awake;
pub(super) mod buffers;
mod connection;
mod dispatch;
mod in_place;
mod lifecycle;
mod open;
#[cfg(test)]
mod oversize_tests;
#[cfg(test)]
mod retry_tests;

pub use admit::HalfOpen;
pub use connection::{Auth, Connection};
pub use dispatch::Request;
pub use in_place::ReservedEvent;

use super::poll::{Events as PollEvents, Poller, Priority, QUIET, READABLE, Watch};
use super::stats::{ServiceCounters, ServiceStats};
use super::{rendezvous, sweep};
use crate::log;
use crate::log::Level;
use crate::sync::{
    AtomicU32, AtomicU64, AtomicUsize, Mutex,
    Ordering::{Relaxed, SeqCst},
    RwLock, fence,
};
use crate::sys::socket::Credentials;
use crate::sys::{process, socket};
use crate::wire::Transport;
use crate::{Error, Result, limits};
use admit::HalfOpenList;
use buffers::Buffers;
use std::collections::BTreeMap;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::path::PathBuf;
use std::sync::Arc;

/// What an application does with its clients. Every function may call back into the library, on the same connection and
/// service too.
pub trait Handler: Send + Sync {
    /// A client wants in. An error number (positive or negative, not 0) is what its connect reports.
    fn accept(&self, connection: &Arc<Connection>, peer: &Credentials) -> std::result::Result<(), i32>;
    /// The client was let in and has been told so.
    fn created(&self, _connection: &Arc<Connection>) {}
    /// A request, valid during the call. A negative result ends the current batch; the connection stays.
    fn process(&self, connection: &Arc<Connection>, request: &mut Request<'_>) -> i32;
    /// The connection is over. Non-zero: call again later.
    fn closed(&self, _connection: &Arc<Connection>) -> i32 {
        0
    }
    /// The last reference is gone; the connection's memory follows.
    fn destroyed(&self, _connection: &Arc<Connection>) {}
}

/// How eagerly requests are taken from clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum RateLimit {
    /// Up to 50 requests of a client in a row, high priority.
    Fast = 0,
    /// Up to 5, medium priority.
    Normal = 1,
    /// One at a time, low priority.
    Slow = 2,
    /// Clients are told to stop sending, and no requests are taken.
    Off = 3,
    /// The same, but only clients that want to hear of it are told.
    OffUrgent = 4,
}

impl RateLimit {
    fn from_word(word: u32) -> Self {
        match word {
            0 => Self::Fast,
            1 => Self::Normal,
            2 => Self::Slow,
            3 => Self::Off,
            _ => Self::OffUrgent,
        }
    }

    /// Requests of one client that are handled in a row.
    fn batch(self) -> u32 {
        match self {
            Self::Fast => 50,
            Self::Normal => 5,
            _ => 1,
        }
    }

    fn priority(self) -> Priority {
        match self {
            Self::Fast => Priority::High,
            Self::Normal => Priority::Med,
            _ => Priority::Low,
        }
    }

    /// What a connection's descriptor for requests is watched for.
    fn interest(self) -> PollEvents {
        if self.is_off() { QUIET } else { READABLE }
    }

    /// Whether the poll loop has nothing to be told between the two.
    fn is_watched_like(self, other: Self) -> bool {
        self.priority() == other.priority() && self.interest() == other.interest()
    }

    /// Whether requests stay where they are.
    fn is_off(self) -> bool {
        matches!(self, Self::Off | Self::OffUrgent)
    }

    fn flow_control(self) -> u32 {
        match self {
            Self::Off => 1,
            Self::OffUrgent => 2,
            _ => 0,
        }
    }
}

/// A listening service.
///
/// It keeps itself alive from [`Service::new`] until [`Service::destroy`] and the end of its last connection.
pub struct Service {
    name: Vec<u8>,
    id: i32,
    transport: Result<Transport>,
    handler: Box<dyn Handler>,
    poller: RwLock<Option<Arc<dyn Poller>>>,
    listener: Mutex<Option<Listener>>,
    half_open: Mutex<HalfOpenList>,
    connections: Mutex<BTreeMap<u64, Arc<Connection>>>,
    next_id: AtomicU64,
    rate: AtomicU32,
    /// The connection whose requests were taken last.
    last_active: AtomicU64,
    enforced_size: AtomicU32,
    counters: ServiceCounters,
    buffers: Buffers,
    user: AtomicUsize,
    /// References of the application and of connections; at 0 `keep` is let go.
    refs: AtomicUsize,
    keep: Mutex<Option<Arc<Service>>>,
}

/// The listening socket, and the file it is bound to, if any.
struct Listener {
    socket: Arc<OwnedFd>,
    file: Option<PathBuf>,
    /// Given up for a moment when no descriptor is left, so that a connection can be taken and refused.
    spare: Option<OwnedFd>,
    owner_pid: i32,
}

impl Drop for Listener {
    fn drop(&mut self) {
        if let Some(file) = &self.file
            && self.owner_pid == process::pid()
        {
            let _ = std::fs::remove_file(file);
        }
    }
}

impl Service {
    /// A service that does not listen yet. `name` is any bytes; with a `/` nobody can connect to it. `id` is the application's business. An error in place of the transport (one
    /// that exists elsewhere, but not here) is what [`Service::run`] will give.
    ///
    /// [`Error::Invalid`]: the name contains a NUL. Names longer than an address holds are cut there.
    pub fn new(
        name: impl AsRef<[u8]>,
        id: i32,
        transport: Result<Transport>,
        handler: Box<dyn Handler>,
    ) -> Result<Arc<Self>> {
        let name = name.as_ref();
        if name.contains(&0) {
            return Err(Error::Invalid);
        }
        let service = Arc::new(Self {
            name: name.to_owned(),
            id,
            transport,
            handler,
            poller: RwLock::new(None),
            listener: Mutex::new(None),
            half_open: Mutex::default(),
            connections: Mutex::default(),
            next_id: AtomicU64::new(1),
            rate: AtomicU32::new(RateLimit::Normal as u32),
            last_active: AtomicU64::new(0),
            enforced_size: AtomicU32::new(0),
            counters: ServiceCounters::default(),
            buffers: Buffers::default(),
            user: AtomicUsize::new(0),
            refs: AtomicUsize::new(1),
            keep: Mutex::new(None),
        });
        *service.keep.lock() = Some(service.clone());
        Ok(service)
    }

    /// The name clients connect to.
    #[must_use]
    pub fn name(&self) -> &[u8] {
        &self.name
    }

    /// The name as messages show it.
    fn shown(&self) -> impl std::fmt::Display + '_ {
        self.name.escape_ascii()
    }

    /// Names become parts of file names. No file has a name with a `/`.
    fn ensure_name_without_slash(&self) -> Result<()> {
        if self.name.contains(&b'/') { Err(Error::Os(libc::ENOENT)) } else { Ok(()) }
    }

    /// The number given to [`Service::new`].
    #[must_use]
    pub fn id(&self) -> i32 {
        self.id
    }

    /// Sets the poll loop. To be called before [`Service::run`].
    pub fn set_poller(&self, poller: Arc<dyn Poller>) {
        *self.poller.write() = Some(poller);
    }

    /// Starts to listen. [`Error::Invalid`] without a poll loop; otherwise what binding gave.
    pub fn run(self: &Arc<Self>) -> Result<()> {
        let poller = self.poller()?;
        self.transport?;
        let file = rendezvous::socket_file(&self.name);
        if let Some(file) = &file {
            self.ensure_name_without_slash()?;
            let _ = std::fs::remove_file(file);
        }
        let listening = socket::listen(&rendezvous::stream_address(&self.name), limits::BACKLOG)?;
        if let Some(file) = &file {
            let everyone = std::os::unix::fs::PermissionsExt::from_mode(0o777);
            std::fs::set_permissions(file, everyone)?;
        }
        let listener = Listener {
            spare: listening.try_clone().ok(),
            socket: Arc::new(listening),
            file,
            owner_pid: process::pid(),
        };
        let fd = listener.socket.as_raw_fd();
        *self.listener.lock() = Some(listener);
        let added = poller.add(self.priority(), fd, READABLE, Watch::Listener(self.clone()));
        if added.is_err() {
            self.listener.lock().take();
            return added;
        }
        sweep::remove_leftovers();
        log!(Level::Debug, "service {} listens", self.shown());
        Ok(())
    }

    /// Disconnects every client, stops listening and gives up the first reference. The application's functions are
    /// called for each connection as usual.
    pub fn destroy(self: &Arc<Self>) {
        for connection in self.snapshot() {
            connection.disconnect();
        }
        self.withdraw();
        self.release();
    }

    fn withdraw(&self) {
        let Some(listener) = self.listener.lock().take() else {
            return;
        };
        let half_open = self.half_open.lock().drain();
        // A forked child shares the poll set with its parent, who goes on listening.
        if listener.owner_pid == process::pid() {
            half_open.iter().for_each(|half| half.close(self));
            self.stop_watching(listener.socket.as_raw_fd());
            log!(Level::Debug, "service {} is withdrawn", self.shown());
        }
    }

    /// Sets how eagerly requests are taken, for all connections, those to come included.
    pub fn set_rate_limit(self: &Arc<Self>, limit: RateLimit) {
        let before = RateLimit::from_word(self.rate.swap(limit as u32, Relaxed));
        // A connection that is not open yet looks at the limit once it is.
        fence(SeqCst);
        for connection in self.snapshot() {
            connection.tell_flow_control();
            if !limit.is_watched_like(before) {
                connection.change_interest();
            }
        }
    }

    /// A lower bound for the message size of every client to come.
    pub fn enforce_buffer_size(&self, bytes: u32) {
        self.enforced_size.store(bytes, Relaxed);
    }

    /// Counters; `clear` resets them.
    pub fn stats(&self, clear: bool) -> ServiceStats {
        self.counters.read(clear)
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

    /// The connection that was made last, with a reference for the caller to drop with [`Connection::release`]; `None`
    /// without connections.
    #[must_use]
    pub fn hold_newest(&self) -> Option<Arc<Connection>> {
        self.connections.lock().values().rev().find(|c| c.try_hold()).cloned()
    }

    /// The connection made before `than`, in the same way.
    #[must_use]
    pub fn hold_next_older(&self, than: &Connection) -> Option<Arc<Connection>> {
        // Under the lock: one whose last reference goes meanwhile is removed, and destroyed, after that.
        self.connections.lock().range(..than.id()).rev().map(|(_, c)| c).find(|c| c.try_hold()).cloned()
    }

    /// All connections, newest first.
    fn snapshot(&self) -> Vec<Arc<Connection>> {
        self.connections.lock().values().rev().cloned().collect()
    }

    fn rate(&self) -> RateLimit {
        RateLimit::from_word(self.rate.load(Relaxed))
    }

    fn priority(&self) -> Priority {
        self.rate().priority()
    }

    fn poller(&self) -> Result<Arc<dyn Poller>> {
        self.poller.read().clone().ok_or(Error::Invalid)
    }

    fn stop_watching(&self, fd: RawFd) {
        if let Ok(poller) = self.poller() {
            let _ = poller.remove(fd);
        }
    }

    fn listener_socket(&self) -> Option<Arc<OwnedFd>> {
        self.listener.lock().as_ref().map(|l| l.socket.clone())
    }

    /// Frees one descriptor for a moment: [`Service::take_back_spare`] must follow.
    fn give_up_spare(&self) -> bool {
        self.listener.lock().as_mut().is_some_and(|l| l.spare.take().is_some())
    }

    /// Makes sure that there is a spare descriptor, if there can be one.
    fn take_back_spare(&self) {
        if let Some(listener) = self.listener.lock().as_mut()
            && listener.spare.is_none()
        {
            listener.spare = listener.socket.try_clone().ok();
        }
    }
}
