// SPDX-License-Identifier: LGPL-2.1-or-later
//! System calls on descriptors and memory: owns what it opens, returns `Result`, knows no protocol.
//!
//! This room may touch libc. It never logs and never prints.

pub mod calendar;
pub mod dir;
pub(crate) mod futex;
pub mod host;
pub(crate) mod mmap;
pub mod printf;
pub mod regex;
pub(crate) mod sigbus;
