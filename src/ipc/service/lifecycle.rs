// SPDX-License-Identifier: LGPL-2.1-or-later
//! References, disconnecting, and the order of callbacks.
//!
//! ```text
//! Accepting --accepted--> Created --created returned--> Open --disconnect--> Closing <--> ClosedLater
//!     |                      |                                                  |
//!     +--refused-------------+--disconnect inside `created`, once it returned--+--> Over --last reference--> destroyed
//! ```
//!
//! `closed` comes after `created` has returned only (never for a connection that `created` itself ended, as in the
//! reference), and once more whenever it returned non-zero. `destroyed` comes exactly once, when the last reference is
//! gone.

use super::super::poll::Priority;
use super::Service;
use super::connection::Connection;
use crate::sync::{AtomicU32, AtomicUsize, Ordering};
use crate::sys::socket;
use std::os::fd::AsFd;
use std::sync::Arc;

/// Where a connection is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
enum Phase {
    /// Being admitted; nothing can be sent yet.
    Accepting = 0,
    /// Open, with `created` about to run or running.
    Created = 1,
    /// Open.
    Open = 2,
    /// Over, but `created` is still running.
    ClosePending = 3,
    /// Over, with `closed` running.
    Closing = 4,
    /// Over, and `closed` wants to be called again.
    ClosedLater = 5,
    /// Over, and `closed` is done.
    Over = 6,
}

/// The phase of a connection and its references.
pub(super) struct State {
    phase: AtomicU32,
    refs: AtomicUsize,
}

impl State {
    pub fn new() -> Self {
        Self { phase: AtomicU32::new(Phase::Accepting as u32), refs: AtomicUsize::new(1) }
    }

    /// Whether messages can be exchanged.
    pub fn is_open(&self) -> bool {
        let phase = self.phase.load(Ordering::Acquire);
        phase == Phase::Created as u32 || phase == Phase::Open as u32
    }

    fn step(&self, from: Phase, to: Phase) -> bool {
        self.phase.compare_exchange(from as u32, to as u32, Ordering::AcqRel, Ordering::Acquire).is_ok()
    }

    fn set(&self, to: Phase) {
        self.phase.store(to as u32, Ordering::Release);
    }

    /// Channels are made: the connection is open.
    pub fn opened(&self) -> bool {
        self.step(Phase::Accepting, Phase::Created)
    }
}

/// Takes a reference unless the last one is gone already.
fn hold(refs: &AtomicUsize) -> bool {
    refs.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |n| (n > 0).then_some(n + 1)).is_ok()
}

/// Drops a reference; true for the last one. More drops than takes change nothing.
fn release(refs: &AtomicUsize) -> bool {
    refs.fetch_update(Ordering::AcqRel, Ordering::Relaxed, |n| n.checked_sub(1)) == Ok(1)
}

impl Connection {
    /// Takes a reference: `destroyed` waits until it is dropped with [`Connection::release`].
    pub fn hold(&self) {
        self.try_hold();
    }

    /// The same, unless the last reference is gone already; whether it was taken.
    pub(super) fn try_hold(&self) -> bool {
        hold(&self.state.refs)
    }

    /// Drops a reference; with the last one `destroyed` is called.
    pub fn release(self: &Arc<Self>) {
        if !release(&self.state.refs) {
            return;
        }
        // The application dropped the library's own reference: whatever is still open ends here.
        if self.state.is_open() {
            self.let_go();
        }
        self.service.connections.lock().remove(&self.id);
        self.service.handler.destroyed(self);
        let keep = self.keep.lock().take();
        self.service.release();
        drop(keep);
    }

    /// Ends the connection. May be called at any time, from any callback, more than once.
    pub fn disconnect(self: &Arc<Self>) {
        if self.state.step(Phase::Open, Phase::Closing) || self.state.step(Phase::ClosedLater, Phase::Closing)
        {
            self.let_go();
            self.run_closed();
        } else if self.state.step(Phase::Created, Phase::ClosePending) {
            self.let_go();
        }
    }

    /// The application's `created`, and what has to wait for its end.
    pub(super) fn run_created(self: &Arc<Self>) {
        self.service.handler.created(self);
        if !self.state.step(Phase::Created, Phase::Open) && self.state.step(Phase::ClosePending, Phase::Over)
        {
            self.release();
        }
    }

    /// Ends a connection that never opened.
    pub(super) fn abandon(self: &Arc<Self>) {
        self.let_go();
        self.state.set(Phase::Over);
        self.release();
    }

    /// Calls `closed` again after it returned non-zero; to be called once by the job the poll loop was given.
    pub fn rerun_closed(self: &Arc<Self>) {
        if self.state.step(Phase::ClosedLater, Phase::Closing) {
            self.run_closed();
        }
    }

    fn run_closed(self: &Arc<Self>) {
        if self.service.handler.closed(self) != 0 {
            self.state.set(Phase::ClosedLater);
            let job = self.service.poller().and_then(|p| p.job(Priority::Low, self.clone()));
            if job.is_ok() || !self.state.step(Phase::ClosedLater, Phase::Closing) {
                return;
            }
        }
        self.state.set(Phase::Over);
        self.release();
    }

    /// Releases everything that the connection has outside its own memory. The second call finds nothing.
    fn let_go(&self) {
        let Some(channels) = self.channels.get() else {
            return;
        };
        let Some(common) = channels.common.lock().take() else {
            return;
        };
        let requests = channels.requests.lock().take();
        let responses = channels.responses.lock().take();
        let events = channels.events.lock().take();
        // A forked child shares the poll set, the socket and the files with its parent, who goes on using them.
        let ours = common.is_ours();
        if ours {
            let watched = std::mem::take(&mut *channels.watched.lock());
            self.end_retry();
            for fd in watched {
                self.service.stop_watching(fd);
            }
            socket::shutdown(common.stream.as_fd());
        }
        if ours {
            common.shared.withdraw();
        }
        drop(common);
        drop((requests, responses, events));
        self.service.buffers.trim();
        let counters = &self.service.counters;
        let _ = counters.active.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |n| n.checked_sub(1));
        counters.closed.fetch_add(1, Ordering::Relaxed);
    }
}

impl Service {
    /// Takes a reference; the service lives until it is dropped with [`Service::release`].
    pub fn hold(&self) {
        hold(&self.refs);
    }

    /// Drops a reference; with the last one the service is freed.
    pub fn release(self: &Arc<Self>) {
        if release(&self.refs) {
            self.withdraw();
            let keep = self.keep.lock().take();
            drop(keep);
        }
    }
}
