// SPDX-License-Identifier: LGPL-2.1-or-later
//! A ring in two files: the public ring buffer behind `qb_rb_*`, and the carrier of the shared-memory transport.
//!
//! | item | what it is |
//! |---|---|
//! | [`RingFiles`] | header and data of one ring, mapped; layout and file names as on the wire |
//! | [`Producer`], [`Consumer`] | the two ends of a connection's ring, with private indices |
//! | [`Ring`] | the public ring buffer, with every mode, several handles taking turns, dumps |
//!
//! This room may use `ring`, `shm` and `sys`. The peer may change every word of both files and truncate them; the worst
//! it gets is `Error::Corrupt` or `Error::Disconnected`.
#![forbid(unsafe_code)]

mod ahead;
mod consumer;
mod files;
mod layout;
mod place;
mod producer;
mod public;

pub use crate::ring::Chunk;
pub use crate::shm::Trusted;
pub use consumer::{Consumer, Lent};
pub use files::{Expect, RingFiles, View};
pub use layout::{data_len, header_len};
pub use producer::Producer;
pub use public::{Options, Ring, Summary};

#[cfg(test)]
mod tests;
