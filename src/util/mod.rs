// SPDX-License-Identifier: LGPL-2.1-or-later
//! Clocks, stopwatch, timespec arithmetic, a handle-like lock, parts of messages, version. May use `sys` clocks; no I/O.
#![forbid(unsafe_code)]

pub mod clock;
pub mod lock;
pub(crate) mod parts;
pub mod stopwatch;
pub mod version;

pub use lock::Lock;
pub use stopwatch::Stopwatch;
