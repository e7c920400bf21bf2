// SPDX-License-Identifier: LGPL-2.1-or-later
//! Local IPC, event loop, logging and containers: the engine behind a drop-in `libqb.so.100`.
//!
//! This page is the table of contents, in reading order. Each room says in its first line what it is for and what it
//! may touch; dependencies point upwards in this list only.
//!
//! | room | what it is |
//! |---|---|
//! | [`error`] | the one error type, and the errno that a C caller sees |
//! | `sync` | where atomics and locks come from (std or loom) |
//! | [`sys`] | libc and file descriptors; knows no protocol |
//! | [`limits`] | the caps, each with what it stops |
//! | [`util`] | clocks, stopwatch, lock, parts of messages, version |
//! | [`wire`] | handshake and message headers: bytes in, typed messages out |
//! | [`shm`] | mapped memory that a peer can write |
//! | [`ring`] | variable-length chunks in shared words |
//! | [`lane`] | records in sealed memory, and the bell that wakes their reader |
//! | [`rb`] | a ring in two files: the public ring buffer and the carrier of the shared-memory transport |
//! | [`mod@log`] | messages of the library itself and of its users |
//! | [`event`] | the main loop: jobs, timers, descriptors, signals |
//! | [`ipc`] | services and clients over both transports |
//! | [`map`], [`mod@array`], [`hdb`] | containers |

#[cfg(not(loom))]
pub mod array;
pub mod error;
#[cfg(not(loom))]
pub mod event;
#[cfg(not(loom))]
pub mod hdb;
#[cfg(not(loom))]
pub mod ipc;
pub mod lane;
#[cfg(not(loom))]
pub mod limits;
#[cfg(not(loom))]
pub mod log;
#[cfg(not(loom))]
pub mod map;
#[cfg(not(loom))]
pub mod rb;
pub mod ring;
pub mod shm;
mod sync;
#[cfg(not(loom))]
pub mod sys;
#[cfg(not(loom))]
pub mod util;
#[cfg(not(loom))]
pub mod wire;

pub use error::{Error, Result};
