// SPDX-License-Identifier: LGPL-2.1-or-later
//! Counters of services and connections. Written with relaxed atomics by whoever does the work, read by anyone.

use crate::sync::{AtomicU32, AtomicU64, Ordering::Relaxed};

/// Counters of a service.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ServiceStats {
    /// Connections that are open now.
    pub active_connections: u32,
    /// Connections that were open and are not any more.
    pub closed_connections: u32,
}

/// Counters of one connection, as the server sees it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ConnectionStats {
    /// The client's process id.
    pub client_pid: i32,
    /// Requests handed to the handler.
    pub requests: u64,
    /// Responses sent.
    pub responses: u64,
    /// Events sent.
    pub events: u64,
    /// Sends that found no room.
    pub send_retries: u64,
    /// Receives that found nothing.
    pub recv_retries: u64,
    /// Flow control as last set: 0 go, otherwise stop.
    pub flow_control_state: i32,
    /// How often flow control was switched on.
    pub flow_control_count: u64,
    /// Events that the client has not taken yet.
    pub event_queue_length: u32,
}

#[derive(Default)]
pub(super) struct ServiceCounters {
    pub active: AtomicU32,
    pub closed: AtomicU32,
}

impl ServiceCounters {
    pub fn read(&self, clear: bool) -> ServiceStats {
        let stats = ServiceStats {
            active_connections: self.active.load(Relaxed),
            closed_connections: self.closed.load(Relaxed),
        };
        if clear {
            // How many are open now is a fact, not a count that could start anew.
            self.closed.store(0, Relaxed);
        }
        stats
    }
}

#[derive(Default)]
pub(super) struct ConnectionCounters {
    pub requests: AtomicU64,
    pub responses: AtomicU64,
    pub events: AtomicU64,
    pub send_retries: AtomicU64,
    pub recv_retries: AtomicU64,
    pub flow_control_state: AtomicU32,
    pub flow_control_count: AtomicU64,
}

impl ConnectionCounters {
    pub fn read(&self, client_pid: i32, event_queue_length: u32, clear: bool) -> ConnectionStats {
        let take = |counter: &AtomicU64| {
            if clear { counter.swap(0, Relaxed) } else { counter.load(Relaxed) }
        };
        let state = &self.flow_control_state;
        ConnectionStats {
            client_pid,
            requests: take(&self.requests),
            responses: take(&self.responses),
            events: take(&self.events),
            send_retries: take(&self.send_retries),
            recv_retries: take(&self.recv_retries),
            flow_control_state: if clear { state.swap(0, Relaxed) } else { state.load(Relaxed) }
                .cast_signed(),
            flow_control_count: take(&self.flow_control_count),
            event_queue_length,
        }
    }
}

/// Adds one. A load and a store instead of a locked instruction: the counters of a connection have one writer at a time
/// (its channel's lock is held), and a reader that clears in between loses at most that one count.
#[inline]
pub(super) fn count(counter: &AtomicU64) {
    count_many(counter, 1);
}

/// The same for many.
#[inline]
pub(super) fn count_many(counter: &AtomicU64, times: u64) {
    counter.store(counter.load(Relaxed).wrapping_add(times), Relaxed);
}
