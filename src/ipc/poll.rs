// SPDX-License-Identifier: LGPL-2.1-or-later
//! What a service needs from the application's poll loop, whichever that is.

use super::service::{Connection, HalfOpen, Service};
use crate::Result;
use std::os::fd::RawFd;
use std::sync::Arc;

pub use crate::event::Priority;

/// Events as poll(2) numbers them (`POLLIN`, `POLLOUT`, ...).
pub type Events = i32;

/// What a service listens for on every descriptor.
pub(super) const READABLE: Events = (libc::POLLIN | libc::POLLPRI | libc::POLLNVAL) as Events;
/// The same, and room to write.
pub(super) const READABLE_WRITABLE: Events = READABLE | libc::POLLOUT as Events;

/// Whether the loop keeps a registration after a dispatch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Keep it.
    Keep,
    /// The service has removed it, or the loop shall.
    Drop,
}

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
    /// Handles what happened on `fd`. `revents` are poll(2) bits.
    pub fn dispatch(&self, fd: RawFd, revents: Events) -> Verdict {
        match self {
            Watch::Listener(service) => service.dispatch_listener(revents),
            Watch::HalfOpen(half) => half.dispatch(revents),
            Watch::Stream(connection) => connection.dispatch_stream(revents),
            Watch::Requests(connection) => connection.dispatch_requests(revents),
            Watch::Retry(connection) => connection.dispatch_retry(fd),
        }
    }
}

/// A poll loop: the application's own, GLib's, or [`crate::event::Loop`]. Called from the service's thread, and from any
/// thread that sends an event.
pub trait Poller: Send + Sync {
    /// Starts to watch `fd`; level-triggered.
    fn add(&self, priority: Priority, fd: RawFd, events: Events, watch: Watch) -> Result<()>;
    /// Changes events or priority of `fd`.
    fn modify(&self, priority: Priority, fd: RawFd, events: Events, watch: Watch) -> Result<()>;
    /// Stops watching `fd`. Afterwards its watch is not dispatched any more.
    fn remove(&self, fd: RawFd) -> Result<()>;
    /// Calls `connection.rerun_closed()` later, once. [`crate::Error::NotSupported`] when the loop has no jobs.
    fn job(&self, priority: Priority, connection: Arc<Connection>) -> Result<()>;
}
