// SPDX-License-Identifier: LGPL-2.1-or-later
//! What a service needs from the application's poll loop, whichever that is.

use super::service::{Connection, HalfOpen, Service};
use crate::Result;
use std::os::fd::RawFd;
use std::sync::Arc;

use crate::event::{Events as LoopEvents, Job, Loop};
pub use crate::event::{Next, Priority};

/// Events as poll(2) numbers them (`POLLIN`, `POLLOUT`, ...).
pub type Events = i32;

/// What a service listens for on every descriptor.
pub(super) const READABLE: Events = (libc::POLLIN | libc::POLLPRI | libc::POLLNVAL) as Events;
/// Requests are not taken for now: only the end is of interest. poll(2) and epoll report that unasked, but a loop like GLib's
/// passes on nothing else than it was asked for, and would wake for ever.
pub(super) const QUIET: Events = (libc::POLLHUP | libc::POLLERR | libc::POLLNVAL) as Events;
/// Room to write.
pub(super) const WRITABLE: Events = libc::POLLOUT as Events;

/// Something that a poll loop watches for a service. When its descriptor is ready, the loop calls
/// [`dispatch`](Watch::dispatch), from the thread that runs the service.
#[derive(Clone)]
pub enum Watch {
    #[doc(hidden)]
    Listener(Arc<Service>),
    #[doc(hidden)]
    HalfOpen(Arc<HalfOpen>),
    #[doc(hidden)]
    Stream(Arc<Connection>),
    #[doc(hidden)]
    Requests(Arc<Connection>),
    #[doc(hidden)]
    Retry(Arc<Connection>),
}

impl Watch {
    /// Whether both watch the same thing.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        match (self, other) {
            (Watch::Listener(a), Watch::Listener(b)) => Arc::ptr_eq(a, b),
            (Watch::HalfOpen(a), Watch::HalfOpen(b)) => Arc::ptr_eq(a, b),
            (Watch::Stream(a), Watch::Stream(b))
            | (Watch::Requests(a), Watch::Requests(b))
            | (Watch::Retry(a), Watch::Retry(b)) => Arc::ptr_eq(a, b),
            _ => false,
        }
    }

    /// Handles what happened on the descriptor. `revents` are poll(2) bits.
    pub fn dispatch(&self, revents: Events) -> Next {
        match self {
            Watch::Listener(service) => service.dispatch_listener(revents),
            Watch::HalfOpen(half) => half.dispatch(revents),
            Watch::Stream(connection) => connection.dispatch_stream(revents),
            Watch::Requests(connection) => connection.dispatch_requests(revents),
            Watch::Retry(connection) => connection.dispatch_retry(),
        }
    }
}

/// A poll loop: the application's own, GLib's, or [`crate::event::Loop`]. Called from the service's thread, and from any
/// thread that sends an event.
pub trait Poller: Send + Sync {
    /// Starts to watch `fd`; level-triggered.
    fn add(&self, priority: Priority, fd: RawFd, events: Events, watch: Watch) -> Result<()>;
    /// Changes events or priority of `fd`, which has to be watched for the same.
    fn modify(&self, priority: Priority, fd: RawFd, events: Events, watch: Watch) -> Result<()>;
    /// Stops watching `fd`. Afterwards its watch is not dispatched any more.
    fn remove(&self, fd: RawFd) -> Result<()>;
    /// Calls `connection.rerun_closed()` later, once. [`crate::Error::NotSupported`] when the loop has no jobs.
    fn job(&self, priority: Priority, connection: Arc<Connection>) -> Result<()>;
}

/// Our own loop. The service is to be run from the loop's thread.
impl Poller for Loop {
    fn add(&self, priority: Priority, fd: RawFd, events: Events, watch: Watch) -> Result<()> {
        self.poll_add(priority, fd, bits(events), move |_, revents| watch.dispatch(revents.bits().into()))
    }

    fn modify(&self, priority: Priority, fd: RawFd, events: Events, watch: Watch) -> Result<()> {
        self.poll_mod(priority, fd, bits(events), move |_, revents| watch.dispatch(revents.bits().into()))
    }

    fn remove(&self, fd: RawFd) -> Result<()> {
        self.poll_del(fd)
    }

    fn job(&self, priority: Priority, connection: Arc<Connection>) -> Result<()> {
        self.job_add(priority, Job::new(move || connection.rerun_closed()))
    }
}

fn bits(events: Events) -> LoopEvents {
    LoopEvents::from_bits(u16::try_from(events).unwrap_or(0))
}
