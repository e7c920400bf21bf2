// SPDX-License-Identifier: LGPL-2.1-or-later
//! Services and clients: local IPC with credentials, requests, responses and events.
//!
//! | file | what it is |
//! |---|---|
//! | `rendezvous` | the address a service listens on |
//! | `poll` | what a service needs from the application's poll loop |
//! | `stats` | counters |
//! | `doorbell` | the bytes on the stream socket that announce messages in shared memory |
//! | `shm`, `dgram` | the two classic transports, both sides |
//! | `sealed` | the transport between two processes that both run this library |
//! | `in_place` | messages that are written or looked at where they are |
//! | `spin` | whether a wait is better spent looking than sleeping |
//! | `service/` | listening, admission, dispatch, life cycle |
//! | `client/` | connecting, sending, receiving |
//! | `sweep` | what dead servers of our user left in shared memory |
//!
//! May touch `event`, `lane`, `log`, `rb`, `shm` (through its safe types), `wire` and `sys`; no raw memory and no errno numbers.
//! Everything a peer sends or stores is checked here or below, against private numbers (see `ARCHITECTURE.md`).
#![forbid(unsafe_code)]

mod client;
mod dgram;
mod doorbell;
#[cfg(test)]
mod hostile_tests;
mod in_place;
#[cfg(test)]
mod in_place_tests;
#[cfg(test)]
mod nested_tests;
mod poll;
mod rendezvous;
mod sealed;
mod service;
mod shm;
mod spin;
mod stats;
#[cfg(test)]
mod stress_tests;
mod sweep;
#[cfg(test)]
mod tests;

pub use client::{Client, Connecting, Peeked, probe_datagram_size};
pub use in_place::Reserved;
pub use poll::{Next, Poller, Priority, Watch};
pub use service::{Auth, Connection, Handler, RateLimit, Request, ReservedEvent, Service};
pub use stats::{ConnectionStats, ServiceStats};

pub use crate::sys::socket::Credentials;
pub use crate::wire::Transport;
